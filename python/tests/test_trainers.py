"""The callbacks, called as the trainers call them, and in the real ones where they are installed."""
import types
import unittest

import torch
from torch import nn

from common import Case, batches, kelvin, network, of, records, train  # noqa: F401
from kelvin_probe.huggingface import KelvinCallback as HuggingFace
from kelvin_probe.lightning import KelvinCallback as Lightning

try:
    import transformers
except ImportError:
    transformers = None
try:
    import lightning
except ImportError:
    lightning = None


class WithLoss(nn.Module):
    """Returns its loss with its output, as Hugging Face's models do."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x, labels):
        logits = self.net(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class Trainers(Case):
    def test_closures(self):
        """A step that computes its gradients in a closure reads as one that does not."""
        values = []
        for closed in (False, True):
            model, folder = network(), self.run_folder + str(closed)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            with kelvin.Probe(model, optimizer, folder, every=1) as probe:
                for x, y in batches(3):
                    def closure():
                        optimizer.zero_grad()
                        loss = nn.functional.cross_entropy(model(x), y)
                        loss.backward()
                        return loss
                    if closed:
                        loss = optimizer.step(closure)
                    else:
                        loss = closure()
                        optimizer.step()
                    probe.step(loss)
            values.append([{k: v for k, v in r.items() if k != "t"} for r in records(folder)])
        self.assertEqual(*values)

    def test_hugging_face(self):
        model = WithLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        callback, state = HuggingFace(self.run_folder, every=1), types.SimpleNamespace(global_step=0)
        callback.on_train_begin(None, state, None, model=model, optimizer=optimizer)
        losses = []
        for x, y in batches(4):
            loss = model(x, y)["loss"]
            losses.append(float(loss.detach()))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            callback.on_step_end(None, state, None)
        callback.on_train_end(None, state, None)
        for got, want in zip(of(self.run_folder, "step"), losses):
            self.assertAlmostEqual(got["loss"], want, delta=1e-5)
        self.assertEqual(records(self.run_folder)[-1]["kind"], "end")

    def test_lightning(self):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        trainer = types.SimpleNamespace(global_step=0, optimizers=[optimizer])
        callback = Lightning(self.run_folder, every=1)
        callback.on_train_start(trainer, model)

        class Step:
            @staticmethod
            def step(loss):
                callback.on_train_batch_end(trainer, model, {"loss": loss}, None, 0)
        train(model, optimizer, Step, 4)
        callback.on_train_end(trainer, model)
        self.assertEqual([r["step"] for r in of(self.run_folder, "step")], [1, 2, 3, 4])

    @unittest.skipUnless(transformers, "transformers is not installed")
    def test_the_real_trainer(self):
        model = WithLoss()
        data = [{"x": x[0], "labels": y[0]} for x, y in batches(64, 1)]
        arguments = transformers.TrainingArguments(self.run_folder + ".hf", num_train_epochs=2, per_device_train_batch_size=4,
                                                   gradient_accumulation_steps=2, report_to=[], use_cpu=True, save_strategy="no")
        transformers.Trainer(model, arguments, train_dataset=data, callbacks=[HuggingFace(self.run_folder, every=1)]).train()
        steps = of(self.run_folder, "step")
        self.assertEqual([r["step"] for r in steps], list(range(1, 17)))
        self.assertTrue(all(0.3 < r["loss"] < 3 for r in steps))
        self.assertEqual(steps[0]["batch"], 8)
        self.assertIn("energy_in", of(self.run_folder, "layer", "net.0")[3])

    @unittest.skipUnless(transformers, "transformers is not installed")
    def test_a_language_model(self):
        """The loss is the one that the Trainer logs, also where the model divides by the tokens of all micro-batches."""
        torch.manual_seed(0)
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=30, n_positions=16, n_embd=16, n_layer=2, n_head=2,
                                                                     resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
        data = [{"input_ids": torch.randint(30, (12,)), "labels": torch.randint(30, (12,))} for _ in range(40)]
        arguments = transformers.TrainingArguments(self.run_folder + ".hf", max_steps=6, per_device_train_batch_size=4, learning_rate=1e-3, weight_decay=0,
                                                   gradient_accumulation_steps=2, logging_steps=1, report_to=[], use_cpu=True, save_strategy="no")
        trainer = transformers.Trainer(model, arguments, train_dataset=data, callbacks=[HuggingFace(self.run_folder, every=1)])
        trainer.train()
        logged = [r["loss"] for r in trainer.state.log_history if "loss" in r]
        steps = of(self.run_folder, "step")
        self.assertEqual([r["step"] for r in steps], list(range(1, 7)))
        for got, want in zip(steps, logged):
            self.assertAlmostEqual(got["loss"], want, delta=1e-3)
        names = {r["layer"] for r in of(self.run_folder, "layer", having="centred_virial")}
        self.assertIn("transformer.h.1.attn.c_attn", names)
        self.assertIn("energy_in", of(self.run_folder, "layer", "transformer.h.1.mlp.c_fc", "energy_in")[0])

    @unittest.skipUnless(lightning, "lightning is not installed")
    def test_the_real_lightning(self):
        for parts in (1, 2):  # micro-batches
            losses = []

            class Module(lightning.LightningModule):
                def __init__(self):
                    super().__init__()
                    self.net = network()

                def training_step(self, batch, _):
                    loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
                    losses.append(float(loss.detach()))
                    return loss

                def configure_optimizers(self):
                    return torch.optim.SGD(self.parameters(), lr=0.1)
            folder = self.run_folder + str(parts)
            loader = torch.utils.data.DataLoader([(x[0], y[0]) for x, y in batches(64, 1)], batch_size=8)
            trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                                        enable_model_summary=False, accumulate_grad_batches=parts, callbacks=[Lightning(folder, every=1)])
            trainer.fit(Module(), loader)
            steps = of(folder, "step")
            self.assertEqual([r["step"] for r in steps], list(range(1, 16 // parts + 1)))
            for i, r in enumerate(steps):
                self.assertAlmostEqual(r["loss"], sum(losses[i * parts:(i + 1) * parts]) / parts, delta=1e-4)
                self.assertEqual(r["batch"], 8 * parts)
            self.assertTrue(all(r["gradient_norm2"] > 0 for r in steps))
            self.assertIn("energy_in", of(folder, "layer", "net.0")[3])


if __name__ == "__main__":
    unittest.main()
