"""SGLD steps per second of PyTorch, doing the arithmetic of BenchmarkSGLD in sampler/bench_test.go:
one minibatch of 64 digits, the gradient of n times its mean loss plus a normal prior, noise, update.

    python3 bench/sgld.py
"""
import time

import torch

N, BATCH, STEP = 1797, 64, 1e-6


def measure(widths):
    layers = []
    for i, (a, b) in enumerate(zip(widths, widths[1:])):
        layers += [torch.nn.Linear(a, b)] + ([torch.nn.ReLU()] if i < len(widths) - 2 else [])
    net = torch.nn.Sequential(*layers)
    x, y = torch.rand(N, 64), torch.randint(10, (N,))
    params = list(net.parameters())
    order, at = torch.randperm(N), 0

    def step():
        nonlocal order, at
        if at + BATCH > N:
            order, at = torch.randperm(N), 0
        pick = order[at : at + BATCH]
        at += BATCH
        loss = N * torch.nn.functional.cross_entropy(net(x[pick]), y[pick])
        loss = loss + sum((p * p).sum() for p in params) / 2
        grads = torch.autograd.grad(loss, params)
        with torch.no_grad():
            for p, g in zip(params, grads):
                p.add_(g, alpha=-STEP).add_(torch.randn_like(p), alpha=(2 * STEP) ** 0.5)

    best = 1e9
    for _ in range(5):
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < 0.5:
            step()
            steps += 1
        best = min(best, (time.perf_counter() - start) / steps)
    print(f"{sum(p.numel() for p in params)} parameters: {1e6 * best:.1f} µs a step, {torch.get_num_threads()} threads, torch {torch.__version__}")


if __name__ == "__main__":
    torch.manual_seed(0)
    measure([64, 13, 10])
    measure([64, 512, 512, 10])
