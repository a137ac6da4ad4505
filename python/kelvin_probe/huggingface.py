"""The probe for the Trainer of Hugging Face's transformers."""
from .probe import Probe

try:
    from transformers import TrainerCallback
except ImportError:  # a Trainer of another kind may call it too
    TrainerCallback = object


class KelvinCallback(TrainerCallback):
    """Trainer(…, callbacks=[KelvinCallback("runs/a")]); further arguments are those of Probe."""

    def __init__(self, folder, **options):
        self._folder, self._options = folder, options
        self._probe, self._losses, self._hook = None, [], None

    def on_train_begin(self, args, state, control, model=None, optimizer=None, **_):
        options = dict(self._options)
        if state.global_step:
            options.setdefault("resume", state.global_step)
        try:
            self._hook = model.register_forward_hook(self._seen, with_kwargs=True)
        except TypeError:  # before torch 2.0
            self._hook = model.register_forward_hook(lambda model, inputs, output: self._seen(model, inputs, {}, output))
        self._probe = Probe(model, optimizer, self._folder, **options)

    def _seen(self, model, inputs, named, output):
        """The loss of a forward pass: callbacks are not told."""
        loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
        if loss is None and isinstance(output, (tuple, list)) and output:
            loss = output[0]
        if model.training and getattr(loss, "numel", int)() == 1:
            self._losses.append(loss.detach())
            # The Trainer may have the model divide by the tokens of all micro-batches
            # and processes of the step: then losses add up.
            self._shares = named.get("num_items_in_batch") is not None

    def on_step_end(self, args, state, control, **_):
        losses, self._losses = self._losses, []
        if self._probe is None or not losses:
            return
        loss = sum(losses)
        if not self._shares:
            loss = loss / len(losses)
        elif getattr(args, "average_tokens_across_devices", False):
            loss = loss * max(1, getattr(args, "world_size", 1))
        self._probe.step(loss)

    def on_train_end(self, args, state, control, **_):
        if self._probe is not None:
            self._hook.remove()
            self._probe.close()
            self._probe = None
