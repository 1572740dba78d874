"What running a notebook costs beyond its cells, at default sizes."
import json, subprocess, sys, tempfile
from datetime import datetime
from pathlib import Path


def cell_seconds(notebook):
    marks = [c['metadata'].get('papermill', {}) for c in notebook['cells']]
    return sum((datetime.fromisoformat(m['end_time']) - datetime.fromisoformat(m['start_time'])).total_seconds() for m in marks if m.get('end_time') and m.get('start_time'))


def main(digits, repeats):
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([Path(sys.executable).with_name('digitlab'), 'run', '--source', digits.source, '--out', out], check=True, stdout=subprocess.DEVNULL)
        run = json.loads((Path(out)/'latest'/'results.json').read_text())
        rows = {}
        for one in run['notebooks']:
            cells = cell_seconds(json.loads((Path(out)/'latest'/one['executed']).read_text()))
            rows[one['name']] = dict(seconds=one['seconds'], cells=cells, overhead=one['seconds'] - cells)
    yield dict(title=f'each notebook once, seconds; the whole run {run["seconds"]:.0f} s', rows=rows)
