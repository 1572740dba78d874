"resnet18 and the small convnet: images per second against fastai's pipeline from files, and against the bare step on a fixed batch."
import tempfile, warnings
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from fastai.callback import progress, schedule
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import OptimWrapper
from fastai.vision.data import ImageDataLoaders
from fastai.vision.learner import create_vision_model, vision_learner
from PIL import Image
from torch import nn
from torchvision.models import resnet18

from digitlab.compare import InBfloat16, PixelInput, small_convnet, train_model, trim_padding
from digitlab.learner import Batches
from digitlab.tensors import make_generator

from .timing import compare, sizes

ROOM = 2048  # images in a pass


def write_tree(x, y, folder):
    for part, some in (('training', slice(0, ROOM)), ('testing', slice(0, 64))):
        for digit in range(10): (folder/part/str(digit)).mkdir(parents=True)
        for i, (image, label) in enumerate(zip(x[some].numpy(), y[some].tolist())):
            Image.fromarray(image).save(folder/part/str(label)/f'{i}.png')


def bare_step(model, x, y, n):
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    def run():
        for _ in range(n):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()
    return run


def quick_resnet(x):
    "resnet18 for images like `x`, as lesson 6 builds it"
    net = trim_padding(nn.Sequential(PixelInput(3), create_vision_model(resnet18, 10, pretrained=False)), x[:2])
    return InBfloat16(net.to(memory_format=torch.channels_last))


def main(digits, repeats):
    x, y = digits.train_x[:ROOM], digits.train_y[:ROOM]
    def quietly(learn):
        def run():
            with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, 1e-3)
        return run
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        write_tree(x, y, Path(folder))
        files = ImageDataLoaders.from_folder(folder, train='training', valid='testing', num_workers=0)  # workers would compete for the same cores
        loaders = DataLoaders(Batches(x, y, 128, make_generator(0)), Batches(x[:64], y[:64], 64))
        fused = partial(OptimWrapper, opt=torch.optim.AdamW, fused=True)
        n = -(-len(x)//128)
        yield compare(f'resnet18, a pass over {len(x):,} images, {torch.get_num_threads()} threads', {
            'fastai from_folder': quietly(vision_learner(files, resnet18, pretrained=False, loss_func=F.cross_entropy)),
            'tensors, trimmed, bfloat16': quietly(Learner(loaders, quick_resnet(x), loss_func=F.cross_entropy, opt_func=fused)),
            'the bare step on one batch of 128': bare_step(quick_resnet(x), x[:128], y[:128], n)}, repeats, images=len(x))
        nets = [InBfloat16(small_convnet(make_generator(0))) for _ in range(2)]
        yield compare(f'small convnet, a pass over {len(x):,} images', {
            'fastai from_folder': quietly(Learner(files, nn.Sequential(Grey(), small_convnet(make_generator(0))), loss_func=F.cross_entropy)),
            'train_model': lambda: train_model(nets[0], x, y, 0.01, 1, 0),
            'the bare step on one batch of 128': bare_step(nets[1], x[:128], y[:128], n)}, repeats, images=len(x))
    every = {n: (digits.train_x[:n], digits.train_y[:n]) for n in sizes(len(digits.train_y)) if n <= len(digits.train_y)}
    net = InBfloat16(small_convnet(make_generator(0)))
    yield compare('small convnet, a pass by the number of images',
        {f'{n:,}': lambda pair=pair: train_model(net, *pair, 0.01, 1, 0) for n, pair in every.items()}, repeats, base=f'{len(digits.train_y):,}')


class Grey(nn.Module):
    "The first of three equal channels"
    def forward(self, x): return x[:, 0]
