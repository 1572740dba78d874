"""Speed as ratios: `make bench`, or `make bench ARGS='epoch --repeats 9'`.

What is compared takes turns, after a first round that isn't counted, and a ratio is one of medians.
So a machine that slows down for a while does no harm, and ratios from different machines can be
compared. Seconds can't. `card` needs a CUDA device, and measures what lesson 9 quotes."""
import argparse, gc, statistics, sys, time
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from unittest.mock import patch

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from digitlab.compare import evaluate, make_network
from digitlab.data import Digits, find_digits, read_digits
from digitlab.learner import Batches, DigitLearner, plain_step
from digitlab.scale import CapturedStep, bf16_step, fused_adamw, train_together
from digitlab.tensors import make_generator, scale_pixels

BS = 256


def measure(title, steps, repeats): # steps: name -> function, which may take its own time
    "Print how many times as long as the first each step takes; the medians in seconds"
    times = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            seconds = step()
            if torch.cuda.is_available(): torch.cuda.synchronize()
            if not isinstance(seconds, float): seconds = time.perf_counter() - start
            if repeat: times[name].append(seconds)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    base = next(iter(medians.values()))
    print(f'\n{title}')
    for name, seconds in medians.items():
        low, high = min(times[name]), max(times[name])
        print(f'  {name:38} {seconds/base:8.2f} x  {seconds:8.3f} s ({low:.3f} to {high:.3f})')
    return medians


def network(): return nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))

def products(x):
    "The five matrix products of an epoch of `network`, and nothing else"
    w, v = torch.rand(784, 64), torch.rand(64, 10)
    hidden, scores = torch.rand(BS, 64), torch.rand(BS, 10)
    for xb in x.split(BS):
        h, s = hidden[:len(xb)], scores[:len(xb)]
        xb @ w, h @ v, h.T @ s, s @ v.T, xb.T @ h

def plain_loop(batches, model, lr=.1):
    "An epoch as the write-ups train it"
    for xb, yb in batches:
        F.cross_entropy(model(xb), yb).backward()
        for p in model.parameters():
            p.data -= lr*p.grad
            p.grad = None

def epoch(digits, repeats):
    "An epoch of 784-64-10: its matrix products alone, ours, and what others do"
    import fastai.callback.progress  # gives the learner `no_bar`
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader as FastaiLoader
    from fastai.learner import Learner
    from fastai.optimizer import SGD
    from sklearn.neural_network import MLPClassifier
    x, y = scale_pixels(digits.train_x).flatten(1), digits.train_y
    batches = Batches(x, y, BS, make_generator(0))
    ours = DigitLearner(network(), batches, None, F.cross_entropy, .1)
    torchs = DataLoader(TensorDataset(x, y), BS, shuffle=True)
    fastais = FastaiLoader(list(zip(x, y)), bs=BS, shuffle=True)
    both = DataLoaders(fastais, Batches(x[:BS], y[:BS]))
    learner = Learner(both, network(), F.cross_entropy, opt_func=SGD)
    def fastai_epoch():
        with learner.no_bar(), learner.no_logging(): learner.fit(1, .1)
    sklearns = MLPClassifier(64, solver='sgd', momentum=0, batch_size=BS, max_iter=1)
    pixels, labels, ten, model = x.numpy(), y.numpy(), list(range(10)), network()
    found = measure(f'an epoch of 784-64-10 on {len(x):,} images', {
        'the matrix products alone': lambda: products(x), 'DigitLearner': lambda: ours.fit(1),
        "scikit-learn's MLPClassifier": lambda: sklearns.partial_fit(pixels, labels, classes=ten),
        "a loop over torch's DataLoader": lambda: plain_loop(torchs, model),
        "the write-ups' loop, fastai's DataLoader": lambda: plain_loop(fastais, model),
        "fastai's Learner": fastai_epoch}, repeats)
    print(f'  wanted: 1.8, got {found["DigitLearner"]/found["the matrix products alone"]:.2f}')


def trained(digits, name, scores, **options):
    "Train a network from the start, and note its accuracy on the test set; the seconds of training"
    seed = len(scores)
    model = make_network(name, make_generator(seed)).to(digits.train_x.device,
                                                        memory_format=torch.channels_last)
    gc.collect()  # what the one before left, its recorded step too
    start = time.perf_counter()
    with redirect_stdout(StringIO()):
        train_together(model, digits.train_x, digits.train_y, seed=seed, **options)
    seconds = time.perf_counter() - start
    scores.append(evaluate(model, digits.test_x, digits.test_y).accuracy)
    return seconds

def convnet(digits, repeats):
    "An epoch of the small convnet, from the start, and what that reaches"
    def in_float32(): # as on a processor without a unit for bfloat16
        with patch('torch.cpu.get_capabilities', dict):
            return trained(digits, 'convnet', [], lr=.04, epochs=1)
    scores = []
    found = measure('the small convnet, an epoch in batches of 128', {
        'digitlab train': partial(trained, digits, 'convnet', scores, lr=.04, epochs=1),
        'in float32': in_float32}, repeats)
    print(f'  wanted: 0.99 in 5 s, got {statistics.median(scores):.4f} in '
          f'{found["digitlab train"]:.1f} s')


RUNS = [('convnet', 256, 2, .02), ('convnet', 512, 3, .03), ('resnet18', 128, 4, .01),
        ('resnet18', 512, 4, .01), ('resnet18', 1024, 4, .01)]  # images in a batch, epochs, rate

def card(digits, repeats):
    "What a captured step gives, on a card"
    torch.backends.cudnn.benchmark = True  # tries its algorithms in the round that isn't counted
    n = len(digits.train_x)
    there = Digits(*(tensor.cuda() for tensor in digits[:4]), *digits[4:])
    x, y = scale_pixels(there.train_x).flatten(1), there.train_y
    steps = {'step by step': plain_step, 'captured': CapturedStep(),
             'captured, in bfloat16': CapturedStep(bf16_step)}
    learners = {name: DigitLearner(network().cuda(), Batches(x, y, BS, make_generator(0)), None,
                                   F.cross_entropy, .01, fused_adamw, step=step)
                for name, step in steps.items()}
    measure('an epoch of 784-64-10 on the card', {name: partial(learner.fit, 1) for name, learner
                                                  in learners.items()}, repeats)
    scores = {f'{name}, batch {bs}, {epochs} epochs': [] for name, bs, epochs, _ in RUNS}
    ours = measure('from the start, captured; seconds of training', {
        title: partial(trained, there, name, scores[title], bs=bs, epochs=epochs, lr=lr)
        for title, (name, bs, epochs, lr) in zip(scores, RUNS)}, repeats)
    for title, values in scores.items():
        print(f'  {title}: accuracy {statistics.median(values):.4f}, '
              f'least {min(values):.4f}, most {max(values):.4f}')
    theirs = measure('the published pipeline, resnet18', {
        'an epoch': published_epoch(find_digits(digits))}, 1)['an epoch']
    print(f'  images a second: {n/theirs:,.0f}')
    for title, (_, _, epochs, _) in zip(scores, RUNS):
        print(f'  {title}: {epochs*n/ours[title]:,.0f}, {epochs*theirs/ours[title]:.1f} times that')
    print('  wanted: 20 times, resnet18')

def published_epoch(path):
    "An epoch of the book's lines, on the card"
    from fastai.vision.all import ImageDataLoaders, resnet18, vision_learner
    files = ImageDataLoaders.from_folder(path, train='training', valid='testing', device='cuda')
    learner = vision_learner(files, resnet18, pretrained=False, loss_func=F.cross_entropy)
    def epoch():
        with learner.no_bar(), learner.no_logging(): learner.fit_one_cycle(1, .1)
    return epoch


PARTS = {f.__name__: f for f in (epoch, convnet, card)}


def main():
    parser = argparse.ArgumentParser(prog='make bench', description=__doc__.split('\n')[0])
    parser.add_argument('part', nargs='*', default=['epoch', 'convnet'], help=', '.join(PARTS))
    parser.add_argument('--source', default='auto', help='auto, mnist, digits or a folder')
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    if wrong := set(args.part) - set(PARTS):
        sys.exit(f'no part {", ".join(sorted(wrong))}; there are {", ".join(PARTS)}')
    digits = read_digits(args.source)
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else 'no card'
    print(f'{digits.kind}, torch {torch.__version__}, {torch.get_num_threads()} threads, {where}')
    for part in args.part: PARTS[part](digits, args.repeats)


if __name__ == '__main__': main()
