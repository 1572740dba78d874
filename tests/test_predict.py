"Pictures that people give, model files that were spoiled, and what is said where there is no answer"
import io, json, os, struct, sys, tempfile
from functools import partial

import numpy as np, pytest, torch
from matplotlib.cbook import get_sample_data
from matplotlib.figure import Figure
from PIL import Image, ImageOps
from safetensors.torch import load, save

from conftest import draw_seven
from digitlab.compare import evaluate, make_network
from digitlab.data import read_digits
from digitlab.predict import (default_model_path, is_digit, load_model, normalize_picture, predict_files,
                              read_image, save_model)
from digitlab.tensors import make_generator

N = 25  # digits of each kind of picture; one of them may go wrong
each = pytest.mark.parametrize

@pytest.fixture(scope='module')
def digits(): return read_digits('mnist' if os.environ.get('DIGITLAB_MNIST') else 'digits')
def predict(pictures): # what is said of them, arrays from 0 to 1, once they are saved
    with tempfile.TemporaryDirectory() as folder:
        paths = [f'{folder}/{i}.png' for i in range(len(pictures))]
        for path, gray in zip(paths, pictures): Image.fromarray((255*gray).round().astype(np.uint8)).save(path)
        return predict_files(paths)
def rng(): return np.random.default_rng(0)
def enlarge(image, side=200): # a digit's ink, 0 to 1
    return np.asarray(Image.fromarray(image.numpy()).resize((side, side), Image.Resampling.BICUBIC))/255


# frames, tables, lines: made-up pictures, each from a digit's ink

def table(ink, angle=0, shade=50): # a sheet of paper on a dark table, turned by so many degrees
    sheet = Image.fromarray((230*(1 - ink)).astype(np.uint8))
    sheet = sheet.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=shade)
    scene = np.asarray(ImageOps.expand(sheet, (320 - sheet.width)//2, shade))
    return scene/255 + rng().normal(0, .01, scene.shape)
def lines(ink, sides, at=6, width=2, shade=.2): # along some sides, `at` pixels from the border
    gray = 1 - ink
    for side in sides: np.rot90(gray, side)[at:at + width] = shade
    return gray
frame = partial(lines, sides=range(4), at=0, shade=0)
def plot(ink): # as matplotlib saves it
    ax, file = Figure(figsize=(3, 3)).subplots(), io.BytesIO()
    ax.imshow(ink, cmap='gray')
    ax.figure.savefig(file)
    return np.asarray(Image.open(file).convert('L'))/255
def uneven(picture, right=.25, down=.05, bend=0., grain=.01): # light that falls from one side, and grain
    y, x = np.mgrid[-1:1:picture.shape[0]*1j, -1:1:picture.shape[1]*1j]
    light = .7 - right*x - down*y + bend*(x*x + y*y)
    return (picture*light + rng().normal(0, grain, picture.shape)).clip(0, 1)

BARE = {'plain': lambda ink: 1 - ink, 'light on dark': lambda ink: ink, 'plot': plot,
        'cropped': lambda ink: 1 - ink[:, (ink > .3).any(0)][(ink > .3).any(1)],
        'square': lambda ink: np.pad(ink, 60, constant_values=1)}  # white on a black square, on a white page
SCENES = {**{f'frame {n}': partial(frame, width=n) for n in (1, 2, 3)},
          'double frame': lambda ink: np.pad(np.pad(frame(ink[5:-5, 5:-5]), 3, constant_values=1), 2),
          'margin': lambda ink: np.pad(frame(ink), 20, constant_values=1),
          'light table': partial(table, shade=150), 'table edge': partial(lines, sides=(1,), at=0, width=25, shade=.3),
          **{f'table {n}': partial(table, angle=n) for n in (-20, -12, 0, 5, 20)},
          **{f'lines {n}': partial(lines, sides=n) for n in ((0,), (1, 3), (0, 1, 2), (0, 1, 2, 3))},
          'line at the border': partial(lines, sides=(3,), at=0)}
ALL = BARE | SCENES | {f'{name}, uneven': lambda ink, draw=(BARE | SCENES)[name]: uneven(draw(ink)) for name in (
    'plain', 'frame 1', 'frame 3', 'double frame', 'lines (0,)', 'lines (1, 3)', 'lines (0, 1, 2)')}

@pytest.fixture(scope='module')
def inks(digits): # of digits that are read surely when nothing is around them, and what they are
    inks, labels = [enlarge(image) for image in digits.test_x[:3*N]], digits.test_y.tolist()
    preds = predict([1 - ink for ink in inks])
    return [(ink, y) for ink, y, p in zip(inks, labels, preds) if p.digit == y and p.probability > .9][:N]

@each('name', ALL)
def test_scene(inks, name):
    preds = predict([ALL[name](ink.copy()) for ink, _ in inks])
    wrong = [p.probability for p, (_, y) in zip(preds, inks) if p.digit != y]
    assert len(inks) == N and len(wrong) <= 1 and max(wrong, default=0) <= .9

@each('name', SCENES)
def test_empty_scene_is_refused(name):
    picture = SCENES[name](np.zeros((200, 200)))
    for scene in (picture, uneven(picture)) if 'line' in name else (picture,):
        with pytest.raises(ValueError): normalize_picture(scene)

@each('size', [(200, 200), (90, 300)])
@each('light', [(0, 0), (0, 0, 0, 0), (0, 0, 0, .03), (.15, .08), (-.25, -.12), (0, 0, .15), (0, 0, -.15),
                (.1, .05, -.1)])
def test_blank_paper_is_refused(size, light):
    with pytest.raises(ValueError, match='nothing stands out'): normalize_picture(uneven(np.ones(size), *light))

def test_notes_say_several_and_unsure(digits):
    inks = [enlarge(image, 112) for image in digits.test_x[:40]]
    inks = [ink[:, (ink > .3).any(0)] for ink in inks]
    inks += [np.hstack([a, np.zeros((112, 4 + 3*i % 20)), b]) for i, (a, b) in enumerate(zip(inks, inks[1:]))]
    preds = predict([np.pad(ink, 20) for ink in inks])
    several = ['several digits' in p.note for p in preds]
    assert sum(several[:40]) <= 1 and sum(several[40:]) >= 38
    for p in preds:
        assert ('unsure' in p.note) == (p.probability < .9)
        assert ('perhaps no digit' in p.note) == (sum(p.probabilities) < .5)
        assert p.probability == max(p.probabilities) == p.probabilities[p.digit]

def test_dropped_ink_makes_it_doubt():
    picture = np.ones((120, 120))
    picture[30:90, 52:62] = picture[1:6, 80:118] = 0  # a 1, and a scrap at the border
    pred, = predict([picture])
    assert pred.digit == 1 and sum(pred.probabilities) < .8 and 'unsure' in pred.note

def test_scraps_of_a_photograph_are_doubted(digits):
    with get_sample_data('grace_hopper.jpg') as file: photo = np.asarray(Image.open(file).convert('L'))/255
    scraps = [photo[i:i + n, j:j + n] for n in (60, 150) for i in range(0, 450, 75) for j in range(0, 350, 75)]
    assert np.mean([p.probability > .9 for p in predict(scraps)]) < .05
    assert (is_digit(digits.test_x[:500]) > .5).float().mean() > .9


# sizes, colors, files

def in_mode(mode, *how):
    im = draw_seven(*how)
    return Image.fromarray(np.asarray(im).astype(np.uint16)*200) if mode == 'I;16' else im.convert(mode)

def deep(most): # values of any range, and some that are no numbers
    return Image.fromarray(np.pad(np.asarray(draw_seven(paper=0), np.float32)/255*most, 1, constant_values=np.nan))
def transparent(color):
    return Image.merge('RGBA', [*Image.new('RGB', (100, 100), color).split(), draw_seven(paper=0)])
def dusty(x, y):
    im = ImageOps.expand(draw_seven(), (x, y, 300 - x, 200 - y), 255)
    for x, y in ((20, 130), (250, 40), (130, 270)): im.paste(55, (x, y, x + 2, y + 2))
    return im

@each('make, args', [
    *((in_mode, (mode, *how)) for mode in ('1', 'L', 'P', 'RGB', 'RGBA', 'LA', 'CMYK', 'I;16', 'I', 'F')
      for how in (((64, 64), 6, 0), ((300, 200), 20), ((900, 1200), 80, 0))),
    *((deep, [n]) for n in (1, 255, 4095, 65535, 10**6)), *((transparent, [ink]) for ink in ('black', 'white', 'red')),
    *((dusty, at) for at in ((0, 0), (300, 0), (0, 200), (300, 200), (150, 100)))])
def test_modes_depths_paper_places(tmp_path, make, args):
    im = make(*args)
    path = tmp_path/('a.tiff' if im.mode in ('F', 'CMYK', 'I;16', 'I') else 'a.png')
    im.save(path)
    image = read_image(path)
    assert predict_files(path)[0].digit == 7 and image.dtype == torch.uint8 and image.shape == (28, 28)
    assert image[0].float().mean() < 20 and image.max() > 200

@each('end', ['jpg', 'png', 'webp', 'tiff'])
def test_turned_photo(tmp_path, end):
    upright, a, b = draw_seven((200, 200), 16), tmp_path/f'a.{end}', tmp_path/f'b.{end}'
    exif = upright.getexif()
    exif[0x0112] = 6  # to be shown turned by a quarter, clockwise
    upright.rotate(90).save(a, exif=exif)
    upright.save(b)
    assert (read_image(a).float() - read_image(b)).abs().mean() < 3

@each('size', [(1, 1), (1, 2), (2, 1), (1, 50), (2, 2), (3, 500), (500, 3), (28, 28), (21, 21), (127, 129), (1, 10**5)])
def test_any_size_gives_an_image_or_a_value_error(size):
    for gray in (np.zeros(size), np.ones(size), rng().random(size), (rng().random(size) > .9).astype(float)):
        try: assert (image := normalize_picture(gray)).shape == (28, 28) and image.max() > 100
        except ValueError: continue


# files that aren't pictures, or are large

@each('content, said', [
    (b'\0\0\0\x18ftypheic', 'HEIC'), (b'\0\0\0\x18ftypavif', 'AVIF'), (b'%PDF-1.7\n', 'PDF'), (b'', 'no picture we know'),
    (b'buy milk', 'no picture we know'), (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'no picture we know'),
    (b'II*\0\x08\0\0\0\x01\0\0\x01\x03\0\x01\0\0\0\x09\0\0\0\0\0\0\0', 'no picture we know'),
    (('png', 8000, 7000), 'too many pixels'), (('webp', 5000, 4100), 'too many pixels')])
def test_not_a_picture(tmp_path, content, said):
    path = tmp_path/'a.png'
    if isinstance(content, bytes): path.write_bytes(content)
    else: Image.new('L', content[1:]).save(path, content[0])
    with pytest.raises(ValueError, match=said) as error: read_image(path)
    assert str(path) in str(error.value) and 'PNG or JPEG' in str(error.value) and '\n' not in str(error.value)

@each('end', ['png', 'jpg', 'gif', 'bmp', 'tiff', 'webp'])
def test_any_damage_gives_an_image_or_a_plain_error(tmp_path, end):
    path, noise = tmp_path/f'a.{end}', rng()
    draw_seven((60, 60), 5).convert('RGB').save(path)
    sound = path.read_bytes()
    path.write_bytes(sound[:len(sound)//2])
    with pytest.raises(ValueError, match='save it as'): read_image(path)
    for _ in range(25):
        raw = np.array(bytearray(sound))
        raw[noise.integers(0, min(len(raw), 400), noise.integers(1, 5))] = noise.integers(0, 256)
        path.write_bytes(raw.astype(np.uint8).tobytes())
        try: assert read_image(path).shape == (28, 28)
        except ValueError as e: assert str(path) in str(e)

@pytest.fixture
def memory(python): # runs code; gives what it prints, and how many MB more than `import torch` it took at most
    if sys.platform != 'linux': pytest.skip('counts memory as Linux does')
    def run(code, *args):
        *printed, megabytes = python('-c', f'''import sys, torch
def most(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])/1024
before = most()
from digitlab.predict import *
{code}
print(most() - before)''', *args).split()
        return printed, float(megabytes)
    return run

def test_memory(tmp_path, memory):
    for name, mode, *size in (('a.jpg', 'RGB', 8000, 6000), ('b.png', 'RGB', 8000, 6000), ('c.png', 'RGBA', 6320, 6320),
                              ('d.webp', 'RGB', 4000, 3750)):
        draw_seven(size, 450).convert(mode).save(tmp_path/name, compress_level=1)
    printed, megabytes = memory('for p in sys.argv[1:]: print(predict_files(p)[0].digit)', *sorted(tmp_path.iterdir()))
    assert printed == ['7']*4 and megabytes < 300

def test_one_bad_file_among_many(tmp_path):
    draw_seven((200, 200), 9).save(tmp_path/'7.png')
    Image.new('L', (50, 50)).save(tmp_path/'blank.png')
    said = [('nowhere.png', None, 'no such file'), ('7.png', 7, ''),
            ('blank.png', None, 'nothing stands out'), ('', None, 'a folder')]
    preds = predict_files(tmp_path/name for name, *_ in said)  # a generator will do
    assert [(p.file, p.digit, p.note) for p in preds] == [(str(tmp_path/name), *answer) for name, *answer in said]
    with pytest.raises(ValueError, match='no pictures to read'): predict_files(iter([]))


# models

def test_the_model_of_the_package(digits):
    with pytest.raises(FileNotFoundError): load_model('no/such/file')
    model, about = load_model()
    assert about['data'] == 'MNIST' and about['accuracy'] >= .994 and default_model_path().stat().st_size < 1e6
    least = .994 if digits.kind == 'mnist' else .9  # other writers, another scanner
    assert evaluate(model, digits.test_x, digits.test_y).accuracy >= least

@each('network', ['linear', 'mlp', 'convnet', 'resnet18'])
def test_round_trip(tmp_path, monkeypatch, digits, network):
    monkeypatch.setenv('HOME', str(tmp_path))
    made, about, file = make_network(network, make_generator(1)), dict(network=network, seed=1), '~/model'
    made(digits.train_x[:32])  # gives running means something to keep
    for _ in range(2): save_model(made, file, about)
    again, read = load_model(file)
    assert read == about and not again.training
    assert torch.equal(made.eval()(digits.test_x[:20]), again(digits.test_x[:20]))

def with_note(**note): return lambda raw: save(load(raw), note or None)

@each('spoil', [lambda raw: raw.replace(b'0.5', b'0.9'), lambda raw: raw[:len(raw)//2], lambda raw: b'\x80\x04pickle'*9,
                lambda raw: b'', with_note(), with_note(about='{"network": "linear"}', sha256='0'),
                with_note(about='{"network": "vgg"}', sha256='0')])
def test_spoiled_or_other_file(tmp_path, spoil):
    file = tmp_path/'model'
    save_model(make_network('convnet', make_generator(0)), file, dict(accuracy=.5))
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(ValueError, match="isn't a sound file"): load_model(file)

@each('shape, size', [([10**9, 0, 3, 3], 0), ([10**8], 4*10**8)])
def test_a_file_cannot_ask_for_much(tmp_path, memory, shape, size):
    "A tensor without numbers may claim any shape, and one with many may be in the wrong place"
    head = json.dumps({'1.weight': dict(dtype='F32', shape=shape, data_offsets=[0, size]),
                       '__metadata__': dict(about='{}', sha256='0')}).encode()
    with open(tmp_path/'model', 'wb') as f:
        f.write(struct.pack('<Q', len(head)) + head)
        f.truncate(f.tell() + size)
    printed, megabytes = memory('try: load_model(sys.argv[1])\nexcept ValueError: print("no")', tmp_path/'model')
    assert printed == ['no'] and megabytes < 100
