"""Learning coefficients that devinterp reads, beside the table in docs/commands/llc.md.

    python3 -m venv /tmp/devinterp && /tmp/devinterp/bin/pip install devinterp==1.3.2 torch==2.2.2 'numpy<2'
    /tmp/devinterp/bin/python bench/llc.py

The energies are those of devinterp's own accuracy tests, with their settings: SGLD
on 1,000 examples, 10 chains of 5,000 draws for normal crossings, 3 of 2,000 for
reduced-rank regression, β = 1/ln n; ± is the standard deviation over the chains,
the error that devinterp gives.
"""
import warnings

warnings.filterwarnings("ignore")
import torch
from devinterp.optim.sgld import SGLD
from devinterp.slt.llc import LLCEstimator
from devinterp.slt.sampler import sample
from devinterp.test_utils import Polynomial, ReducedRankRegressor
from devinterp.utils import default_nbeta, evaluate_mse, get_init_loss_multi_batch
from torch.utils.data import DataLoader, TensorDataset

EXAMPLES, SEED = 1000, 42


def read(model, x, y, chains, draws, **settings):
    loader = DataLoader(TensorDataset(x, y), batch_size=EXAMPLES, shuffle=True)
    nbeta = default_nbeta(loader)
    estimator = LLCEstimator(num_chains=chains, num_draws=draws, nbeta=nbeta,
                             init_loss=get_init_loss_multi_batch(loader, chains, model, evaluate_mse, device="cpu"))
    sample(model, loader, evaluate=evaluate_mse, sampling_method=SGLD, optimizer_kwargs=dict(nbeta=nbeta, **settings),
           num_chains=chains, num_draws=draws, callbacks=[estimator], verbose=False, seed=SEED)
    results = estimator.get_results()
    return f"{float(results['llc/mean']):.3f} ± {float(results['llc/std']):.3f}"


def crossing(powers):
    torch.manual_seed(SEED)
    x, y = torch.normal(0, 2, size=(EXAMPLES,)), 0.25 * torch.normal(0, 1, size=(EXAMPLES,))
    return read(Polynomial(powers), x, y, 10, 5000, lr=0.0002, bounding_box_size=1.0)


def reduced_rank(m, h, n):
    torch.manual_seed(SEED)
    x, y = torch.randn(EXAMPLES, m), torch.randn(EXAMPLES, n)
    model = ReducedRankRegressor(m, h, n)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(5000):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    return read(model, x, y, 3, 2000, lr=0.00006, localization=1.0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, theory, value in (
        ("w²", 0.5, lambda: crossing([1, 0])), ("w²v²", 0.5, lambda: crossing([1, 1])), ("w²v⁴", 0.25, lambda: crossing([1, 2])),
        ("w²v⁶", 1 / 6, lambda: crossing([1, 3])), ("5-3-5", 6.5, lambda: reduced_rank(5, 3, 5)),
        ("4-3-8", 6, lambda: reduced_rank(4, 3, 8)), ("5-4-5", 8, lambda: reduced_rank(5, 4, 5)),
    ):
        print(f"{name}: {value()}, theory {theory:.3g}", flush=True)
