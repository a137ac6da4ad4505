"""Writes reference.npz and compressed.npz with NumPy (2.4.6); reference.npz.json has their values."""
import json
import pathlib

import numpy as np

here = pathlib.Path(__file__).parent
rng = np.random.default_rng(3)
a = rng.standard_normal((3, 4))
arrays = {
    "double": a,
    "single": a.astype(np.float32),
    "half": a.astype(np.float16),
    "fortran": np.asfortranarray(rng.standard_normal((2, 3, 4)).astype(np.float32)),
    "big": a.astype(">f4"),
    "both": np.asfortranarray(a.astype(">f8")),
    "scalar": np.array(1.5),
    "empty": np.zeros((2, 0), np.float32),
    "count": np.arange(3),
    "text": np.array(["a", "bc"]),
}
np.savez(here / "reference.npz", **arrays)
np.savez_compressed(here / "compressed.npz", **arrays)
values = {k: {"shape": list(v.shape), "values": [] if k == "text" else [float(x) for x in v.ravel(order="C")]} for k, v in arrays.items()}
(here / "reference.npz.json").write_text(json.dumps(values, indent=1) + "\n")
