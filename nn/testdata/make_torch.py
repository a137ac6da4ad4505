"""Write what PyTorch computes for small networks, as JSON to standard output.

    python3 make_torch.py [SEED] > torch.json

Every case holds a network (as kelvin's model.json), its parameters in the order
of the state_dict, a batch, and PyTorch's energy, outputs, gradient and
Hessian-vector product, all in float64; every optimizer case the parameters
after 25 steps. Made with PyTorch 1.13.
"""
import json
import sys

import torch
from torch import nn

torch.set_default_dtype(torch.float64)
torch.manual_seed(int(sys.argv[1]) if len(sys.argv) > 1 else 1)



class Sin(nn.Module):
    def forward(self, x):
        return torch.sin(x)


ACTIVATIONS = {
    "identity": nn.Identity(), "relu": nn.ReLU(), "leaky_relu": nn.LeakyReLU(), "leaky_relu(0.2)": nn.LeakyReLU(0.2),
    "elu": nn.ELU(), "elu(0.7)": nn.ELU(0.7), "selu": nn.SELU(), "gelu": nn.GELU(), "silu": nn.SiLU(),
    "softplus": nn.Softplus(threshold=100), "sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "softsign": nn.Softsign(),
    "hardtanh": nn.Hardtanh(), "sin": Sin(), "relu6": nn.ReLU6(), "mish": nn.Mish(),
}
LOSSES = {"mse": nn.MSELoss(), "mae": nn.L1Loss(), "ce": nn.CrossEntropyLoss()}


def flat(tensors):
    return torch.cat([t.detach().reshape(-1) for t in tensors]).tolist()


def case(name, spec, model, x, classes):
    """Evaluate model on x, with random labels or targets."""
    parameters = list(model.parameters())
    loss = LOSSES[spec["loss"]]
    z = model(x)
    out = {"name": name, "spec": spec, "params": flat(parameters), "n": len(x), "x": x.reshape(-1).tolist(), "outputs": z.reshape(-1).tolist()}
    if spec["loss"] == "ce":
        labels = torch.randint(classes, z.shape[:-1])
        out["labels"] = labels.reshape(-1).tolist()
        energy = loss(z.reshape(-1, classes), labels.reshape(-1))
    else:
        y = torch.randn(z.shape)
        out["y"] = y.reshape(-1).tolist()
        energy = loss(z, y)
    energy = energy + spec.get("weight_decay", 0) / 2 * sum((p * p).sum() for p in parameters)
    gradient = torch.autograd.grad(energy, parameters, create_graph=True)
    v = [torch.randn_like(p) for p in parameters]
    product = torch.autograd.grad(sum((g * u).sum() for g, u in zip(gradient, v)), parameters, allow_unused=True)
    product = [torch.zeros_like(p) if h is None else h for h, p in zip(product, parameters)]
    out |= {"energy": energy.item(), "grad": flat(gradient), "v": flat(v), "hvp": flat(product)}
    return out


def mlp(widths, activation, loss, weight_decay=0.0):
    spec = {"input": [widths[0]], "layers": [], "loss": loss, "weight_decay": weight_decay}
    modules = []
    for i, (a, b) in enumerate(zip(widths, widths[1:])):
        if i:
            spec["layers"].append({"type": activation})
            modules.append(ACTIVATIONS[activation])
        spec["layers"].append({"type": "linear", "out": b})
        modules.append(nn.Linear(a, b))
    return spec, nn.Sequential(*modules)


def optimizer(spec, make):
    network, model = mlp([3, 4, 2], "tanh", "mse")
    x, y = torch.randn(5, 3), torch.randn(5, 2)
    parameters = list(model.parameters())
    out = {"optimizer": spec, "spec": network, "params": flat(parameters), "n": 5, "x": flat([x]), "y": flat([y])}
    o = make(parameters)
    for _ in range(25):
        o.zero_grad()
        LOSSES["mse"](model(x), y).backward()
        o.step()
    out["after"] = flat(parameters)
    return out


cases = []
for activation in ACTIVATIONS:
    for loss in LOSSES:
        spec, model = mlp([3, 4, 2], activation, loss, 0.1 if activation == "tanh" else 0.0)
        cases.append(case(f"{activation} {loss}", spec, model, 2 * torch.randn(4, 3), 2))

SGD, Adam, AdamW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
optimizers = [
    optimizer({"kind": "sgd", "learning_rate": 0.1}, lambda p: SGD(p, 0.1)),
    optimizer({"kind": "sgd", "learning_rate": 0.1, "weight_decay": 0.05}, lambda p: SGD(p, 0.1, weight_decay=0.05)),
    optimizer({"kind": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01},
              lambda p: SGD(p, 0.05, momentum=0.9, weight_decay=0.01)),
    optimizer({"kind": "adam", "learning_rate": 0.02}, lambda p: Adam(p, 0.02)),
    optimizer({"kind": "adam", "learning_rate": 0.02, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-3},
              lambda p: Adam(p, 0.02, (0.8, 0.99), 1e-3, 0.1)),
    optimizer({"kind": "adamw", "learning_rate": 0.02, "weight_decay": 0.3}, lambda p: AdamW(p, 0.02, weight_decay=0.3)),
]
json.dump({"torch": torch.__version__, "cases": cases, "optimizers": optimizers}, sys.stdout)
print()
