"""Give the readers of files spoiled input, and see that each refuses it as documented.

    python tests/fuzz.py --inputs 100000 --seed 0   a run; exits with 1 if there was a finding
    python tests/fuzz.py --seed 0 --only 4711       one input of it again, with its traceback

Input number i follows from the seed and i alone. A reader may give a result that is right, or raise the error that it documents. A finding is anything
else: another error, a wrong result, more memory than `--memory`, more time than `--seconds`, or the death of the process. The bytes of each finding are
kept in the folder `--keep`.
"""
import argparse, gzip, io, json, os, random, resource, shutil, signal, struct, subprocess, sys, tarfile, tempfile, time, traceback, warnings, zlib
from collections import Counter
from pathlib import Path

os.environ['OMP_NUM_THREADS'] = '1'
os.environ['TQDM_DISABLE'] = '1'

import numpy as np, torch
from PIL import Image
from safetensors.torch import load_file

from digitlab.compare import small_convnet
from digitlab.data import fetch_mnist, idx_bytes, read_idx, read_pngs
from digitlab.predict import load_model, read_image, save_model
from digitlab.tensors import make_generator

BOUNDS = (0, 1, 9, 10, 27, 28, 29, 255, 256, 784, 999_999, 1_000_001, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


# sound files

def chunk(kind, content): return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
def png(*chunks): return b'\x89PNG\r\n\x1a\n' + b''.join(chunks) + chunk(b'IEND', b'')
def header(width, height, depth=8, colour=0): return chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, 0))

def stroke(width, height):
    "A bar of ink on paper, grey"
    grey = np.full((height, width), 240, np.uint8)
    grey[height//5:-height//5, 2*width//5:3*width//5] = 20
    return grey

def saved(im, kind, **options):
    packed = io.BytesIO()
    im.save(packed, kind, **options)
    return packed.getvalue()

def idx_seeds():
    rng = np.random.default_rng(0)
    images = [idx_bytes(rng.integers(0, 256, (n, 28, 28), np.uint8)) for n in (0, 1, 3)]
    return [*images, *map(gzip.compress, images), gzip.compress(images[1] + bytes(20_000_000), 1)]

def label_seeds():
    labels = [idx_bytes((np.arange(n) % 10).astype(np.uint8)) for n in (0, 1, 500)]
    return [*labels, *map(gzip.compress, labels), gzip.compress(labels[1] + bytes(20_000_000), 1)]

def png_seeds(): return [saved(Image.fromarray(stroke(28, 28)[::step, ::step].repeat(step, 0).repeat(step, 1)), 'PNG', compress_level=level) for step, level in ((1, 1), (2, 9))]

def picture_seeds():
    grey, tall = Image.fromarray(stroke(40, 60)), Image.fromarray(stroke(7, 90))
    clear = grey.convert('RGBA')
    clear.putalpha(Image.fromarray(255 - stroke(40, 60)))
    turned = grey.getexif()
    turned[0x0112] = 6
    deep = Image.fromarray(stroke(40, 60).astype(np.uint16)*200)
    real = stroke(40, 60).astype(np.float32)
    holes = real.copy()
    holes[3, 3], holes[4, 4] = np.nan, np.inf
    kinds = [saved(im, 'PNG') for im in (grey, tall, grey.convert('1'), grey.convert('P'), grey.convert('RGB'), clear, grey.convert('LA'), deep)]
    kinds += [saved(grey, 'JPEG', exif=turned), saved(grey.convert('RGB'), 'JPEG', progressive=True), saved(grey.convert('CMYK'), 'JPEG')]
    kinds += [saved(grey, 'GIF'), saved(grey, 'GIF', save_all=True, append_images=[tall.resize((40, 60))], transparency=20)]
    kinds += [saved(im, 'BMP') for im in (grey, grey.convert('RGB'), grey.convert('1'))]
    kinds += [saved(im, 'TIFF') for im in (grey, grey.convert('CMYK'), deep, Image.fromarray(real), Image.fromarray(holes), grey.convert('I'))]
    kinds += [saved(grey, 'TIFF', compression=name) for name in ('tiff_lzw', 'tiff_deflate', 'packbits', 'jpeg')]
    kinds += [saved(grey.convert('RGB'), 'WEBP'), saved(clear, 'WEBP', lossless=True)]
    return kinds

def archive_seeds():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode='w') as tar:
        for part in ('training', 'testing'):
            for digit in range(10):
                info = tarfile.TarInfo(f'mnist_png/{part}/{digit}/{digit}.png')
                info.size = len(content := png_seeds()[0])
                tar.addfile(info, io.BytesIO(content))
    return [packed.getvalue()]

def model_seeds():
    with tempfile.TemporaryDirectory() as folder:
        save_model(small_convnet(make_generator(0), (2,)), path := Path(folder)/'a', {'source': 'digits'})
        return [path.read_bytes()]


# ways to spoil them

def flip(rng, b): at = rng.randrange(len(b)); return b[:at] + bytes([b[at] ^ 1 << rng.randrange(8)]) + b[at + 1:]
def put(rng, b): at = rng.randrange(len(b)); return b[:at] + bytes([rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))]) + b[at + 1:]
def truncate(rng, b): return b[:rng.randrange(len(b))]
def cut(rng, b): at = rng.randrange(len(b)); return b[:at] + b[at + rng.randrange(1, 40):]
def insert(rng, b): at = rng.randrange(len(b)); return b[:at] + rng.randbytes(rng.randrange(1, 40)) + b[at:]
def double(rng, b): at = rng.randrange(len(b)); return b[:at] + b[at:at + rng.randrange(1, 200)]*rng.randrange(2, 9) + b[at:]
def bound(rng, b):  # a count that is huge, or just at a limit, where a header may have one
    at, form = rng.randrange(min(len(b), 200)), rng.choice(('>I', '<I', '>H', '<H'))
    value = rng.choice(BOUNDS) & (0xffffffff if form[1] == 'I' else 0xffff)
    return b[:at] + struct.pack(form, value) + b[at + struct.calcsize(form):]
SPOIL = flip, flip, put, put, truncate, cut, insert, double, bound, bound

def spoiled(rng, content, seeds):
    "`content` changed in one to four places, or mixed with another sound file"
    if rng.random() < .05: content = content[:rng.randrange(len(content))] + (other := rng.choice(seeds))[rng.randrange(len(other)):]
    for _ in range(rng.choice((1, 1, 1, 2, 4))): content = rng.choice(SPOIL)(rng, content) or b'\0'
    return content

def mended_png(content):
    "The same chunks with right checksums, so that what is behind the checksum is reached"
    out, at = content[:8], 8
    while at + 12 <= len(content):
        n = int.from_bytes(content[at:at + 4], 'big')
        out, at = out + chunk(content[at + 4:at + 8], content[at + 8:at + 8 + n]), at + 12 + n
    return out

def huge_png(rng):
    "A small file that announces a large picture, or holds far more than it announces"
    width, height = rng.choice(((28, 28), (9000, 9000), (13_000, 13_000), (60_000, 60_000), (2**31 - 1, 1), (1, 2**31 - 1), (1, 10**8)))
    body = zlib.compress(bytes(rng.choice((0, 1000, 10**7))), 9)
    extra = rng.choice((b'', chunk(b'zTXt', b'a\0\0' + zlib.compress(bytes(3*10**7), 9)), chunk(b'iCCP', b'a\0\0' + zlib.compress(bytes(3*10**7), 9))))
    return png(header(width, height, 8, rng.choice((0, 2, 6))), extra, chunk(b'IDAT', body))

def noise(rng, heads=(b'',)): return rng.choice(heads) + rng.randbytes(rng.randrange(400))

def idx_input(rng, seeds, n_dims):
    if rng.random() < .1: return noise(rng, (b'', b'\x1f\x8b\x08', bytes([0, 0, 8, n_dims])))
    content = rng.choice(seeds)
    if content[:2] == b'\x1f\x8b' and rng.random() < .4 and len(content) < 10_000:  # spoil what is inside
        return gzip.compress(spoiled(rng, gzip.decompress(content), seeds), 1)
    return spoiled(rng, content, seeds)

def png_input(rng, seeds):
    kind = rng.random()
    if kind < .05: return noise(rng, (b'', b'\x89PNG\r\n\x1a\n', seeds[0][:41]))
    if kind < .06: return huge_png(rng)
    content = spoiled(rng, rng.choice(seeds), seeds)
    return mended_png(content) if rng.random() < .5 else content

def picture_input(rng, seeds):
    kind = rng.random()
    if kind < .03: return noise(rng, (b'', *(s[:24] for s in seeds)))
    if kind < .032: return huge_png(rng)
    content = spoiled(rng, rng.choice(seeds), seeds)
    return mended_png(content) if content[:4] == b'\x89PNG' and rng.random() < .5 else content

def archive_input(rng, seeds):
    if rng.random() < .1: return gzip.compress(noise(rng), 1)
    packed = gzip.compress(spoiled(rng, seeds[0][:rng.randrange(512, len(seeds[0]))] if rng.random() < .5 else seeds[0], seeds), 1)
    return spoiled(rng, packed, seeds) if rng.random() < .3 else packed


# readers: what to call, what it may raise, and whether its result is right

def inflated(content): return zlib.decompressobj(31).decompress(content) if content[:2] == b'\x1f\x8b' else content

def check_idx(shape):
    def check(path, content, seeds):
        array = read_idx(path, shape)
        assert array.dtype == np.uint8 and array.shape[1:] == shape and idx_bytes(array) == inflated(content), 'not what the file holds'
    return check

def check_png(path, content, seeds):
    images = read_pngs([path])
    assert images.shape == (1, 28, 28) and images.dtype == np.uint8

def check_picture(path, content, seeds):
    image = read_image(path)
    assert image.shape == (28, 28) and image.dtype == torch.uint8 and image.max() > 0, 'no image'

def check_archive(path, content, seeds):
    fetch_mnist(path.as_uri())
    raise AssertionError('an archive that is not MNIST was taken for it')

def check_model(path, content, seeds):
    model, about = load_model(path)
    path.write_bytes(seeds[0])
    whole = load_file(path)
    assert all(torch.equal(t, whole[k]) for k, t in model.state_dict().items()), 'other weights'

READERS = {  # name: share of the inputs, sound files, input, check, documented error
    'IDX images': (30, idx_seeds, lambda rng, seeds: idx_input(rng, seeds, 3), check_idx((28, 28)), ValueError),
    'IDX labels': (10, label_seeds, lambda rng, seeds: idx_input(rng, seeds, 1), check_idx(()), ValueError),
    'PNG of a tree': (20, png_seeds, png_input, check_png, ValueError),
    'picture': (34, picture_seeds, picture_input, check_picture, ValueError),
    'archive': (2, archive_seeds, archive_input, check_archive, ConnectionError),
    'model': (4, model_seeds, lambda rng, seeds: spoiled(rng, seeds[0], seeds), check_model, ValueError)}


# a run

def one(seed, i, seeds):
    "Reader and content of input `i`"
    rng = random.Random(f'{seed} {i}')
    name = rng.choices(list(READERS), [r[0] for r in READERS.values()])[0]
    if name not in seeds: seeds[name] = READERS[name][1]()
    return name, READERS[name][2](rng, seeds[name])

def try_out(name, content, path, seeds):
    "'sound' or 'refused'; raises what the reader should not have raised"
    path.write_bytes(content)
    try: READERS[name][3](path, content, seeds[name])
    except READERS[name][4] as e:
        assert str(path) in str(e), f'an error that does not name the file: {e}'
        return 'refused'
    return 'sound'

def vm(): return int(Path('/proc/self/statm').read_text().split()[0])*resource.getpagesize() if sys.platform == 'linux' else None

def work(args, first):
    "Try inputs from `first` on, and tell what came of each on stdout"
    seeds, path, peak = {}, args.keep.resolve()/'input', 0
    for i in range(2): try_out('picture', saved(Image.fromarray(stroke(40, 60)), 'PNG'), path, {'picture': []})  # so that everything is imported
    if vm(): resource.setrlimit(resource.RLIMIT_AS, (vm() + args.memory*2**20,)*2)
    warnings.simplefilter('ignore')
    for i in range(first, args.inputs):
        name, content = one(args.seed, i, seeds)
        print(json.dumps([i, name, 'start']), flush=True)
        try: came = try_out(name, content, path, seeds)
        except Exception as e:
            last = traceback.extract_tb(e.__traceback__)[-1]
            came = f'{type(e).__name__}: {str(e)[:150]} [{Path(last.filename).name}:{last.lineno}]'
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps([i, name, came, peak]), flush=True)

def run(args):
    "Counts and findings of a run; the inputs are tried in another process, which is started anew if it dies or hangs"
    args.keep.mkdir(parents=True, exist_ok=True)
    counts, findings, first, seeds, peak = Counter(), [], 0, {}, 0
    cache = tempfile.mkdtemp(prefix='digitlab-fuzz-')
    while first < args.inputs:
        with tempfile.TemporaryFile('w+') as errors:
            process = subprocess.Popen([sys.executable, __file__, '--inputs', str(args.inputs), '--seed', str(args.seed), '--memory', str(args.memory),
                                        '--keep', str(args.keep), '--work', str(first)], stdout=subprocess.PIPE, stderr=errors, text=True,
                                       env=os.environ | {'DIGITLAB_CACHE': cache})
            i, name, hung = None, None, []
            def kill(*_): hung.append(1); process.kill()
            signal.signal(signal.SIGALRM, kill)
            for line in process.stdout:
                i, name, came, *rest = json.loads(line)
                signal.alarm(args.seconds)
                if came == 'start': continue
                first, peak = i + 1, max(peak, *rest)
                counts[name, came if came in ('sound', 'refused') else 'FINDING'] += 1
                if came not in ('sound', 'refused'): findings.append((i, name, came))
            signal.alarm(0)
            status = process.wait()
            errors.seek(0)
            if hung or status:
                if i is None: raise SystemExit(f'the process that tries the inputs did not start:\n{errors.read()}')
                findings.append((i, name, f'hang of over {args.seconds} s' if hung else f'the process died with status {status}: {errors.read()[-300:]}'))
                counts[name, 'FINDING'] += 1
                first = i + 1
    for i, name, _ in findings: (args.keep/f'{args.seed}-{i}').write_bytes(one(args.seed, i, seeds)[1])
    (args.keep/'input').unlink(missing_ok=True)
    left = os.listdir(cache)
    if left: findings.append((0, 'archive', f'left in the cache: {left}'))
    shutil.rmtree(cache)
    if not findings and not any(args.keep.iterdir()): args.keep.rmdir()
    return counts, findings, peak/2**(10 if sys.platform == 'linux' else 20)

def parse(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--inputs', type=int, default=2000, help='how many (default: 2000)')
    add('--seed', type=int, default=0, help='decides every input (default: 0)')
    add('--memory', type=int, default=1024, metavar='MB', help='how much a reader may take beyond what the process has (default: 1024)')
    add('--seconds', type=int, default=30, help='how long an input may take (default: 30)')
    add('--keep', type=Path, default=Path('fuzz-findings'), metavar='DIR', help='where findings are kept (default: fuzz-findings)')
    add('--only', type=int, metavar='I', help='try one input of the run, in this process')
    add('--work', type=int, help=argparse.SUPPRESS)
    return parser.parse_args(words)

def main(words=None):
    args = parse(words)
    if args.work is not None: return work(args, args.work)
    if args.only is not None:
        with tempfile.TemporaryDirectory() as folder:
            os.environ['DIGITLAB_CACHE'] = folder
            name, content = one(args.seed, args.only, seeds := {})
            print(name, len(content), 'bytes', content[:60])
            print(try_out(name, content, Path(folder)/'input', seeds))
        return 0
    began = time.monotonic()
    counts, findings, peak = run(args)
    print(f'{"reader":<14}{"inputs":>9}{"sound":>9}{"refused":>9}{"findings":>9}')
    for name in READERS:
        row = [counts[name, came] for came in ('sound', 'refused', 'FINDING')]
        print(f'{name:<14}{sum(row):>9,}' + ''.join(f'{n:>9,}' for n in row))
    for i, name, what in findings[:40]: print(f'{name}, input {i}: {what}')
    print(f'{sum(counts.values()):,} inputs from seed {args.seed} in {time.monotonic() - began:.0f} s, at most {peak:,.0f} MB, {len(findings)} findings'
          + (f', kept in {args.keep}' if findings else ''))
    return 1 if findings else 0

if __name__ == '__main__': sys.exit(main())
