"""Time kelvin curvature against PyHessian's method coded plainly in PyTorch.

    go build -o kelvin ./cmd/kelvin && python3 bench/curvature.py ./kelvin [--threads N] [--rounds N]

The network is an MLP 784-256-256-10 (ReLU, cross entropy) that PyTorch trains
on 1,024 handwritten digits, scaled up to 28 x 28. Both sides are to know the
trace of the Hessian to 2 % and its largest eigenvalue to 1e-4. PyHessian's
method is Hutchinson's for the trace and power iteration for the eigenvalue,
with Hessian-vector products by double backward, the first of which is kept.
Its own stopping rules do not promise an accuracy, so it is stopped where it has
the one asked for: the trace at a standard error of 2 %, the eigenvalue within
1e-4 of kelvin's. The sides take turns; kelvin's time is that of the process.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("kelvin")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--rounds", type=int, default=3)
arguments = parser.parse_args()
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOMAXPROCS"):
    os.environ[name] = str(arguments.threads)

import numpy as np
import torch
from torch import nn

torch.set_num_threads(arguments.threads)
torch.manual_seed(1)


def kelvin(*words):
    start = time.perf_counter()
    out = subprocess.run([arguments.kelvin, *words], check=True, capture_output=True, text=True).stdout
    return time.perf_counter() - start, out


def prepare(folder):
    """Write data and a trained model, and return them."""
    kelvin("data", "make", "digits", "--out", f"{folder}/digits.npz")
    digits = np.load(f"{folder}/digits.npz")
    x = torch.tensor(digits["x"][:1024]).reshape(-1, 1, 8, 8)
    x = nn.functional.interpolate(x, (28, 28), mode="bilinear", align_corners=False).reshape(-1, 784)
    y = torch.tensor(digits["y"][:1024]).long()
    np.savez(f"{folder}/data.npz", x=x.numpy(), y=y.numpy())
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(300):
        batch = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    torch.save(model.state_dict(), f"{folder}/model.pt")
    return model, x, y


class Products:
    """Hessian-vector products of a batch, as PyHessian makes them."""

    def __init__(self, model, x, y):
        self.parameters = list(model.parameters())
        loss = nn.functional.cross_entropy(model(x), y)
        self.gradients = torch.autograd.grad(loss, self.parameters, create_graph=True)
        self.count = 0

    def __call__(self, v):
        self.count += 1
        return torch.autograd.grad(self.gradients, self.parameters, grad_outputs=v, retain_graph=True)


def inner(a, b):
    return sum((x * y).sum() for x, y in zip(a, b)).item()


def hutchinson(product, tolerance):
    values = []
    while True:
        v = [torch.randint_like(p, 2) * 2 - 1 for p in product.parameters]
        values.append(inner(product(v), v))
        if len(values) >= 16:
            error = statistics.stdev(values) / len(values) ** 0.5
            if error <= tolerance * abs(statistics.fmean(values)):
                return statistics.fmean(values), error


def power_iteration(product, known, tolerance):
    v = [torch.randn_like(p) for p in product.parameters]
    for _ in range(10000):
        norm = inner(v, v) ** 0.5
        v = [x / norm for x in v]
        hv = product(v)
        value = inner(hv, v)
        if abs(value - known) <= tolerance * known:
            return value
        v = hv
    raise SystemExit(f"power iteration is at {value} after 10000 products, not at {known}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        model, x, y = prepare(folder)
        call = ["curvature", f"{folder}/model.pt", "--arch", "784-256-256-10:relu", "--data", f"{folder}/data.npz",
                "--density", "0", "--top", "1", "--bottom", "0", "--json"]
        sides = {name: [] for name in ("kelvin", "kelvin, Hutch++", "PyHessian's method")}
        lines = {}
        for round in range(arguments.rounds):
            for name, method in (("kelvin", "auto"), ("kelvin, Hutch++", "hutch++")):
                seconds, out = kelvin(*call, "--method", method, "--seed", str(round))
                d = json.loads(out)
                trace, top = d["trace"], d["top"][0]["value"]
                sides[name].append(seconds)
                lines[name] = f"{trace['value']:.5g} ± {trace['stderr']:.2g} | {top:.6g} | {d['probes']} probes"
            start = time.perf_counter()
            product = Products(model, x, y)
            value, error = hutchinson(product, 0.02)
            probes = product.count
            eigenvalue = power_iteration(product, top, 1e-4)
            name = "PyHessian's method"
            sides[name].append(time.perf_counter() - start)
            lines[name] = f"{value:.5g} ± {error:.2g} | {eigenvalue:.6g} | {probes} + {product.count - probes} products"
        best = min(sides["kelvin"])
        print(f"{arguments.threads} threads, best of {arguments.rounds}\n")
        for name, seconds in sides.items():
            print(f"{name:20} {min(seconds):8.2f} s  {min(seconds) / best:6.1f}  | {lines[name]}")


main()
