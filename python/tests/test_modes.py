"""The ways in which people train: mixed precision, accumulation, compiled and wrapped models."""
import unittest

import torch
from torch import nn

from common import Case, batches, kelvin, network, of, train
from test_robust import quietly

cross_entropy = nn.functional.cross_entropy


class Modes(Case):
    def probed(self, go, name="", wrap=lambda model: model, **options):
        """Trains with the probe and without it; the weights must be the same, bit for bit. Returns the folder."""
        ends = []
        for probe_it in (False, True):
            torch.manual_seed(0)
            model = network()
            used = wrap(model)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            probe = kelvin.Probe(used, optimizer, self.run_folder + name, every=1, **options) if probe_it else None
            go(used, optimizer, probe)
            if probe is not None:
                probe.close()
            ends.append([p.detach().clone() for p in model.parameters()])
        for a, b in zip(*ends):
            self.assertTrue(torch.equal(a, b), "the probe changed the training")
        return self.run_folder + name

    def same(self, got, want, within):
        """Compares what two runs wrote."""
        for kind in ("step", "layer"):
            a, b = of(got, kind), of(want, kind)
            self.assertEqual(len(a), len(b))
            for x, y in zip(a, b):
                for key, value in y.items():
                    if isinstance(value, float) and key != "t":
                        self.assertAlmostEqual(x[key], value, delta=within * abs(value) + 1e-9, msg=f"{kind} {y.get('layer')} {key} at {y['step']}")

    def test_autocast(self):
        """Activations in bfloat16 read as those in float32 do, to its three digits."""
        def go(model, optimizer, probe):
            for x, y in batches(5):
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    loss = cross_entropy(model(x).float(), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if probe is not None:
                    probe.step(loss)
        folder = self.probed(go)
        self.assertEqual([r["step"] for r in of(folder, "step")], [1, 2, 3, 4, 5])
        plain = self.probed(lambda model, optimizer, probe: train(model, optimizer, probe, 1), "plain")
        for r in of(plain, "layer", having="gradient_norm2"):
            first = of(folder, "layer", r["layer"], "gradient_norm2")[0]
            for key in ("gradient_norm2", "example_gradient_norm2", "energy_in", "energy_out"):
                if key in r:
                    self.assertAlmostEqual(first[key], r[key], delta=0.05 * r[key], msg=key)

    def test_weights_in_bfloat16(self):
        model = network().bfloat16()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with kelvin.Probe(model, optimizer, self.run_folder, every=1) as probe:
            for x, y in batches(3):
                loss = cross_entropy(model(x.bfloat16()).float(), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                probe.step(loss)
        self.assertTrue(all(r["update_norm2"] > 0 for r in of(self.run_folder, "step")))

    @unittest.skipUnless(hasattr(torch, "amp") and hasattr(torch.amp, "GradScaler"), "torch has no GradScaler for a CPU")
    def test_grad_scaler(self):
        """Scaled gradients read as others do, and a step that the scaler skips is none."""
        def scaled(broken):
            def go(model, optimizer, probe):
                scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
                if probe is not None:
                    probe._scaler = scaler
                for i, (x, y) in enumerate(batches(5)):
                    loss = cross_entropy(model(x), y)
                    optimizer.zero_grad()
                    scaler.scale(loss * float("inf") if i == broken else loss).backward()
                    scaler.step(optimizer)
                    scaler.update()
                    if probe is not None:
                        probe.step(loss)
            return go
        folder = self.probed(scaled(None), "scaled", scaler=torch.amp.GradScaler("cpu"))
        plain = self.probed(lambda model, optimizer, probe: train(model, optimizer, probe, 5), "plain")
        self.same(folder, plain, 1e-4)
        folder = self.probed(scaled(2), "skipped", scaler=torch.amp.GradScaler("cpu"))
        self.assertEqual([r["step"] for r in of(folder, "step")], [1, 2, 3, 4])
        self.assertTrue(all(isinstance(r["gradient_norm2"], float) for r in of(folder, "step")))

    def test_accumulation(self):
        """A step of three micro-batches, told of each or once, reads as one of the whole batch."""
        def parts(every_part):
            def go(model, optimizer, probe):
                for x, y in batches(4):
                    optimizer.zero_grad()
                    losses = []
                    for i in range(0, 12, 4):
                        loss = cross_entropy(model(x[i:i + 4]), y[i:i + 4])
                        (loss / 3).backward()
                        losses.append(loss.detach())
                        if probe is not None and every_part and i < 8:
                            probe.step(loss)
                    optimizer.step()
                    if probe is not None:
                        probe.step(loss if every_part else sum(losses) / 3)
            return go
        whole = self.probed(lambda model, optimizer, probe: train(model, optimizer, probe, 4), "whole")
        for every_part in (True, False):
            folder = self.probed(parts(every_part), str(every_part))
            for a, b in zip(of(folder, "step"), of(whole, "step")):
                for key in ("step", "loss", "batch", "gradient_norm2", "update_norm2"):
                    self.assertAlmostEqual(a[key], b[key], delta=1e-4 * abs(b[key]), msg=key)
            for a, b in zip(of(folder, "layer", having="weight_norm"), of(whole, "layer", having="weight_norm")):
                for key in set(b) & {"centred_virial", "spread_norm2", "example_gradient_norm2"}:
                    self.assertAlmostEqual(a[key], b[key], delta=1e-3 * abs(b[key]) + 1e-9, msg=key)

    def test_data_parallel(self):
        """Without GPUs DataParallel passes everything on; the layers have the names they have inside."""
        go = lambda model, optimizer, probe: train(model, optimizer, probe, 3)  # noqa: E731
        self.same(self.probed(go, "wrapped", nn.DataParallel), self.probed(go, "plain"), 0)

    @unittest.skipUnless(hasattr(torch, "compile"), "torch has no compile")
    def test_compiled_for_real(self):
        """By the default compiler, wherever that works: all but activations reads as it does without."""
        try:
            torch.compile(nn.Linear(2, 2))(torch.ones(1, 2)).sum().backward()
        except Exception as e:
            self.skipTest(f"torch.compile does not work here: {type(e).__name__}")
        go = lambda model, optimizer, probe: quietly(train, model, optimizer, probe, 4)  # noqa: E731
        folder = []
        quietly(lambda: folder.append(self.probed(go, "compiled", torch.compile)))
        plain = self.probed(go, "plain")
        for name in ("0", "2", "4"):
            for a, b in zip(of(folder[0], "layer", name, "weight_norm"), of(plain, "layer", name, "weight_norm")):
                for key in ("gradient_norm2", "update_norm2", "weight_norm"):
                    self.assertAlmostEqual(a[key], b[key], delta=1e-3 * b[key], msg=key)
                self.assertNotIn("energy_in", a)

    @unittest.skipUnless(hasattr(torch, "compile"), "torch has no compile")
    def test_compiled_in_part(self):
        """A layer keeps its name when it alone is compiled."""
        model = network()
        model[2] = torch.compile(model[2], backend="eager")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        quietly(lambda: train(model, optimizer, kelvin.Probe(model, optimizer, self.run_folder, every=1), 2))
        self.assertEqual({r["layer"] for r in of(self.run_folder, "layer")}, {"0", "2", "4"})


if __name__ == "__main__":
    unittest.main()
