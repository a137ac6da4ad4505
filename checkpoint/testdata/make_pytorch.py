"""Writes reference.pt and reference.pt.json with PyTorch (Debian's 1.13)."""
import collections
import json
import pathlib
import sys

import torch

here = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
torch.manual_seed(4)
net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
base = torch.randn(4, 6)
tree = {
    "model": net.state_dict(),
    "parameter": net[0].weight,
    "tied": net.state_dict()["0.weight"],
    "transposed": base.t(),
    "offset": base[1:3, 2:],
    "stepped": base[::2, 1::3],
    "expanded": base[0, :1].expand(3, 2),
    "permuted": torch.randn(2, 3, 4).permute(2, 0, 1),
    "half": torch.randn(3).half(),
    "brain": torch.randn(3).bfloat16(),
    "double": torch.randn(2, 2, dtype=torch.float64),
    "count": torch.arange(3),
    "complex": torch.zeros(2, dtype=torch.complex64),
    "scalar": torch.tensor(3.5),
    "empty": torch.zeros(0, 3),
    "list": [torch.ones(1), (torch.zeros(2), 7)],
    "epoch": 3,
    "loss": 0.25,
    "note": "text",
    "big": 2**40,
    "negative": -5,
    "none": None,
    "device": torch.device("cpu"),
    "dtype": torch.float16,
    "size": base.size(),
    "optimizer": torch.optim.Adam(net.parameters()).state_dict(),
    "ordered": collections.OrderedDict(x=torch.ones(2)),
}
torch.save(tree, here / "reference.pt")
values = {}


def walk(name, v):
    if isinstance(v, torch.Tensor):
        x = [] if v.is_complex() else v.detach().double().reshape(-1).tolist()
        values[name] = {"shape": list(v.shape), "values": x}
    elif isinstance(v, dict):
        for k, x in v.items():
            walk(f"{name}.{k}" if name else str(k), x)
    elif isinstance(v, (list, tuple)):
        for i, x in enumerate(v):
            walk(f"{name}.{i}", x)


walk("", tree)
(here / "reference.pt.json").write_text(json.dumps(values, indent=1) + "\n")
