"""Signal energy in and out of every activation, units that no longer take part, and gradients of single examples."""
import functools
import weakref

import torch
from torch import nn

ROWS = 256    # examples × positions looked at, at most
STREAK = 10   # readings in a row after which a silent unit is called dead, a flat one saturated
SHARE = 0.95  # of the rows on which a saturated unit is flat
FLAT = 0.01   # of the steepest slope

# |φ'| relative to its largest value, from the output, for the activations that saturate.
SLOPES = {
    "tanh": lambda a: 1 - a * a,
    "sigmoid": lambda a: 4 * a * (1 - a),
    "softsign": lambda a: (1 - a.abs()) ** 2,
    "hardtanh": lambda a: (a.abs() < 1).to(a.dtype),
    "relu6": lambda a: (a < 6).to(a.dtype),
}


# Functions that models call where others have a module.
FUNCTIONS = [(owner, name) for owner, names in (
    (torch, ("relu", "tanh", "sigmoid")),
    (nn.functional, ("relu", "gelu", "silu", "mish", "elu", "selu", "leaky_relu", "softplus", "softsign", "tanh", "sigmoid", "relu6", "hardtanh")),
) for name in names if hasattr(owner, name)]


class Signals:
    """Hooks that are in place only while armed, so that other steps cost nothing."""

    def __init__(self, model, layers, examples, scaled, guard):
        self._layers = [(name, m) for name, m in model.named_modules() if name in layers]
        self._activations = [m for m in model.modules() if is_activation(m)]
        self.home = next((p.device for p in model.parameters()), None)
        self._examples, self._scaled, self._guard = examples, scaled, guard
        self._silent, self._flat, self._hooks = {}, {}, []
        self.reset()

    def reset(self):
        self.batch = 0       # examples in the last forward pass
        self.passes = 0      # forward passes
        self._made = {}      # id of an output → layer that made it
        self._read = {}      # layer → (energy in, energy out, dead, saturated)
        self._squares = {}   # layer → squared gradients of examples, their weight not yet known

    def arm(self):
        self.reset()
        safe = functools.partial(self._guard.wrap, "signals")
        for name, module in self._layers:
            self._hooks.append(module.register_forward_hook(safe(functools.partial(self._layer, name))))
        for module in self._activations:
            self._hooks.append(module.register_forward_pre_hook(safe(self._into)))
            self._hooks.append(module.register_forward_hook(safe(self._out_of)))
        self._call_into, self._call_out_of = safe(self._into), safe(self._out_of)
        Functions.add(self)

    def disarm(self):
        while self._hooks:
            self._hooks.pop().remove()
        Functions.remove(self)
        self._made = {}

    def before_next(self, f):
        """Calls f before the next pass of training; False when no pass was seen that the next can be told by."""
        layer = dict(self._layers).get(self._first)
        if layer is not None:
            self._waiting = layer.register_forward_pre_hook(lambda module, _: f() if module.training else None)
        return layer is not None

    def wait_no_more(self):
        if self._waiting is not None:
            self._waiting.remove()
            self._waiting = None

    @torch.no_grad()
    def _layer(self, name, module, inputs, output):
        if not is_signal(output) or output.device != self.home or not module.training:
            return
        self._made[id(output)] = (weakref.ref(output), name, channels_first(module))
        first = next((x for x in inputs if torch.is_tensor(x) and x.dim() > 0), None)
        if self._first in (None, name):
            self._first, self.batch = name, first.shape[0] if first is not None else 0
            self.passes += 1
        if self._examples and isinstance(module, nn.Linear) and output.requires_grad and output.dim() in (2, 3):
            if output.dtype is torch.float16 and not self._scaled:
                self._examples = False
                self._guard.note("gradients in half precision are scaled: give the probe the GradScaler, or single examples cannot be seen")
            elif first.shape[0] == self.batch:
                few = first.detach()[:32 if first.dim() == 2 else 8]
                bias = module.bias is not None
                output.register_hook(self._guard.wrap("signals", lambda d: self._example(name, few, d, bias)))

    @torch.no_grad()
    def _example(self, name, a, d, bias):
        """|∇ of one example's loss|² of a linear layer, from its input a and the gradient d of its output.

        Over the positions t of a sequence, |Σ d_t a_tᵀ|² = Σ_ts (a_t·a_s)(d_t·d_s).
        """
        batch = d.shape[0]
        d = d[:a.shape[0]].float()
        a = a.float()
        if a.dim() == 2:
            squares = ((a * a).sum(1) + bias) * (d * d).sum(1)
        else:
            inner = torch.bmm(a, a.transpose(1, 2)) + bias
            squares = (inner * torch.bmm(d, d.transpose(1, 2))).sum((1, 2))
        self._squares.setdefault(name, []).append((squares.mean(), batch))

    @torch.no_grad()
    def _into(self, module, inputs):
        z = inputs[0] if inputs else None
        if self._pending is not None or not is_signal(z) or z.device != self.home or not module.training:
            return
        reference, name, first = self._made.get(id(z), (None, None, False))
        if reference is None or reference() is not z:
            return
        self._pending = module, name, first, square(rows(z, first))

    @torch.no_grad()
    def _out_of(self, module, inputs, output):
        pending = self._pending
        if pending is None or pending[0] is not module or not is_signal(output):
            return
        self._pending = None
        _, name, first, energy_in = pending
        a = rows(output, first)
        power = (a * a).sum(0)  # of every unit
        silent = self._streak(self._silent, name, power == 0)
        slope = SLOPES.get(type(module).__name__.lower())
        saturated = None
        if slope is not None:
            flat = (slope(a) < FLAT).float().mean(0) >= SHARE
            saturated = self._streak(self._flat, name, flat & (power != 0))
        self._read[name] = energy_in, power.sum() / a.numel(), silent, saturated

    def _streak(self, counts, name, now):
        """Counts readings in a row; the fraction of units that have STREAK, None before that many were made."""
        made, count = counts.get(name, (0, None))
        if count is None or count.shape != now.shape:
            made, count = 0, torch.zeros(now.shape, device=now.device)
        count = (count + 1) * now
        counts[name] = made + 1, count
        return (count >= STREAK).float().mean() if made + 1 >= STREAK else None

    def values(self, scale):
        """{layer: values}. scale divides the gradients."""
        values = {}
        for name, (energy_in, energy_out, dead, saturated) in self._read.items():
            v = {"energy_in": energy_in, "energy_out": energy_out, "dead": dead, "saturated": saturated}
            values[name] = {k: x for k, x in v.items() if x is not None}
        for name, squares in self._squares.items():
            # The loss is a mean over the batch (and the passes): undo it.
            v = sum(s * (batch * len(squares)) ** 2 for s, batch in squares) / len(squares)
            values.setdefault(name, {})["example_gradient_norm2"] = v if scale is None else v / scale ** 2
        return values

    _first = None
    _pending = None
    _waiting = None


class Functions:
    """The functions above, replaced by ones that signals listen to while any are armed."""

    listening, _originals = [], {}

    @classmethod
    def add(cls, signals):
        cls.listening.append(signals)
        for owner, name in FUNCTIONS if not cls._originals else ():
            original = getattr(owner, name)
            cls._originals[owner, name] = original
            setattr(owner, name, cls._heard(name, original))

    @classmethod
    def remove(cls, signals):
        if signals in cls.listening:
            cls.listening.remove(signals)
        while not cls.listening and cls._originals:
            (owner, name), original = cls._originals.popitem()
            setattr(owner, name, original)

    @classmethod
    def _heard(cls, name, original):
        @functools.wraps(original)
        def function(*args, **kwargs):
            call = type(name, (), {"training": torch.is_grad_enabled()})()  # in place of a module
            listening = [s for s in cls.listening if s._pending is None]
            for s in listening:
                s._call_into(call, args)
            output = original(*args, **kwargs)
            for s in listening:
                s._call_out_of(call, args, output)
            return output
        return function


def is_activation(module):
    """Whether a module applies a function to every element: torch's own, and others by their names."""
    if next(module.parameters(), None) is not None or next(module.children(), None) is not None:
        return False
    name = type(module).__name__.lower()
    known = ("relu", "gelu", "silu", "swish", "mish", "elu", "tanh", "sigmoid", "softplus", "softsign")
    return any(word in name for word in known) and "softmax" not in name and "glu" not in name.replace("gelu", "")


def is_signal(x):
    return torch.is_tensor(x) and x.is_floating_point() and x.dim() >= 2


def channels_first(module):
    return type(module).__name__.startswith(("Conv", "BatchNorm", "GroupNorm", "InstanceNorm"))


def rows(x, first):
    """A sample of x as a matrix of rows by units."""
    x = x.detach()
    if first:
        x = x.movedim(1, -1)
    x = x.reshape(-1, x.shape[-1])
    return x[::max(1, x.shape[0] // ROWS)][:ROWS].float()


def square(x):
    return (x * x).mean()
