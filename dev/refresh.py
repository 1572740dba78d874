"""Run notebooks at full sizes on MNIST and keep the outputs: python dev/refresh.py [NOTEBOOK ...]

Without names, all lessons and the appendix. The code and the default sizes stay as they are. A
notebook that fails, or that someone changes meanwhile, keeps its old outputs."""
import json, subprocess, sys, tempfile
from pathlib import Path

from digitlab.run import find_notebooks, full_sizes, kernel_env, make_job, run_job

WIDGET = 'application/vnd.jupyter.widget-view+json'  # shows nothing without a kernel


def put_back(path, before, cells):
    "Give a notebook the outputs of its executed `cells`; ValueError unless it is as `before`"
    if path.read_bytes() != before: raise ValueError('was changed while it ran')
    nb = json.loads(before)
    outputs = {cell['id']: cell['outputs'] for cell in cells if cell['cell_type'] == 'code'}
    for cell in nb['cells']:
        if cell['cell_type'] != 'code': continue
        cell['outputs'] = [out for out in outputs[cell['id']] if WIDGET not in out.get('data', {})]
    path.write_text(json.dumps(nb, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
    subprocess.run(['nbdev-clean', '--fname', path], cwd=path.parent, check=True)


def refresh(path, folder):
    "Run one notebook and put its outputs back; what came out, in a line"
    before, job = path.read_bytes(), make_job(path)
    job.values = full_sizes(job.parameters)
    if 'source' in job.parameters: job.values['source'] = 'mnist'
    try: run_job(job, folder, kernel_env())
    except Exception as error: return f'FAILED: {error!r}'  # nbformat raises many kinds
    if job.status != 'ok': return f'{job.status}\n{job.log}'
    try: put_back(path, before, job.cells)
    except ValueError as error: return f'FAILED: {error}'
    return f'{job.status} ({job.seconds:.1f} s)'


def main(names):
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for path in find_notebooks(names):
            lines.append(refresh(path, Path(folder)))
            print(f'{path.stem}: {lines[-1]}', flush=True)
    return int(any(line.startswith('FAILED') for line in lines))


if __name__ == '__main__': sys.exit(main(sys.argv[1:]))
