"""Train a classifier of handwritten digits with the probe, and let kelvin watch it.

    kelvin data make digits --part train --out train.npz
    python3 probe.py train.npz runs/digits --lr 0.1
    kelvin watch runs/digits
"""
import argparse
import os
import sys

import numpy as np
import torch
from torch import nn

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../python"))  # or: pip install ./python
import kelvin_probe as kelvin  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("folder")
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--steps", type=int, default=6000)
args = parser.parse_args()

torch.manual_seed(0)
arrays = np.load(args.data)
x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"]).long()
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.Tanh(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=5e-3)
probe = kelvin.Probe(model, optimizer, args.folder, every=10)
for step in range(args.steps):
    batch = torch.randint(len(x), (64,))
    loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    probe.step(loss)
