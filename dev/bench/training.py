"An epoch of small networks: `Batches` and `DigitLearner` against loops over fastai's and PyTorch's DataLoader, and against the matrix products alone."
import torch
import torch.nn.functional as F
from fastai.data.load import DataLoader
from torch import nn
from torch.utils.data import DataLoader as TorchLoader, TensorDataset

from digitlab.learner import Batches, DigitLearner
from digitlab.tensors import make_generator, scale_pixels

from .timing import compare, sizes

BS = 256


def network(widths):
    layers = [layer for a, b in zip(widths, widths[1:]) for layer in (nn.Linear(a, b), nn.Sigmoid())]
    return nn.Sequential(*layers[:-1])


def by_hand(model, loader, lr=0.5):
    "The loop that the chapter writes first"
    for xb, yb in loader:
        F.cross_entropy(model(xb), yb).backward()
        for p in model.parameters():
            p.data -= p.grad*lr
            p.grad.zero_()


def products(x, widths):
    "The matrix products of an epoch: forward, gradients of the weights, and gradients of what enters all layers but the first"
    weights, inner = [torch.rand(a, b) for a, b in zip(widths, widths[1:])], [torch.rand(BS, n) for n in widths[1:]]
    def run():
        for xb in x.split(BS):
            ins, outs = [xb, *(h[:len(xb)] for h in inner[:-1])], [h[:len(xb)] for h in inner]
            for i, (w, entering, grad) in enumerate(zip(weights, ins, outs)):
                entering @ w, entering.T @ grad
                if i: grad @ w.T
    return run


def main(digits, repeats):
    x, y = scale_pixels(digits.train_x).flatten(1), digits.train_y
    pairs = list(zip(x, y))
    for widths in ((784, 10), (784, 64, 10), (784, 500, 10)):
        models = [network(widths) for _ in range(3)]
        learner = DigitLearner(models[2], Batches(x, y, BS, make_generator(0)), None, F.cross_entropy, 0.5)
        yield compare(f'an epoch of {"-".join(map(str, widths))} on {len(x):,} images, batches of {BS}, {torch.get_num_threads()} threads',
            {"by hand over fastai's DataLoader": lambda: by_hand(models[0], DataLoader(pairs, bs=BS, shuffle=True)),
             "by hand over PyTorch's DataLoader": lambda: by_hand(models[1], TorchLoader(TensorDataset(x, y), BS, shuffle=True)),
             'Batches and DigitLearner': lambda: learner.fit(1),
             'the matrix products alone': products(x, widths)}, repeats)
    learners = {}
    for n in sizes(len(x)):
        many_x, many_y = x.repeat(max(1, n//len(x)), 1)[:n], y.repeat(max(1, n//len(x)))[:n]
        learners[f'{n:,}'] = DigitLearner(network((784, 64, 10)), Batches(many_x, many_y, BS, make_generator(0)), None, F.cross_entropy, 0.5)
    yield compare('an epoch of 784-64-10, by the number of images',
        {name: lambda one=one: one.fit(1) for name, one in learners.items()}, repeats, base=f'{len(x):,}')
