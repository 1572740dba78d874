"What running a notebook costs beyond its cells, at default sizes."
import json, statistics, subprocess, sys, tempfile
from datetime import datetime
from pathlib import Path


def cell_seconds(notebook):
    marks = [c['metadata'].get('papermill', {}) for c in notebook['cells']]
    return sum((datetime.fromisoformat(m['end_time']) - datetime.fromisoformat(m['start_time'])).total_seconds() for m in marks if m.get('end_time') and m.get('start_time'))


def run_series(source):
    "Seconds of each notebook and of its cells, and of the whole run: name -> (whole, cells)"
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([Path(sys.executable).with_name('digitlab'), 'run', '--source', source, '--out', out], check=True, stdout=subprocess.DEVNULL)
        latest = Path(out)/'latest'
        run = json.loads((latest/'results.json').read_text())
        found = {one['name']: (one['seconds'], cell_seconds(json.loads((latest/one['executed']).read_text()))) for one in run['notebooks']}
        return found | {'the whole run': (run['seconds'], sum(cells for _, cells in found.values()))}


def main(digits, repeats):
    runs, rows = [run_series(digits.source) for _ in range(repeats)], {}
    for name in runs[0]:
        whole, cells = zip(*(run[name] for run in runs))
        shares = [w/c for w, c in zip(whole, cells)]
        rows[name] = dict(times_its_cells=statistics.median(whole)/statistics.median(cells), lowest=min(shares), highest=max(shares), seconds=statistics.median(whole))
    yield dict(title=f'each notebook as a whole against its cells, {repeats} runs of the series, one notebook at a time', rows=rows)
