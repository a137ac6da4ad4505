"""Writes diagnostics.json with arviz-stats 0.x (PyPI); run by hand."""
import json
import numpy as np
from arviz_stats.base import array_stats

rng = np.random.default_rng(1)
cases = []
for rho, shift, heavy, n in [(0.0, 0, 0, 100), (0.7, 0, 0, 100), (-0.5, 0, 0, 101), (0.9, 1.0, 0, 80), (0.3, 0, 1, 100)]:
    x = rng.standard_cauchy((4, n)) if heavy else rng.normal(size=(4, n))
    for t in range(1, n):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * x[:, t]
    x[0] += shift
    x = np.round(x, 4)
    ess = lambda m, **k: float(array_stats.ess(x, chain_axis=0, draw_axis=1, method=m, **k))
    cases.append({"chains": x.tolist(), "rhat": float(array_stats.rhat(x, chain_axis=0, draw_axis=1, method="rank")),
                  "ess_bulk": ess("bulk"), "ess_tail": ess("tail", prob=(0.05, 0.95)), "ess_mean": ess("mean")})
json.dump(cases, open("diagnostics.json", "w"))
