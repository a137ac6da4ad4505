"""Time steps of SGLD in kelvin (BenchmarkSGLD of the package sampler) and in PyTorch.

    python3 bench/sgld.py [--rounds N]

Run from the root of the repository with a Python that has PyTorch; Debian's needs
libopenblas0-pthread, or it multiplies with the reference BLAS, slowly. A step is the
same arithmetic on both sides: a minibatch of 64 of 1,797 digits, the gradient of
n times its mean loss plus that of a normal prior, noise, update. One thread each,
by turns, so that they meet the same machine; the table holds medians over the
rounds, of wall-clock and of processor time, which other work disturbs less, in
microseconds, and the median of the ratios of a round.
"""
import argparse
import os
import re
import resource
import statistics
import subprocess
import tempfile
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GOMAXPROCS"):
    os.environ[name] = "1"

import torch
from torch.nn import functional

N, BATCH, STEP = 1797, 64, 1e-6


def torch_step(widths):
    """Returns a step without any cost of modules and optimisers."""
    layers = [torch.nn.Linear(a, b) for a, b in zip(widths, widths[1:])]
    params = [p for layer in layers for p in layer.parameters()]
    images, labels = torch.rand(N, widths[0]), torch.randint(widths[-1], (N,))
    state = {"order": torch.randperm(N), "at": 0}

    def step():
        if state["at"] + BATCH > N:
            state["order"], state["at"] = torch.randperm(N), 0
        pick = state["order"][state["at"] : state["at"] + BATCH]
        state["at"] += BATCH
        z = images.index_select(0, pick)
        for w, b in zip(params[:-2:2], params[1:-2:2]):
            z = functional.linear(z, w, b).relu()
        loss = functional.cross_entropy(functional.linear(z, params[-2], params[-1]), labels.index_select(0, pick))
        gradients = torch.autograd.grad(loss, params)
        with torch.no_grad():
            for p, g in zip(params, gradients):
                p.mul_(1 - STEP).add_(g, alpha=-STEP * N).add_(torch.randn_like(p), alpha=(2 * STEP) ** 0.5)

    return step


def in_torch(step, seconds=1.0):
    step()
    count, wall, processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() < wall + seconds:
        step()
        count += 1
    return (time.perf_counter() - wall) / count * 1e6, (time.process_time() - processor) / count * 1e6


def in_kelvin(binary, parameters, steps):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    out = subprocess.run([binary, "-test.run", "^$", "-test.bench", f"SGLD/{parameters}_", "-test.benchtime", f"{steps}x"],
                         check=True, capture_output=True, text=True, cwd="sampler").stdout
    processor = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before  # of starting too
    return float(re.search(r"([\d.]+) ns/op", out)[1]) / 1e3, processor / steps * 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"PyTorch {torch.__version__}, 1 thread, medians of {rounds} rounds, µs a step (processor time)\n")
    print("| parameters | kelvin | PyTorch | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        binary = os.path.join(folder, "sampler.test")
        subprocess.run(["go", "test", "-c", "-o", binary, "./sampler"], check=True)
        for widths, steps in ([64, 13, 10], 60000), ([64, 512, 512, 10], 100):
            parameters = sum((a + 1) * b for a, b in zip(widths, widths[1:]))
            step = torch_step(widths)
            pairs = [(in_kelvin(binary, parameters, steps), in_torch(step)) for _ in range(rounds)]
            middle = lambda pick: statistics.median(pick(*p) for p in pairs)
            print(f"| {parameters:,} | {middle(lambda k, t: k[0]):.0f} ({middle(lambda k, t: k[1]):.0f}) "
                  f"| {middle(lambda k, t: t[0]):.0f} ({middle(lambda k, t: t[1]):.0f}) "
                  f"| {middle(lambda k, t: t[0] / k[0]):.1f} ({middle(lambda k, t: t[1] / k[1]):.1f}) |", flush=True)
