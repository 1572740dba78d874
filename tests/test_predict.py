"Pictures that people give, model files that were spoiled, and what is said where there is no answer"
import io, json, os, struct, sys

import numpy as np, pytest, torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageOps
from safetensors.torch import load_file, save_file
from torch import nn

from digitlab.compare import evaluate, make_network
from digitlab.data import read_digits
from digitlab.predict import (default_model_path, is_digit, load_model, normalize_picture, predict_files, read_image,
                              save_model)
from digitlab.tensors import make_generator

N = 25  # digits of each kind of picture; one of them may go wrong


@pytest.fixture(scope='module')
def digits(): return read_digits('mnist' if os.environ.get('DIGITLAB_MNIST') else 'digits')

@pytest.fixture(scope='module')
def model(): return load_model()[0]

def rng(): return np.random.default_rng(0)

def draw_seven(size=(100, 100), width=9):
    "A 7, light on dark, drawn with lines"
    im = Image.new('L', size)
    points = [(x*size[0], y*size[1]) for x, y in ((.25, .2), (.75, .2), (.45, .85))]
    ImageDraw.Draw(im).line(points, fill=255, width=width, joint='curve')
    return im

def digit_of(im, path, **settings):
    im.save(path, **settings)
    return predict_files(path)[0].digit

def enlarge(image, side=200):
    "A digit's ink, 0 to 1, at any size"
    return np.asarray(Image.fromarray(image.numpy()).resize((side, side), Image.Resampling.BICUBIC))/255


# frames, tables, lines: made-up pictures, each from a digit's ink

def frame(ink, width, inside=0):
    "A black line around it, `inside` pixels from the border"
    far = np.minimum(np.arange(len(ink)), np.arange(len(ink))[::-1])
    depth = np.minimum(far, far[:, None])
    return np.where((depth >= inside) & (depth < inside + width), 0, 1 - ink)

def table(ink, angle=0, shade=50):
    "A sheet of paper on a dark table, turned by `angle` degrees"
    sheet = Image.fromarray((230*(1 - ink)).astype(np.uint8))
    sheet = sheet.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=shade)
    scene = np.asarray(ImageOps.expand(sheet, (320 - sheet.width)//2, shade))
    return scene/255 + rng().normal(0, .01, scene.shape)

def lines(ink, sides, at=6, width=2, shade=.2):
    gray = 1 - ink
    for side in sides: np.rot90(gray, side)[at:at + width] = shade
    return gray

def plot(ink, has_axes):
    "As matplotlib saves it"
    fig, file = Figure(figsize=(3, 3)), io.BytesIO()
    ax = fig.subplots()
    ax.imshow(ink, cmap='gray')
    ax.axis(has_axes)
    fig.savefig(file)
    return np.asarray(Image.open(file).convert('L'))/255

def crop(ink):
    rows, cols = (ink > .3).nonzero()
    return 1 - ink[rows.min():rows.max() + 1, cols.min():cols.max() + 1]

def uneven(picture, right=.25, down=.05, bend=0., grain=.01):
    "The same in light that falls from one side, with grain"
    y, x = np.mgrid[-1:1:picture.shape[0]*1j, -1:1:picture.shape[1]*1j]
    light = .7 - right*x - down*y + bend*(x*x + y*y)
    return (picture*light + rng().normal(0, grain, picture.shape)).clip(0, 1)

BARE = {'plain': lambda ink: 1 - ink, 'light on dark': lambda ink: ink, 'cropped': crop,
        'square': lambda ink: np.pad(ink, 60, constant_values=1),  # white on a black square, on a white page
        'plot': lambda ink: plot(ink, False), 'plot with axes': lambda ink: plot(ink, True)}
SCENES = {**{f'frame {n}': lambda ink, n=n: frame(ink, n) for n in (1, 2, 3)},
          'double frame': lambda ink: np.minimum(frame(ink, 2), frame(ink, 2, 5)),
          'margin': lambda ink: np.pad(frame(ink, 2), 20, constant_values=1),
          'light table': lambda ink: table(ink, 0, 150),
          **{f'table {n}': lambda ink, n=n: table(ink, n) for n in (-20, -12, 0, 5, 20)},
          **{f'lines {n}': lambda ink, n=n: lines(ink, n) for n in ((0,), (1, 3), (0, 1, 2), (0, 1, 2, 3))},
          'line at the border': lambda ink: lines(ink, (3,), 0),
          'table edge': lambda ink: lines(ink, (1,), 0, 25, .3)}
UNEVEN = {f'{name}, uneven': lambda ink, draw=draw: uneven(draw(ink)) for name, draw in (BARE | SCENES).items()
          if name in ('plain', 'frame 1', 'frame 3', 'double frame', 'lines (0,)', 'lines (1, 3)', 'lines (0, 1, 2)')}
ALL = BARE | SCENES | UNEVEN

def judge(model, pictures):
    "Digits and probabilities; -1 and 0 where a picture is refused"
    images = torch.zeros(len(pictures), 28, 28, dtype=torch.uint8)
    for i, picture in enumerate(pictures):
        try: images[i] = normalize_picture(picture)
        except ValueError: pass
    with torch.no_grad(): probs = model(images).softmax(1)*is_digit(images)[:, None]
    seen = images.flatten(1).amax(1) > 0
    return torch.where(seen, probs.argmax(1), -1), probs.amax(1)*seen

@pytest.fixture(scope='module')
def inks(digits, model):
    "Digits that the model is sure of when nothing is around them, and what they are"
    inks = [enlarge(image) for image in digits.test_x[:3*N]]
    preds, probs = judge(model, [1 - ink for ink in inks])
    chosen = ((preds == digits.test_y[:3*N]) & (probs > .9)).nonzero().flatten()[:N]
    return [inks[i] for i in chosen], digits.test_y[chosen]

@pytest.mark.parametrize('name', ALL)
def test_scene(model, inks, name):
    preds, probs = judge(model, [ALL[name](ink.copy()) for ink in inks[0]])
    assert (preds == inks[1]).sum() >= N - 1
    assert not ((preds != inks[1]) & (probs > .9)).any()

@pytest.mark.parametrize('name', SCENES)
def test_empty_scene_is_refused(name):
    picture = SCENES[name](np.zeros((200, 200)))
    for scene in (picture, uneven(picture)) if 'line' in name else (picture,):
        with pytest.raises(ValueError): normalize_picture(scene)

@pytest.mark.parametrize('size', [(200, 200), (90, 300)])
@pytest.mark.parametrize('light', [(0, 0, 0), (0, 0, 0, 0), (0, 0, 0, .03), (.15, .08), (-.25, -.12), (0, 0, .15),
                                   (0, 0, -.15), (.1, .05, -.1)])
def test_blank_paper_is_refused(size, light):
    with pytest.raises(ValueError, match='nothing stands out'): normalize_picture(uneven(np.ones(size), *light))

def test_notes(tmp_path, digits):
    "Digits side by side are noticed, single ones aren't taken for several, and what is unsure is called so"
    inks = [enlarge(image, 112) for image in digits.test_x[:40]]
    inks = [ink[:, (ink > .3).any(0)] for ink in inks]
    pairs = [np.hstack([a, np.zeros((112, 4 + 3*i % 20)), b]) for i, (a, b) in enumerate(zip(inks, inks[1:]))]
    for i, ink in enumerate(inks + pairs): Image.fromarray((255*np.pad(ink, 20)).astype(np.uint8)).save(tmp_path/f'{i}.png')
    preds = predict_files(tmp_path/f'{i}.png' for i in range(79))
    assert sum('several digits' in p.note for p in preds[:40]) <= 1
    assert sum('several digits' in p.note for p in preds[40:]) >= 38
    for p in preds:
        assert ('unsure' in p.note) == (p.probability < .9)
        assert ('perhaps no digit' in p.note) == (sum(p.probabilities) < .5)
        assert p.probability == max(p.probabilities) == p.probabilities[p.digit]

def test_no_digit_is_doubted(model, digits):
    "Circles in a grid, a star, a thicket: not above 0.9, where nearly all digits are"
    y, x = np.mgrid[-1:1:150j, -1:1:150j]
    odd = [np.sin(9*x)*np.sin(9*y) > .5, np.cos(8*np.arctan2(y, x)) > np.hypot(x, y), np.sin(20*x*y) > .6]
    assert (judge(model, [1. - picture for picture in odd])[1] < .9).all()
    assert (is_digit(digits.test_x[:500]) > .5).float().mean() > .9


# pens, sizes, colors, files

@pytest.mark.parametrize('width', [1, 2, 4, 8, 16])
def test_thin_and_thick_pens(model, width):
    "At the gain of a thick pen: strokes of MNIST are white"
    paper = .8 - .35*np.asarray(draw_seven((200, 200), width))/255 + rng().normal(0, .01, (200, 200))
    image = normalize_picture(paper)
    assert image[image > 50].median() > 150 and judge(model, [paper])[0] == 7

@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'RGB', 'RGBA', 'LA', 'CMYK', 'I;16', 'I', 'F'])
@pytest.mark.parametrize('inverted, size, width', [(False, (64, 64), 6), (True, (300, 200), 20), (False, (900, 1200), 80)])
def test_size_mode_polarity(tmp_path, mode, inverted, size, width):
    im = draw_seven(size, width)
    if inverted: im = ImageOps.invert(im)
    im = Image.fromarray(np.asarray(im).astype(np.uint16)*200) if mode == 'I;16' else im.convert(mode)
    path = tmp_path/('a.tiff' if mode in ('F', 'CMYK', 'I;16', 'I') else 'a.png')
    assert digit_of(im, path) == 7
    image = read_image(path)
    assert image.dtype == torch.uint8 and image.shape == (28, 28) and image[0].float().mean() < 20 and image.max() > 200

@pytest.mark.parametrize('most', [1, 255, 4095, 65535, 10**6])
def test_deep_values(tmp_path, most):
    values = np.asarray(draw_seven(), np.float32)/255*most
    values[0, 0] = np.nan
    assert digit_of(Image.fromarray(values), tmp_path/'a.tiff') == 7

@pytest.mark.parametrize('ink', ['black', 'white', 'red'])
def test_transparent_paper(tmp_path, ink):
    im = Image.new('RGBA', (100, 100), ink)
    im.putalpha(draw_seven())
    assert digit_of(im, tmp_path/'a.png') == 7

@pytest.mark.parametrize('end', ['jpg', 'png', 'webp', 'tiff'])
def test_turned_photo(tmp_path, end):
    im = ImageOps.invert(draw_seven((200, 200), 16)).rotate(90)
    exif = im.getexif()
    exif[0x0112] = 6  # to be shown turned by a quarter, clockwise
    assert digit_of(im, tmp_path/f'a.{end}', exif=exif) == 7
    im.save(tmp_path/f'b.{end}')
    a, b = read_image(tmp_path/f'a.{end}').float(), read_image(tmp_path/f'b.{end}').float()
    assert (a - b).abs().mean() > 20 > 3 > (a - b.rot90(-1)).abs().mean()

@pytest.mark.parametrize('at', [(0, 0), (300, 0), (0, 200), (300, 200), (150, 100)])
def test_anywhere_on_a_dusty_page(tmp_path, at):
    im = Image.new('L', (400, 300))
    im.paste(draw_seven(), at)
    for x, y in ((20, 130), (250, 40), (130, 270)): im.paste(200, (x, y, x + 2, y + 2))
    assert digit_of(ImageOps.invert(im), tmp_path/'a.png') == 7

@pytest.mark.parametrize('size', [(1, 1), (1, 2), (2, 1), (1, 50), (2, 2), (3, 500), (500, 3), (28, 28), (21, 21),
                                  (127, 129), (1, 100_000)])
def test_any_array(size):
    "An image or a ValueError, whatever the size"
    for gray in (np.zeros(size), np.ones(size), rng().random(size), (rng().random(size) > .9).astype(float)):
        try: image = normalize_picture(gray)
        except ValueError: continue
        assert image.shape == (28, 28) and image.max() > 100


# files that aren't pictures, or are large

@pytest.mark.parametrize('content, said', [
    (b'\0\0\0\x18ftypheic', 'HEIC'), (b'\0\0\0\x18ftypavif', 'AVIF'), (b'%PDF-1.7\n', 'PDF'), (b'buy milk', 'no picture'),
    (b'', 'no picture'), (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'no picture'),
    (b'II*\0\x08\0\0\0\x01\0\0\x01\x03\0\x01\0\0\0\x09\0\0\0\0\0\0\0', "can't be read")])
def test_not_a_picture(tmp_path, content, said):
    path = tmp_path/'a.png'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said) as error: read_image(path)
    assert str(path) in str(error.value) and 'PNG or JPEG' in str(error.value) and '\n' not in str(error.value)

@pytest.mark.parametrize('end', ['png', 'jpg', 'gif', 'bmp', 'tiff', 'webp'])
def test_damaged_picture(tmp_path, end):
    "Whatever the damage, the answer is an image or a plain error"
    path, noise = tmp_path/f'a.{end}', rng()
    draw_seven((60, 60), 5).convert('RGB').save(path)
    sound = np.frombuffer(path.read_bytes(), np.uint8)
    path.write_bytes(sound[:len(sound)//2].tobytes())
    with pytest.raises(ValueError, match="can't be read"): read_image(path)
    for _ in range(25):
        raw = sound.copy()
        raw[noise.integers(0, min(len(raw), 400), noise.integers(1, 5))] = noise.integers(0, 256)
        path.write_bytes(raw.tobytes())
        try: assert read_image(path).shape == (28, 28)
        except ValueError as e: assert str(path) in str(e)

@pytest.mark.parametrize('name, size, said', [('a.png', (50, 50), r'a\.png: nothing stands out'),
                                              ('a.png', (8000, 7000), 'too many pixels'),
                                              ('a.webp', (5000, 4100), 'too many pixels')])
def test_blank_or_huge(tmp_path, name, size, said):
    Image.new('L', size).save(tmp_path/name)
    with pytest.raises(ValueError, match=said): read_image(tmp_path/name)

@pytest.fixture
def memory(python):
    "Runs code; gives what it prints, and by how many MB Python's memory has grown at most"
    if sys.platform != 'linux': pytest.skip('counts memory as Linux does')
    def run(code, *args):
        code = ('import sys, resource; from digitlab.predict import *; load_model()\n'
                'def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024\n'
                f'before = most()\n{code}\nprint(most() - before)')
        *printed, megabytes = python('-c', code, *args).split()
        return printed, float(megabytes)
    return run

def test_memory(tmp_path, memory):
    "At most 300 MB more than the imports take"
    files = {'a.jpg': ('RGB', (8000, 6000)), 'b.png': ('RGB', (8000, 6000)), 'c.png': ('RGBA', (6320, 6320)),
             'd.webp': ('RGB', (5000, 4000))}
    for name, (mode, size) in files.items():
        seven = ImageOps.invert(draw_seven(size, 450))
        seven.convert(mode).save(tmp_path/name, **dict(compress_level=1) if 'png' in name else {})
    printed, megabytes = memory('for path in sys.argv[1:]: print(predict_files(path)[0].digit)', *map(tmp_path.joinpath, files))
    assert printed == ['7']*4 and megabytes < 300

def test_one_bad_file_among_many(tmp_path):
    ImageOps.invert(draw_seven((200, 200), 9)).save(tmp_path/'a.png')
    (tmp_path/'b.png').write_text('buy milk')
    names = [tmp_path/'b.png', tmp_path/'a.png', tmp_path/'nowhere.png', tmp_path]
    preds = predict_files(path for path in names)  # a generator will do
    assert [p.digit for p in preds] == [None, 7, None, None]
    assert [p.file for p in preds] == [str(name) for name in names]
    assert [p.note for p in preds[1:]] == ['', 'no such file', 'a folder']
    with pytest.raises(ValueError, match='no pictures to read'): predict_files(iter([]))


# models

def test_the_model_of_the_package(model, digits):
    about = load_model()[1]
    assert about['data'] == 'MNIST' and about['accuracy'] >= .994 and default_model_path().stat().st_size < 1e6
    least = .994 if digits.kind == 'mnist' else .9  # other writers, another scanner
    assert evaluate(model, digits.test_x, digits.test_y).accuracy >= least

@pytest.mark.parametrize('network', ['linear', 'mlp', 'convnet', 'resnet18'])
def test_round_trip(tmp_path, digits, network):
    made, about = make_network(network, make_generator(1)), dict(network=network, seed=1)
    made(digits.train_x[:32])  # gives running means something to keep
    save_model(made, tmp_path/'a.safetensors', about)
    again, read = load_model(tmp_path/'a.safetensors')
    assert read == about and not again.training
    assert torch.equal(made.eval()(digits.test_x[:20]), again(digits.test_x[:20]))

@pytest.fixture
def file(tmp_path):
    save_model(make_network('convnet', make_generator(0)), tmp_path/'a.safetensors', dict(accuracy=.5))
    return tmp_path/'a.safetensors'

def test_save_leaves_the_neighbors_alone(file):
    (file.parent/'.part-mine').mkdir()
    save_model(make_network('convnet', make_generator(1)), file, {})
    assert sorted(p.name for p in file.parent.iterdir()) == ['.part-mine', 'a.safetensors']

@pytest.mark.parametrize('spoil', [lambda raw: raw[:-5] + bytes([raw[-5] ^ 1]) + raw[-4:], lambda raw: raw.replace(b'0.5', b'0.9'),
                                   lambda raw: raw[:len(raw)//2], lambda raw: b'\x80\x04pickle'*9, lambda raw: b''])
def test_spoiled_model(file, spoil):
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(ValueError, match="isn't a sound file"): load_model(file)

@pytest.mark.parametrize('note', [None, dict(about='{"network": "linear"}', sha256='0'), dict(about='{"network": "vgg"}', sha256='0')])
def test_another_kind_of_file(file, note):
    save_file(load_file(file), file, note)
    with pytest.raises(ValueError, match="isn't a sound file"): load_model(file)
    with pytest.raises(FileNotFoundError): load_model(file.with_name('b'))

@pytest.mark.parametrize('about', [{}, dict(network='mlp')])
def test_another_kind_of_model(tmp_path, about):
    with pytest.raises(RuntimeError): save_model(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), tmp_path/'a', about)
    assert not any(tmp_path.iterdir())

@pytest.mark.parametrize('shape, size', [([10**9, 0, 3, 3], 0), ([10**8], 4*10**8)])
def test_a_file_cannot_ask_for_much(tmp_path, memory, shape, size):
    "A tensor without numbers may claim any shape, and one with many may be in the wrong place"
    head = {'1.weight': dict(dtype='F32', shape=shape, data_offsets=[0, size]), '__metadata__': dict(about='{}', sha256='0')}
    head = json.dumps(head).encode()
    with open(tmp_path/'a.safetensors', 'wb') as f:
        f.write(struct.pack('<Q', len(head)) + head)
        f.truncate(f.tell() + size)
    printed, megabytes = memory('try: load_model(sys.argv[1])\nexcept ValueError: print("no")', tmp_path/'a.safetensors')
    assert printed == ['no'] and megabytes < 100

def test_without_the_notebook_tools(python):
    "Reading pictures imports nothing that only notebooks use"
    heavy = '{"anywidget", "pandas", "matplotlib", "sklearn", "torchvision"}'
    assert python('-c', f'import sys, digitlab.predict; print({heavy} & set(sys.modules))') == 'set()\n'
