"""How fast the digits are read, as ratios to the naive loop, in one run.

Each line is a ratio of medians over interleaved repeats; the spread is from the lowest to the highest ratio within a repeat.
The disk's cache is warm: the first, unmeasured round has read every file.
"""
import argparse, json, os, shutil, statistics, tempfile, time
from pathlib import Path

import numpy as np, torch
from PIL import Image

from digitlab.data import find_digits, idx_bytes, read_digits


def naive(tree):
    "The loop that most people write first"
    paths = sorted(tree.glob('*/*/*.png'))
    return torch.stack([torch.tensor(np.array(Image.open(path))) for path in paths])


def first(source):
    "Read with an empty cache"
    shutil.rmtree(os.environ['DIGITLAB_CACHE'], ignore_errors=True)
    return read_digits(source)


def seconds(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def write_idx(digits, folder):
    for stem, x, y in (('train', digits.train_x, digits.train_y), ('t10k', digits.test_x, digits.test_y)):
        (folder/f'{stem}-images-idx3-ubyte').write_bytes(idx_bytes(x.numpy()))
        (folder/f'{stem}-labels-idx1-ubyte').write_bytes(idx_bytes(y.byte().numpy()))


def main():
    parser = argparse.ArgumentParser(description='Measure how fast the digits are read, against the naive loop.')
    parser.add_argument('--source', default='auto', help='auto, mnist, digits, or a folder (default: auto)')
    parser.add_argument('--repeats', type=int, default=5, help='interleaved repeats (default: 5)')
    parser.add_argument('--out', type=Path, help='a JSON file for the results')
    args = parser.parse_args()
    digits, tree = read_digits(args.source), find_digits(args.source)
    times = {}
    with tempfile.TemporaryDirectory() as home:
        os.environ['DIGITLAB_CACHE'] = f'{home}/cache'
        idx = Path(home)/'idx'
        idx.mkdir()
        write_idx(digits, idx)
        steps = {'naive loop': (naive, tree), 'tree, first load': (first, tree), 'tree, later load': (read_digits, tree),
                 'IDX, first load': (first, idx), 'IDX, later load': (read_digits, idx)}
        for repeat in range(args.repeats + 1):
            for name, step in steps.items():
                took = seconds(*step)
                if repeat: times.setdefault(name, []).append(took)
    base = times['naive loop']
    rows = {name: dict(times_as_fast=statistics.median(base) / statistics.median(t), lowest=min(b / x for b, x in zip(base, t)),
                       highest=max(b / x for b, x in zip(base, t)), seconds=statistics.median(t)) for name, t in times.items()}
    print(f'{digits}, {args.repeats} repeats\n\n{"":18}{"times as fast":>14}{"lowest":>9}{"highest":>9}{"seconds":>9}')
    for name, row in rows.items():
        print(f'{name:18}{row["times_as_fast"]:14.1f}{row["lowest"]:9.1f}{row["highest"]:9.1f}{row["seconds"]:9.3f}')
    if args.out: args.out.write_text(json.dumps(dict(source=digits.source, repeats=args.repeats, results=rows), indent=2))


if __name__ == '__main__': main()
