"Seconds of training until a model gives 0.97, 0.99 and 0.994 on testing, as validation chose to train it."
import statistics
from functools import partial
from typing import Callable, NamedTuple

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


class Recipe(NamedTuple):
    "How a model is made and trained, and what validation chooses from"
    make: Callable  # called as make(seed, images)
    passes: tuple  # numbers of passes over the images, each tried on testing
    rates: tuple
    smoothing: tuple = (0.,)  # of the labels; 0.1 is the value of Szegedy et al. (2016)
    batches: type = Batches


RATES = 0.01, 0.02, 0.04, 0.08
RECIPES = {
    '784-64-10': Recipe(hidden(64), (1, 2, 4, 8), (0.005, *RATES[:-1])),
    '784-500-10': Recipe(hidden(500), (1, 2, 4), (0.005, *RATES[:-1])),
    'small convnet': Recipe(convnet, (1,), RATES, (0., 0.1)),
    'small convnet, shifts': Recipe(convnet, (2, 3), RATES, (0., 0.1), ShiftedBatches),
    'resnet18': Recipe(resnet, (1, 4), (0.01,))}  # its rate is the one that validation chose in lesson 6


def train(recipe, smoothing, rate, passes, seed, x, y):
    "A trained model, and the seconds that it took"
    model = recipe.make(seed, x)
    return model, train_model(model, x, y, rate, passes, seed, partial(F.cross_entropy, label_smoothing=smoothing),
                              recipe.batches, partial(torch.optim.AdamW, fused=True))


def validate(recipe, digits, seeds):
    "Median accuracy on the last sixth of the training images, after the most passes: (smoothing, rate) -> accuracy"
    cut, found = len(digits.train_y)*5//6, {}
    for choice in [(smoothing, rate) for smoothing in recipe.smoothing for rate in recipe.rates]:
        models = [train(recipe, *choice, max(recipe.passes), seed, digits.train_x[:cut], digits.train_y[:cut])[0] for seed in seeds]
        found[choice] = statistics.median(evaluate(model, digits.train_x[cut:], digits.train_y[cut:]).accuracy for model in models)
    return found


def choices(digits, seeds):
    "What validation chooses for each model, name -> (smoothing, rate), and the rows of a table that shows it"
    chosen, rows = {}, {}
    for name, recipe in tqdm(RECIPES.items(), 'validation', disable=None):  # None: only in a terminal
        open_to_choice = len(recipe.smoothing)*len(recipe.rates) > 1
        found = validate(recipe, digits, seeds) if open_to_choice else {(recipe.smoothing[0], recipe.rates[0]): 0.}
        chosen[name] = max(found, key=found.get)
        for smoothing in recipe.smoothing if open_to_choice else []:
            best = {'chosen': str(chosen[name][1]) if smoothing == chosen[name][0] else ''}
            rows[name + f', smoothing {smoothing}'*(len(recipe.smoothing) > 1)] = best | {f'rate_{rate}': f'{found[smoothing, rate]:.4f}' for rate in recipe.rates}
    return chosen, rows


def main(digits, repeats):
    chosen, rows = choices(digits, range(repeats, repeats + 3))  # other seeds than those of the runs below
    yield dict(title='chosen by the accuracy on the last sixth of the training images, held out; medians over three seeds', rows=rows)
    runs = {(name, passes): f'{name}, {passes} {"passes" if passes > 1 else "pass"}' for name, recipe in RECIPES.items() for passes in recipe.passes}
    shares, seconds = ({run: [] for run in runs.values()} for _ in range(2))
    for seed in range(repeats):
        for (name, passes), run in tqdm(runs.items(), f'seed {seed + 1} of {repeats}', disable=None):
            model, taken = train(RECIPES[name], *chosen[name], passes, seed, digits.train_x, digits.train_y)
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
