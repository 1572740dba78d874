"What running a notebook costs beyond its cells, at default sizes, and the most memory that it takes."
import json, os, statistics, subprocess, sys, tempfile
from datetime import datetime
from pathlib import Path


def cell_seconds(notebook):
    marks = [c['metadata'].get('papermill', {}) for c in notebook['cells']]
    return sum((datetime.fromisoformat(m['end_time']) - datetime.fromisoformat(m['start_time'])).total_seconds() for m in marks if m.get('end_time') and m.get('start_time'))


def run_series(source, *names):
    "`digitlab run`: each notebook with its seconds, those of its cells, and the whole run, name -> (whole, cells); and the peak memory of a process, in MiB"
    with tempfile.TemporaryDirectory() as out:
        command = [Path(sys.executable).with_name('digitlab'), 'run', *names, '--source', source, '--out', out]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)  # of the command, the notebook's process and its kernel the largest
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode: raise subprocess.CalledProcessError(process.returncode, command)
        latest = Path(out)/'latest'
        run = json.loads((latest/'results.json').read_text())
        found = {one['name']: (one['seconds'], cell_seconds(json.loads((latest/one['executed']).read_text()))) for one in run['notebooks']}
        return found | {'the whole run': (run['seconds'], sum(cells for _, cells in found.values()))}, usage.ru_maxrss/1024


def main(digits, repeats):
    runs, memory = zip(*(run_series(digits.source) for _ in range(repeats)))
    peaks = {name: run_series(digits.source, name)[1] for name in runs[0] if name != 'the whole run'} | {'the whole run': max(memory)}
    rows = {}
    for name, peak in peaks.items():
        whole, cells = zip(*(run[name] for run in runs))
        shares = [w/c for w, c in zip(whole, cells)]
        rows[name] = dict(times_its_cells=statistics.median(whole)/statistics.median(cells), lowest=min(shares), highest=max(shares),
                          seconds=statistics.median(whole), peak_MiB=round(peak))
    yield dict(title=f'each notebook as a whole against its cells, {repeats} runs of the series, one notebook at a time', rows=rows)
