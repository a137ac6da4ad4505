"""Sums over the processes of a distributed run, by messages that nobody waits for."""
import torch.distributed as dist

UNIT = 1e-6  # of the fixed-point numbers that the store adds up


class Ranks:
    """The first process writes; every other adds its loss to a counter in the
    store that the process group met in. A collective would have to wait for
    processes that have no probe, or whose probe failed.
    """

    def __init__(self, folder):
        self.rank, self.size, self._store = 0, 1, None
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            self.rank, self.size = dist.get_rank(), dist.get_world_size()
            from torch.distributed.distributed_c10d import _get_default_store
            self._store = dist.PrefixStore(f"kelvin_probe/{folder}", _get_default_store())

    def give(self, step, loss, batch):
        """Adds what this process saw at a step."""
        for name, x in (("loss", int(loss / UNIT)), ("batch", batch), ("n", 1)):
            self._store.add(f"{step}/{name}", x)

    def take(self, step, loss, batch):
        """The mean loss, the whole batch and how many processes they are of."""
        if self._store is None:
            return loss, batch, 1
        n = 1 + self._store.add(f"{step}/n", 0)
        loss = (loss + UNIT * self._store.add(f"{step}/loss", 0)) / n
        batch += self._store.add(f"{step}/batch", 0)
        for name in ("loss", "batch", "n"):
            try:
                self._store.delete_key(f"{step}/{name}")
            except (RuntimeError, NotImplementedError):
                pass  # stores in files cannot
        return loss, batch, n
