"""Train a convolutional classifier of handwritten digits and export it to ONNX.

    kelvin data make digits --part train --out train.npz
    python3 cnn.py train.npz digits-cnn.onnx
    kelvin measure digits-cnn.onnx --data train.npz
"""
import sys

import numpy as np
import torch
from torch import nn


def main(data, path):
    torch.manual_seed(0)
    arrays = np.load(data)
    x, y = torch.from_numpy(arrays["x"]).view(-1, 1, 8, 8), torch.from_numpy(arrays["y"]).long()
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(100):
        batch = torch.randint(len(x), (64,))
        loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    model.eval()
    torch.onnx.export(model, (x[:1],), path, input_names=["x"], dynamic_axes={"x": {0: "batch"}})


if __name__ == "__main__":
    main(*sys.argv[1:])
