"""Train a classifier of handwritten digits in PyTorch and save it for kelvin.

    kelvin data make digits --part train --out train.npz
    python3 train.py train.npz digits.safetensors

Also writes digits.json: the energy, and per layer the gradient norm and the
virial θ·∇E, as PyTorch computes them in float64 from the saved weights.
"""
import json
import struct
import sys

import numpy as np
import torch
from torch import nn


def save_safetensors(state, path):
    """What safetensors.torch.save_file does, for machines without that package."""
    header, blobs, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, tensor in state.items():
        blob = tensor.detach().float().contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def main(data, path):
    torch.manual_seed(0)
    arrays = np.load(data)
    x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"]).long()
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(600):
        batch = torch.randint(len(x), (64,))
        loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_safetensors(model.state_dict(), path)

    model = model.double()
    energy = nn.functional.cross_entropy(model(x.double()), y)
    model.zero_grad()
    energy.backward()
    layers = []
    for name, layer in model.named_children():
        if isinstance(layer, nn.Linear):
            pairs = [(p.detach(), p.grad) for p in layer.parameters()]
            layers.append({
                "name": name,
                "gradient_norm": sum(float((g * g).sum()) for _, g in pairs) ** 0.5,
                "virial": sum(float((p * g).sum()) for p, g in pairs),
            })
    document = {"torch": torch.__version__, "energy": float(energy), "layers": layers}
    with open(path.rsplit(".", 1)[0] + ".json", "w") as f:
        json.dump(document, f, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
