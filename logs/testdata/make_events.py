"""Writes events.out.tfevents.fixture with PyTorch's SummaryWriter: scalars old and new, a histogram, a tensor."""
import glob
import os
import tempfile

import torch
from torch.utils.tensorboard import SummaryWriter

with tempfile.TemporaryDirectory() as folder:
    writer = SummaryWriter(folder)
    for step in range(0, 50, 10):
        writer.add_scalar("train/loss", 2.0 / (step + 1), step, walltime=1700000000 + step)
        writer.add_scalar("train/learning_rate", 0.1, step, walltime=1700000000 + step)
        writer.add_scalar("new", step / 3, step, walltime=1700000000 + step, new_style=True)
        writer.add_scalar("odd", float("nan") if step == 20 else float("inf"), step, walltime=1700000000 + step)
        if step == 0:
            writer.add_histogram("weights", torch.arange(20.0), step, walltime=1700000000 + step)
    writer.add_text("note", "hello", 7, walltime=1700000007)
    writer.add_scalar("double", 1e-3, 50, walltime=1700000050, new_style=True, double_precision=True)
    writer.close()
    os.replace(glob.glob(folder + "/*")[0], os.path.join(os.path.dirname(__file__), "events.out.tfevents.fixture"))
