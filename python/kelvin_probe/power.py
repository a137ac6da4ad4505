"""Watts drawn by the system, where they can be read: NVIDIA's library, or the energy counters of the CPU."""
import ctypes
import glob
import time


class Power:
    def __init__(self):
        self._sources = [source for source in (nvml(), rapl()) if source]
        self._last, self._watts = 0.0, None

    def watts(self):
        """The sum of what can be read, None for nothing; asked for at most once a second."""
        if not self._sources:
            return None
        if time.monotonic() - self._last >= 1:
            self._last = time.monotonic()
            read = [w for w in (source() for source in self._sources) if w is not None]
            self._watts = sum(read) if read else None
        return self._watts


def nvml():
    """Reads all NVIDIA GPUs of the machine."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        count = ctypes.c_uint()
        if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return None
    except (OSError, AttributeError):
        return None
    handles = []
    for i in range(count.value):
        handle = ctypes.c_void_p()
        if not library.nvmlDeviceGetHandleByIndex_v2(i, ctypes.byref(handle)):
            handles.append(handle)

    def read():
        total, milliwatts = None, ctypes.c_uint()
        for handle in handles:
            if not library.nvmlDeviceGetPowerUsage(handle, ctypes.byref(milliwatts)):
                total = (total or 0.0) + milliwatts.value / 1000
        return total
    return read


def rapl(root="/sys/class/powercap"):
    """Reads the energy counters of the CPU packages, which only root may on most systems."""
    counters = []
    for folder in glob.glob(root + "/intel-rapl:?"):
        try:
            counters.append((folder + "/energy_uj", number(folder + "/energy_uj"), number(folder + "/max_energy_range_uj")))
        except OSError:
            return None
    if not counters:
        return None
    last = {path: (time.monotonic(), energy) for path, energy, _ in counters}

    def read():
        total = 0.0
        for path, _, wrap in counters:
            then, before = last[path]
            now, energy = time.monotonic(), number(path)
            last[path] = now, energy
            total += ((energy - before) % wrap) * 1e-6 / max(now - then, 1e-3)
        return total
    return read


def number(path):
    with open(path) as f:
        return int(f.read())
