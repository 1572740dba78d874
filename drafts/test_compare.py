"Pictures that people give, model files that were spoiled, and what `evaluate` takes"
import numpy as np, pytest, torch
from PIL import Image, ImageDraw, ImageOps
from safetensors.torch import load_file, save_file
from torch import nn

from digitlab.compare import (ShiftedBatches, evaluate, kept_model, load_model, predict_files, read_image, results_table, save_model,
                              small_convnet, train_model, wilson_interval)
from digitlab.data import read_digits
from digitlab.tensors import make_generator


@pytest.fixture(scope='module')
def digits(): return read_digits('digits')


def draw_seven(size=(28, 28), width=2):
    "A 7, light on dark, drawn with lines"
    w, h = size
    im = Image.new('L', size, 0)
    ImageDraw.Draw(im).line([(.25*w, .2*h), (.75*w, .2*h), (.45*w, .85*h)], fill=255, width=width, joint='curve')
    return im


# intervals

@pytest.mark.parametrize('right, n, low, high', [
    (0, 10, 0, .27753), (10, 10, .72247, 1), (5, 10, .23659, .76341), (81, 263, .25527, .36621), (9900, 10_000, .98786, .99178)])
def test_wilson(right, n, low, high): assert wilson_interval(right, n) == pytest.approx((low, high), abs=2e-5)

@pytest.mark.parametrize('right, n', [(-1, 10), (11, 10), (0, 0)])
def test_wilson_refuses(right, n):
    with pytest.raises(ValueError, match='expected 0 to n right'): wilson_interval(right, n)


# pictures

def test_an_mnist_image_stays_as_it_is(tmp_path, digits):
    Image.fromarray(digits.test_x[3].numpy()).save(tmp_path/'a.png')
    assert torch.equal(read_image(tmp_path/'a.png'), digits.test_x[3])

@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'RGB', 'RGBA', 'LA', 'CMYK', 'I;16', 'I', 'F'])
@pytest.mark.parametrize('inverted', [False, True])
@pytest.mark.parametrize('size, width', [((28, 28), 2), ((64, 64), 6), ((300, 200), 20), ((1200, 1600), 100)])
def test_size_mode_polarity(tmp_path, mode, inverted, size, width):
    im = draw_seven(size, width)
    if inverted: im = ImageOps.invert(im)
    if mode == 'I;16': im = Image.fromarray(np.asarray(im).astype(np.uint16)*200)
    elif mode == 'P': im = im.convert('RGB').quantize(8)
    else: im = im.convert(mode)
    path = tmp_path/('a.tiff' if mode in ('F', 'CMYK', 'I;16', 'I') else 'a.png')
    im.save(path)
    image = read_image(path)
    assert image.dtype == torch.uint8 and image.shape == (28, 28)
    assert image[0].float().mean() < 20 and image.max() > 200
    assert predict_files([path])[0].digit == 7

@pytest.mark.parametrize('ink', ['black', 'white'])
def test_transparent_paper(tmp_path, ink):
    im = Image.new('RGBA', (100, 100), ink)
    im.putalpha(draw_seven((100, 100), 9))
    im.save(tmp_path/'a.png')
    assert predict_files([tmp_path/'a.png'])[0].digit == 7

def test_turned_photo(tmp_path):
    im = ImageOps.invert(draw_seven((200, 200), 16)).rotate(90)
    exif = im.getexif()
    exif[0x0112] = 6  # to be shown turned by a quarter, clockwise
    im.save(tmp_path/'a.jpg', exif=exif)
    assert predict_files([tmp_path/'a.jpg'])[0].digit == 7

def test_uneven_paper(tmp_path):
    paper = np.linspace(200, 240, 300)[None].repeat(300, 0) + np.random.default_rng(0).normal(0, 4, (300, 300))
    im = np.where(np.asarray(draw_seven((300, 300), 20)) > 0, 40, paper).clip(0, 255).astype(np.uint8)
    Image.fromarray(im).save(tmp_path/'a.png')
    assert predict_files([tmp_path/'a.png'])[0].digit == 7

@pytest.mark.parametrize('content', [b'', b'seven', b'\x89PNG\r\n\x1a\nnothing more', b'<svg xmlns="http://www.w3.org/2000/svg"/>'])
def test_not_an_image(tmp_path, content):
    (tmp_path/'a.png').write_bytes(content)
    with pytest.raises(ValueError, match=r'a\.png is not an image that can be read'): read_image(tmp_path/'a.png')

def test_cut_short(tmp_path):
    draw_seven((300, 300), 20).save(tmp_path/'a.png')
    (tmp_path/'a.png').write_bytes((tmp_path/'a.png').read_bytes()[:300])
    with pytest.raises(ValueError, match='is not an image that can be read'): read_image(tmp_path/'a.png')

def test_folder_and_missing(tmp_path):
    with pytest.raises(ValueError, match='is not an image that can be read'): read_image(tmp_path)
    with pytest.raises(FileNotFoundError, match='there is no file'): read_image(tmp_path/'a.png')

@pytest.mark.parametrize('size', [(1, 1), (1, 50), (50, 50)])
@pytest.mark.parametrize('colour', [0, 128, 255])
def test_blank(tmp_path, size, colour):
    Image.new('L', size, colour).save(tmp_path/'a.png')
    with pytest.raises(ValueError, match='shows no digit'): read_image(tmp_path/'a.png')

def test_thin_stroke(tmp_path):
    ImageOps.invert(draw_seven((1000, 1000), 6)).save(tmp_path/'a.png')
    assert read_image(tmp_path/'a.png').max() > 200


# models

def test_the_model_of_the_package():
    model, about = load_model()
    assert about['source'] == 'mnist' and about['accuracy'] >= .993 and kept_model().stat().st_size < 1e6
    digits = read_digits('digits')  # other writers, another scanner, other sizes
    assert evaluate(model, digits.test_x, digits.test_y).accuracy > .9

def test_round_trip(tmp_path, digits):
    model = small_convnet(make_generator(1), (4, 8))
    train_model(model, digits.train_x[:256], digits.train_y[:256], .01, 1, 1, batches=ShiftedBatches)
    save_model(model, tmp_path/'a.safetensors', dict(source='digits', seed=1))
    again, about = load_model(tmp_path/'a.safetensors')
    assert about['source'] == 'digits' and about['seed'] == 1 and about['torch'] == torch.__version__
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))
    assert not again.training and torch.equal(model.eval()(digits.test_x), again(digits.test_x))

@pytest.mark.parametrize('widths', [(2,), (2, 3, 4), (5, 4, 3, 2)])
def test_every_depth(tmp_path, widths):
    save_model(small_convnet(make_generator(1), widths), tmp_path/'a', {})
    assert [len(p) for p in load_model(tmp_path/'a')[0].parameters() if p.ndim == 4] == list(widths)

def test_same_seed_same_model(digits):
    models = [small_convnet(make_generator(1), (4, 8)) for _ in range(2)]
    for model in models: train_model(model, digits.train_x[:256], digits.train_y[:256], .01, 1, 1, batches=ShiftedBatches)
    assert all(torch.equal(a, b) for a, b in zip(*[m.state_dict().values() for m in models]))

@pytest.fixture
def file(tmp_path):
    save_model(small_convnet(make_generator(0), (4,)), tmp_path/'a.safetensors', {})
    return tmp_path/'a.safetensors'

def test_tampered(file):
    raw = bytearray(file.read_bytes())
    raw[-5] ^= 1
    file.write_bytes(raw)
    with pytest.raises(ValueError, match="doesn't match its checksum"): load_model(file)

@pytest.mark.parametrize('spoil', [lambda raw: raw[:len(raw)//2], lambda raw: b'', lambda raw: b'\x80\x04pickle'*9])
def test_damaged(file, spoil):
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(ValueError, match='is not a sound safetensors file'): load_model(file)

def test_of_another_kind(file):
    save_file(load_file(file), file)
    with pytest.raises(ValueError, match='expected small_convnet'): load_model(file)
    with pytest.raises(FileNotFoundError, match='there is no'): load_model(file.with_name('b'))

def test_saving_what_cannot_be_read_back(tmp_path):
    with pytest.raises(ValueError, match='expected one from small_convnet'): save_model(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), tmp_path/'a', {})
    assert not list(tmp_path.iterdir())

def test_wrong_widths():
    for widths in ((), (4,)*5):
        with pytest.raises(ValueError, match='expected 1 to 4'): small_convnet(make_generator(0), widths)


# measuring

class Always:
    def __init__(self, digit): self.digit = digit
    def predict(self, x): return np.full(len(x), self.digit)

def test_evaluate(digits):
    score = evaluate(Always(3), digits.test_x, digits.test_y, bs=7)
    assert score.accuracy == pytest.approx((digits.test_y == 3).float().mean().item()) and score.low < score.accuracy < score.high
    model = small_convnet(make_generator(0)).train()
    assert evaluate(model, digits.test_x, digits.test_y).parameters == 29_178 and model.training
    assert torch.equal(evaluate(model, digits.test_x, digits.test_y, bs=7).answers, evaluate(model, digits.test_x, digits.test_y).answers)

def test_evaluate_refuses(digits):
    with pytest.raises(TypeError, match='neither predict nor forward'): evaluate(object(), digits.test_x, digits.test_y)
    with pytest.raises(ValueError, match='expected one class for each'): evaluate(Always(3), digits.test_x, digits.test_y[:9])

def test_table():
    rows = [dict(model=m, seed=s, seconds=1., images_per_second=9., n=100, accuracy=a, low=0., high=1., parameters=5, device='cpu')
            for m, s, a in (('b', 1, .8), ('b', 2, .9), ('a', 1, .5))]
    table = results_table(rows)
    assert list(table.index) == ['b', 'a'] and table.seeds.to_list() == [2, 1]
    assert table.accuracy['b'] == pytest.approx(.85) and table.spread['b'] == pytest.approx(.1)
    assert (table.low['b'], table.high['b']) == pytest.approx(wilson_interval(85, 100))
    assert all(kind.kind in 'if' for kind in table.drop(columns='device').dtypes)
