"""Train the small convnet that comes with the package, and its doubt: `make model`.

The network learns MNIST alone, each batch shifted by up to a pixel. Then it stays as it is, and one
more neuron learns from what the network sees in pictures, of digits and of letters, scribbles and
pieces of photographs: is this a digit at all (lesson 8)? A few minutes on two cores."""
import sys
from pathlib import Path

import matplotlib, numpy as np, torch
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import save_file
from scipy.interpolate import make_interp_spline
from sklearn.datasets import load_sample_images
from sklearn.linear_model import LogisticRegression

from digitlab.compare import evaluate, train_model
from digitlab.convnet import ShiftedBatches, small_convnet
from digitlab.data import read_digits
from digitlab.predict import default_model_path, normalize_picture, save_model
from digitlab.tensors import make_generator

LETTERS = 'ACEFHKMNPRUVWXadefhkmnpruvwx&@#%$?'  # none that could pass for a digit
FONTS = [path for path in sorted(Path(matplotlib.get_data_path(), 'fonts', 'ttf').glob('*.ttf'))
         if path.name.startswith(('DejaVu', 'STIXGeneral')) and 'Display' not in path.name]
PHOTOS = [Image.fromarray(image).convert('L') for image in load_sample_images().images]
ONE_IN = 20  # so many pictures, and one of them shows no digit, we suppose

def draw_letter(rng):
    "A letter, upright or nearly so"
    image, font = Image.new('L', (120, 120), 255), ImageFont.truetype(str(rng.choice(FONTS)), 80)
    letter = str(rng.choice(list(LETTERS)))
    ImageDraw.Draw(image).text((60, 60), letter, fill=0, font=font, anchor='mm')
    return np.asarray(image.rotate(rng.uniform(-12, 12), fillcolor=255))/255

def draw_strokes(rng):
    "Three to five long strokes that lead nowhere"
    image = Image.new('L', (120, 120), 255)
    for _ in range(rng.integers(3, 6)):
        n, width = rng.integers(4, 8), int(rng.integers(2, 10))
        curve = make_interp_spline(np.linspace(0, 1, n), rng.uniform(12, 108, (n, 2)))
        points = [tuple(point) for point in curve(np.linspace(0, 1, 40))]
        ImageDraw.Draw(image).line(points, fill=0, width=width, joint='curve')
    return np.asarray(image)/255

def cut_patch(rng):
    "A square of one of scikit-learn's two photographs, turned any way, half of them as a negative"
    photo, side = PHOTOS[rng.integers(len(PHOTOS))], rng.integers(30, 250)
    x, y = rng.integers(photo.width - side), rng.integers(photo.height - side)
    gray = np.rot90(photo.crop((x, y, x + side, y + side)), rng.integers(4))/255
    return gray if rng.random() < .5 else 1 - gray

def photograph(image, rng):
    "A digit of MNIST in dark ink on paper, of any size, in uneven light"
    side = int(rng.integers(28, 150))
    large = Image.fromarray(image.numpy()).resize((side, side), Image.Resampling.BICUBIC)
    ink = np.asarray(large)/255
    light = .7 - rng.uniform(-.3, .3)*np.linspace(-1, 1, side)
    grain = rng.normal(0, rng.uniform(0, .02), ink.shape)
    return (light*(1 - rng.uniform(.25, .9)*ink) + grain).clip(0, 1)

def make_pictures(draw, n, rng):
    "Pictures as the network gets to see them, uint8 [n,28,28]; those that are refused don't count"
    images = []
    while len(images) < n:
        try: images.append(normalize_picture(draw(rng)))
        except ValueError: pass
    return torch.stack(images)

def learn_doubt(model, digits, rng, n):
    "A neuron's weights, for the features of `model`: is this a digit?"
    def draw_digit(rng): return photograph(digits.train_x[rng.integers(len(digits.train_x))], rng)
    kinds = ((draw_digit, 4*n), (cut_patch, 6*n), (draw_letter, n), (draw_strokes, n))
    images = torch.cat([make_pictures(draw, many, rng) for draw, many in kinds])
    with torch.no_grad(): features = model[:-1](images)
    neuron = LogisticRegression(C=.003, max_iter=1000).fit(features, np.arange(12*n) < 4*n)
    bias = neuron.intercept_[0] + np.log(2*(ONE_IN - 1))  # two in three had no digit
    return dict(weight=torch.tensor(neuron.coef_[0]).float(), bias=torch.tensor(bias).float())

def main():
    file, seed, epochs = default_model_path(), 42, 6
    if file.exists() and '--force' not in sys.argv:
        sys.exit(f'{file} is there already: make model ARGS=--force replaces it')
    digits = read_digits('mnist')
    model = small_convnet(make_generator(seed))
    train_model(model, digits.train_x, digits.train_y, 0.01, epochs, seed, batches=ShiftedBatches)
    score = evaluate(model.eval(), digits.test_x, digits.test_y).accuracy
    if score < 0.994: sys.exit(f'{score:.4f} on the test set, below 0.994: nothing is kept')
    about = dict(network='convnet', data='MNIST', seed=seed, epochs=epochs, accuracy=score)
    doubt = learn_doubt(model, digits, np.random.default_rng(seed), 1000)
    save_model(model, file, about)
    save_file(doubt, file.with_name('doubt.safetensors'))
    print(f'{score:.4f} on the test set, kept in {file}')

if __name__ == '__main__': main()
