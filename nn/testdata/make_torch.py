"""Write what PyTorch computes for small networks, as gzipped JSON to standard output.

    python3 make_torch.py [SEED] > torch.json.gz

Every case holds a network (as kelvin's model.json), its parameters in the order
of the state_dict, a batch, and PyTorch's energy, outputs, gradient and
Hessian-vector product, all in float64; every optimizer case the parameters
after 25 steps. Made with PyTorch 1.13.
"""
import gzip
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
    "gelu_tanh": nn.GELU(approximate="tanh"),
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



class Residual(nn.Module):
    """The ResNet-like network of RESNET."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.conv1 = nn.Conv2d(4, 6, 3, 2, 1, groups=2)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.short = nn.Conv2d(4, 6, 1, 2, bias=False)
        self.bn3 = nn.BatchNorm2d(6)
        self.head = nn.Linear(24, 3)

    def forward(self, x):
        silu = nn.functional.silu
        x = nn.functional.max_pool2d(silu(self.bn(self.stem(x))), 3, 1, 1)
        y = self.bn2(self.conv2(silu(self.bn1(self.conv1(x)))))
        y = silu(y + self.bn3(self.short(x)))
        return self.head(nn.functional.avg_pool2d(y, (3, 2), (2, 1), (1, 0)).flatten(1))


RESNET = [
    {"type": "conv2d", "name": "stem", "out": 4, "kernel": [3], "padding": [1], "no_bias": True},
    {"type": "batchnorm", "name": "bn"}, {"type": "silu"}, {"type": "maxpool2d", "name": "x", "kernel": [3], "stride": [1], "padding": [1]},
    {"type": "conv2d", "name": "conv1", "out": 6, "kernel": [3], "stride": [2], "padding": [1], "groups": 2},
    {"type": "batchnorm", "name": "bn1"}, {"type": "silu"},
    {"type": "conv2d", "name": "conv2", "out": 6, "kernel": [3], "padding": [1], "no_bias": True}, {"type": "batchnorm", "name": "bn2"},
    {"type": "conv2d", "name": "short", "inputs": ["x"], "out": 6, "kernel": [1], "stride": [2], "no_bias": True},
    {"type": "batchnorm", "name": "bn3"}, {"type": "add", "inputs": ["bn2", "bn3"]}, {"type": "silu"},
    {"type": "avgpool2d", "kernel": [3, 2], "stride": [2, 1], "padding": [1, 0]}, {"type": "flatten"},
    {"type": "linear", "name": "head", "out": 3},
]


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5)


class Transformer(nn.Module):
    """The transformer of transformer()."""

    def __init__(self, causal):
        super().__init__()
        self.wte = nn.Embedding(7, 8)
        self.wpe = nn.Embedding(5, 8)
        self.ln1 = nn.LayerNorm(8)
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)
        self.ln2 = RMSNorm(8)
        self.up = nn.Linear(8, 16)
        self.down = nn.Linear(16, 8)
        self.head = nn.Linear(8, 7, bias=False)
        self.mask = torch.ones(5, 5).triu(1).bool() if causal else None

    def forward(self, tokens):
        x = self.wte(tokens.long()) + self.wpe.weight
        h = self.ln1(x)
        x = x + self.attn(h, h, h, attn_mask=self.mask, need_weights=False)[0]
        x = x + self.down(nn.functional.gelu(self.up(self.ln2(x))))
        return self.head(x if self.mask is not None else x.mean(1))


def transformer(causal):
    layers = [
        {"type": "embedding", "name": "wte", "vocab": 7, "out": 8}, {"type": "position", "name": "wpe"},
        {"type": "layernorm", "name": "ln1"}, {"type": "attention", "name": "attn", "heads": 2, "causal": causal},
        {"type": "add", "name": "x", "inputs": ["wpe", "attn"]}, {"type": "rmsnorm", "name": "ln2"},
        {"type": "linear", "name": "up", "out": 16}, {"type": "gelu"}, {"type": "linear", "name": "down", "out": 8},
        {"type": "add", "inputs": ["x", "down"]}, {"type": "mean"}, {"type": "linear", "name": "head", "out": 7, "no_bias": True},
    ]
    return [layer for layer in layers if not (causal and layer["type"] == "mean")]


for training in (False, True):
    model = Residual()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    state = flat(b for name, b in model.named_buffers() if "num" not in name)
    model.train(training)
    made = case(f"resnet training={training}", {"input": [2, 6, 5], "layers": RESNET, "loss": "ce"}, model, torch.randn(4, 2, 6, 5), 3)
    after = flat(b for name, b in model.named_buffers() if "num" not in name)
    cases.append(made | {"training": training, "state": state, "state_after": after})
for causal in (False, True):
    spec = {"input": [5], "layers": transformer(causal), "loss": "ce"}
    cases.append(case(f"transformer causal={causal}", spec, Transformer(causal), torch.randint(7, (3, 5)).double(), 7))

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
text = json.dumps({"torch": torch.__version__, "cases": cases, "optimizers": optimizers})
sys.stdout.buffer.write(gzip.compress(text.encode(), mtime=0))
