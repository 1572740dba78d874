"Pictures that people give, model files that were spoiled, and the command `digitlab predict`"
import inspect, subprocess, sys, warnings

import numpy as np, pytest, torch
from PIL import Image, ImageDraw, ImageOps
from safetensors.torch import load_file, save_file
from torch import nn

from digitlab import predict, run
from digitlab.compare import evaluate, small_convnet
from digitlab.data import read_digits
from digitlab.predict import kept_model, load_model, make_model, normalise_picture, predict_files, read_image, save_model
from digitlab.tensors import make_generator


@pytest.fixture(scope='module')
def digits(): return read_digits('digits')


def draw_seven(size=(28, 28), width=2, at=(0, 0), scale=None):
    "A 7, light on dark, drawn with lines; `scale` is the side of the square that it stands in"
    w, h = scale or size
    im = Image.new('L', size, 0)
    points = [(at[0] + .25*w, at[1] + .2*h), (at[0] + .75*w, at[1] + .2*h), (at[0] + .45*w, at[1] + .85*h)]
    ImageDraw.Draw(im).line(points, fill=255, width=width, joint='curve')
    return im

def digit_of(im, path, **settings):
    im.save(path, **settings)
    return predict_files([path])[0].digit


# what size, mode and colour a picture may have

def test_an_mnist_image_stays_as_it_is(tmp_path, digits):
    for i, image in enumerate([digits.test_x[3], digits.test_x[4], 255 - digits.test_x[5]]):
        Image.fromarray(image.numpy()).save(tmp_path/f'{i}.png')
        assert torch.equal(read_image(tmp_path/f'{i}.png'), digits.test_x[3 + i])

def block(rows, columns, ink=1.):
    "28x28 with ink from the first to the last of `rows` and `columns`"
    grey = torch.zeros(28, 28)
    grey[rows[0]:rows[1] + 1, columns[0]:columns[1] + 1] = ink
    return grey

@pytest.mark.parametrize('grey', [block((5, 21), (12, 15)), block((3, 25), (12, 15)), block((4, 22), (12, 14)), block((6, 24), (14, 16)),
                                  block((5, 21), (12, 15), .6)])
@pytest.mark.parametrize('inverted', [False, True])
def test_framed_as_in_mnist(grey, inverted):
    "A box of 17 to 23 pixels, its centre of mass between 13 and 15: not a pixel is changed"
    assert torch.equal(normalise_picture(1 - grey if inverted else grey), (grey*255).round().byte())

@pytest.mark.parametrize('grey', [block((6, 21), (12, 15)), block((2, 25), (12, 15)), block((3, 22), (12, 15)), block((6, 25), (12, 15)), block((5, 21), (12, 15), .5)],
                         ids=['16', '24', 'too high', 'too low', 'pale'])
def test_not_framed_as_in_mnist(grey): assert not torch.equal(normalise_picture(grey), (grey*255).round().byte())

@pytest.mark.parametrize('contrast, seen', [(.08, False), (.15, True)])
def test_faint_ink(contrast, seen):
    grey = 1 - contrast*torch.tensor(np.asarray(draw_seven((60, 60), 6))/255).float()
    if seen: assert normalise_picture(grey).max() > 200
    else:
        with pytest.raises(ValueError, match='shows no digit'): normalise_picture(grey)

def test_28_by_28_but_out_of_place(tmp_path):
    assert digit_of(draw_seven((28, 28), 1, (1, 15), (12, 12)), tmp_path/'a.png') == 7

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

@pytest.mark.parametrize('most', [1, 255, 4095, 65535, 10**6])
def test_deep_values(tmp_path, most):
    values = np.asarray(draw_seven((100, 100), 9))/255*most
    assert digit_of(Image.fromarray(values.astype(np.float32)), tmp_path/'a.tiff') == 7

def test_values_that_are_no_numbers(tmp_path):
    values = np.asarray(draw_seven((100, 100), 9)).astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    Image.fromarray(values).save(tmp_path/'a.tiff')
    try: assert read_image(tmp_path/'a.tiff').shape == (28, 28)
    except ValueError as e: assert 'shows no digit' in str(e)

@pytest.mark.parametrize('ink', ['black', 'white', 'red'])
def test_transparent_paper(tmp_path, ink):
    im = Image.new('RGBA', (100, 100), ink)
    im.putalpha(draw_seven((100, 100), 9))
    assert digit_of(im, tmp_path/'a.png') == 7

def test_palette_with_transparency(tmp_path):
    im = draw_seven((100, 100), 9).point(lambda v: v > 127).convert('P')
    im.putpalette([255, 255, 255, 255, 255, 255])  # white on white, unless transparency counts
    im.save(tmp_path/'a.png', transparency=0)
    with Image.open(tmp_path/'a.png') as back: assert back.mode == 'P' and 'transparency' in back.info
    assert predict_files([tmp_path/'a.png'])[0].digit == 7

def test_turned_photo(tmp_path):
    im = ImageOps.invert(draw_seven((200, 200), 16)).rotate(90)
    exif = im.getexif()
    exif[0x0112] = 6  # to be shown turned by a quarter, clockwise
    assert digit_of(im, tmp_path/'a.jpg', exif=exif) == 7
    im.save(tmp_path/'b.jpg')
    a, b = read_image(tmp_path/'a.jpg').float(), read_image(tmp_path/'b.jpg').float()
    assert (a - b).abs().mean() > 20 > 2 > (a - b.rot90(-1)).abs().mean()

def test_animation(tmp_path):
    frames = [draw_seven((100, 100), 9), Image.new('L', (100, 100))]
    assert digit_of(frames[0], tmp_path/'a.gif', save_all=True, append_images=frames[1:]) == 7
    assert digit_of(frames[0].convert('RGB'), tmp_path/'a.webp', save_all=True, append_images=[frames[1].convert('RGB')], lossless=True) == 7

@pytest.mark.parametrize('low, high', [(200, 240), (130, 240), (240, 120)])
@pytest.mark.parametrize('noise', [4, 12])
def test_uneven_paper(tmp_path, low, high, noise):
    paper = np.linspace(low, high, 400)[None].repeat(300, 0)
    light = np.where(np.asarray(draw_seven((400, 300), 16, (40, 30), (200, 200))) > 0, .3, 1)
    im = (paper*light + np.random.default_rng(0).normal(0, noise, paper.shape)).clip(0, 255).astype(np.uint8)
    assert digit_of(Image.fromarray(im), tmp_path/'a.jpg', quality=60) == 7

@pytest.mark.parametrize('at', [(0, 0), (300, 0), (0, 200), (300, 200), (150, 100)])
def test_anywhere_on_a_page(tmp_path, at):
    assert digit_of(ImageOps.invert(draw_seven((400, 300), 9, at, (100, 100))), tmp_path/'a.png') == 7

def test_dust(tmp_path):
    im = ImageOps.invert(draw_seven((800, 800), 60, (150, 150), (500, 500)))
    for x, y in ((20, 30), (700, 90), (60, 760)): im.paste(0, (x, y, x + 3, y + 3))
    assert digit_of(im, tmp_path/'a.png') == 7

def test_thin_stroke(tmp_path):
    assert digit_of(ImageOps.invert(draw_seven((1000, 1000), 6)), tmp_path/'a.png') == 7

def test_large(tmp_path):
    assert digit_of(draw_seven((7000, 5600), 450), tmp_path/'a.png') == 7

def test_any_array():
    generator = make_generator(0)
    for size in ((1, 1), (1, 2), (2, 1), (1, 50), (50, 1), (2, 2), (3, 500), (500, 3), (28, 28), (29, 27), (127, 129), (40, 40), (1, 1_000_000)):
        for fill in (torch.zeros, torch.ones, lambda *s: torch.rand(*s, generator=generator), lambda *s: (torch.rand(*s, generator=generator) > .9).float()):
            grey = fill(*size)
            try: image = normalise_picture(grey)
            except ValueError as e: assert 'shows no digit' in str(e)
            else: assert image.shape == (28, 28) and image.dtype == torch.uint8 and image.max() > 50
    with pytest.raises(ValueError, match='scan shows no digit'): normalise_picture(torch.full((50, 50), float('nan')), 'scan')

@pytest.mark.parametrize('wrong', [torch.zeros(28, 28, dtype=torch.uint8), torch.zeros(3, 28, 28), torch.zeros(784)])
def test_not_an_array_of_greys(wrong):
    with pytest.raises(TypeError, match=r'expected float \[H,W\] from 0 to 1: use scale_pixels'): normalise_picture(wrong)


# what is no picture

@pytest.mark.parametrize('content', [b'', b'seven', b'\x89PNG\r\n\x1a\nnothing more', b'<svg xmlns="http://www.w3.org/2000/svg"/>', b'%PDF-1.4\n'])
def test_not_an_image(tmp_path, content):
    (tmp_path/'a.png').write_bytes(content)
    with pytest.raises(ValueError, match=r'a\.png is not an image that can be read'): read_image(tmp_path/'a.png')

FORMATS = ['png', 'jpg', 'gif', 'bmp', 'tiff', 'webp']

@pytest.mark.parametrize('end', FORMATS)
def test_cut_short(tmp_path, end):
    path = tmp_path/f'a.{end}'
    draw_seven((300, 300), 20).convert('RGB').save(path)
    path.write_bytes(path.read_bytes()[:path.stat().st_size//2])
    with pytest.raises(ValueError, match='is not an image that can be read'): read_image(path)

@pytest.mark.parametrize('end', FORMATS)
def test_damaged_picture(tmp_path, end):
    "Whatever the damage, the answer is an image or a plain error"
    path, rng = tmp_path/f'a.{end}', np.random.default_rng(0)
    draw_seven((60, 60), 5).convert('RGB').save(path)
    sound = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(300):
        raw = sound.copy()
        raw[rng.integers(0, min(len(raw), 400), rng.integers(1, 5))] = rng.integers(0, 256)
        path.write_bytes(raw.tobytes())
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            try: assert read_image(path).shape == (28, 28)
            except ValueError as e: assert str(path) in str(e)

def test_folder_and_missing(tmp_path):
    with pytest.raises(ValueError, match='is a folder; name the pictures in it'): read_image(tmp_path)
    with pytest.raises(FileNotFoundError, match='there is no file'): read_image(tmp_path/'a.png')

@pytest.mark.parametrize('size', [(1, 1), (1, 50), (50, 50)])
@pytest.mark.parametrize('colour', [0, 128, 255])
def test_blank(tmp_path, size, colour):
    Image.new('L', size, colour).save(tmp_path/'a.png')
    with pytest.raises(ValueError, match=r'a\.png shows no digit'): read_image(tmp_path/'a.png')

def test_blank_photo(tmp_path):
    paper = np.linspace(120, 240, 400)[None].repeat(300, 0) + np.random.default_rng(0).normal(0, 8, (300, 400))
    Image.fromarray(paper.clip(0, 255).astype(np.uint8)).save(tmp_path/'a.png')
    with pytest.raises(ValueError, match='shows no digit'): read_image(tmp_path/'a.png')

def test_too_large(tmp_path):
    "40 million pixels are read, more are refused before they are decoded"
    Image.new('1', (7000, 6000)).save(tmp_path/'a.png')
    with pytest.raises(ValueError, match='42,000,000 pixels; expected 40 million at most'): read_image(tmp_path/'a.png')


# models

def test_the_model_of_the_package(digits):
    model, about = load_model()
    assert about['source'] == 'mnist' and about['accuracy'] >= .993 and kept_model().stat().st_size < 1e6
    assert evaluate(model, digits.test_x, digits.test_y).accuracy > .9  # other writers, another scanner, other sizes

def test_the_model_of_the_package_was_made_with_the_defaults():
    about, defaults = load_model()[1], inspect.signature(make_model).parameters
    assert {name: about[name] for name in ('source', 'seed', 'epochs')} == {name: defaults[name].default for name in ('source', 'seed', 'epochs')}

def test_answers_keep_no_gradients(tmp_path, monkeypatch):
    seen = []
    def model(images):
        seen.append(torch.is_grad_enabled())
        return torch.zeros(len(images), 10)
    monkeypatch.setattr(predict, 'load_model', lambda path: (model, {}))
    draw_seven().save(tmp_path/'a.png')
    assert predict_files([tmp_path/'a.png'])[0].probability == pytest.approx(.1) and seen == [False]

def test_round_trip(tmp_path, digits):
    model = small_convnet(make_generator(1), (4, 8))
    model(digits.train_x[:256])  # gives the running means something to keep
    save_model(model, tmp_path/'a.safetensors', dict(source='digits', seed=1))
    again, about = load_model(tmp_path/'a.safetensors')
    assert about['source'] == 'digits' and about['seed'] == 1 and about['torch'] == torch.__version__
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))
    assert not again.training and torch.equal(model.eval()(digits.test_x), again(digits.test_x))

@pytest.mark.parametrize('widths', [(2,), (2, 3, 4), (5, 4, 3, 2)])
def test_every_depth(tmp_path, widths):
    save_model(small_convnet(make_generator(1), widths), tmp_path/'a', {})
    assert [len(p) for p in load_model(tmp_path/'a')[0].parameters() if p.ndim == 4] == list(widths)

def test_same_seed_same_model(tmp_path, capsys):
    files = [make_model(tmp_path/'new'/name, 'digits', seed=1, epochs=1) for name in ('a', 'b')]
    (model, about), (again, about_again) = map(load_model, files)
    assert about == about_again and all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))
    assert f'{files[0]}: ' in capsys.readouterr().out

@pytest.fixture
def file(tmp_path):
    save_model(small_convnet(make_generator(0), (4,)), tmp_path/'a.safetensors', dict(accuracy=.5))
    return tmp_path/'a.safetensors'

def test_tampered(file):
    raw = bytearray(file.read_bytes())
    raw[-5] ^= 1
    file.write_bytes(raw)
    with pytest.raises(ValueError, match="doesn't match its checksum"): load_model(file)

def test_tampered_words(file):
    raw = file.read_bytes()
    assert raw.count(b'0.5') == 1
    file.write_bytes(raw.replace(b'0.5', b'0.9'))
    with pytest.raises(ValueError, match="doesn't match its checksum"): load_model(file)

@pytest.mark.parametrize('spoil', [lambda raw: raw[:len(raw)//2], lambda raw: b'', lambda raw: b'\x80\x04pickle'*9])
def test_damaged(file, spoil):
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(ValueError, match='is not a sound safetensors file'): load_model(file)

def test_of_another_kind(file):
    save_file(load_file(file), file)
    with pytest.raises(ValueError, match='expected small_convnet'): load_model(file)
    with pytest.raises(FileNotFoundError, match='there is no'): load_model(file.with_name('b'))

@pytest.mark.parametrize('tensors, about', [({'1.weight': torch.zeros(2, 2)}, '{}'), ({'one.weight': torch.zeros(4, 1, 3, 3)}, '{}'), ({}, '{}')])
def test_sound_but_no_convnet(file, tensors, about):
    save_file(tensors, file, dict(kind='small_convnet', about=about, sha256=predict._digest(tensors, about)))
    with pytest.raises(ValueError, match='holds no small convnet'): load_model(file)

def test_saving_what_cannot_be_read_back(tmp_path):
    with pytest.raises(ValueError, match='expected one from small_convnet'): save_model(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), tmp_path/'a', {})
    assert not list(tmp_path.iterdir())


# the command

@pytest.fixture
def sevens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_seven((100, 100), 9).save('a.png')
    ImageOps.invert(draw_seven((300, 200), 20)).save('another seven.jpg')
    return ['a.png', 'another seven.jpg']

def test_predict(sevens, capsys):
    assert run.main(['predict', *sevens]) == 0
    out, err = capsys.readouterr()
    head, *rows = out.splitlines()
    assert err == '' and head.split() == ['file', 'digit', 'probability', *'0123456789'] and len({len(line) for line in (head, *rows)}) == 1
    for row, name in zip(rows, sevens, strict=True):
        assert row.startswith(name)
        digit, probability, *ten = row.removeprefix(name).split()
        assert digit == '7' and probability == ten[7] and len(ten) == 10 and sum(map(float, ten)) == pytest.approx(1, abs=.001)

def test_predict_with_another_model(sevens, capsys):
    save_model(small_convnet(make_generator(0), (4,)), 'mine.safetensors', {})
    assert run.main(['predict', 'a.png', '--model', 'mine.safetensors']) == 0
    one = capsys.readouterr().out
    assert run.main(['predict', 'a.png']) == 0 and capsys.readouterr().out != one

@pytest.mark.parametrize('words, said', [
    (['nowhere.png'], 'there is no file nowhere.png'), (['a.png', 'notes.txt', 'another seven.jpg'], 'notes.txt is not an image that can be read'),
    (['a.png', 'blank.png'], 'blank.png shows no digit'), (['a.png', '--model', 'none'], 'there is no none'),
    (['a.png', '--model', 'notes.txt'], 'notes.txt is not a sound safetensors file'), (['.'], '. is a folder; name the pictures in it')])
def test_predict_refuses(sevens, capsys, tmp_path, words, said):
    (tmp_path/'notes.txt').write_text('seven')
    Image.new('L', (50, 50), 255).save('blank.png')
    assert run.main(['predict', *words]) == 2
    out, err = capsys.readouterr()
    assert out == '' and err.startswith(f'digitlab: {said}') and err.count('\n') == 1

def test_predict_wants_a_picture(capsys):
    with pytest.raises(SystemExit) as end: run.main(['predict'])
    assert end.value.code == 2 and 'IMAGE' in capsys.readouterr().err
    with pytest.raises(SystemExit) as end: run.main(['predict', '--help'])
    assert end.value.code == 0 and 'digitlab predict seven.png' in capsys.readouterr().out

def test_a_list_is_expected():
    for wrong in ('a.png', [], ()):
        with pytest.raises(ValueError, match=r'expected a list of one or more: use \[path\]'): predict_files(wrong)

def test_without_the_notebook_tools():
    "Neither reading pictures nor importing needs what only the notebooks use"
    code = 'import sys, digitlab.predict; print([m for m in ("anywidget", "ipywidgets", "pandas", "matplotlib", "fastai", "sklearn") if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout == '[]\n'

def test_paper_is_what_most_of_all_four_sides_are():
    grey = torch.ones(20, 40)
    grey[:2] = grey[10, 20] = 0
    assert predict._lift_ink(grey)[10, 20] == 1

def test_opening_keeps_what_is_wide_enough():
    values = torch.zeros(20, 24)
    values[5:14, 4:13] = 1
    assert torch.equal(predict._opening(values, 4), values)
    assert not predict._opening(values, 5).any()
