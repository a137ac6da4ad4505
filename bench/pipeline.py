"""Whole time-energy frontiers of 1F1B pipelines: kelvin energy pipeline, lowtime
(the solver of Perseus) and one linear program by HiGHS, by turns.

    go build -o kelvin ./cmd/kelvin
    pip install -r bench/requirements.txt
    python3 bench/pipeline.py ./kelvin power/testdata/profile_s4.csv

lowtime rounds times to 10 ms and fits an exponential to the costs of every
operation; what its plans really take is computed from the frequencies that it
assigns, at the measured times and energies. Seconds are of processor time, as
machines are shared; lowtime's are without imports and fits, kelvin's are of
the whole process.

With --lp OUT it writes optima of the interleaved schedule's linear program, of
two chunks of 0.45 and 0.55 of every stage: the file in power/testdata.
"""
import argparse
import csv
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time

IDLE, STAGES, UNIT = 70.0, 4, 0.01


def read_profile(path, parts=(1.0,)):
    """(stage, chunk, instruction) -> measured (time, energy, frequency), the fastest first."""
    profile = {}
    with open(path) as file:
        for row in csv.DictReader(file):
            for chunk, part in enumerate(parts):
                point = part * float(row["time"]), part * float(row["energy"]), float(row["frequency"])
                profile.setdefault((int(row["stage"]), chunk, row["instruction"]), []).append(point)
    return {name: sorted(points) for name, points in profile.items()}


def graph_1f1b(stages, microbatches):
    nodes, after = [], []
    for stage in range(stages):
        warm = min(microbatches, stages - 1 - stage)
        order = [("forward", m) for m in range(warm)]
        for m in range(warm, microbatches):
            order += [("forward", m), ("backward", m - warm)]
        order += [("backward", m) for m in range(microbatches - warm, microbatches)]
        for k, (kind, m) in enumerate(order):
            after.append([len(nodes) - 1] if k else [])
            nodes.append((stage, 0, m, kind))
    index = {node: i for i, node in enumerate(nodes)}
    for i, (stage, chunk, m, kind) in enumerate(nodes):
        other = index.get((stage + (1 if kind == "backward" else -1), chunk, m, kind))
        if other is not None:
            after[i].append(other)
    return nodes, after


def graph_interleaved(stages, chunks, microbatches):
    """Megatron-LM's order, written down from its get_model_chunk_id and warm-up."""
    nodes, after = [], []
    total, group = microbatches * chunks, stages * chunks

    def chunk_of(k, forward):
        chunk = (k % group) // stages
        return chunk if forward else chunks - chunk - 1

    for stage in range(stages):
        warm = total if microbatches == stages else min(total, 2 * (stages - stage - 1) + (chunks - 1) * stages)
        order = [("forward", k) for k in range(warm)]
        for k in range(warm, total):
            order += [("forward", k), ("backward", k - warm)]
        order += [("backward", k) for k in range(total - warm, total)]
        done = {}
        for n, (kind, k) in enumerate(order):
            chunk = chunk_of(k, kind == "forward")
            microbatch = done.get((kind, chunk), 0)  # a chunk sees microbatches in order
            done[kind, chunk] = microbatch + 1
            after.append([len(nodes) - 1] if n else [])
            nodes.append((stage, chunk, microbatch, kind))
    index = {node: i for i, node in enumerate(nodes)}
    for i, (stage, chunk, m, kind) in enumerate(nodes):
        part = chunk * stages + stage + (1 if kind == "backward" else -1)
        other = index.get((part % stages, part // stages, m, kind))
        if other is not None and part >= 0:
            after[i].append(other)
    return nodes, after


def makespan(after, durations):
    ends = {}

    def end(i):
        if i not in ends:
            ends[i] = durations[i] + max((end(j) for j in after[i]), default=0.0)
        return ends[i]

    sys.setrecursionlimit(10 + 2 * len(after))
    return max(end(i) for i in range(len(after)))


def linear_program(nodes, after, profile):
    """deadline -> the least sum of energy less IDLE x time, on the lower hulls."""
    import numpy as np
    import scipy.optimize
    import scipy.sparse

    n = len(nodes)  # variables: starts, durations, costs
    rows, columns, values, right = [], [], [], []

    def add(terms, bound):
        for column, value in terms:
            rows.append(len(right))
            columns.append(column)
            values.append(value)
        right.append(bound)

    fastest, slowest = [], []
    for i, (stage, chunk, _, kind) in enumerate(nodes):
        points = [(t, e - IDLE * t) for t, e, _ in profile[stage, chunk, kind]]
        cheapest = min(points, key=lambda p: (p[1], p[0]))
        hull = []
        for p in (p for p in points if p[0] <= cheapest[0]):
            while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (p[0] - hull[-2][0]) >= (p[1] - hull[-2][1]) * (hull[-1][0] - hull[-2][0]):
                hull.pop()
            hull.append(p)
        fastest.append(hull[0][0])
        slowest.append(hull[-1][0])
        for (t0, c0), (t1, c1) in zip(hull, hull[1:]):
            slope = (c1 - c0) / (t1 - t0)
            add([(n + i, slope), (2 * n + i, -1.0)], slope * t0 - c0)
        add([(2 * n + i, -1.0)], -cheapest[1])
        for j in after[i]:
            add([(j, 1.0), (n + j, 1.0), (i, -1.0)], 0.0)
    ends = len(right)
    for i in range(n):
        add([(i, 1.0), (n + i, 1.0)], 0.0)
    matrix = scipy.sparse.csr_matrix((values, (rows, columns)), (len(right), 3 * n))
    cost = np.r_[np.zeros(2 * n), np.ones(n)]
    bounds = [(0, None)] * n + list(zip(fastest, slowest)) + [(None, None)] * n

    def solve(deadline):
        b = np.array(right)
        b[ends:] = deadline
        return scipy.optimize.linprog(cost, matrix, b, bounds=bounds, method="highs", options={"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9}).fun

    return solve, makespan(after, fastest), makespan(after, slowest)


def write_optima(profile_path, out):
    profile = read_profile(profile_path, (0.45, 0.55))
    nodes, after = graph_interleaved(STAGES, 2, 8)
    solve, fastest, slowest = linear_program(nodes, after, profile)
    points = []
    for k in range(9):
        t = fastest + (slowest - fastest) * max(k / 8, 1e-9)
        points.append({"time_s": t, "cost_j": solve(t)})
    with open(out, "w") as file:
        json.dump({"stages": STAGES, "chunks": 2, "microbatches": 8, "idle_power_w": IDLE, "nodes": len(nodes), "edges": sum(map(len, after)),
                   "fastest_s": fastest, "slowest_useful_s": slowest, "points": points}, file, indent=1)
        file.write("\n")


def lowtime(nodes, after, profile):
    """Processor seconds, and what its plans really take: [(time, cost)]."""
    import logging

    import networkx as nx
    from lowtime.cost_model import ExponentialModel
    from lowtime.graph_utils import add_sink_node, add_source_node
    from lowtime.operation import CandidateExecutionOptions, ExecutionOption, OperationSpec
    from lowtime.perseus.instruction import Backward, Forward
    from lowtime.solver import PhillipsDessouky

    logging.disable(logging.CRITICAL)
    specs = {}
    for name, points in profile.items():
        options = CandidateExecutionOptions([ExecutionOption(real_time=t, unit_time=UNIT, cost=e - IDLE * t, knob=int(f)) for t, e, f in points])
        specs[name] = OperationSpec(options, ExponentialModel(options))
    dag, operations = nx.DiGraph(), []
    for i, (stage, chunk, m, kind) in enumerate(nodes):
        operations.append((Forward if kind == "forward" else Backward)(spec=specs[stage, chunk, kind], stage_id=stage, micro_batch_id=m))
        dag.add_node(i, op=operations[i])
        dag.add_edges_from((j, i) for j in after[i])
    add_source_node(dag, -1)
    add_sink_node(dag, len(nodes))
    dag.graph["source_node"], dag.graph["sink_node"] = -1, len(nodes)
    measured = {name: {int(f): (t, e - IDLE * t) for t, e, f in points} for name, points in profile.items()}
    plans = []
    start = time.process_time()
    for _ in PhillipsDessouky(dag).run():
        plans.append([o.assigned_knob for o in operations])
    seconds = time.process_time() - start
    real = []
    for knobs in plans[:: max(1, len(plans) // 200)]:
        points = [measured[stage, chunk, kind][f] for (stage, chunk, _, kind), f in zip(nodes, knobs)]
        real.append((makespan(after, [t for t, _ in points]), sum(c for _, c in points)))
    return seconds, len(plans), real


def kelvin(binary, profile_path, microbatches):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = subprocess.run([binary, "energy", "pipeline", "--profile", profile_path, "--stages", str(STAGES), "--microbatches", str(microbatches), "--idle-power", str(IDLE), "--json"],
                          check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, json.loads(text)["frontier"]


def at(frontier, t):
    for a, b in zip(frontier, frontier[1:]):
        if t <= b["time_s"]:
            x = (t - a["time_s"]) / (b["time_s"] - a["time_s"])
            return a["cost_j"] * (1 - x) + b["cost_j"] * x
    return frontier[-1]["cost_j"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kelvin", nargs="?")
    parser.add_argument("profile")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--microbatches", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--lp", metavar="OUT")
    options = parser.parse_args()
    if options.lp:
        write_optima(options.profile, options.lp)
        return
    profile = read_profile(options.profile)
    print("pipeline  kelvin, frontier  lowtime, frontier  ratio  HiGHS, one deadline  lowtime dearer at the same time: mean, worst")
    for m in options.microbatches:
        nodes, after = graph_1f1b(STAGES, m)
        solve, fastest, slowest = linear_program(nodes, after, profile)
        ours, theirs, programs = [], [], []
        for _ in range(options.rounds):
            seconds, frontier = kelvin(options.kelvin, options.profile, m)
            ours.append(seconds)
            start = time.process_time()
            deadline = (fastest + slowest) / 2
            optimum = solve(deadline)
            programs.append(time.process_time() - start)
            seconds, plans, real = lowtime(nodes, after, profile)
            theirs.append(seconds)
        assert abs(at(frontier, deadline) / optimum - 1) < 1e-6, (at(frontier, deadline), optimum)
        energy = lambda t, cost: cost + IDLE * STAGES * t
        dearer = [energy(t, c) / energy(t, at(frontier, t)) - 1 for t, c in real]
        assert min(dearer) > -1e-6, min(dearer)
        print(f"{STAGES} x {m:<4}  {statistics.median(ours):13.3f} s  {statistics.median(theirs):15.2f} s  {statistics.median(a / b for a, b in zip(theirs, ours)):5.0f}"
              f"  {statistics.median(programs):17.3f} s  {100 * statistics.mean(dearer):.2f} %, {100 * max(dearer):.2f} % ({len(frontier)} corners, {plans} plans)", flush=True)


if __name__ == "__main__":
    main()
