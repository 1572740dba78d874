"The widgets' JavaScript in Node: the network against torch, the sliders against their formulas."
import base64, json, re, runpy, shutil, subprocess
from pathlib import Path

import numpy as np, pytest, torch
from torch.nn import functional as F

from digitlab.data import read_digits
from digitlab.learner import mnist_loss
from digitlab.mlp import digit_cross_entropy, pack_digits, sigmoid_mse, softmax_mse
from digitlab.predict import load_model
from digitlab.show import widget_source
from digitlab.tensors import scale_pixels

ROOT = Path(__file__).parents[1]
WIDGETS = ROOT/'digitlab'/'widgets'
build = runpy.run_path(ROOT/'dev'/'site'/'build.py')
LAYERS = json.dumps(build['network_layers'](build['CONVNET']))

pytestmark = pytest.mark.skipif(not shutil.which('node'), reason='needs Node')


def node(code, folder): # what the ES module `code` prints, as JSON
    (folder/'widgets').mkdir()
    (folder/'package.json').write_text('{"type": "module"}')
    for path in WIDGETS.glob('*.js'): shutil.copy(path, folder/'widgets')
    (folder/'main.js').write_text(code)
    done = subprocess.run(['node', 'main.js'], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

def test_home_models_as_torch(tmp_path): # all four, on every test image
    trained, digits = build['train_models'](read_digits('digits')), read_digits()
    (tmp_path/'images').write_bytes(digits.test_x.numpy().tobytes())
    (tmp_path/'models.json').write_text(json.dumps(build['home_models'](*trained)))
    told = node("""import { readFileSync } from 'node:fs'
        import { readNetwork } from './widgets/nn.js'
        import { verdictOf } from './widgets/pad.js'
        const models = JSON.parse(readFileSync('models.json')).map(
            ({ layers, ...about }) => ({ ...about, network: readNetwork(layers) }))
        const images = readFileSync('images'), told = models.map(() => ({ digits: [], scores: [] }))
        for (let at = 0; at < images.length; at += 784)
            models.forEach((model, i) => {
                const { digit, scores } = verdictOf(images.subarray(at, at + 784), model)
                told[i].digits.push(digit)
                told[i].scores.push(scores)
            })
        console.log(JSON.stringify(told))""", tmp_path)
    x, (baseline, *networks) = scale_pixels(digits.test_x), trained
    scores = [torch.cdist(x.flatten(1), baseline.means_.flatten(1))**2/784]
    with torch.no_grad(): scores += [model(x).softmax(1) for model in [*networks, load_model()[0]]]
    preds = [baseline.predict(x), *(probs.argmax(1) for probs in scores[1:])]
    for one, expected, pred in zip(told, scores, preds, strict=True):
        assert one['digits'] == pred.tolist()
        assert (torch.tensor(one['scores']) - expected).abs().max() < 1e-5

def test_drawings_are_read(tmp_path): # digits blown up to the pad's size
    digits = read_digits()
    pixels, labels = scale_pixels(digits.test_x[:200])[:, None], digits.test_y[:200].tolist()
    large = torch.nn.functional.interpolate(pixels, [112, 112], mode='bilinear')[:, 0]
    (tmp_path/'images').write_bytes((large*255).byte().numpy().tobytes())
    (tmp_path/'layers.json').write_text(LAYERS)
    told = node("""import { readFileSync } from 'node:fs'
        import { judge } from './widgets/pad.js'
        import { readNetwork } from './widgets/nn.js'
        const network = readNetwork(JSON.parse(readFileSync('layers.json')))
        const images = readFileSync('images'), size = 112*112, answers = []
        for (let at = 0; at < images.length; at += size)
            answers.push(await judge(images.subarray(at, at + size), [{ network }]))
        answers.push(await judge(new Uint8Array(size), [{ network }]))
        console.log(JSON.stringify(answers))""", tmp_path)
    assert told.pop() == dict(seen=[0]*784, verdicts=[])
    n_right = sum(t['verdicts'][0]['digit'] == y for t, y in zip(told, labels, strict=True))
    assert n_right >= 160  # scikit-learn's are coarse: 169

def test_rate_slider(tmp_path):
    rates = [0.01, 0.05, 0.1, 0.5, 0.8, 1, 1.05]
    told = node(f"""import {{ descent }} from './widgets/rate_slider.js'
        console.log(JSON.stringify({rates}.map(lr => descent(-1.5, lr, 10))))""", tmp_path)
    assert [t['word'] for t in told] == [
        'too small', 'too small', 'good', 'one step', 'zigzag', 'bouncing', 'diverging']
    for lr, t in zip(rates, told):
        x = torch.tensor(-1.5, dtype=torch.float64, requires_grad=True)
        for _ in range(10):
            grad, = torch.autograd.grad(x**2, x)
            x = (x - lr*grad).detach().requires_grad_()
        np.testing.assert_allclose([t['x'], t['loss']], [x.item(), x.item()**2], atol=1e-9)

def test_three_sliders(tmp_path):
    time = torch.arange(20.).double()
    speed = 0.75*(time - 9.5)**2 + 1
    params = torch.tensor([-0.6, 2.3, -10], dtype=torch.float64, requires_grad=True)
    told = node(f"""import {{ lossAndSlopes, ranges }} from './widgets/three_sliders.js'
        const time = {time.tolist()}, speed = {speed.tolist()}, start = {params.tolist()}
        const told = [lossAndSlopes(time, speed, start), ranges(time, speed, start)]
        console.log(JSON.stringify(told))""", tmp_path)
    loss = ((params[0]*time**2 + params[1]*time + params[2] - speed)**2).mean()
    loss.backward()
    measured, limits = told
    np.testing.assert_allclose(measured['slopes'], params.grad.tolist())
    np.testing.assert_allclose(measured['loss'], loss.item())
    for limit, value, best in zip(limits, params.tolist(), [0.75, -14.25, 68.6875]):
        assert max(abs(value), abs(best)) < limit['far']

LOSSES = {'sigmoid + MSE': sigmoid_mse, 'softmax + MSE': softmax_mse,
          'cross-entropy': digit_cross_entropy,
          'where-loss': lambda z, y: mnist_loss(z, F.one_hot(y, 10))}

@pytest.mark.parametrize('logits, label', [([-1., 0, 1, 3, -2, 2, -1, 0, 1, -1], 3),
                                           ([-12.] + [0.]*9, 0), ([12., -12, 0], 1)])
def test_softmax_bars(logits, label, tmp_path):
    told = node(f'''import {{ judge }} from './widgets/softmax_bars.js'
        console.log(JSON.stringify(judge({logits}, {label})))''', tmp_path)
    x = torch.tensor([logits], dtype=torch.float64, requires_grad=True)
    np.testing.assert_allclose(told['probs'], x.softmax(1)[0].tolist(), rtol=1e-9)
    for seen in told['losses']:
        value = LOSSES[seen['name']](x, torch.tensor([label]))
        slope = torch.autograd.grad(value, x)[0][0, label]
        np.testing.assert_allclose([seen['value'], seen['pull']], [value.item(), -slope], rtol=1e-6)

@pytest.mark.parametrize('start', [0.01, 1, 'he'])
@pytest.mark.parametrize('sizes, activation', [((784, 10), 'relu'), ((784, 12, 10), 'relu'),
                                               ((784, 12, 10), 'sigmoid')])
def test_gradients_as_torch(sizes, activation, start, tmp_path):
    x, y = (part[:20] for part in read_digits('digits')[:2])
    how = json.dumps(dict(sizes=sizes, activation=activation, start=start, seed=3))
    told = node(f'''import {{ ask, LOSSES, makeNetwork, trainStep }} from './widgets/nn.js'
        const images = {x.flatten().tolist()}, labels = {y.tolist()}, told = {{}}
        const rows = labels.map((_, i) => i), pack = a => Buffer.from(a.buffer).toString('base64')
        const all = layers => layers.flatMap(({{ weight, bias }}) => [pack(weight), pack(bias)])
        for (const loss of Object.keys(LOSSES)) {{
          const network = makeNetwork({how}), before = all(network.layers)
          const steps = trainStep(network, {{ images, labels }}, rows, {{ loss, lr: 0.5 }})
          let done; do done = steps.next(); while (!done.done)
          const {{ layers, sums }} = network, probs = Array.from(ask(network, images.slice(0, 784)))
          told[loss] = {{ before, after: all(layers), sums: all(sums), done: done.value, probs }}
        }}
        console.log(JSON.stringify(told))''', tmp_path)
    shapes = [shape for pair in zip(sizes, sizes[1:]) for shape in (pair, pair[1:])]
    def tensors(texts): # float64; weights [out, in], as torch has them
        arrays = [np.frombuffer(base64.b64decode(t)).reshape(s) for t, s in zip(texts, shapes)]
        return [torch.tensor(a.T).requires_grad_() for a in arrays]
    def logits(weight, bias, *hidden):
        z = F.linear(x.flatten(1).double()/255, weight, bias)
        return F.linear(getattr(z, activation)(), *hidden) if hidden else z
    assert told.keys() == LOSSES.keys()
    for name, seen in told.items():
        params, after = tensors(seen['before']), tensors(seen['after'])
        size = (2/784)**0.5 if start == 'he' else start
        assert abs(params[0].std()/size - 1) < 0.05 and not params[1].any()
        z = logits(*params)
        loss = LOSSES[name](z, y)
        loss.backward()
        accuracy = (z.argmax(1) == y).double().mean().item()
        assert seen['done'] == pytest.approx(dict(loss=loss.item(), accuracy=accuracy), rel=1e-9)
        for p, g, new in zip(params, tensors(seen['sums']), after):
            torch.testing.assert_close(p.grad, g, rtol=1e-9, atol=1e-12, check_stride=False)
            torch.testing.assert_close(p - 0.5*p.grad, new, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(seen['probs'], logits(*after).softmax(1)[0].tolist(), rtol=1e-6)

def test_training_on_the_page(tmp_path): # and the same once more after a reset
    digits = read_digits('digits')
    (tmp_path/'digits.json').write_text(json.dumps(pack_digits(digits, 1000, 300)))
    told = node('''import { readFileSync } from 'node:fs'
        import { makeNetwork, readDigits } from './widgets/nn.js'
        import { session } from './widgets/train.js'
        const data = await readDigits(JSON.parse(readFileSync('digits.json'))), told = []
        const [{ images, labels }] = data, good = { start: 'he', loss: 'cross-entropy', lr: 0.1 }
        for (const how of [good, good, { start: 1, loss: 'where-loss', lr: 50 }]) {
          const network = makeNetwork({ sizes: [784, 32, 10], seed: 1, ...how })
          const figures = {}, kinds = new Set(), report = more => Object.assign(figures, more)
          for (const what of session(network, data, { bs: 100, seed: 1, ...how }, report))
            kinds.add(String(what))
          told.push([figures, [...kinds].sort()])
        }
        const first = [Array.from(images.subarray(0, 784)), Array.from(labels)]
        console.log(JSON.stringify([first, ...told]))''', tmp_path)
    (pixels, labels), (good, kinds), again, (stalled, _) = told
    assert labels == digits.train_y[:1000].tolist() and kinds == ['measured', 'step', 'undefined']
    assert (torch.tensor(pixels) - digits.train_x[0].flatten()).abs().max() <= 9
    assert again == [good, kinds] and good['passes'] == 20
    assert good['valid']['accuracy'] > 0.85 and stalled['valid']['accuracy'] < 0.6

NAMES = {path.stem for path in WIDGETS.glob('*.js')} - {'look', 'nn'}  # which the others share

@pytest.mark.parametrize('name', sorted(NAMES))
def test_source_is_one_module(name, tmp_path): # anywidget loads it from a place without neighbors
    source = widget_source(name)
    assert not re.search('^import ', source, re.M) and source.count('export default') == 1
    (tmp_path/'one.js').write_text(source)
    told = node("""import one from './one.js'
        console.log(JSON.stringify(typeof one.render))""", tmp_path)
    assert told == 'function'
