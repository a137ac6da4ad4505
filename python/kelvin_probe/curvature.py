"""One Hutchinson probe: the trace of the Hessian of every layer, vᵀHv."""
import contextlib

import torch
from torch import nn


def trace(model, layers, closure, seed):
    """{layer: vᵀHv} for one vector v of random signs. closure() computes the loss anew.

    Its diagonal block is taken from one product with the whole Hessian; the
    blocks beside it add noise whose mean is zero. Gradients, random numbers and
    running means of the training stay as they were.
    """
    parameters = [p for held in layers.values() for p in held]
    devices = sorted({p.device.index for p in parameters if p.device.type == "cuda"})
    with torch.random.fork_rng(devices), torch.enable_grad(), still(model):
        loss = closure()
        gradients = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
        torch.manual_seed(seed)
        signs = [torch.randint(0, 2, p.shape, device=p.device).to(p.dtype) * 2 - 1 for p in parameters]
        product = sum((g * v).sum() for g, v in zip(gradients, signs) if g is not None)
        images = torch.autograd.grad(product, parameters, allow_unused=True)
    sums = iter(0.0 if h is None else float((h * v).sum()) for h, v in zip(images, signs))
    return {name: sum(next(sums) for _ in held) for name, held in layers.items()}


@contextlib.contextmanager
def still(model):
    """Keeps the running means of batch normalisation where they are."""
    norms = [(m, m.momentum) for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for m, _ in norms:
        m.momentum = 0.0
    try:
        yield
    finally:
        for m, momentum in norms:
            m.momentum = momentum
