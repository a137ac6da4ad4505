"""A run folder, written so that nothing whole is ever lost (docs/run-format.md)."""
import json
import math
import os
import time

try:
    import fcntl
except ImportError:  # Windows: no lock, so a second writer goes unseen
    fcntl = None


class Clock:
    """Seconds since 1970 that do not jump: the clock may be set, time goes on."""

    def __init__(self):
        self._offset = time.time() - time.monotonic()

    def now(self):
        return self._offset + time.monotonic()

    def jump(self):
        """By how many seconds the clock was set since it was last asked, 0 for less than five."""
        jump = time.time() - self.now()
        if abs(jump) < 5:
            return 0.0
        self._offset += jump
        return jump


def encode(record):
    """One line: numbers to seven digits, those that are not finite as strings."""
    parts = []
    for name, value in record.items():
        if isinstance(value, float) and name != "t":
            value = "%.7g" % value if math.isfinite(value) else json.dumps(str(value).replace("inf", "Infinity").replace("nan", "NaN"))
        else:
            value = json.dumps(value)
        parts.append(json.dumps(name) + ":" + value)
    return "{" + ",".join(parts) + "}\n"


class Writer:
    """Appends records to folder/events.jsonl.

    A folder that holds a run already is gone on with when resume is the number
    of steps taken; without it the run goes to folder-2, folder-3, ….
    """

    def __init__(self, folder, model, resume=None):
        folder = os.fspath(folder)
        if resume is None:
            folder = unused(folder)
        os.makedirs(os.path.join(folder, "checkpoints"), exist_ok=True)
        self.folder, self.clock = folder, Clock()
        self._lock = lock(os.path.join(folder, "writer.lock"))
        try:
            path = os.path.join(folder, "model.json")
            again = os.path.exists(path)
            if not again:
                with open(path + ".new", "w") as f:
                    json.dump(model, f, indent=2)
                os.replace(path + ".new", path)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
            self._events = os.open(os.path.join(folder, "events.jsonl"), flags, 0o644)
        except BaseException:
            self._lock.close()
            raise
        cut = self._repair()
        if again:
            self.append([{"step": resume, "kind": "resume"}])
        if cut:
            self.append([{"step": resume or 0, "kind": "note", "text": f"the last line was torn: {cut} bytes cut off"}])

    def append(self, records):
        """Appends all records, or none and raises OSError."""
        t = round(self.clock.now(), 3)
        lines = "".join(encode({"v": 1, "t": t, **record}) for record in records).encode()
        end = os.fstat(self._events).st_size
        try:
            written = os.write(self._events, lines)
            if written < len(lines):
                raise OSError(28, f"wrote {written} of {len(lines)} bytes: no space left on device")
        except OSError:
            try:
                os.ftruncate(self._events, end)
            except OSError:
                pass  # a device, not a file
            raise

    def close(self):
        os.close(self._events)
        self._lock.close()  # gives the lock back

    def _repair(self):
        """Cuts off a line that a killed writer tore; completes one that lacks its newline only."""
        size = os.fstat(self._events).st_size
        start = max(0, size - (1 << 20))
        tail = os.pread(self._events, size - start, start) if size else b""
        torn = tail[tail.rfind(b"\n") + 1:]
        if not torn:
            return 0
        try:
            json.loads(torn)
            os.write(self._events, b"\n")
            return 0
        except ValueError:
            os.ftruncate(self._events, size - len(torn))
            return len(torn)


def unused(folder):
    """folder, or folder-2, folder-3, … when there is a run in it."""
    name, n = folder.rstrip("/"), 1
    while os.path.exists(os.path.join(folder, "model.json")):
        n += 1
        folder = f"{name}-{n}"
    return folder


def lock(path):
    """Locks the run; the kernel unlocks it when the process ends, however it ends."""
    f = open(path, "a+")
    if fcntl is not None:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            f.seek(0)
            holder = f.read(64).strip()
            f.close()
            raise RuntimeError(f"another process ({holder}) is writing to {os.path.dirname(path)}") from None
    f.truncate(0)
    print("pid", os.getpid(), file=f, flush=True)
    return f
