"""The probe for Lightning's Trainer."""
from .probe import Probe

try:
    from lightning.pytorch import Callback
except ImportError:
    try:
        from pytorch_lightning import Callback
    except ImportError:  # a Trainer of another kind may call it too
        Callback = object


class KelvinCallback(Callback):
    """Trainer(…, callbacks=[KelvinCallback("runs/a")]); further arguments are those of Probe.

    Of several optimisers it reads the first.
    """

    def __init__(self, folder, **options):
        super().__init__()
        self._folder, self._options, self._probe = folder, options, None

    def on_train_start(self, trainer, pl_module):
        options = dict(self._options)
        if trainer.global_step:
            options.setdefault("resume", trainer.global_step)
        options.setdefault("scaler", getattr(getattr(trainer, "precision_plugin", None), "scaler", None))
        self._probe = Probe(pl_module, trainer.optimizers[0], self._folder, **options)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, *_):
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if self._probe is not None and loss is not None:
            self._probe.step(loss * getattr(trainer, "accumulate_grad_batches", 1))  # by which it was divided

    def on_train_end(self, trainer, pl_module):
        if self._probe is not None:
            self._probe.close()
            self._probe = None

    def on_exception(self, trainer, pl_module, exception):
        if self._probe is not None:
            self._probe.__exit__(type(exception), exception, None)
            self._probe = None
