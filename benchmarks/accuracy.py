"Seconds of training until a model gives 0.97, 0.99 and 0.994 on testing, the passes chosen beforehand; medians over seeds."
import statistics

import torch
from torch import nn

from digitlab.compare import InBfloat16, PixelInput, ShiftedBatches, evaluate, small_convnet, train_model
from digitlab.learner import Batches
from digitlab.mlp import mlp
from digitlab.tensors import make_generator


def main(digits, repeats):
    def hidden(seed): return nn.Sequential(PixelInput(), mlp((784, 64, 10), make_generator(seed), nn.ReLU))
    def convnet(seed): return InBfloat16(small_convnet(make_generator(seed)))
    rows = {}
    for name, make, lr, epochs, batches in (('784-64-10, ReLU', hidden, 0.01, 3, Batches), ('784-64-10, ReLU', hidden, 0.01, 6, Batches),
                                            ('small convnet', convnet, 0.02, 1, Batches), ('small convnet, shifts', convnet, 0.02, 2, ShiftedBatches),
                                            ('small convnet, shifts', convnet, 0.02, 4, ShiftedBatches)):
        runs = []
        for seed in range(repeats):
            model = make(seed)
            seconds = train_model(model, digits.train_x, digits.train_y, lr, epochs, seed, batches=batches)
            runs.append((evaluate(model, digits.test_x, digits.test_y).accuracy, seconds))
        shares, seconds = zip(*runs)
        rows[f'{name}, {epochs} passes'] = dict(accuracy=f'{statistics.median(shares):.4f}', lowest=f'{min(shares):.4f}', seconds=statistics.median(seconds),
            **{f'reaches_{goal}': f'{sum(share >= goal for share in shares)} of {repeats}' for goal in (0.97, 0.99, 0.994)})
    yield dict(title=f'accuracy on testing and seconds of training, {repeats} seeds, {torch.get_num_threads()} threads', rows=rows)
