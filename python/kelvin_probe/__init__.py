"""Reads the temperature of a PyTorch training run, layer by layer, for kelvin.

    import kelvin_probe as kelvin
    probe = kelvin.Probe(model, optimizer, "runs/a")  # before the loop
    probe.step(loss)                                  # after optimizer.step()

docs/probe.md of kelvin says what is written and what it costs.
"""
from .probe import Probe

__all__ = ["Probe"]
