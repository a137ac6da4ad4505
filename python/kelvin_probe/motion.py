"""How the parameters move: what every thermometer of an optimiser is made of."""
import torch

WINDOW = 10_000  # steps that the running mean looks back at most
CHUNK = 1 << 16  # elements at once on a CPU, so that the passes over them stay in its cache
NAMES = ("gradient_norm2", "centred_virial", "weight_norm2", "update_norm2", "centred_update", "spread_norm2")


class Motion:
    """Reads θ, g and the update Δ of one step, layer by layer.

    θ̄ is a running mean over the last quarter of the run, at most WINDOW steps:
    of the n-th reading it takes 4/(n+3) (O. Shamir and T. Zhang, 2013). It ends
    before the step that is compared with it.
    """

    def __init__(self, layers, every):
        self.names = list(layers)
        self._params = [(i, p, decay) for i, name in enumerate(layers) for p, decay in layers[name]]
        self._every = every
        self._n = 0
        self._pieces = None

    def _allocate(self):
        """Room for θ̄ and θ − θ̄ of every piece, and a slot for each of its sums."""
        pieces, where = [], []
        for i, p, decay in self._params:
            size = CHUNK if p.device.type == "cpu" else max(1, p.numel())
            mean = torch.zeros(p.numel(), dtype=torch.float32, device=p.device)
            away = torch.empty_like(mean)
            pieces.append((p, decay, size, torch.split(mean, size), torch.split(away, size)))
            where += [i] * len(pieces[-1][3])
        self._pieces = pieces
        self._layer = torch.tensor(where)
        self._sums, self._slots = [], []
        devices = [p.device for p, _, _, means, _ in pieces for _ in means]
        rows = {d: torch.zeros(devices.count(d), len(NAMES), device=d) for d in dict.fromkeys(devices)}
        self._rows, self._order = rows, devices
        used = dict.fromkeys(rows, 0)
        for d in devices:
            self._slots.append(rows[d][used[d]].unbind())
            used[d] += 1

    @torch.no_grad()
    def before(self, scale):
        """Reads θ and g, before the optimiser steps. scale divides the gradients."""
        if self._pieces is None:
            self._allocate()
        for rows in self._rows.values():
            rows.zero_()
        self._n += 1
        slots = iter(self._slots)
        for p, decay, size, means, aways in self._pieces:
            theta = torch.split(p.detach().reshape(-1), size)
            gradient = [None] * len(theta)
            if p.grad is not None and not p.grad.is_sparse:
                gradient = torch.split(p.grad.detach().reshape(-1), size)
            for t, g, mean, away in zip(theta, gradient, means, aways):
                slot = next(slots)
                t = t.float()
                if self._n == 1:
                    mean.copy_(t)
                torch.sub(t, mean, out=away)
                torch.dot(t, t, out=slot[2])
                torch.dot(away, away, out=slot[5])
                if g is None:
                    continue
                g = g.float()
                if scale is not None:
                    g = g / scale
                if decay:  # the energy has the penalty that the optimiser descends
                    g = g.add(t, alpha=decay)
                torch.dot(g, g, out=slot[0])
                torch.dot(away, g, out=slot[1])

    @torch.no_grad()
    def after(self):
        """Reads the update, after the optimiser stepped. Returns a function that gives {layer: values}."""
        slots = iter(self._slots)
        weight = max(4 / (self._n + 3), min(1, self._every / WINDOW))
        for p, _, size, means, aways in self._pieces:
            for t, mean, away in zip(torch.split(p.detach().reshape(-1), size), means, aways):
                slot = next(slots)
                update = torch.sub(t.float(), mean).sub_(away)
                torch.dot(update, update, out=slot[3])
                torch.dot(update, away, out=slot[4])
                mean.add_(away, alpha=weight)
        fetched = {d: fetch(rows) for d, rows in self._rows.items()}
        first = self._n == 1
        return lambda: self._values(fetched, first)

    def _values(self, fetched, first):
        rows = {d: iter(wait()) for d, wait in fetched.items()}
        table = torch.stack([next(rows[d]) for d in self._order]).double()
        sums = torch.zeros(len(self.names), len(NAMES), dtype=torch.float64).index_add_(0, self._layer, table)
        values = {}
        for name, row in zip(self.names, sums.tolist()):
            v = dict(zip(NAMES, row))
            v["weight_norm"] = v.pop("weight_norm2") ** 0.5
            if first:  # there is no mean yet
                del v["centred_virial"], v["centred_update"], v["spread_norm2"]
            values[name] = v
        return values


def fetch(t):
    """Starts copying t to the CPU; the function returned waits for it."""
    if t.device.type != "cuda":
        copy = t.detach().to("cpu", copy=True)
        return lambda: copy
    copy = torch.empty(t.shape, dtype=t.dtype, pin_memory=True)
    with torch.cuda.device(t.device):  # whose stream the event is to wait for
        copy.copy_(t.detach(), non_blocking=True)
        done = torch.cuda.Event()
        done.record()

    def wait():
        done.synchronize()
        return copy
    return wait
