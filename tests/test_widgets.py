"The widgets' JavaScript in Node: the network against torch, the sliders against their formulas."
import json, re, runpy, shutil, subprocess
from pathlib import Path

import numpy as np, pytest, torch

from digitlab.data import read_digits
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

def test_network_as_torch(tmp_path):
    digits, model = read_digits(), load_model()[0]
    (tmp_path/'images').write_bytes(digits.test_x.numpy().tobytes())
    (tmp_path/'layers.json').write_text(LAYERS)
    probs = node("""import { readFileSync } from 'node:fs'
        import { predict, readNetwork } from './widgets/nn.js'
        const network = readNetwork(JSON.parse(readFileSync('layers.json')))
        const images = readFileSync('images'), answers = []
        for (let at = 0; at < images.length; at += 784)
            answers.push(predict(network, images.subarray(at, at + 784)))
        console.log(JSON.stringify(answers))""", tmp_path)
    with torch.no_grad():
        expected = torch.cat([model(x).softmax(1) for x in digits.test_x.split(500)])
    assert torch.equal(torch.tensor(probs).argmax(1), expected.argmax(1))
    assert (torch.tensor(probs) - expected).abs().max() < 1e-5

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
            answers.push(judge(images.subarray(at, at + size), [{ network }]))
        answers.push(judge(new Uint8Array(size), [{ network }]))
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

@pytest.mark.parametrize('name', ['pad', 'rate_slider', 'three_sliders'])
def test_source_is_one_module(name, tmp_path): # anywidget loads it from a place without neighbors
    source = widget_source(name)
    assert not re.search('^import ', source, re.M) and source.count('export default') == 1
    (tmp_path/'one.js').write_text(source)
    told = node("""import one from './one.js'
        console.log(JSON.stringify(typeof one.render))""", tmp_path)
    assert told == 'function'
