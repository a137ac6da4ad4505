"""The probe: two lines in a training loop."""
import atexit
import os
import sys

import torch

from . import curvature, steps
from .guard import Guard
from .motion import Motion, fetch
from .power import Power
from .ranks import Ranks
from .ship import Shipper
from .signals import Signals
from .writer import Writer


class Probe:
    """Writes what kelvin's thermometers need of a training run to a folder.

        probe = Probe(model, optimizer, "runs/a")
        probe.step(loss)  # once an iteration, after optimizer.step()

    every: steps between readings. resume: steps taken before, to go on with the
    run in the folder. hutchinson: every how many steps to read the trace of the
    Hessian of closure() of step(loss, closure), a loss to be computed anew.
    scaler: the GradScaler, if gradients are scaled. url: of a kelvin server that
    gets the records too; its token is in the environment variable KELVIN_TOKEN.

    It never raises, and never changes what is trained: an error becomes one
    warning and a note in the run.
    """

    def __init__(self, model, optimizer, folder, *, every=50, resume=None, hutchinson=0, scaler=None, url=None):
        self._guard, self._writer, self._shipper, self._undo = Guard(), None, None, None
        self._step, self._every, self._hutchinson = resume or 0, max(1, int(every)), hutchinson
        self._armed, self._moved, self._losses, self._late = False, None, [], []
        self._settings, self._signal_scale = ({}, {}), None
        self._lost, self._traced = 0, 0
        self._guard.wrap("all values", self._start)(model, optimizer, folder, resume, scaler, url)
        if self._undo is None and self._writer is not None:  # it failed half way
            self._write([{"step": self._step, "kind": "note", "text": "kelvin_probe could not begin"}])
            self._writer.close()

    def _start(self, model, optimizer, folder, resume, scaler, url):
        self._model, self._optimizer = unwrap(model, self._guard), steps.plain(optimizer)
        self._scaler = scaler if scaler is not None else getattr(optimizer, "scaler", None)  # Accelerate's has it
        self._ranks = Ranks(folder)
        self._layers = steps.layers(self._model, self._optimizer)
        if not self._layers:
            raise ValueError("the optimizer trains no parameter of the model")
        sizes = {name: sum(p.numel() for p, _ in held) for name, held in self._layers.items()}
        self._signals = Signals(self._model, self._layers, self._sees_examples(), self._scaler is not None, self._guard)
        self._motion = Motion(self._layers, self._every)
        self._compiled = is_compiled(model)
        if self._compiled:
            self._guard.note("the model is compiled: activations and single examples cannot be seen")
        if self._ranks.rank == 0:
            self._power = Power()
            self._writer = Writer(folder, self._describe(sizes), resume)
            records = [{"step": self._step, "kind": "layer", "layer": name, "parameters": float(n)} for name, n in sizes.items()]
            self._writer.append(records)
            self.folder = self._writer.folder
            if os.path.basename(self.folder) != os.path.basename(os.fspath(folder).rstrip("/")):
                self._guard.note(f"{os.fspath(folder)} holds a run already: this one goes to {self.folder}")
            if url:
                self._shipper = Shipper(self.folder, url, say=self._guard.note)
        self._before = self._guard.wrap("motions", self._motion.before)
        self._after = self._guard.wrap("motions", self._motion.after)
        self._undo = steps.around(self._optimizer, self._guard.wrap("all values", self._stepping),
                                  self._guard.wrap("all values", self._stepped))
        atexit.register(self._exit)
        self._arm()

    def step(self, loss, closure=None):
        """Call it once an iteration with the loss, after optimizer.step()."""
        self._guard.wrap("all values", self._seen)(loss, closure)

    def close(self):
        """Ends the run. Without it the run ends with the program, if that does not fail."""
        self._guard.wrap("all values", self._finish)(True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self._guard.wrap("all values", self._finish)(kind is None)

    def _arm(self):
        if self._undo is None:
            return
        self._armed = self._step % self._every == 0
        if self._armed:
            self._losses, self._moved = [], None
            if not self._compiled:
                self._signals.arm()

    def _scale(self):
        """By what the gradients of the backward pass are multiplied; None for nothing."""
        if self._scaler is None or not self._scaler.is_enabled():
            return None
        return self._scaler.get_scale()

    def _stepping(self):
        if self._armed and self._ranks.rank == 0:
            self._signal_scale = self._scale()  # now: it may change before step(loss)
            self._settings = steps.settings(self._optimizer), steps.rates(self._optimizer, self._layers)
            scale = getattr(self._optimizer, "grad_scale", None)  # a fused optimiser scales for itself
            self._before(scale)

    def _stepped(self):
        self._step += 1
        if not self._armed:
            self._arm()
            return
        self._signals.disarm()
        self._moved = (self._after() if self._ranks.rank == 0 else None) or dict
        # Where step(loss) comes before optimizer.step(), all losses are there; of
        # micro-batches one more may come after it. The next pass tells.
        if self._losses and not self._signals.before_next(self._guard.wrap("all values", self._collect)):
            self._collect()

    def _seen(self, loss, closure):
        if self._undo is None:
            return
        if self._armed:
            self._losses.append(loss.detach() if torch.is_tensor(loss) else torch.tensor(float(loss)))
            if self._moved is not None:
                self._collect()
        due = self._hutchinson and self._step % self._hutchinson == 0 and self._step > self._traced
        if due and closure is not None and self._ranks.rank == 0:
            self._traced = self._step
            held = {name: [p for p, _ in pairs] for name, pairs in self._layers.items()}
            trace = self._guard.wrap("curvatures", curvature.trace)(self._model, held, closure, self._step)
            self._write([{"step": self._step, "kind": "layer", "layer": name, "hessian_trace": x} for name, x in (trace or {}).items()])

    def _collect(self):
        """Gathers a reading. It is written one reading later on a GPU, so that nothing
        waits for it, and one more in a distributed run, when the others have given theirs."""
        self._signals.wait_no_more()
        loss = torch.stack([x.float().reshape(()) for x in self._losses]).mean()
        read = [(name, key, x) for name, v in self._signals.values(self._signal_scale).items() for key, x in v.items()]
        numbers = fetch(torch.stack([loss.to(self._signals.home)] + [x.float() for _, _, x in read]))
        batch = self._signals.batch * max(1, self._signals.passes)
        seen = (self._step, self._moved, self._settings, [r[:2] for r in read], numbers, batch)
        self._late.append(seen)
        self._losses, self._moved = [], None
        self._arm()
        if len(self._late) > (self._signals.home.type == "cuda") + (self._ranks.size > 1 and self._ranks.rank == 0):
            self._record(*self._late.pop(0))

    def _record(self, step, moved, settings, names, numbers, batch):
        numbers = numbers().tolist()
        loss = numbers[0]
        if self._ranks.rank > 0:
            self._ranks.give(step, loss, batch)
            return
        layers = moved()
        for (name, key), x in zip(names, numbers[1:]):
            layers.setdefault(name, {})[key] = x
        general, rates = settings
        for name, rate in rates.items():
            layers[name]["learning_rate"] = rate
        loss, batch, n = self._ranks.take(step, loss, batch)
        whole = {"step": step, "kind": "step", "loss": loss + self._penalty(layers), **general}
        if batch:
            whole["batch"] = float(batch)
        if n > 1:
            whole["processes"] = float(n)
        for key in ("gradient_norm2", "update_norm2"):
            whole[key] = sum(v.get(key, 0.0) for v in layers.values())
        watts = self._guard.wrap("watts", self._power.watts)()
        if watts is not None:
            whole["power"] = watts
        self._write([whole] + [{"step": step, "kind": "layer", "layer": name, **v} for name, v in layers.items()])

    def _penalty(self, layers):
        """½ λ|θ|² of the layers whose gradient has it."""
        total = 0.0
        for name, held in self._layers.items():
            decay = {d for _, d in held}
            if len(decay) == 1 and name in layers:
                total += decay.pop() / 2 * layers[name].get("weight_norm", 0.0) ** 2
        return total

    def _write(self, records):
        """Writes to the run, with the notes there are. A full disk costs records, not the training."""
        writer = self._writer
        if writer is None or not records:
            return
        step = records[0]["step"]
        jump = writer.clock.jump()
        notes = list(self._guard.notes) + ([f"the clock was set by {jump:.0f} s"] if jump else [])
        if self._lost:
            notes.append(f"{self._lost} records were lost: the disk was full, or failed")
        try:
            writer.append(records + [{"step": step, "kind": "note", "text": "kelvin_probe: " + text} for text in notes])
        except OSError as e:
            if not self._lost:
                self._guard.note(f"records are lost: {e}")
            self._lost += len(records)
            return
        self._lost = 0
        self._guard.notes.clear()

    def _finish(self, whole):
        if self._undo is None:
            return
        self._undo()
        self._undo = None
        self._signals.disarm()
        atexit.unregister(self._exit)
        if self._armed and self._losses and self._moved is not None:
            self._collect()
            self._signals.disarm()
        while self._late:
            self._record(*self._late.pop(0))
        if self._writer is not None:
            self._write([{"step": self._step, "kind": "end" if whole else "note"}])
            self._writer.close()
            self._writer = None
        if self._shipper is not None:
            self._shipper.close()
            self._shipper = None

    def _exit(self):
        failed = getattr(sys, "last_type", None) is not None  # of an exception that ended the program
        self._guard.wrap("all values", self._finish)(not failed)

    def _describe(self, sizes):
        """model.json: what a reader cannot know from the records."""
        optimizer = self._optimizer
        group = {k: v for k, v in optimizer.param_groups[0].items() if isinstance(v, (int, float, bool)) or v is None}
        return {"made_by": "kelvin_probe", "torch": torch.__version__, "model": type(self._model).__name__,
                "optimizer": {"kind": type(optimizer).__name__, **group},
                "parameters": sum(sizes.values()), "every": self._every}

    def _sees_examples(self):
        """Whether examples go through the model side by side, along the first dimension, as far as the modules say."""
        for m in self._model.modules():
            if isinstance(m, torch.nn.modules.batchnorm._BatchNorm):
                self._guard.note("batch normalisation mixes the examples of a batch: single examples cannot be seen")
                return False
            if getattr(m, "batch_first", True) is False:
                self._guard.note("sequences come before the batch (batch_first is false): single examples cannot be seen")
                return False
        return True


def unwrap(model, guard):
    """The module inside DataParallel, DistributedDataParallel and torch.compile."""
    if any("FullyShardedDataParallel" in type(m).__name__ for m in model.modules()):
        guard.note("parameters are sharded: the values are those of the first process's share")
    while True:
        if type(model).__name__ in ("DataParallel", "DistributedDataParallel"):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod
        else:
            return model


def is_compiled(model):
    return any(hasattr(m, "_orig_mod") or getattr(m, "_compiled_call_impl", None) is not None for m in model.modules())
