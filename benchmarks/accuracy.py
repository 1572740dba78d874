"Seconds of training until a model gives 0.97, 0.99 and 0.994 on testing, at rates that validation chose."
import statistics
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from digitlab.compare import InBfloat16, PixelInput, ShiftedBatches, evaluate, small_convnet, train_model
from digitlab.learner import Batches
from digitlab.mlp import mlp
from digitlab.tensors import make_generator

from .convnets import quick_resnet
from .timing import ratios

GOALS = 0.97, 0.99, 0.994


def hidden(units): return lambda seed, x: nn.Sequential(PixelInput(), mlp((784, units, 10), make_generator(seed)))

def convnet(seed, x): return InBfloat16(small_convnet(make_generator(seed)))

def resnet(seed, x):
    torch.manual_seed(seed)
    return quick_resnet(x)


smoothed = partial(F.cross_entropy, label_smoothing=0.1)
MODELS = {  # how it is made, the rates to choose from, the numbers of passes, and what else `train_model` is to know
    '784-64-10, ReLU': (hidden(64), (0.003, 0.01, 0.03), (1, 2, 4, 8), {}),
    '784-500-10, ReLU': (hidden(500), (0.001, 0.003, 0.01), (1, 2, 4), {}),
    'small convnet': (convnet, (0.01, 0.02, 0.03), (1,), {}),
    'small convnet, shifts': (convnet, (0.02, 0.03, 0.04), (2, 3, 4), dict(batches=ShiftedBatches)),
    'small convnet, shifts, smoothed labels': (convnet, (0.02, 0.03, 0.04), (2, 3), dict(batches=ShiftedBatches, loss=smoothed)),
    'resnet18': (resnet, (0.01,), (1, 4), {})}  # its rate is the one that validation chose in lesson 6


def train(name, rate, passes, seed, x, y):
    "A trained model, and the seconds that it took"
    make, _, _, settings = MODELS[name]
    model = make(seed, x)
    return model, train_model(model, x, y, rate, passes, seed, opt=partial(torch.optim.AdamW, fused=True), **settings)


def validate(digits, seeds):
    "Median accuracy of each model at each of its rates, on the last sixth of the training images"
    cut = len(digits.train_y)*5//6
    parts = digits.train_x[:cut], digits.train_y[:cut]
    def share(name, rate, passes, seed): return evaluate(train(name, rate, passes, seed, *parts)[0], digits.train_x[cut:], digits.train_y[cut:]).accuracy
    return {name: {rate: statistics.median(share(name, rate, max(passes), seed) for seed in seeds) for rate in rates}
            for name, (_, rates, passes, _) in tqdm(MODELS.items(), 'rates', disable=None) if len(rates) > 1}


def main(digits, repeats):
    found = validate(digits, range(repeats, repeats + 3))  # other seeds than those of the runs below
    chosen = {name: max(found[name], key=found[name].get) if name in found else rates[0] for name, (_, rates, _, _) in MODELS.items()}
    yield dict(title='choosing the rate: accuracy on the last sixth of the training images, held out; medians over three seeds',
               rows={name: {f'rate_{i + 1}': f'{rate}: {share:.4f}' for i, (rate, share) in enumerate(shares.items())} for name, shares in found.items()})
    runs = {(name, passes): f'{name}, {passes} {"passes" if passes > 1 else "pass"}' for name, (_, _, every, _) in MODELS.items() for passes in every}
    shares, seconds = ({run: [] for run in runs.values()} for _ in range(2))
    for seed in range(repeats):
        for (name, passes), run in tqdm(runs.items(), f'seed {seed + 1} of {repeats}', disable=None):  # None: only in a terminal
            model, taken = train(name, chosen[name], passes, seed, digits.train_x, digits.train_y)
            seconds[run].append(taken)
            shares[run].append(evaluate(model, digits.test_x, digits.test_y).accuracy)
    for goal in GOALS:
        there = {}  # of each model the fewest passes that are enough
        for (name, passes), run in runs.items():
            if statistics.median(shares[run]) >= goal: there.setdefault(name, run)
        if not there: continue
        times = {run: seconds[run] for run in there.values()}
        slowest = max(times, key=lambda run: statistics.median(times[run]))
        yield dict(title=f'training to {goal} on testing, medians over the seeds, {torch.get_num_threads()} threads', rows={
            run: row | dict(accuracy=f'{statistics.median(shares[run]):.4f}', from_to=f'{min(shares[run]):.4f} {max(shares[run]):.4f}',
                            got_there=f'{sum(share >= goal for share in shares[run])} of {repeats}')
            for run, row in ratios(times, slowest).items()})
