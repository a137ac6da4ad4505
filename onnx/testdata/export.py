"""Export small networks to ONNX, beside what PyTorch computes for them.

    python3 export.py FOLDER [SEED [CASE...]]

Writes NAME.onnx for every case, and reference.json.gz: inputs, labels, and in
float64 PyTorch's logits, cross entropy, and, for every parameter that the ONNX
file keeps, its gradient, a direction and the Hessian-vector product. Works with
PyTorch 1.13 (TorchScript exporter) and 2 (dynamo exporter, or the other one if
TORCHSCRIPT is set). OPSET chooses the operator set.
"""
import gzip
import json
import os
import sys
import warnings

import torch
from torch import nn
from torch.nn import functional as F

warnings.filterwarnings("ignore")
FOLDER = sys.argv[1]
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 1
WANTED = sys.argv[3:]
NEW = int(torch.__version__.split(".")[0]) >= 2
OPSET = {"opset_version": int(os.environ["OPSET"])} if "OPSET" in os.environ else {}
DYNAMO = NEW and not os.environ.get("TORCHSCRIPT")


class Mish(nn.Module):
    def forward(self, x):
        return x * torch.tanh(F.softplus(x))


class Sin(nn.Module):
    def forward(self, x):
        return torch.sin(x)


ACTIVATIONS = {
    "relu": nn.ReLU(), "leaky_relu": nn.LeakyReLU(0.2), "elu": nn.ELU(0.7), "selu": nn.SELU(), "gelu": nn.GELU(), "gelu_tanh": nn.GELU("tanh"),
    "silu": nn.SiLU(), "softplus": nn.Softplus(), "sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "softsign": nn.Softsign(),
    "hardtanh": nn.Hardtanh(), "sin": Sin(), "relu6": nn.ReLU6(), "mish": nn.Mish(), "mish_decomposed": Mish(),
}


def mlp(activation, bias=True):
    return nn.Sequential(nn.Linear(4, 6, bias), activation, nn.Linear(6, 5, bias), activation, nn.Linear(5, 3, bias))


class ResNet(nn.Module):
    """Stride, groups, projections, both kinds of pooling."""

    def __init__(self, activation=F.relu):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.conv1 = nn.Conv2d(4, 6, 3, 2, 1, groups=2)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 6, (3, 1), padding=(1, 0), bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.short = nn.Conv2d(4, 6, 1, 2, bias=False)
        self.bn3 = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 3)
        self.activation = activation
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, 0, 0.5)
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 2)

    def forward(self, x):
        x = F.max_pool2d(self.activation(self.bn(self.stem(x))), 3, 1, 1)
        y = self.bn2(self.conv2(self.activation(self.bn1(self.conv1(x)))))
        y = self.activation(y + self.bn3(self.short(x)))
        return self.head(F.adaptive_avg_pool2d(y, 1).flatten(1))


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.AvgPool2d(2, padding=1), nn.Conv2d(3, 4, 2), nn.SiLU())
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3), nn.LogSoftmax(1))

    def forward(self, x):
        x = self.features(x)
        return self.classifier(x.view(x.size(0), -1))


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class CausalSelfAttention(nn.Module):
    """As in GPT: one projection, split, heads, a causal mask, written out or fused."""

    def __init__(self, width, heads, fused):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)
        self.register_buffer("mask", torch.tril(torch.ones(16, 16)).view(1, 1, 16, 16))

    def forward(self, x):
        b, t, c = x.size()
        q, k, v = self.c_attn(x).split(c, dim=2)
        q = q.view(b, t, self.heads, c // self.heads).transpose(1, 2)
        k = k.view(b, t, self.heads, c // self.heads).transpose(1, 2)
        v = v.view(b, t, self.heads, c // self.heads).transpose(1, 2)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(-2, -1)) * (1.0 / k.size(-1) ** 0.5)
            scores = scores.masked_fill(self.mask[:, :, :t, :t] == 0, float("-inf"))
            y = F.softmax(scores, dim=-1) @ v
        return self.c_proj(y.transpose(1, 2).contiguous().view(b, t, c))


class SeparateAttention(nn.Module):
    """Three projections without bias, no mask."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width, False) for _ in range(4))

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (p(x).reshape(b, t, self.heads, -1).permute(0, 2, 1, 3) for p in (self.q_proj, self.k_proj, self.v_proj))
        probabilities = torch.softmax(torch.matmul(q, k.transpose(2, 3)) / (c // self.heads) ** 0.5, -1)
        return self.out_proj(torch.matmul(probabilities, v).permute(0, 2, 1, 3).flatten(2))


class Block(nn.Module):
    def __init__(self, width, attention, norm):
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = norm(width), attention, norm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, attention, norm=nn.LayerNorm, width=8, vocab=7, longest=9):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(longest, width)
        self.h = nn.ModuleList([Block(width, attention(), norm) for _ in range(2)])
        self.ln_f = norm(width)
        self.lm_head = nn.Linear(width, vocab, bias=False)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.size(1)))
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


class Encoder(nn.Module):
    """nn.TransformerEncoder on vectors, with a learned position, averaged."""

    def __init__(self, norm_first, activation):
        super().__init__()
        self.position = nn.Parameter(torch.randn(5, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.1, activation, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.embed, self.head = nn.Linear(3, 8), nn.Linear(8, 4)
        for p in self.encoder.parameters():  # its copies begin equal
            nn.init.normal_(p, 0.1, 0.3)

    def forward(self, x):
        return self.head(self.encoder(self.embed(x) + self.position).mean(1))


def case(model, x, names=None, exact=True, batch_axis=True, export_args=None):
    """exact: the file keeps PyTorch's parameters. names: what kelvin calls them."""
    return locals()


def mlp_case(activation, bias=True, **args):
    return lambda: case(mlp(activation, bias), 2 * torch.randn(5, 4), **args)


def lenet():
    return case(LeNet(), torch.randn(4, 1, 7, 7))


def resnet(fold, activation=F.relu, **args):
    return lambda: case(ResNet(activation), torch.randn(4, 2, 6, 5), exact=not (fold or DYNAMO), **args)  # the dynamo exporter always folds


NAMES = {f"h.{i}.attn.{old}": f"h.{i}.attn.{new}" for i in range(2) for old, new in (
    ("c_attn.weight", "in_proj_weight"), ("c_attn.bias", "in_proj_bias"), ("c_proj.weight", "out_proj.weight"), ("c_proj.bias", "out_proj.bias"),
    ("q_proj.weight", "in_proj_weight"), ("k_proj.weight", "in_proj_weight"), ("v_proj.weight", "in_proj_weight"))}
POSITION = {}
if DYNAMO:  # its optimiser looks the positions up when it exports, and keeps no name for what it finds
    POSITION = {"wpe.weight": "position.weight"}


def gpt(attention, norm=nn.LayerNorm, **args):
    return lambda: case(GPT(attention, norm), torch.randint(7, (3, 6)), NAMES | ({} if "export_args" in args else POSITION), **args)


def encoder(norm_first, activation, **args):
    return lambda: case(Encoder(norm_first, activation), torch.randn(3, 5, 3), {"position": "position.weight"}, **args)


UNFOLDED = {"do_constant_folding": False}
TRAINING = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
CASES = {f"mlp_{name}": mlp_case(module) for name, module in ACTIVATIONS.items()}
CASES |= {
    "mlp_nobias": mlp_case(nn.GELU(), False),
    "mlp_unfolded": mlp_case(nn.GELU(), export_args={"do_constant_folding": False}),
    "mlp_initializers": mlp_case(nn.SiLU(), export_args={"keep_initializers_as_inputs": True, "opset_version": 15}),
    "mlp_fixed_batch": mlp_case(nn.ELU(), batch_axis=False),
    "lenet": lenet,
    "resnet_folded": resnet(True),
    "resnet": resnet(False, export_args=TRAINING),
    "resnet_silu": resnet(False, F.silu, export_args=TRAINING),
    "gpt": gpt(lambda: CausalSelfAttention(8, 2, False)),
    "gpt_unfolded": gpt(lambda: CausalSelfAttention(8, 2, False), export_args=UNFOLDED),
    "gpt_fused": gpt(lambda: CausalSelfAttention(8, 2, True)),
    "gpt_separate_rmsnorm": gpt(lambda: SeparateAttention(8, 4), RMSNorm),
    "encoder": encoder(False, "relu"),
    "encoder_norm_first": encoder(True, "gelu", export_args={"opset_version": 17}),
    "encoder_unfolded": encoder(True, "gelu", export_args=UNFOLDED),
    "encoder_fixed_batch": encoder(False, "gelu", batch_axis=False),
}
if not NEW:
    del CASES["gpt_fused"]  # has no such operation
else:
    torch.backends.cuda.enable_flash_sdp(False)  # on processors too: it has no second derivative


def export(name, c):
    model, x = c["model"].eval(), c["x"]
    path = os.path.join(FOLDER, name + ".onnx")
    args = dict(c["export_args"] or {})
    if DYNAMO:
        if "do_constant_folding" in args:
            args["optimize"] = False
        for old in ("training", "do_constant_folding", "keep_initializers_as_inputs", "opset_version"):
            args.pop(old, None)
        shapes = ({0: torch.export.Dim("batch")},) if c["batch_axis"] else None
        torch.onnx.export(model, (x,), path, dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False, **args, **OPSET)
        return
    if NEW:
        args["dynamo"] = False
    if c["batch_axis"]:
        args |= {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "batch"}, "y": {0: "batch"}}}
    torch.onnx.export(model, (x,), path, **{"opset_version": 14 if NEW else 13, **args, **OPSET})


def reference(name, c):
    model, x = c["model"].eval(), c["x"]
    if x.is_floating_point():
        x = (x.double() * 100).round() / 100
    model = model.double()
    z = model(x)
    classes = z.shape[-1]
    labels = torch.randint(classes, z.shape[:-1])
    energy = F.cross_entropy(z.reshape(-1, classes), labels.reshape(-1))
    out = {"name": name, "n": len(x), "input": list(x.shape[1:]), "x": x.reshape(-1).tolist(), "labels": labels.reshape(-1).tolist(),
           "outputs": z.reshape(-1).tolist(), "energy": energy.item(), "exact": c["exact"], "parameters": []}
    if not c["exact"]:
        return out
    named = dict(model.named_parameters())
    gradient = torch.autograd.grad(energy, list(named.values()), create_graph=True)
    v = [torch.randn_like(p).round(decimals=1) for p in named.values()]
    product = torch.autograd.grad(sum((g * u).sum() for g, u in zip(gradient, v)), list(named.values()), allow_unused=True)
    merged = {}
    for (key, p), g, u, h in zip(named.items(), gradient, v, product):
        h = torch.zeros_like(p) if h is None else h
        rename = (c["names"] or {}).get(key, key)
        merged.setdefault(rename, []).append((g, u, h))
    for key, parts in merged.items():
        g, u, h = (torch.cat([p.detach().reshape(-1) for p in column]).tolist() for column in zip(*parts))
        out["parameters"].append({"name": key, "grad": g, "v": u, "hvp": h})
    return out


def rounded(value):
    """Eight digits are enough for comparisons in float32."""
    if isinstance(value, float):
        return float(f"{value:.8g}")
    if isinstance(value, list):
        return [rounded(v) for v in value]
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return value


def main():
    os.makedirs(FOLDER, exist_ok=True)
    cases = []
    for name, make in CASES.items():
        if WANTED and name not in WANTED:
            continue
        torch.manual_seed(SEED)
        c = make()
        export(name, c)
        cases.append(reference(name, c))
    text = json.dumps(rounded({"torch": torch.__version__, "cases": cases}))
    with open(os.path.join(FOLDER, "reference.json.gz"), "wb") as f:
        f.write(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
