"`python -m benchmarks [NAME ...]`: each benchmark in a process of its own, tables at the end, and a JSON beside them."
import argparse, importlib, json, os, platform, re, resource, subprocess, sys, tempfile
from datetime import date
from pathlib import Path

NAMES = 'data', 'baseline', 'training', 'convnets', 'accuracy', 'imports', 'notebooks'


def measure(name, source, repeats, out):
    "Run one benchmark here, and write its tables"
    from digitlab.data import read_digits
    digits = read_digits(source)
    if source not in ('auto', 'mnist', 'digits'): digits = digits._replace(source=source)  # a folder is found again by its path, not by its name
    made = list(importlib.import_module(f'benchmarks.{name}').main(digits, repeats))
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))/1024  # of one process
    out.write_text(json.dumps(dict(name=name, source=digits.source, repeats=repeats, peak_memory_MiB=round(peak), tables=made)))


def tables(result):
    "The tables of one benchmark as text"
    from .timing import lines
    head = f'{result["name"]}: {result["source"]}, {result["repeats"]} repeats, peak memory {result["peak_memory_MiB"]:,} MiB'
    return '\n'.join([head, '', *(line for table in result['tables'] for line in lines(table))]).rstrip()


def fill(page, results):
    "Put the tables of `results` into the Markdown text `page`, each into the block under the mark with its name"
    texts = {one['name']: tables(one) for one in results['benchmarks']} | {'machine': ', '.join(f'{k} {v}' for k, v in results['machine'].items())}
    return re.sub(r'(<!-- (\w+) -->\n```text\n).*?\n?(```)', lambda m: f'{m[1]}{texts[m[2]]}\n{m[3]}' if m[2] in texts else m[0], page, flags=re.S)


def main():
    parser = argparse.ArgumentParser('python -m benchmarks', description='Measure speed, as ratios of medians over interleaved repeats.')
    parser.add_argument('name', nargs='*', help=f'of {", ".join(NAMES)}; default: all')
    parser.add_argument('--source', default='auto', help='auto, mnist, digits, or a folder (default: auto)')
    parser.add_argument('--repeats', type=int, default=5, help='interleaved repeats (default: 5)')
    parser.add_argument('--out', type=Path, default=Path('benchmarks/latest.json'), help='JSON file (default: benchmarks/latest.json)')
    parser.add_argument('--page', type=Path, help='Markdown page to put the tables into, such as docs/benchmarks.md')
    parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if wrong := set(args.name) - set(NAMES): parser.error(f'no benchmark {", ".join(sorted(wrong))}; there are {", ".join(NAMES)}')
    if args.child: return measure(args.name[0], args.source, args.repeats, args.out)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.name or NAMES:
            print(f'{name} ...', file=sys.stderr, flush=True)
            part = Path(folder)/f'{name}.json'
            subprocess.run([sys.executable, '-W', 'ignore', '-m', 'benchmarks', name, '--child', '--source', args.source, '--repeats', str(args.repeats), '--out', part], check=True)
            found.append(json.loads(part.read_text()))
    import torch
    machine = dict(date=date.today().isoformat(), python=platform.python_version(), torch=torch.__version__, machine=platform.machine(), cores=os.cpu_count())
    before = json.loads(args.out.read_text())['benchmarks'] if args.name and args.out.exists() else []
    by_name = {one['name']: one for one in [*before, *found]}  # what wasn't measured now stays
    results = dict(machine=machine, benchmarks=[by_name[name] for name in NAMES if name in by_name])
    for one in found: print(f'\n{tables(one)}')
    args.out.write_text(json.dumps(results, indent=1) + '\n', encoding='utf-8')
    if args.page: args.page.write_text(fill(args.page.read_text(encoding='utf-8'), results), encoding='utf-8')
    print(f'\nwritten: {args.out}')


if __name__ == '__main__': main()
