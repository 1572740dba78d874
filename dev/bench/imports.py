"Import times, each in a fresh interpreter."
import subprocess, sys

from .timing import compare


def main(digits, repeats):
    def fresh(code): return lambda: subprocess.run([sys.executable, '-c', code], check=True)
    modules = 'data', 'tensors', 'baseline', 'sgd', 'learner', 'mlp', 'compare', 'predict', 'run'
    steps = {'import torch': fresh('import torch'), 'an empty interpreter': fresh('pass'), 'import digitlab': fresh('import digitlab')}
    yield compare('imports in a fresh interpreter, against that of PyTorch',
        steps | {f'import digitlab.{m}': fresh(f'import digitlab.{m}') for m in modules} | {'import fastai.vision.all': fresh('import fastai.vision.all')}, repeats)
