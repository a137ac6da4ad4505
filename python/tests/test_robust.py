"""The probe when something goes wrong: the training must not notice, and the run must say so."""
import copy
import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import unittest
import warnings
from unittest import mock

import torch
from torch import nn

from common import Case, kelvin, network, of, records, train

CHILD = """
import sys; sys.path.insert(0, {tests!r})
from common import *
model = network()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
probe = kelvin.Probe(model, optimizer, {folder!r}, every=1)
train(model, optimizer, probe, {steps})
{then}
"""


def child(folder, steps, then=""):
    program = CHILD.format(tests=os.path.dirname(os.path.abspath(__file__)), folder=folder, steps=steps, then=then)
    return subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)


def notes(folder):
    return [r["text"] for r in records(folder) if r["kind"] == "note"]


def quietly(f, *args):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        f(*args)
    return [str(w.message) for w in caught]


class Robust(Case):
    def make(self, **options):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        return model, optimizer, kelvin.Probe(model, optimizer, self.run_folder, every=1, **options)

    def test_killed_and_resumed(self):
        process = child(self.run_folder, 100_000)
        path = os.path.join(self.run_folder, "events.jsonl")
        while not (os.path.exists(path) and os.path.getsize(path) > 50_000):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with open(path, "rb") as f:
            before = f.read()
        whole = before[:before.rfind(b"\n") + 1]
        with open(path, "ab") as f:
            f.write(b'{"v":1,"t":17')  # as a killed writer may leave it
        model, optimizer, probe = self.make(resume=10)
        train(model, optimizer, probe, 3)
        probe.close()
        with open(path, "rb") as f:
            self.assertTrue(f.read().startswith(whole), "something whole was lost")
        self.assertEqual([r["step"] for r in of(self.run_folder, "resume")], [10])
        self.assertIn("torn: 13 bytes", notes(self.run_folder)[0])
        self.assertEqual([r["step"] for r in of(self.run_folder, "step")][-3:], [11, 12, 13])

    def test_two_writers(self):
        process = child(self.run_folder, 5, "sys.stderr.write('ready\\n'); sys.stderr.flush(); import time; time.sleep(60)")
        self.assertEqual(process.stderr.readline(), "ready\n")
        size = os.path.getsize(os.path.join(self.run_folder, "events.jsonl"))
        try:
            said = quietly(lambda: self.make(resume=5))
            self.assertIn(f"another process (pid {process.pid}) is writing", said[0])
            self.assertEqual(os.path.getsize(os.path.join(self.run_folder, "events.jsonl")), size)
        finally:
            process.kill()
            process.communicate()

    def test_a_second_run_gets_a_folder_of_its_own(self):
        self.assertEqual(quietly(lambda: self.make()[2].close()), [])
        again = []
        said = quietly(lambda: again.append(self.make()[2]))
        again[0].close()
        self.assertEqual(again[0].folder, self.run_folder + "-2")
        self.assertEqual(said, [f"kelvin_probe: {self.run_folder} holds a run already: this one goes to {self.run_folder}-2"])
        self.assertEqual(len(notes(self.run_folder + "-2")), 1)

    def test_full_disk(self):
        model, optimizer, probe = self.make()
        train(model, optimizer, probe, 3)
        real, room = os.write, [0]

        def write(fd, data):
            if room is not None and len(data) > room[0]:
                real(fd, data[:room[0]])  # as much as fits, as the kernel does
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(fd, data)
        said = []
        for room[0] in (0, 10, 300):
            with mock.patch("os.write", write):
                said += quietly(train, model, optimizer, probe, 1)
        self.assertEqual(len([s for s in said if "No space left" in s]), 1, "one warning")
        train(model, optimizer, probe, 2)
        probe.close()
        self.assertEqual([r["step"] for r in of(self.run_folder, "step")], [1, 2, 3, 7, 8])
        self.assertIn("12 records were lost: the disk was full", " ".join(notes(self.run_folder)))

    def test_file_that_may_not_grow(self):
        """The kernel refuses, in the middle of a record."""
        then = """
import resource, signal, os
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = os.path.getsize(probe.folder + "/events.jsonl")
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 700, resource.RLIM_INFINITY))
train(model, optimizer, probe, 10)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
train(model, optimizer, probe, 1)
"""
        process = child(self.run_folder, 3, then)
        _, said = process.communicate()
        self.assertEqual((process.returncode, said.count("records are lost")), (0, 1), said)
        self.assertEqual([r["step"] for r in of(self.run_folder, "step")], [1, 2, 3, 14])
        self.assertIn("40 records were lost", " ".join(notes(self.run_folder)))

    def test_clock_jumps(self):
        model, optimizer, probe = self.make()
        train(model, optimizer, probe, 2)
        real = time.time
        with mock.patch("time.time", lambda: real() - 3600):
            train(model, optimizer, probe, 2)
            probe.close()
        self.assertEqual(notes(self.run_folder), ["kelvin_probe: the clock was set by -3600 s"])

    def test_errors_do_not_reach_the_training(self):
        plain, (model, optimizer, probe) = network(), self.make()
        train(plain, torch.optim.SGD(plain.parameters(), lr=0.01), None, 6)
        for broken in ("kelvin_probe.motion.Motion.after", "kelvin_probe.signals.square", "kelvin_probe.power.Power.watts"):
            with mock.patch(broken, side_effect=ZeroDivisionError("broken")):
                quietly(train, model, optimizer, probe, 2)
        probe.close()
        self.assertTrue(notes(self.run_folder))
        self.assertTrue(of(self.run_folder, "step"))

    def test_a_model_that_is_not_trained(self):
        optimizer = torch.optim.SGD(network().parameters(), lr=0.01)
        said = quietly(lambda: kelvin.Probe(network(), optimizer, self.run_folder).step(torch.tensor(1.0)))
        self.assertIn("trains no parameter of the model", said[0])

    def test_a_folder_that_cannot_be_written(self):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        said = quietly(lambda: train(model, optimizer, kelvin.Probe(model, optimizer, "/dev/null/run"), 3))
        self.assertEqual(len(said), 1)

    def test_infinite_losses_are_written(self):
        model, optimizer, probe = self.make()
        loss = model(torch.randn(4, 8)).sum() * float("inf")
        loss.backward()
        optimizer.step()
        probe.step(loss)
        probe.close()
        self.assertIn(of(self.run_folder, "step")[0]["loss"], ("Infinity", "-Infinity", "NaN"))

    def test_end_of_a_program(self):
        for then, kind in (("", "end"), ("raise ValueError", "note")):
            folder = self.run_folder + kind
            process = child(folder, 2, then)
            process.communicate()
            self.assertEqual(records(folder)[-1]["kind"], kind)

    def test_sparse_frozen_and_tied(self):
        model = nn.Sequential(nn.Embedding(10, 4, sparse=True), nn.Linear(4, 4), nn.Linear(4, 10))
        model[1].weight.requires_grad_(False)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        with kelvin.Probe(model, optimizer, self.run_folder, every=1) as probe:
            for _ in range(3):
                loss = nn.functional.cross_entropy(model(torch.randint(10, (6,))), torch.randint(10, (6,)))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                probe.step(loss)
        self.assertEqual({r["layer"]: r["parameters"] for r in of(self.run_folder, "layer", having="parameters")}, {"0": 40, "1": 4, "2": 50})
        self.assertEqual(len(of(self.run_folder, "step")), 3)

    def test_scaled_gradients(self):
        """Mixed precision: a GradScaler multiplies what the hooks see."""
        class Scaler:
            def is_enabled(self):
                return True

            def get_scale(self):
                return 1024.0

        def example(scaler, scale):
            model = network()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            folder = f"{self.run_folder}{scale}"
            probe = kelvin.Probe(model, optimizer, folder, every=1, scaler=scaler)
            loss = nn.functional.cross_entropy(model(torch.ones(2, 8)), torch.tensor([0, 1]))
            (loss * scale).backward()
            for p in model.parameters():
                p.grad /= scale
            optimizer.step()
            probe.step(loss)
            probe.close()
            return of(folder, "layer", "2", "example_gradient_norm2")[0]
        a, b = example(None, 1), example(Scaler(), 1024)
        for name in ("example_gradient_norm2", "gradient_norm2"):
            self.assertAlmostEqual(a[name], b[name], delta=1e-4 * a[name])

    @unittest.skipUnless(hasattr(torch, "compile"), "torch has no compile")
    def test_compiled(self):
        model = network()
        compiled = torch.compile(model, backend="eager")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        said = quietly(lambda: train(compiled, optimizer, kelvin.Probe(compiled, optimizer, self.run_folder, every=1), 3))
        self.assertIn("the model is compiled: activations and single examples cannot be seen", said[0])
        last = of(self.run_folder, "layer", "2")[-1]
        self.assertIn("centred_virial", last)
        self.assertNotIn("energy_in", last)

    def test_energy_counters(self):
        """Watts from counters of the CPU that wrap around."""
        from kelvin_probe import power
        folder = os.path.join(self._folder.name, "intel-rapl:0")
        os.makedirs(folder)

        def count(microjoules, name="energy_uj"):
            with open(os.path.join(folder, name), "w") as f:
                f.write(f"{microjoules}\n")
        count(10_000_000, "max_energy_range_uj")
        count(9_000_000)
        with mock.patch("time.monotonic", lambda: 100.0):
            read = power.rapl(self._folder.name)
        count(1_000_000)
        with mock.patch("time.monotonic", lambda: 102.0):
            self.assertAlmostEqual(read(), 1.0)  # two joules in two seconds
        self.assertIsNone(power.rapl("/nowhere"))

    def test_graphics_cards(self):
        """Watts of all cards by NVIDIA's library, in milliwatts there; a card that does not say is left out."""
        from kelvin_probe import power

        class Library:
            def nvmlInit_v2(self):
                return 0

            def nvmlDeviceGetCount_v2(self, count):
                count._obj.value = 3
                return 0

            def nvmlDeviceGetHandleByIndex_v2(self, i, handle):
                handle._obj.value = i + 1
                return 0

            def nvmlDeviceGetPowerUsage(self, handle, milliwatts):
                milliwatts._obj.value = 100_500 * handle.value
                return 3 if handle.value == 3 else 0
        with mock.patch("ctypes.CDLL", lambda name: Library()):
            model, optimizer, probe = self.make()
        train(model, optimizer, probe, 2)
        probe.close()
        watts = of(self.run_folder, "step")[0]["power"]
        counters = power.rapl()
        if counters is None:
            self.assertAlmostEqual(watts, 301.5, delta=1e-3)
        else:
            self.assertGreaterEqual(watts, 301.5)

    def test_optimizer_can_be_copied_after(self):
        _, optimizer, probe = self.make()
        probe.close()
        copy.deepcopy(optimizer.state_dict())


def process(rank, folder, store, probed):
    import torch.distributed as dist
    dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
    torch.manual_seed(rank)
    model = nn.parallel.DistributedDataParallel(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    probe = kelvin.Probe(model, optimizer, folder, every=1) if rank in probed else None
    for step in range(6):
        x, y = torch.randn(4, 8), torch.randint(3, (4,))
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if probe is not None:
            probe.step(torch.tensor(float(rank + step)))
    dist.barrier()
    if probe is not None:
        probe.close()


class Distributed(Case):
    def spread(self, probed):
        context = multiprocessing.get_context("spawn")
        ranks = [context.Process(target=process, args=(r, self.run_folder, self.run_folder + ".store", probed)) for r in range(2)]
        for r in ranks:
            r.start()
        for r in ranks:
            r.join(600)
            self.assertEqual(r.exitcode, 0)

    def test_the_first_process_writes(self):
        self.spread((0, 1))
        steps = of(self.run_folder, "step")
        self.assertEqual([r["step"] for r in steps], [1, 2, 3, 4, 5, 6])
        for r in steps:
            self.assertEqual((r["processes"], r["batch"]), (2, 8))
            self.assertAlmostEqual(r["loss"], r["step"] - 0.5, delta=1e-5)

    def test_a_probe_in_one_process_alone(self):
        self.spread((0,))
        self.assertEqual(len(of(self.run_folder, "step")), 6)


if __name__ == "__main__":
    unittest.main()
