"""Time training steps and Hessian-vector products of kelvin's nn and of PyTorch.

    python3 bench/train_step.py [--threads N] [--rounds N]

Run from the root of the repository with a Python that has PyTorch. Both sides
use the same number of threads and take turns, so that they meet the same
machine; the first table holds the medians over the rounds, in milliseconds, and
the ratio (below 1: kelvin is faster). The second one holds the most memory that a
process takes which does nothing else.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--rounds", type=int, default=7, help="0 for the memory alone")
parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)  # network and kind: what a process of its own does for the second table
parser.add_argument("--only", default=".", help="regular expression of the networks, as in BenchmarkStep")
arguments = parser.parse_args()
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOMAXPROCS"):
    os.environ[name] = str(arguments.threads)

import torch
from torch import nn

torch.set_num_threads(arguments.threads)
torch.manual_seed(1)


class Block(nn.Module):
    def __init__(self, width, heads, length):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.register_buffer("mask", torch.ones(length, length).triu(1).bool())

    def forward(self, x):
        h = self.ln1(x)
        x = x + self.attn(h, h, h, attn_mask=self.mask, need_weights=False)[0]
        return x + self.mlp(self.ln2(x))


class Transformer(nn.Module):
    def __init__(self, blocks=4, width=128, heads=4, vocab=96, length=64):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Parameter(torch.randn(length, width))
        self.blocks = nn.Sequential(*(Block(width, heads, length) for _ in range(blocks)))
        self.ln, self.head = nn.LayerNorm(width), nn.Linear(width, vocab, bias=False)

    def forward(self, tokens):
        return self.head(self.ln(self.blocks(self.wte(tokens) + self.wpe))).flatten(0, 1)


def mlp():
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 10))


NETWORKS = {
    "mlp64": (mlp(), torch.randn(64, 784), torch.randint(10, (64,))),
    "mlp256": (mlp(), torch.randn(256, 784), torch.randint(10, (256,))),
    "cnn": (cnn(), torch.randn(64, 1, 28, 28), torch.randint(10, (64,))),
    "transformer": (Transformer(), torch.randint(96, (16, 64)), torch.randint(96, (1024,))),
}


def timed(f, seconds=0.5):
    f()
    count, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        f()
        count += 1
    return (time.perf_counter() - start) / count * 1e3


def in_torch(name):
    """What there is to time: a step, and a product of the Hessian with a vector."""
    model, x, y = NETWORKS[name]
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, 1e-4)
    loss = nn.CrossEntropyLoss()
    v = [torch.randn_like(p) for p in parameters]

    def train():
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()

    def product():
        gradient = torch.autograd.grad(loss(model(x), y), parameters, create_graph=True)
        torch.autograd.grad(gradient, parameters, v)

    return {"train": train, "hvp": product}


def bench(name, kind, time):
    return ["-test.run", "^$", "-test.bench", f"Step/^{name}$/{kind}", "-test.benchtime", time]


def in_kelvin(binary, name):
    out = subprocess.run([binary, *bench(name, "", "0.5s")], check=True, capture_output=True, text=True, cwd="nn").stdout
    return {kind: float(ns) / 1e6 for kind, ns in re.findall(rf"/{name}/(\w+)\S*\s+\d+\s+([\d.]+) ns/op", out)}


def peak(command, **where):
    """The most memory of a process, in MB, as far as it was when last seen. What wait4 says includes this process's own."""
    process, most = subprocess.Popen(command, stdout=subprocess.DEVNULL, **where), 0
    while process.poll() is None:
        with open(f"/proc/{process.pid}/status") as status:
            most = max([most, *(int(line.split()[1]) for line in status if line.startswith("VmHWM"))])
        time.sleep(0.01)
    if process.returncode:
        sys.exit(f"{command} failed")
    return most / 1024


if arguments.alone:
    name, kind = arguments.alone
    for _ in range(5 if kind != "import" else 0):
        in_torch(name)[kind]()
    sys.exit()

with tempfile.TemporaryDirectory() as folder:
    binary = os.path.join(folder, "nn.test")
    subprocess.run(["go", "test", "-c", "-o", binary, "./nn"], check=True)
    print(f"PyTorch {torch.__version__}, {arguments.threads} threads, medians of {arguments.rounds} rounds, ms\n")
    print("| network | kelvin step | PyTorch step | ratio | overhead of observing | kelvin HVP | PyTorch HVP | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for name in NETWORKS:
        if not re.search(arguments.only, name) or not arguments.rounds:
            continue
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            ours.append(in_kelvin(binary, name))
            theirs.append({kind: timed(f) for kind, f in in_torch(name).items()})
        middle = lambda rounds, pick: statistics.median(pick(r) for r in rounds)
        both = list(zip(ours, theirs))
        print(f"| {name} | {middle(ours, lambda r: r['train']):.2f} | {middle(theirs, lambda r: r['train']):.2f} "
              f"| {middle(both, lambda r: r[0]['train'] / r[1]['train']):.2f} | {100 * middle(ours, lambda r: r['observed'] / r['train'] - 1):.1f} % "
              f"| {middle(ours, lambda r: r['hvp']):.2f} | {middle(theirs, lambda r: r['hvp']):.2f} "
              f"| {middle(both, lambda r: r[0]['hvp'] / r[1]['hvp']):.2f} |", flush=True)

    alone = lambda name, kind: peak([sys.executable, __file__, "--threads", str(arguments.threads), "--alone", name, kind])
    empty = peak([binary, *bench("none", "none", "1x")], cwd="nn"), alone("none", "import")
    print(f"\nPeak memory in MB, above the {empty[0]:.0f} of the empty Go process and the {empty[1]:.0f} of PyTorch with the networks and batches made\n")
    print("| network | kelvin step | PyTorch step | kelvin HVP | PyTorch HVP |")
    print("|---|---|---|---|---|")
    for name in NETWORKS:
        if re.search(arguments.only, name):
            cells = [x for kind in ("train", "hvp") for x in (peak([binary, *bench(name, kind, "5x")], cwd="nn") - empty[0], alone(name, kind) - empty[1])]
            print(f"| {name} | " + " | ".join(f"{x:.0f}" for x in cells) + " |", flush=True)
