"""Nothing the probe does may stop the training: an error becomes a warning and a note in the run."""
import functools
import warnings


class Guard:
    def __init__(self):
        self.notes = []     # to be written to the run
        self._failed = set()

    def note(self, text):
        """Says once what cannot be seen."""
        if text not in self._failed:
            self._failed.add(text)
            self.notes.append(text)
            warnings.warn(f"kelvin_probe: {text}", stacklevel=3)

    def wrap(self, part, f):
        """f that never raises; after its first error that part of the probe does nothing any more."""
        @functools.wraps(f, ("__name__",), ())
        def safe(*args, **kwargs):
            if part in self._failed:
                return None
            try:
                return f(*args, **kwargs)
            except Exception as e:
                self._failed.add(part)
                self.note(f"{part} are not read any more: {type(e).__name__}: {e}")
                return None
        return safe
