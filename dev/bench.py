"""Speed as ratios: `make bench`, or `make bench ARGS='epoch --repeats 9'`.

What is compared takes turns, after a first round that isn't counted, and a ratio is one of medians.
So a machine that slows down for a while does no harm, and ratios from different machines can be
compared. Seconds can't."""
import argparse, gzip, statistics, sys, tempfile, time
from pathlib import Path

import numpy as np, torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from digitlab.data import idx_bytes, read_digits
from digitlab.learner import Batches, DigitLearner
from digitlab.tensors import make_generator, scale_pixels

BS = 256
STEMS = {'train': 'train', 'test': 't10k'}


def compare(title, steps, repeats): # steps: name -> function
    "Print how many times as fast as the first each step is"
    times = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if repeat: times[name].append(time.perf_counter() - start)
    base = times[next(iter(times))]
    print(f'\n{title}')
    for name, taken in times.items():
        each = [b/t for b, t in zip(base, taken)]
        ratio, seconds = statistics.median(base)/statistics.median(taken), statistics.median(taken)
        print(f'  {name:34} {ratio:7.2f} x  ({min(each):.2f} to {max(each):.2f})  {seconds:8.4f} s')


def write_copies(digits, folder):
    "The digits as plain IDX, as gzipped IDX and as a tree of PNGs; the three folders"
    plain, zipped, tree = (Path(folder, name) for name in ('plain', 'zipped', 'tree'))
    plain.mkdir(), zipped.mkdir()
    for part, stem in STEMS.items():
        x, y = getattr(digits, f'{part}_x'), getattr(digits, f'{part}_y')
        for name, array in (('images-idx3', x), ('labels-idx1', y.byte())):
            raw = bytes(idx_bytes(array.numpy()))
            (plain/f'{stem}-{name}-ubyte').write_bytes(raw)
            (zipped/f'{stem}-{name}-ubyte.gz').write_bytes(gzip.compress(raw, 6))
        for i, (image, label) in enumerate(zip(x.numpy(), y.tolist())):
            home = tree/f'{part}ing'/str(label)
            home.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(home/f'{i}.png')
    return plain, zipped, tree


def reading(digits, repeats):
    "Reading the digits, against a loop that opens each PNG"
    with tempfile.TemporaryDirectory() as folder:
        plain, zipped, tree = write_copies(digits, folder)
        def loop():
            return torch.stack([torch.tensor(np.array(Image.open(p)))
                                for p in tree.glob('*/*/*.png')])
        compare(f'reading {len(digits.train_y) + len(digits.test_y):,} images', {
            'a loop over the PNGs': loop, 'PNG tree': lambda: read_digits(str(tree)),
            'IDX': lambda: read_digits(str(plain)),
            'IDX, gzipped': lambda: read_digits(str(zipped))}, repeats)


def network(): return nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))

def products(x):
    "The five matrix products of an epoch of `network`, and nothing else"
    w, v = torch.rand(784, 64), torch.rand(64, 10)
    hidden, scores = torch.rand(BS, 64), torch.rand(BS, 10)
    for xb in x.split(BS):
        h, s = hidden[:len(xb)], scores[:len(xb)]
        xb @ w, h @ v, h.T @ s, s @ v.T, xb.T @ h

def epoch(digits, repeats):
    "An epoch of 784-64-10, against its matrix products alone"
    x, y = scale_pixels(digits.train_x).flatten(1), digits.train_y
    learner = DigitLearner(network(), Batches(x, y, BS, make_generator(0)), None, F.cross_entropy,
                           0.1)
    compare(f'an epoch of 784-64-10 on {len(x):,} images', {
        'the matrix products alone': lambda: products(x),
        'DigitLearner': lambda: learner.fit(1)}, repeats)


def batches(digits, repeats):
    "Going through shuffled mini-batches, against PyTorch's DataLoader"
    x, y = scale_pixels(digits.train_x).flatten(1), digits.train_y
    theirs = DataLoader(TensorDataset(x, y), BS, shuffle=True)
    ours = Batches(x, y, BS, make_generator(0))
    compare(f'{len(x):,} images in batches of {BS}', {
        "PyTorch's DataLoader": lambda: list(theirs), 'Batches': lambda: list(ours)}, repeats)


def resnet(digits, repeats):
    "resnet18 on 1,024 images, as it comes, and as lesson 7 trims it"
    from torchvision.models import resnet18
    from digitlab.compare import InBfloat16, train_model, trim_padding
    from digitlab.convnet import PixelInput
    x, y = digits.train_x[:1024], digits.train_y[:1024]
    def make(): return nn.Sequential(PixelInput(3), resnet18(num_classes=10))
    trimmed = trim_padding(make(), x[:2]).to(memory_format=torch.channels_last)
    models = {'stock': make(), 'trimmed': trimmed, 'trimmed, bfloat16': InBfloat16(trimmed)}
    compare('resnet18, a pass over 1,024 images', {
        name: lambda m=model: train_model(m, x, y, 1e-3, 1,
                                          0) for name, model in models.items()}, repeats)


PARTS = {f.__name__: f for f in (reading, epoch, batches, resnet)}


def main():
    parser = argparse.ArgumentParser(prog='make bench', description=__doc__.split('\n')[0])
    parser.add_argument('part', nargs='*', help=f'of {", ".join(PARTS)}; all if left out')
    parser.add_argument('--source', default='auto', help='auto, mnist, digits or a folder')
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    if wrong := set(args.part) - set(PARTS):
        sys.exit(f'no part {", ".join(sorted(wrong))}; there are {", ".join(PARTS)}')
    digits = read_digits(args.source)
    print(f'{digits.kind}, torch {torch.__version__}, {torch.get_num_threads()} threads')
    for part in args.part or PARTS: PARTS[part](digits, args.repeats)


if __name__ == '__main__': main()
