"""Writes reference.safetensors and reference.json with the safetensors package (0.8.0)."""
import json
import pathlib

import numpy as np
from safetensors.numpy import save_file

here = pathlib.Path(__file__).parent
rng = np.random.default_rng(1)
tensors = {
    "0.weight": rng.standard_normal((3, 5)).astype(np.float32),
    "0.bias": rng.standard_normal(3).astype(np.float64),
    "2.weight": (rng.standard_normal((2, 3)) * 1e-6).astype(np.float16),
    "steps": np.array([7, 8], dtype=np.int64),
    "empty": np.zeros((0, 4), dtype=np.float32),
    "scalar": np.array(2.5, dtype=np.float32),
}
save_file(tensors, here / "reference.safetensors", metadata={"format": "np"})
values = {k: {"shape": list(v.shape), "values": [float(x) for x in v.ravel()]} for k, v in tensors.items()}
(here / "reference.json").write_text(json.dumps(values, indent=1) + "\n")
