"""What the probe costs: the time of a training step with a reading against one without a probe.

    python3 overhead.py [mlp|transformer] [--device cuda] [--rounds 40]
    python3 overhead.py mlp --every 50 --steps 50

Both are trained in turn in one process, a few steps a turn, so that whatever else
the machine does hits both alike; on a CPU it counts the seconds of the processor.
Prints the median over the turns, with quartiles. The first form reads every step
and says what that comes to at the default of a reading every 50 steps, which is
more precise; the second measures the default itself.
"""
import argparse
import os
import statistics
import sys
import tempfile
import time

import torch
from torch import nn

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import kelvin_probe as kelvin  # noqa: E402


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.act, self.down = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        self.heads = heads

    def forward(self, x):
        b, t, w = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) / (w // self.heads) ** 0.5).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(b, t, w))
        return x + self.down(self.act(self.up(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self, vocabulary=512, width=256, depth=4, heads=8, length=128):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.place = nn.Parameter(torch.zeros(length, width))
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(depth)])
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x):
        return self.head(self.blocks(self.embed(x) + self.place)).transpose(1, 2)


def make(kind, device):
    torch.manual_seed(0)
    if kind == "mlp":
        model = nn.Sequential(nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))
        x, y = torch.randn(128, 784), torch.randint(10, (128,))
        optimizer = torch.optim.SGD(model.to(device).parameters(), lr=0.01, momentum=0.9)
    else:
        model = Transformer()
        x, y = torch.randint(512, (16, 128)), torch.randint(512, (16, 128))
        optimizer = torch.optim.AdamW(model.to(device).parameters(), lr=1e-4)
    x, y = x.to(device), y.to(device)

    def step():
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss
    return model, optimizer, step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["mlp", "transformer"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--steps", type=int, default=4, help="steps a turn")
    parser.add_argument("--every", type=int, default=1, help="steps between readings")
    args = parser.parse_args()
    plain = make(args.kind, args.device)[2]
    model, optimizer, probed = make(args.kind, args.device)
    with tempfile.TemporaryDirectory() as folder:
        probe = kelvin.Probe(model, optimizer, os.path.join(folder, "run"), every=args.every)

        clock = time.process_time if args.device == "cpu" else time.perf_counter

        def seconds(step, with_probe):
            start = clock()
            for _ in range(args.steps):
                loss = step()
                if with_probe:
                    probe.step(loss)
            if args.device == "cuda":
                torch.cuda.synchronize()
            return (clock() - start) / args.steps
        seconds(plain, False), seconds(probed, True)
        pairs = [(seconds(plain, False), seconds(probed, True)) for _ in range(args.rounds)]
        probe.close()
    plain_time = statistics.median(a for a, _ in pairs)
    low, middle, high = statistics.quantiles([(b - a) / plain_time for a, b in pairs], n=4)
    print(f"{args.kind} on {args.device}, torch {torch.__version__}: {sum(p.numel() for p in model.parameters())} parameters, {1e3 * plain_time:.2f} ms a step")
    if args.every == 1:
        print(f"a reading costs {middle:.2f} steps (quartiles {low:.2f} to {high:.2f}), every 50 steps {2 * middle:.2f} %")
    else:
        print(f"reading every {args.every} steps costs {100 * middle:.2f} % (quartiles {100 * low:.2f} to {100 * high:.2f})")


if __name__ == "__main__":
    main()
