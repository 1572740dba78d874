"What lesson 9 can't hold: a graph without a card, other processors, and two processes"
import os, socket, subprocess, sys
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import pytest, torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from digitlab.compare import make_network
from digitlab.learner import Batches, DigitLearner, PlainSGD, plain_step
from digitlab.scale import CapturedStep, fused_adamw, train_together
from digitlab.tensors import make_generator

CYCLE = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=.1, cycle_momentum=False)
MOMENTUM = partial(torch.optim.SGD, momentum=.9)
SCRIPT = '''
import sys, torch
from digitlab.compare import make_network
from digitlab.data import read_digits
from digitlab.scale import join_processes, train_together
from digitlab.tensors import make_generator, scale_pixels
digits, (rank, n) = read_digits('digits'), join_processes(torch.device('cpu'))
x = scale_pixels(digits.train_x).double()
for name in ('linear', 'mlp', 'convnet'):
    model = make_network(name, make_generator(0)).double()
    train_together(model, x, digits.train_y, .01, 1, rank=rank, n_ranks=n)
    torch.save([p.data for p in model.parameters()], f'{sys.argv[1]}/{name}-{rank}-{n}')
'''


class FakeGraph(TorchDispatchMode):
    "Like a CUDA graph it notes down operations and addresses, and nothing changes meanwhile"
    def __enter__(self):
        self.calls, self.before, self.random = [], {}, torch.get_rng_state()
        return super().__enter__()
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        for t in tree_leaves((args, kwargs)):
            if isinstance(t, torch.Tensor): self.before.setdefault(t.data_ptr(), (t, t.clone()))
        self.calls.append((func, args, kwargs or {}, func(*args, **(kwargs or {}))))
        return self.calls[-1][-1]
    @torch.no_grad()
    def __exit__(self, *error):
        super().__exit__(*error)
        for t, old in self.before.values(): t.copy_(old)
        torch.set_rng_state(self.random)
    def replay(self):
        with torch._C._AutoDispatchBelowAutograd():
            for func, args, kwargs, outs in self.calls:
                for out, new in zip(tree_leaves(outs), tree_leaves(func(*args, **kwargs))):
                    if torch.is_tensor(new) and out.data_ptr() != new.data_ptr(): out.copy_(new)


@pytest.fixture(params=['cpu', 'cuda'])
def device(request, monkeypatch):
    "A card, and a processor that takes itself for one"
    if request.param == 'cuda' and not torch.cuda.is_available(): pytest.skip('there is no card')
    if request.param == 'cpu':
        stream, nothing = SimpleNamespace(wait_stream=lambda other: None), lambda at: nullcontext()
        fakes = dict(Stream=lambda: stream, current_stream=lambda: stream, stream=nothing,
                     device=nothing, CUDAGraph=FakeGraph, graph=lambda graph: graph,
                     get_rng_state=lambda at: None, set_rng_state=lambda state, at: None)
        for name, value in fakes.items(): monkeypatch.setattr(torch.cuda, name, value)
    return request.param

def train(device, step, opt, schedule):
    torch.manual_seed(0)
    x, y = torch.rand(300, 1, 8, 8).double().to(device), torch.randint(0, 10, (300,)).to(device)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(.2),
                          nn.Linear(144, 10)).double().to(device)
    learner = DigitLearner(model, Batches(x, y, 128), None,
                           nn.functional.cross_entropy, .1, opt, step=step)
    for _ in range(2):
        learner.fit(2, schedule and schedule(learner.opt, total_steps=2*len(learner.train)))
    return [row['train_loss'] for row in learner.history], list(model.state_dict().values())

@pytest.mark.parametrize('opt,schedule', [(PlainSGD, None), (fused_adamw, None),
                                          (fused_adamw, CYCLE), (MOMENTUM, None)])
def test_a_captured_step_is_the_step(device, opt, schedule):
    plain = train(device, plain_step, opt, schedule)
    played = train(device, CapturedStep().replay, opt, schedule)
    torch.testing.assert_close(plain, played, rtol=1e-6, atol=1e-8)

def test_a_rate_that_is_a_number_must_not_change(device):
    with pytest.raises(ValueError, match='see its rate'):
        train(device, CapturedStep().replay, torch.optim.SGD, CYCLE)


@pytest.mark.parametrize('unit,dtype', [(True, torch.bfloat16), (False, torch.float32)])
def test_bfloat16_where_the_processor_has_a_unit_for_it(monkeypatch, unit, dtype):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: {'amx_bf16': unit})
    model, dtypes = make_network('convnet', make_generator(0)), set()
    model[1].register_forward_hook(lambda layer, inputs, output: dtypes.add(output.dtype))
    train_together(model, torch.zeros(16, 28, 28), torch.arange(16) % 10, epochs=1, bs=8)
    assert dtypes == {dtype}


def start(n, *command):
    "The command in `n` processes that are to find each other"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        env = os.environ | dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(s.getsockname()[1]),
                                WORLD_SIZE=str(n), OMP_NUM_THREADS='1')
    return [subprocess.Popen([sys.executable, *command], env=env | dict(RANK=str(rank)), text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for rank in range(n)]

def test_two_processes_learn_what_one_does(tmp_path):
    processes = start(1, '-c', SCRIPT, tmp_path) + start(2, '-c', SCRIPT, tmp_path)
    try:
        for process in processes:
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 0, output
    finally:
        for process in processes: process.kill()
    def apart(name, one, other):
        pairs = zip(*(torch.load(tmp_path/f'{name}-{run}') for run in (one, other)))
        return max((a - b).abs().max() for a, b in pairs)
    for name in ('linear', 'mlp'): assert apart(name, '0-1', '0-2') < 1e-9
    for name in ('linear', 'mlp', 'convnet'): assert apart(name, '0-2', '1-2') == 0

def test_one_is_killed_and_the_other_ends_without_a_file(tmp_path):
    first, second = start(2, '-m', 'digitlab', 'train', 'mlp', '--source', 'digits', '--device',
                          'cpu', '--epochs', '100000', '--out', tmp_path/'mlp.safetensors')
    try:
        while 'epoch 3' not in first.stdout.readline(): assert first.poll() is None
        second.kill()
        output, _ = first.communicate(timeout=60)
    finally: first.kill(), second.kill()
    assert first.returncode == 2 and 'Error: ' in output and not os.listdir(tmp_path)
