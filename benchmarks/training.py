"""How fast an epoch of 784-64-10 is, as ratios to the hand-written loop over fastai's DataLoader, in one run.

Both sides start from the same weights and see batches of the same size in the same order; at the end their accuracies are compared.
Each line is a ratio of medians over interleaved repeats; the spread is from the lowest to the highest ratio within a repeat.
"""
import argparse, json, statistics, time
from pathlib import Path

import torch
import torch.nn.functional as F
from fastai.data.load import DataLoader
from torch import nn

from digitlab.data import read_digits
from digitlab.learner import Batches, DigitLearner, digit_accuracy
from digitlab.tensors import make_generator, scale_pixels


class InOrder(DataLoader):
    "fastai's loader, with the order of `Batches`"
    def get_idxs(self): return torch.randperm(self.n, generator=self.order).tolist()


def network(): return nn.Sequential(nn.Linear(784, 64), nn.Sigmoid(), nn.Linear(64, 10))


def by_hand(model, loader, lr):
    "The loop that the chapter writes first"
    for xb, yb in loader:
        F.cross_entropy(model(xb), yb).backward()
        for p in model.parameters():
            p.data -= p.grad*lr
            p.grad.zero_()


def products(x, bs):
    "The matrix products of an epoch alone: what no loop can be faster than"
    w1, w2 = torch.rand(784, 64), torch.rand(64, 10)
    hidden, logits = torch.rand(bs, 64), torch.rand(bs, 10)
    for xb in x.split(bs):
        n = len(xb)
        xb @ w1, hidden[:n] @ w2, logits[:n] @ w2.T, hidden[:n].T @ logits[:n], xb.T @ hidden[:n]


def main():
    parser = argparse.ArgumentParser(description="Measure an epoch of 784-64-10 against the hand-written loop over fastai's DataLoader.")
    parser.add_argument('--source', default='auto', help='auto, mnist, digits, or a folder (default: auto)')
    parser.add_argument('--repeats', type=int, default=7, help='interleaved repeats (default: 7)')
    parser.add_argument('--out', type=Path, help='a JSON file for the results')
    args = parser.parse_args()
    digits = read_digits(args.source)
    x, y = (scale_pixels(digits.train_x).flatten(1), digits.train_y)
    test_x, test_y = scale_pixels(digits.test_x).flatten(1), digits.test_y
    pairs, start = list(zip(x, y)), network().state_dict()
    times, accuracies = {}, {}
    for repeat in range(args.repeats + 1):
        hand, ours = network(), network()
        for model in (hand, ours): model.load_state_dict(start)
        loader = InOrder(pairs, bs=256)
        loader.order = make_generator(repeat)
        learner = DigitLearner(ours, Batches(x, y, 256, make_generator(repeat)), None, F.cross_entropy, 0.5)
        for name, step in {'by hand over fastai DataLoader': lambda: by_hand(hand, loader, 0.5), 'Batches and DigitLearner': lambda: learner.fit(1),
                           'the matrix products alone': lambda: products(x, 256)}.items():
            began = time.perf_counter()
            step()
            if repeat: times.setdefault(name, []).append(time.perf_counter() - began)
        accuracies = {'by hand': digit_accuracy(hand(test_x), test_y).item(), 'ours': digit_accuracy(ours(test_x), test_y).item()}
    base = next(iter(times.values()))
    rows = {name: dict(times_as_fast=statistics.median(base)/statistics.median(t), lowest=min(b/s for b, s in zip(base, t)),
                       highest=max(b/s for b, s in zip(base, t)), seconds=statistics.median(t)) for name, t in times.items()}
    print(f'{digits}, {args.repeats} repeats, {torch.get_num_threads()} threads; accuracy after one epoch: '
          f'{", ".join(f"{k} {v:.4f}" for k, v in accuracies.items())}\n\n{"":32}{"times as fast":>14}{"lowest":>9}{"highest":>9}{"seconds":>9}')
    for name, row in rows.items():
        print(f'{name:32}{row["times_as_fast"]:14.2f}{row["lowest"]:9.2f}{row["highest"]:9.2f}{row["seconds"]:9.3f}')
    if args.out: args.out.write_text(json.dumps(dict(source=digits.source, repeats=args.repeats, accuracies=accuracies, results=rows), indent=2))


if __name__ == '__main__': main()
