"""What the probe writes against what PyTorch computes step by step."""
import unittest
import warnings

import torch
from torch import nn

from common import Case, batches, kelvin, network, of, records, train


class Values(Case):
    def reference(self, model, optimizer, steps, decay):
        """The same training without a probe, everything computed in float64 at every step."""
        means, found = {}, []
        for n, (x, y) in enumerate(batches(steps), 1):
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            before = {k: p.detach().double().clone() for k, p in model.named_parameters()}
            gradient = {k: p.grad.double() + decay * before[k] for k, p in model.named_parameters()}
            optimizer.step()
            step = {"loss": float(loss.detach()) + decay / 2 * sum(float((p * p).sum()) for p in before.values())}
            for layer in ("0", "2", "4"):
                v = dict.fromkeys(("gradient_norm2", "centred_virial", "weight_norm", "update_norm2", "centred_update", "spread_norm2"), 0.0)
                for k in (layer + ".weight", layer + ".bias"):
                    away = before[k] - means.get(k, before[k])
                    update = dict(model.named_parameters())[k].detach().double() - before[k]
                    v["gradient_norm2"] += float((gradient[k] ** 2).sum())
                    v["centred_virial"] += float((away * gradient[k]).sum())
                    v["spread_norm2"] += float((away * away).sum())
                    v["weight_norm"] += float((before[k] ** 2).sum())
                    v["update_norm2"] += float((update ** 2).sum())
                    v["centred_update"] += float((away * update).sum())
                    means[k] = before[k] if n == 1 else means[k] + 4 / (n + 3) * away
                v["weight_norm"] **= 0.5
                step[layer] = v
            found.append(step)
        return found

    def check(self, make, decay=0.0, steps=30):
        model = network()
        want = self.reference(model, make(model.parameters()), steps, decay)
        probed = network()
        optimizer = make(probed.parameters())
        with kelvin.Probe(probed, optimizer, self.run_folder, every=1) as probe:
            train(probed, optimizer, probe, steps)
        for a, b in zip(model.parameters(), probed.parameters()):
            self.assertTrue(torch.equal(a, b), "the probe changed the training")
        wholes = of(self.run_folder, "step")
        self.assertEqual([r["step"] for r in wholes], list(range(1, steps + 1)))
        for step, whole in zip(want, wholes):
            self.assertAlmostEqual(whole["loss"], step["loss"], delta=1e-5)
        for layer in ("0", "2", "4"):
            got = of(self.run_folder, "layer", layer, "weight_norm")
            for step, record in zip(want, got):
                for name, value in step[layer].items():
                    if name in record:
                        self.assertAlmostEqual(record[name], value, delta=1e-4 * abs(value) + 1e-7, msg=f"{layer} {name} at {record['step']}")
            self.assertNotIn("centred_virial", got[0])
            self.assertIn("centred_virial", got[1])
        return wholes

    def test_sgd_with_momentum_and_decay(self):
        wholes = self.check(lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-2), decay=1e-2)
        self.assertEqual((wholes[3]["learning_rate"], wholes[3]["momentum"], wholes[3]["batch"]), (0.05, 0.9, 12))

    def test_adamw(self):
        wholes = self.check(lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=1e-2))
        self.assertNotIn("momentum", wholes[3])
        self.assertEqual(wholes[3]["beta1"], 0.9)

    def test_examples_and_signals(self):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        x, y = next(batches(1))
        with torch.no_grad():
            z = model[0](x)
            a = model[1](z)
        squares = []
        for i in range(len(x)):
            gradients = torch.autograd.grad(nn.functional.cross_entropy(model(x[i:i + 1]), y[i:i + 1]), list(model[2].parameters()))
            squares.append(sum(float((g * g).sum()) for g in gradients))
        with kelvin.Probe(model, optimizer, self.run_folder, every=1) as probe:
            train(model, optimizer, probe, 1)
        first = of(self.run_folder, "layer", "0", "energy_in")[0]
        self.assertAlmostEqual(first["energy_in"], float((z * z).mean()), delta=1e-5)
        self.assertAlmostEqual(first["energy_out"], float((a * a).mean()), delta=1e-5)
        second = of(self.run_folder, "layer", "2", "example_gradient_norm2")[0]
        self.assertAlmostEqual(second["example_gradient_norm2"], sum(squares) / len(squares), delta=1e-4 * sum(squares))

    def test_sequences(self):
        """Per-example gradients of a layer over a sequence, and accumulated micro-batches."""
        model = nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        x = torch.randn(8, 6, 5)
        loss_of = lambda x: (model(x) ** 2).mean(dim=(1, 2)).mean()  # noqa: E731
        want = []
        for i in range(8):
            gradients = torch.autograd.grad(loss_of(x[i:i + 1]), list(model[0].parameters()))
            want.append(sum(float((g * g).sum()) for g in gradients))
        probe = kelvin.Probe(model, optimizer, self.run_folder, every=1)
        optimizer.zero_grad()
        for half in (x[:4], x[4:]):
            loss = loss_of(half) / 2
            loss.backward()
        optimizer.step()
        probe.step(loss)
        probe.close()
        got = of(self.run_folder, "layer", "0", "example_gradient_norm2")[0]["example_gradient_norm2"]
        self.assertAlmostEqual(got, sum(want) / 8, delta=1e-4 * sum(want))
        self.assertEqual(of(self.run_folder, "step")[0]["batch"], 8)

    def test_activations_called_as_functions(self):
        """F.relu reads as nn.ReLU does, and is itself again between the readings."""
        class Called(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = network()

            def forward(self, x):
                net = self.net
                return net[4](torch.tanh(net[2](nn.functional.relu(net[0](x), inplace=True))))
        before = nn.functional.relu, torch.tanh
        values = []
        for model in (nn.Sequential(nn.ModuleDict({"net": network()})["net"]), Called()):
            folder = self.run_folder + type(model).__name__
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            with kelvin.Probe(model, optimizer, folder, every=2) as probe:
                train(model, optimizer, probe, 3)
            values.append([[v for k, v in r.items() if k not in ("t", "layer")] for r in records(folder)])
        self.assertEqual(*values)
        self.assertEqual((nn.functional.relu, torch.tanh), before)
        self.assertIn("energy_in", of(folder, "layer", "net.2")[1])

    def test_dead_and_saturated_units(self):
        model = network()
        with torch.no_grad():
            model[0].bias[:4] = -1e3  # 4 of 16 never fire
            model[2].bias[:8] = 1e3   # 8 of 16 are flat
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        with kelvin.Probe(model, optimizer, self.run_folder, every=1) as probe:
            train(model, optimizer, probe, 12)
        dead = of(self.run_folder, "layer", "0", "dead")
        self.assertEqual([r["step"] for r in dead], [10, 11, 12])
        self.assertAlmostEqual(dead[0]["dead"], 0.25, delta=1e-6)
        self.assertAlmostEqual(of(self.run_folder, "layer", "2", "saturated")[0]["saturated"], 0.5, delta=1e-6)

    def test_hutchinson(self):
        """The mean of many probes is the trace, within four standard errors."""
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        x = torch.randn(16, 3)
        loss_of = lambda: (model(x) ** 2).mean()  # noqa: E731
        parameters = list(model[3].parameters())
        flat = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss_of(), parameters, create_graph=True)])
        trace = sum(float(torch.cat([h.reshape(-1) for h in torch.autograd.grad(flat[i], parameters, retain_graph=True)])[i])
                    for i in range(len(flat)))
        running = model[1].running_mean.clone()
        state = torch.get_rng_state()
        with kelvin.Probe(model, optimizer, self.run_folder, every=1000, hutchinson=1) as probe:
            for _ in range(400):
                optimizer.step()
                probe.step(0.0, loss_of)
        self.assertTrue(torch.equal(running, model[1].running_mean))
        self.assertTrue(torch.equal(state, torch.get_rng_state()))
        probes = torch.tensor([r["hessian_trace"] for r in of(self.run_folder, "layer", "3", "hessian_trace")])
        self.assertEqual(len(probes), 400)
        self.assertLess(abs(float(probes.mean()) - trace), 4 * float(probes.std()) / 20)

    def test_schedule_and_groups(self):
        model = network()
        optimizer = torch.optim.SGD([{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters(), "lr": 0.2}], lr=0.3)
        probe = kelvin.Probe(model, optimizer, self.run_folder, every=2)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            train(model, optimizer, probe, 4, schedule.step)
        probe.close()
        self.assertEqual([r["learning_rate"] for r in of(self.run_folder, "step")], [0.1, 0.025])
        self.assertEqual([r["learning_rate"] for r in of(self.run_folder, "layer", "2", "learning_rate")], [0.2, 0.05])
        self.assertEqual(of(self.run_folder, "layer", "4"), [], "the optimiser does not train it")
        self.assertEqual(records(self.run_folder)[-1]["kind"], "end")


if __name__ == "__main__":
    unittest.main()
