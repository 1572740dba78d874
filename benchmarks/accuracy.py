"Seconds of training until a model gives 0.97, 0.99 and 0.994 on testing, the passes chosen beforehand; medians over seeds."
import statistics
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from digitlab.compare import InBfloat16, PixelInput, ShiftedBatches, evaluate, small_convnet, train_model
from digitlab.learner import Batches
from digitlab.mlp import mlp
from digitlab.tensors import make_generator

from .convnets import quick_resnet

GOALS = 0.97, 0.99, 0.994


def hidden(units): return lambda seed, x: nn.Sequential(PixelInput(), mlp((784, units, 10), make_generator(seed)))

def convnet(seed, x): return InBfloat16(small_convnet(make_generator(seed)))

def resnet(seed, x):
    torch.manual_seed(seed)
    return quick_resnet(x)


def main(digits, repeats):
    rows, adam = {}, partial(torch.optim.AdamW, fused=True)
    for name, make, lr, epochs, batches, loss, seeds in (
            ('784-64-10, ReLU', hidden(64), 0.01, 6, Batches, F.cross_entropy, repeats),
            ('784-500-10, ReLU', hidden(500), 0.003, 3, Batches, F.cross_entropy, repeats),
            ('small convnet', convnet, 0.02, 1, Batches, F.cross_entropy, repeats),
            ('small convnet, shifts', convnet, 0.02, 2, ShiftedBatches, F.cross_entropy, repeats),
            ('small convnet, shifts', convnet, 0.02, 4, ShiftedBatches, F.cross_entropy, repeats),
            ('small convnet, shifts, smoothed labels', convnet, 0.03, 3, ShiftedBatches, partial(F.cross_entropy, label_smoothing=0.1), repeats),
            ('resnet18', resnet, 0.01, 2, Batches, F.cross_entropy, 1)):
        shares, seconds = [], []
        for seed in range(seeds):
            model = make(seed, digits.train_x)
            seconds.append(train_model(model, digits.train_x, digits.train_y, lr, epochs, seed, loss, batches, adam))
            shares.append(evaluate(model, digits.test_x, digits.test_y).accuracy)
        rows[f'{name}, {epochs} {"passes" if epochs > 1 else "pass"}'] = dict(accuracy=f'{statistics.median(shares):.4f}', lowest=f'{min(shares):.4f}',
            seconds=statistics.median(seconds), **{f'reaches_{goal}': f'{sum(share >= goal for share in shares)} of {seeds}' for goal in GOALS})
    yield dict(title=f'accuracy on testing and seconds of training, medians over the seeds, {torch.get_num_threads()} threads', rows=rows)
