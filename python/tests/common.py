"""A small training to be probed, and its records read back."""
import json
import os
import sys
import tempfile
import unittest
import warnings

import torch
from torch import nn

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import kelvin_probe as kelvin  # noqa: E402


def records(folder):
    with open(os.path.join(folder, "events.jsonl")) as f:
        return [json.loads(line, parse_constant=float) for line in f]


def of(folder, kind, layer=None, having=None):
    return [r for r in records(folder) if r["kind"] == kind and (layer is None or r.get("layer") == layer)
            and (having is None or having in r)]


class Case(unittest.TestCase):
    def setUp(self):
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self.run_folder = os.path.join(self._folder.name, "run")
        torch.manual_seed(0)
        warnings.simplefilter("always")


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))


def batches(n, size=12):
    generator = torch.Generator().manual_seed(2)
    for _ in range(n):
        x = torch.randn(size, 8, generator=generator)
        yield x, (x[:, :3] + 0.5 * torch.randn(size, 3, generator=generator)).argmax(1)


def train(model, optimizer, probe, steps, each=None):
    for x, y in batches(steps):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if probe is not None:
            probe.step(loss)
        if each is not None:
            each()
