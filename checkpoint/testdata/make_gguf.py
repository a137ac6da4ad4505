"""Writes reference.gguf and reference.gguf.f32 with the gguf package (0.19.0).

Blocks of the formats it cannot quantise to are random bytes with tame scales;
the values are always those of its own dequantiser.
"""
import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Q

here = pathlib.Path(__file__).parent
rng = np.random.default_rng(2)
tensors = {
    "f32": (Q.F32, rng.standard_normal((3, 4)).astype(np.float32)),
    "f16": (Q.F16, rng.standard_normal((2, 3, 4)).astype(np.float16)),
}
raw = {"bf16": Q.BF16, "q8_0": Q.Q8_0, "q4_0": Q.Q4_0}
for name, kind in raw.items():
    tensors[name] = (kind, gguf.quants.quantize(rng.standard_normal((3, 64)).astype(np.float32), kind))


def half(x):
    return np.frombuffer(np.float16(x).tobytes(), np.uint8)


q4k = rng.integers(0, 256, (2, 2, 144), dtype=np.uint8)
q6k = rng.integers(0, 256, (2, 2, 210), dtype=np.uint8)
for i in np.ndindex(2, 2):
    q4k[i][0:2], q4k[i][2:4] = half(rng.normal() / 100), half(rng.normal() / 100)
    q6k[i][208:210] = half(rng.normal() / 1000)
tensors["q4_k"] = (Q.Q4_K, q4k.reshape(2, 288))
tensors["q6_k"] = (Q.Q6_K, q6k.reshape(2, 420))

w = gguf.GGUFWriter(here / "reference.gguf", "test")
w.add_string("note", "made for a test")
w.add_float32("third", 1 / 3)
w.add_array("list", ["a", "b"])
w.add_int32("minus", -5)
values = []
for name, (kind, data) in tensors.items():
    if kind in (Q.F32, Q.F16):
        w.add_tensor(name, data)
        x = data.astype(np.float32)
    else:
        w.add_tensor(name, data, raw_dtype=kind)
        x = gguf.quants.dequantize(data, kind)
    values.append(x.astype("<f4").tobytes())
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
(here / "reference.gguf.f32").write_bytes(b"".join(values))
