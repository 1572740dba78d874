"""Train the small convnet that comes with the package: `python dev/model.py FILE`, a few minutes on two cores.

By default it learns MNIST alone, each batch shifted by up to a pixel. With `--nondigits 4000` it also sees as
many letters, scribbles and pieces of photographs, for which all ten digits are to be equally likely, and all
images are turned, stretched, thinned or made coarse, anew in each pass. Such networks know when to doubt,
but they read other people's digits less well (lesson 8)."""
import argparse, time
from pathlib import Path

import matplotlib, numpy as np, torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from scipy.interpolate import make_interp_spline
from sklearn.datasets import load_sample_images

from digitlab.compare import train_model
from digitlab.convnet import ShiftedBatches, small_convnet
from digitlab.data import read_digits
from digitlab.learner import Batches
from digitlab.predict import default_model_path, normalize_picture, save_model
from digitlab.tensors import make_generator, scale_pixels

LETTERS = 'ACEFHKMNPRUVWXadefhkmnpruvwx&@#%$?'  # none that could pass for a digit
FONTS = [path for path in sorted(Path(matplotlib.get_data_path(), 'fonts', 'ttf').glob('*.ttf'))
         if path.name.startswith(('DejaVu', 'STIXGeneral')) and 'Display' not in path.name]
PHOTOS = [Image.fromarray(image).convert('L') for image in load_sample_images().images]

def draw_letter(rng):
    "A letter, upright or nearly so"
    image, font = Image.new('L', (120, 120), 255), ImageFont.truetype(str(rng.choice(FONTS)), 80)
    ImageDraw.Draw(image).text((60, 60), str(rng.choice(list(LETTERS))), fill=0, font=font, anchor='mm')
    return image.rotate(rng.uniform(-12, 12), fillcolor=255)

def draw_strokes(rng):
    "Three to five long strokes that lead nowhere"
    image = Image.new('L', (120, 120), 255)
    for _ in range(rng.integers(3, 6)):
        n, width = rng.integers(4, 8), int(rng.integers(2, 10))
        curve = make_interp_spline(np.linspace(0, 1, n), rng.uniform(12, 108, (n, 2)))
        points = [tuple(point) for point in curve(np.linspace(0, 1, 40))]
        ImageDraw.Draw(image).line(points, fill=0, width=width, joint='curve')
    return image

def cut_patch(rng):
    "A square of one of scikit-learn's two photographs"
    photo, side = PHOTOS[rng.integers(len(PHOTOS))], rng.integers(30, 250)
    x, y = rng.integers(photo.width - side), rng.integers(photo.height - side)
    return photo.crop((x, y, x + side, y + side))

def make_nondigits(n, seed):
    "Pictures without a digit, as the network gets to see them: uint8 [n,28,28]"
    rng, images = np.random.default_rng(seed), []
    kinds = (draw_letter, draw_strokes, cut_patch)
    while len(images) < n:
        picture = kinds[len(images) % 3](rng)
        try: images.append(normalize_picture(np.asarray(picture)/255))
        except ValueError: pass  # refused already
    return torch.stack(images) if images else torch.zeros(0, 28, 28, dtype=torch.uint8)

def vary(images, generator):
    "Turn, stretch and shift each image, change its strokes, and make some of them coarse"
    def draw(low, high): return low + (high - low)*torch.rand(len(images), generator=generator)
    turn, slant, tall, wide = draw(-.2, .2), draw(-.25, .25), draw(.9, 1.15), draw(.9, 1.15)
    cos, sin, shift = turn.cos(), turn.sin(), torch.stack([draw(-.1, .1), draw(-.1, .1)], 1)
    turned = torch.stack([torch.stack([wide*cos, slant - sin], 1), torch.stack([sin, tall*cos], 1)], 1)
    grid = F.affine_grid(torch.cat([turned, shift[:, :, None]], 2), [len(images), 1, 28, 28], False)
    images = F.grid_sample(images[:, None], grid, align_corners=False)
    width = draw(-.8, .6)[:, None, None, None]  # from a pixel thinner to half a pixel thicker
    thick, thin = F.max_pool2d(images, 3, 1, 1), -F.max_pool2d(-images, 3, 1, 1)
    images = images + width.clamp(0)*(thick - images) - (-width).clamp(0)*(images - thin)
    side = torch.randint(12, 25, (), generator=generator).item()  # a coarse scan in black and white
    coarse = (F.interpolate(images, [side, side], mode='area') > .3).float()
    coarse = F.interpolate(coarse, [28, 28], mode='bilinear')
    images = torch.where(draw(0, 1)[:, None, None, None] < .3, coarse, images)
    return (images[:, 0]*draw(1, 2)[:, None, None]).clamp(0, 1)

def train(digits, nondigits, seed, epochs):
    "A small convnet, trained"
    if not len(nondigits):
        model = small_convnet(make_generator(seed))
        train_model(model, digits.train_x, digits.train_y, 0.01, epochs, seed, batches=ShiftedBatches)
        return model.eval()
    x = torch.cat([digits.train_x, nondigits])
    alike = torch.full((len(nondigits), 10), 0.1)
    y = torch.cat([F.one_hot(digits.train_y, 10).float(), alike])
    model, generator = small_convnet(make_generator(seed)), make_generator(seed)
    batches = Batches(x, y, 128, generator)
    opt = torch.optim.AdamW(model.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, 0.01, total_steps=epochs*len(batches))
    for epoch in range(epochs):
        start = time.perf_counter()
        for xb, yb in batches:
            opt.zero_grad()
            F.cross_entropy(model(vary(scale_pixels(xb), generator)), yb).backward()
            opt.step()
            schedule.step()
        print(f'epoch {epoch + 1} of {epochs}: {accuracy(model, digits):.4f} '
              f'on the test set, {time.perf_counter() - start:.0f} s', flush=True)
    return model.eval()

@torch.no_grad()
def accuracy(model, digits):
    "The share of the test set that is right; the model goes on training"
    n_correct = sum((model.eval()(xb).argmax(1) == yb).sum().item()
                    for xb, yb in Batches(digits.test_x, digits.test_y, 1000))
    model.train()
    return n_correct/len(digits.test_y)

def main():
    parser = argparse.ArgumentParser(description='Train the small convnet of the package on MNIST.')
    parser.add_argument('file', type=Path, help='where to keep it')
    parser.add_argument('--force', action='store_true', help='replace the file if it is there')
    parser.add_argument('--seed', type=int, default=42)
    parser.add_argument('--epochs', type=int, default=6)
    parser.add_argument('--nondigits', type=int, default=0)
    args = parser.parse_args()
    if args.file.exists() and not args.force: parser.error(f'{args.file} is there already; add --force')
    digits = read_digits('mnist')
    model = train(digits, make_nondigits(args.nondigits, args.seed), args.seed, args.epochs)
    score, unseen = accuracy(model, digits), make_nondigits(600, args.seed + 1)
    with torch.no_grad(): sure = model.eval()(unseen).softmax(1).amax(1)
    print(f'{score:.4f} on the test set; without a digit it is {sure.median():.2f} sure '
          f'(median), and above 0.9 for {(sure > .9).sum()} of {len(sure)}')
    if score < 0.994: parser.exit(1, 'that is below 0.994: nothing is kept\n')
    about = dict(data='MNIST', nondigits=args.nondigits, seed=args.seed, epochs=args.epochs, accuracy=score)
    save_model(model, args.file, about)
    print(f'kept in {args.file}' + ', the packaged model' * (args.file.resolve() == default_model_path().resolve()))

if __name__ == '__main__': main()
