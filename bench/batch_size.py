"""Learning the batch size of a recurring job: kelvin energy simulate beside the
simulator of Zeus itself, on its published V100 traces.

    go build -o kelvin ./cmd/kelvin
    pip install -r bench/requirements.txt
    python3 bench/batch_size.py ./kelvin power/testdata

Both recur every job 2 x batch sizes x power limits times, stop runs that cost
twice the best so far, and draw what a run takes from the same repeated runs.
Zeus stops at whole epochs, and its first run of a batch size pays for one epoch
at all power limits; kelvin's replays do not charge that. Energy counts
stopped runs, against the mean of the default batch size at the largest limit.
"""
import argparse
import contextlib
import io
import json
import statistics
import subprocess

import numpy as np
import pandas as pd
from zeus._legacy.job import Job
from zeus._legacy.policy.optimizer import JITPowerLimitOptimizer, PruningGTSBatchSizeOptimizer
from zeus._legacy.simulate import Simulator
from zeus.utils.metric import zeus_cost

JOBS = {  # dataset: network, optimizer, default batch size and target of the authors
    "cifar100": ("shufflenetv2", "adadelta", 1024, 0.6),
    "imagenet": ("resnet50", "adadelta", 256, 0.65),
    "librispeech": ("deepspeech2", "adamw", 192, 40.0),
    "movielens-1m": ("ncf", "adam", 1024, 0.41),
    "squad": ("bert_base_uncased", "adamw", 32, 84.0),
    "sentiment140": ("bert_base_uncased", "adamw", 128, 0.84),
}


def replay(train, power, dataset, seeds, eta):
    network, optimizer, default, target = JOBS[dataset]
    pick = lambda d: d[(d.dataset == dataset) & (d.network == network) & (d.optimizer == optimizer)]
    train, power = pick(train), pick(power)
    train = train[train.target_metric == target]
    recurrences = 2 * len(power[power.batch_size.isin(train.batch_size)])
    limit = power.power_limit.max()
    both = train.merge(power)
    both["energy"] = both.target_epoch * both.time_per_epoch * both.average_power
    both["cost"] = zeus_cost(both.energy, both.target_epoch * both.time_per_epoch, eta, limit)
    usual = both[(both.batch_size == default) & (both.power_limit == limit)].energy.mean()
    best = both.groupby(["batch_size", "power_limit"]).cost.agg(lambda c: c.mean(skipna=False)).min()
    job = Job(dataset, network, optimizer, target, max_epochs=int(train.target_epoch.max()), default_bs=default)
    last, early, regret, wasted = [], [], [], []
    for seed in range(seeds):
        policy = PruningGTSBatchSizeOptimizer(seed=seed, verbose=False)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints where a run cannot even begin
            history = Simulator(train, power, policy, JITPowerLimitOptimizer(verbose=False), seed=seed, verbose=False).simulate_one_job(job, recurrences, 2.0, eta)
        energies, costs, energy, cost = [], [], 0.0, 0.0
        for run in history:
            energy, cost = energy + run.energy, cost + zeus_cost(run.energy, run.time, eta, limit)
            if run.reached:
                energies.append(energy)
                costs.append(cost)
                energy = cost = 0.0
        last.append(1 - np.mean(energies[-5:]) / usual)
        early.append(1 - np.mean(energies[: len(energies) // 5]) / usual)
        regret.append(sum(c / best - 1 for c in costs))
        wasted.append(sum(not run.reached for run in history))
    return last, early, regret, wasted


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kelvin")
    parser.add_argument("traces")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--peer-seeds", type=int, help="of Zeus's simulator, which takes its time (default: as many)")
    parser.add_argument("--eta", type=float, default=0.5)
    options = parser.parse_args()
    train_csv, power_csv = options.traces + "/summary_train.csv", options.traces + "/summary_power_v100.csv"
    train, power = pd.read_csv(train_csv), pd.read_csv(power_csv)
    print(f"{'dataset':13} {'policy':16} {'saved at the end (%)':>22} {'in the first fifth (%)':>22} {'regret (runs)':>18} {'wasted runs':>14}")
    means = {}
    for dataset in JOBS:
        text = subprocess.run([options.kelvin, "energy", "simulate", "--train", train_csv, "--power", power_csv, "--dataset", dataset,
                               "--seeds", str(options.seeds), "--eta", str(options.eta), "--json"], check=True, capture_output=True, text=True).stdout
        rows = [("kelvin, " + r["policy"], [(r[key]["value"], r[key]["stderr"]) for key in ("energy_saving", "early_energy_saving", "regret", "wasted_runs")])
                for r in json.loads(text)["replays"] if r["policy"] != "baseline"]
        error = lambda xs: (statistics.mean(xs), statistics.stdev(xs) / len(xs) ** 0.5)
        rows.append(("Zeus", [error(xs) for xs in replay(train, power, dataset, options.peer_seeds or options.seeds, options.eta)]))
        for name, ((last, dl), (early, de), (regret, dr), (wasted, dw)) in rows:
            means.setdefault(name, []).append((last, regret))
            print(f"{dataset:13} {name:16} {100 * last:12.2f} ± {100 * dl:<7.2f} {100 * early:12.2f} ± {100 * de:<7.2f} {regret:9.2f} ± {dr:<6.2f} {wasted:6.2f} ± {dw:<5.2f}", flush=True)
    for name, values in means.items():
        print(f"mean          {name:16} {100 * statistics.mean(v[0] for v in values):12.2f}           regret of all {sum(v[1] for v in values):.2f}")


if __name__ == "__main__":
    main()
