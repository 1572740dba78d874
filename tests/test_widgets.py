"The widgets' JavaScript in Node: the network against torch, the sliders against their formulas."
import base64, json, re, runpy, shutil, subprocess

import numpy as np, pytest, torch
from torch.nn import functional as F

from conftest import ROOT
from digitlab.data import read_digits
from digitlab.learner import mnist_loss
from digitlab.mlp import digit_cross_entropy, sigmoid_mse, softmax_mse
from digitlab.predict import load_model
from digitlab.show import pack_digits, widget_source
from digitlab.tensors import scale_pixels

WIDGETS = sorted(path.stem for path in (ROOT/'digitlab'/'widgets').glob('*.js'))
build = runpy.run_path(ROOT/'dev'/'site'/'build.py')
pytestmark = pytest.mark.skipif(not shutil.which('node'), reason='needs Node')


def node(widget, body, **given):
    "What the JavaScript function with this body returns, in the widget's module, given constants"
    known = ''.join(f'const {name} = {json.dumps(value)}\n' for name, value in given.items())
    answer = f'const answer = async () => {{ {body} }}\n'
    module = widget_source(widget) + known + answer + 'console.log(JSON.stringify(await answer()))'
    command = 'node', '--input-type=module'
    return json.loads(subprocess.check_output(command, input=module, text=True))

def pictures(images): # uint8 [N,H,W], each as a text
    return [base64.b64encode(image.numpy().tobytes()).decode() for image in images]

def test_home_models_as_torch(): # all four, on every test image
    trained, digits = build['train_models'](read_digits('digits')), read_digits()
    told = node('pad', '''return Promise.all(models.map(({ layers, ...about }) => {
        const one = { ...about, network: readNetwork(layers) }
        return Promise.all(images.map(text => verdictOf(Buffer.from(text, 'base64'), one))) }))''',
        models=build['home_models'](*trained), images=pictures(digits.test_x))
    x, (baseline, *networks) = scale_pixels(digits.test_x), trained
    scores = [torch.cdist(x.flatten(1), baseline.means_.flatten(1))**2/784]
    with torch.no_grad(): scores += [model(x).softmax(1) for model in [*networks, load_model()[0]]]
    preds = [baseline.predict(x), *(probs.argmax(1) for probs in scores[1:])]
    for one, expected, pred in zip(told, scores, preds, strict=True):
        assert [verdict['digit'] for verdict in one] == pred.tolist()
        assert (torch.tensor([v['scores'] for v in one]) - expected).abs().max() < 1e-5

def test_drawings_are_read(): # digits blown up to the pad's size, and a blank one
    digits = read_digits()
    pixels, labels = scale_pixels(digits.test_x[:200])[:, None], digits.test_y[:200].tolist()
    large = F.interpolate(pixels, [112, 112], mode='bilinear')[:, 0]
    told = node('pad', '''const models = [{ network: readNetwork(layers) }]
        return Promise.all(images.map(text => judge(Buffer.from(text, 'base64'), models)))''',
        layers=build['network_layers'](load_model()[0]),
        images=pictures((F.pad(large, (0, 0, 0, 0, 0, 1))*255).byte()))
    assert told.pop() == dict(seen=[0]*784, verdicts=[])
    n_right = sum(t['verdicts'][0]['digit'] == y for t, y in zip(told, labels, strict=True))
    assert n_right >= 160  # scikit-learn's are coarse: 169

def test_kernel():
    image, kernel = torch.rand(28, 28), torch.randn(3, 3)
    told = node('kernel', 'return featureMap(moveRight(image, 2), kernel)',
                image=image.flatten().tolist(), kernel=kernel.flatten().tolist())
    expected = F.conv2d(F.pad(image, (2, -2))[None, None], kernel[None, None]).flatten()
    np.testing.assert_allclose(told, expected, atol=1e-5)

def test_rate_slider():
    rates = [0.01, 0.05, 0.1, 0.5, 0.8, 1, 1.05]
    told = node('rate_slider', 'return rates.map(lr => descent(-1.5, lr, 10))', rates=rates)
    assert [t['word'] for t in told] == [
        'too small', 'too small', 'good', 'one step', 'zigzag', 'bouncing', 'diverging']
    for lr, t in zip(rates, told):
        x = -1.5*(1 - 2*lr)**10
        np.testing.assert_allclose([t['x'], t['loss']], [x, x**2], atol=1e-9)

def test_three_sliders():
    time = torch.arange(20.).double()
    speed = 0.75*(time - 9.5)**2 + 1
    params = torch.tensor([-0.6, 2.3, -10], dtype=torch.float64, requires_grad=True)
    measured, limits = node(
        'three_sliders', 'return [lossAndSlopes(...data), ranges(...data)]',
        data=[time.tolist(), speed.tolist(), params.tolist()])
    loss = ((params[0]*time**2 + params[1]*time + params[2] - speed)**2).mean()
    loss.backward()
    np.testing.assert_allclose(measured['slopes'], params.grad.tolist())
    np.testing.assert_allclose(measured['loss'], loss.item())
    for limit, value, best in zip(limits, params.tolist(), [0.75, -14.25, 68.6875]):
        assert max(abs(value), abs(best)) < limit['far']

LOSSES = {'sigmoid + MSE': sigmoid_mse, 'softmax + MSE': softmax_mse,
          'cross-entropy': digit_cross_entropy,
          'where-loss': lambda z, y: mnist_loss(z, F.one_hot(y, 10))}

@pytest.mark.parametrize('logits, label', [([-1., 0, 1, 3, -2, 2, -1, 0, 1, -1], 3),
                                           ([-12.] + [0.]*9, 0), ([12., -12, 0], 1)])
def test_softmax_bars(logits, label):
    told = node('softmax_bars', 'return judge(logits, label)', logits=logits, label=label)
    x = torch.tensor([logits], dtype=torch.float64, requires_grad=True)
    np.testing.assert_allclose(told['probs'], x.softmax(1)[0].tolist(), rtol=1e-9)
    for seen in told['losses']:
        value = LOSSES[seen['name']](x, torch.tensor([label]))
        slope = torch.autograd.grad(value, x)[0][0, label]
        np.testing.assert_allclose([seen['value'], seen['pull']], [value.item(), -slope], rtol=1e-6)

TRAIN_STEP = '''
    const all = layers => layers.flatMap(({ weight, bias }) => [[...weight], [...bias]])
    return Object.keys(LOSSES).map(loss => {
      const network = makeNetwork(how), { layers, sums } = network, before = all(layers)
      const rows = labels.map((_, i) => i)
      const steps = trainStep(network, { images, labels }, rows, { loss, lr: 0.5 })
      let done; do done = steps.next(); while (!done.done)
      const probs = Array.from(ask(network, images.slice(0, 784)))
      return { loss, before, after: all(layers), sums: all(sums), done: done.value, probs }
    })'''

@pytest.mark.parametrize('start', [0.01, 1, 'he'])
@pytest.mark.parametrize('sizes, activation', [((784, 10), 'relu'), ((784, 12, 10), 'relu'),
                                               ((784, 12, 10), 'sigmoid')])
def test_gradients_as_torch(sizes, activation, start):
    x, y = (part[:20] for part in read_digits('digits')[:2])
    told = node('nn', TRAIN_STEP, images=x.flatten().tolist(), labels=y.tolist(),
                how=dict(sizes=sizes, activation=activation, start=start, seed=3))
    shapes = [shape for pair in zip(sizes, sizes[1:]) for shape in (pair, pair[1:])]
    def tensors(lists): # float64; weights [out, in], as torch has them
        arrays = [np.reshape(values, shape).T for values, shape in zip(lists, shapes)]
        return [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in arrays]
    def logits(weight, bias, *hidden):
        z = F.linear(x.flatten(1).double()/255, weight, bias)
        return F.linear(getattr(z, activation)(), *hidden) if hidden else z
    assert [seen['loss'] for seen in told] == list(LOSSES)
    for seen in told:
        params, after = tensors(seen['before']), tensors(seen['after'])
        size = (2/784)**0.5 if start == 'he' else start
        assert abs(params[0].std()/size - 1) < 0.05 and not params[1].any()
        z = logits(*params)
        loss = LOSSES[seen['loss']](z, y)
        loss.backward()
        accuracy = (z.argmax(1) == y).double().mean().item()
        assert seen['done'] == pytest.approx(dict(loss=loss.item(), accuracy=accuracy), rel=1e-9)
        for p, g, new in zip(params, tensors(seen['sums']), after):
            torch.testing.assert_close(p.grad, g, rtol=1e-9, atol=1e-12, check_stride=False)
            torch.testing.assert_close(p - 0.5*p.grad, new, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(seen['probs'], logits(*after).softmax(1)[0].tolist(), rtol=1e-6)

def test_training_on_the_page(): # and the same once more after a reset
    digits = read_digits('digits')
    good = dict(start='he', loss='cross-entropy', lr=0.1)
    (pixels, labels), *runs = node('train', '''const data = await readDigits(packed)
        const [{ images, labels }] = data, first = Array.from(images.subarray(0, 784))
        return [[first, Array.from(labels)], ...hows.map(how => {
          const network = makeNetwork({ sizes: [784, 32, 10], seed: 1, ...how })
          const figures = {}, report = more => Object.assign(figures, more)
          const done = [...session(network, data, { bs: 100, seed: 1, ...how }, report)]
          return [figures, [...new Set(done.map(String))].sort()] })]''',
        packed=pack_digits(digits, 1000, 300),
        hows=[good, good, dict(start=1, loss='where-loss', lr=50)])
    assert labels == digits.train_y[torch.arange(1000)*len(digits.train_y)//1000].tolist()
    assert (torch.tensor(pixels) - digits.train_x[0].flatten()).abs().max() <= 9
    (figures, kinds), again, (stalled, _) = runs
    assert kinds == ['measured', 'step', 'undefined'] and again == [figures, kinds]
    assert figures['passes'] == 20 and figures['valid']['accuracy'] > 0.85
    assert stalled['valid']['accuracy'] < 0.6

@pytest.mark.parametrize('name', WIDGETS)
def test_source_is_one_module(name): # anywidget loads it from a place without neighbors
    source, is_shared = widget_source(name), name in ('look', 'nn')
    assert not re.search('^import ', source, re.M)
    assert source.count('export default') == (not is_shared)
    assert is_shared or node(name, 'return typeof render') == 'function'
