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
        self._probe, self._loss, self._hook = None, None, None

    def on_train_begin(self, args, state, control, model=None, optimizer=None, **_):
        options = dict(self._options)
        if state.global_step:
            options.setdefault("resume", state.global_step)
        self._hook = model.register_forward_hook(self._seen)
        self._probe = Probe(model, optimizer, self._folder, **options)

    def _seen(self, model, inputs, output):
        """The loss of a forward pass: callbacks are not told."""
        loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
        if loss is None and isinstance(output, (tuple, list)) and output:
            loss = output[0]
        if model.training and getattr(loss, "numel", int)() == 1:
            self._loss = loss.detach()

    def on_substep_end(self, args, state, control, **_):
        if self._probe is not None and self._loss is not None:
            self._probe.step(self._loss)

    on_step_end = on_substep_end

    def on_train_end(self, args, state, control, **_):
        if self._probe is not None:
            self._hook.remove()
            self._probe.close()
            self._probe = None
