"Pictures that people give, and model files that were spoiled"
import subprocess, sys, warnings

import numpy as np, pytest, torch
from PIL import Image, ImageDraw, ImageOps
from hypothesis import given, settings, strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from digitlab.compare import evaluate, small_convnet
from digitlab.data import read_digits
from digitlab.predict import (kept_model, load_model, make_model, normalise_picture, predict_files,
                              read_image, save_model)
from digitlab.tensors import make_generator


@pytest.fixture(scope='module')
def digits(): return read_digits('digits')


def draw_seven(size=(28, 28), width=2, at=(0, 0), scale=None):
    "A 7, light on dark, drawn with lines; `scale` is the side of the square that it stands in"
    w, h = scale or size
    im = Image.new('L', size, 0)
    points = [(at[0] + .25*w, at[1] + .2*h), (at[0] + .75*w, at[1] + .2*h),
              (at[0] + .45*w, at[1] + .85*h)]
    ImageDraw.Draw(im).line(points, fill=255, width=width, joint='curve')
    return im

def digit_of(im, path, **options):
    im.save(path, **options)
    return predict_files([path])[0].digit


# what a picture may look like

def test_an_mnist_image_stays_as_it_is(tmp_path, digits):
    for i, image in enumerate([digits.test_x[3], digits.test_x[4], 255 - digits.test_x[5]]):
        Image.fromarray(image.numpy()).save(tmp_path/f'{i}.png')
        assert torch.equal(read_image(tmp_path/f'{i}.png'), digits.test_x[3 + i])

@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'RGB', 'RGBA', 'LA', 'CMYK', 'I;16', 'I', 'F'])
@pytest.mark.parametrize('inverted', [False, True])
@pytest.mark.parametrize('size, width', [((28, 28), 2), ((300, 200), 20)])
def test_size_mode_polarity(tmp_path, mode, inverted, size, width):
    im = draw_seven(size, width)
    if inverted: im = ImageOps.invert(im)
    if mode == 'I;16': im = Image.fromarray(np.asarray(im).astype(np.uint16)*200)
    else: im = im.convert(mode)
    path = tmp_path/('a.tiff' if mode in ('F', 'CMYK', 'I;16', 'I') else 'a.png')
    assert digit_of(im, path) == 7
    image = read_image(path)
    assert image.dtype == torch.uint8 and image.shape == (28, 28)
    assert image.max() > 200 and image[0].float().mean() < 20

@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 2**32),
       st.sampled_from([0., .1, .5, 1.]))
def test_any_array(height, width, seed, share):
    grey = (torch.rand(height, width, generator=make_generator(seed)) < share).float()
    try: image = normalise_picture(grey)
    except ValueError as e: assert 'shows no digit' in str(e)
    else: assert image.shape == (28, 28) and image.dtype == torch.uint8 and image.max() > 50

@pytest.mark.parametrize('ink', ['black', 'white', 'red'])
def test_transparent_paper(tmp_path, ink):
    im = Image.new('RGBA', (100, 100), ink)
    im.putalpha(draw_seven((100, 100), 9))
    assert digit_of(im, tmp_path/'a.png') == 7

def test_turned_photo(tmp_path):
    im = ImageOps.invert(draw_seven((200, 200), 16)).rotate(90)
    exif = im.getexif()
    exif[0x0112] = 6  # to be shown turned by a quarter, clockwise
    assert digit_of(im, tmp_path/'a.jpg', exif=exif) == 7

@pytest.mark.parametrize('low, high', [(200, 240), (130, 240), (240, 120)])
def test_uneven_paper(tmp_path, low, high):
    paper = np.linspace(low, high, 400)[None].repeat(300, 0)
    light = np.where(np.asarray(draw_seven((400, 300), 16, (40, 30), (200, 200))) > 0, .3, 1)
    noise = np.random.default_rng(0).normal(0, 8, paper.shape)
    im = (paper*light + noise).clip(0, 255).astype(np.uint8)
    assert digit_of(Image.fromarray(im), tmp_path/'a.jpg', quality=60) == 7

@pytest.mark.parametrize('size, width, at, scale',
                         [((400, 300), 9, (300, 200), (100, 100)),
                          ((1000, 1000), 6, (0, 0), None), ((4000, 3000), 250, (0, 0), None)])
def test_small_thin_large(tmp_path, size, width, at, scale):
    assert digit_of(ImageOps.invert(draw_seven(size, width, at, scale)), tmp_path/'a.png') == 7


# what isn't a picture

FORMATS = ['png', 'jpg', 'gif', 'bmp', 'tiff', 'webp']

@pytest.mark.parametrize('content', [b'', b'seven', b'\x89PNG\r\n\x1a\nnothing more',
                                     b'%!PS-Adobe-3.0 EPSF-3.0\n', b'%PDF-1.4\n'])
def test_not_an_image(tmp_path, content):
    (tmp_path/'a.png').write_bytes(content)
    with pytest.raises(ValueError, match=r'a\.png is not an image that can be read'):
        read_image(tmp_path/'a.png')

@pytest.mark.parametrize('end', FORMATS)
def test_damaged_picture(tmp_path, end):
    "Whatever the damage, the answer is an image or a plain error"
    path, rng = tmp_path/f'a.{end}', np.random.default_rng(0)
    draw_seven((60, 60), 5).convert('RGB').save(path)
    sound = np.frombuffer(path.read_bytes(), np.uint8)
    path.write_bytes(sound[:len(sound)//2].tobytes())
    with pytest.raises(ValueError, match='is not an image that can be read'): read_image(path)
    for _ in range(100):
        raw = sound.copy()
        raw[rng.integers(0, min(len(raw), 400), rng.integers(1, 5))] = rng.integers(0, 256)
        path.write_bytes(raw.tobytes())
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            try: assert read_image(path).shape == (28, 28)
            except ValueError as e: assert str(path) in str(e)

def test_folder_missing_blank_huge(tmp_path):
    with pytest.raises(ValueError, match='is a folder'): read_image(tmp_path)
    with pytest.raises(FileNotFoundError, match='there is no file'): read_image(tmp_path/'a.png')
    Image.new('L', (50, 50), 128).save(tmp_path/'a.png')
    with pytest.raises(ValueError, match=r'a\.png shows no digit'): read_image(tmp_path/'a.png')
    Image.new('1', (7000, 6000)).save(tmp_path/'b.png')
    with pytest.raises(ValueError, match='42,000,000 pixels'): read_image(tmp_path/'b.png')


# models

def test_the_model_of_the_package(digits):
    model, about = load_model()
    assert about['source'] == 'mnist' and about['accuracy'] >= .993
    assert kept_model().stat().st_size < 1e6
    assert evaluate(model, digits.test_x,
                    digits.test_y).accuracy > .9  # other writers, another scanner

@pytest.mark.parametrize('widths', [(2,), (4, 8), (5, 4, 3, 2)])
def test_round_trip(tmp_path, digits, widths):
    model = small_convnet(make_generator(1), widths)
    model(digits.train_x[:256])  # gives the running means something to keep
    save_model(model, tmp_path/'a.safetensors', dict(source='digits', seed=1))
    again, about = load_model(tmp_path/'a.safetensors')
    assert about['source'] == 'digits' and about['seed'] == 1
    assert about['torch'] == torch.__version__
    assert not again.training and torch.equal(model.eval()(digits.test_x), again(digits.test_x))

def test_same_seed_same_model(tmp_path):
    files = [make_model(tmp_path/'new'/name, 'digits', seed=1, epochs=1) for name in ('a', 'b')]
    (model, about), (again, about_again) = map(load_model, files)
    assert about == about_again
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(),
                                                 again.state_dict().values()))

@pytest.fixture
def file(tmp_path):
    save_model(small_convnet(make_generator(0), (4,)), tmp_path/'a.safetensors', dict(accuracy=.5))
    return tmp_path/'a.safetensors'

@pytest.mark.parametrize('spoil, said', [
    (lambda raw: raw[:-5] + bytes([raw[-5] ^ 1]) + raw[-4:], "doesn't match its checksum"),
    (lambda raw: raw.replace(b'0.5', b'0.9'), "doesn't match its checksum"),
    (lambda raw: raw[:len(raw)//2], 'is not a sound safetensors file'),
    (lambda raw: b'\x80\x04pickle'*9, 'is not a sound safetensors file')])
def test_spoiled_model(file, spoil, said):
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(ValueError, match=said): load_model(file)

def test_another_kind_of_model(file):
    with pytest.raises(ValueError, match='expected one from small_convnet'):
        save_model(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), file.with_name('b'), {})
    assert not file.with_name('b').exists()
    save_file(load_file(file), file)
    with pytest.raises(ValueError, match='expected small_convnet'): load_model(file)
    with pytest.raises(FileNotFoundError): load_model(file.with_name('b'))


def test_without_the_notebook_tools():
    "Reading pictures imports nothing that only notebooks use"
    code = ('import sys, digitlab.predict; '
            'print({"anywidget", "pandas", "matplotlib", "sklearn"} & set(sys.modules))')
    assert subprocess.run([sys.executable, '-c', code], capture_output=True,
                          text=True).stdout == 'set()\n'
