"""Time float32 matrix products of kelvin's kernels and of NumPy's BLAS.

    python3 bench/gemm.py [--threads N] [--rounds N]

Run from the root of the repository with a Python that has NumPy. Both sides use
the same number of threads and take turns, so that they meet the same machine.
The table holds the medians over the rounds, in GFLOP/s, and the median over the
rounds of kelvin's time over the BLAS's (below 1: kelvin is faster).
"""
import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--rounds", type=int, default=9)
arguments = parser.parse_args()
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOMAXPROCS"):
    os.environ[name] = str(arguments.threads)

import numpy as np

# The products of BenchmarkGemm: transposed A, transposed B, m, n, k.
PRODUCTS = {
    "square64": (False, False, 64, 64, 64),
    "square256": (False, False, 256, 256, 256),
    "square1024": (False, False, 1024, 1024, 1024),
    "forward64": (False, True, 64, 512, 784),
    "gradient64": (True, False, 512, 784, 64),
    "adjoint64": (False, False, 64, 784, 512),
    "forward256": (False, True, 256, 512, 784),
    "gradient256": (True, False, 512, 784, 256),
}


def blas(name):
    """GFLOP/s of numpy.matmul over a tenth of a second."""
    trans_a, trans_b, m, n, k = PRODUCTS[name]
    rng = np.random.default_rng(1)
    a = rng.standard_normal((k, m) if trans_a else (m, k), dtype=np.float32)
    b = rng.standard_normal((n, k) if trans_b else (k, n), dtype=np.float32)
    a, b, c = a.T if trans_a else a, b.T if trans_b else b, np.empty((m, n), np.float32)
    np.matmul(a, b, out=c)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 0.1:
        np.matmul(a, b, out=c)
        count += 1
    return 2e-9 * m * n * k * count / (time.perf_counter() - start)


def kelvin(binary, name):
    """GFLOP/s of each instruction set."""
    out = subprocess.run(
        [binary, "-test.run", "xxx", "-test.bench", f"^BenchmarkGemm$/^{name}$/^(avx512|avx2|go)$", "-test.benchtime", "0.1s"],
        capture_output=True, text=True, check=True).stdout
    return {s: float(g) for s, g in re.findall(r"/(\w+?)(?:-\d+)?\s+\d+\s.*?([\d.]+) GFLOP/s", out)}


with tempfile.TemporaryDirectory() as folder:
    binary = os.path.join(folder, "kernel.test")
    subprocess.run(["go", "test", "-c", "-o", binary, "./nn/internal/kernel"], check=True)
    with open("/proc/self/maps") as maps:
        library = sorted({os.path.basename(os.path.realpath(l.split()[-1])) for l in maps if "blas" in l})
    print(f"NumPy {np.__version__} with {', '.join(library)}, {arguments.threads} threads, medians of {arguments.rounds} rounds, GFLOP/s\n")
    print("| product | avx512 | avx2 | go | BLAS | time of avx512 / BLAS |")
    print("|---|---|---|---|---|---|")
    for name in PRODUCTS:
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            ours.append(kelvin(binary, name))
            theirs.append(blas(name))
        median = {s: f"{statistics.median(o[s] for o in ours):.0f}" if s in ours[0] else "" for s in ("avx512", "avx2", "go")}
        best = next(s for s in ("avx512", "avx2", "go") if s in ours[0])
        ratio = statistics.median(t / o[best] for o, t in zip(ours, theirs))
        print(f"| {name} | {median['avx512']} | {median['avx2']} | {median['go']} | {statistics.median(theirs):.0f} | {ratio:.2f} |", flush=True)
