"What all benchmarks share: interleaved repeats, ratios of medians, and a table."
import statistics, time


def interleaved(steps, repeats):
    "Seconds of each step, name -> list; a first round, unmeasured, warms up. A step may be a pair (prepare, step)."
    times = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            prepare, step = step if isinstance(step, tuple) else (tuple, step)
            prepare()
            start = time.perf_counter()
            step()
            if repeat: times[name].append(time.perf_counter() - start)
    return times


def ratios(times, base=None):
    "For each step how many times as fast as `base` (the first, if left out): ratio of medians, lowest and highest ratio in a repeat"
    base = times[base or next(iter(times))]
    return {name: dict(times_as_fast=statistics.median(base)/statistics.median(t), lowest=min(b/s for b, s in zip(base, t)),
                       highest=max(b/s for b, s in zip(base, t)), seconds=statistics.median(t)) for name, t in times.items()}


def compare(title, steps, repeats, base=None, images=None):
    "One table: `steps` against each other; with images per second, if each of them takes so many `images`"
    rows = ratios(interleaved(steps, repeats), base)
    return dict(title=title, rows={name: row | ({'images_per_second': images/row['seconds']} if images else {}) for name, row in rows.items()})


def sizes(n):
    "Numbers of images to try where there are `n`: fewer, all, and beyond by repetition"
    return [*(few for few in (1000, 10_000) if few < n), n, 4*n]


def lines(table):
    "A table as lines of text"
    names = list(dict.fromkeys(name for row in table['rows'].values() for name in row))
    texts = [['', *(name.replace('_', ' ') for name in names)]]
    for name, row in table['rows'].items():
        texts.append([name, *(f'{row[n]:,.3g}' if isinstance(row.get(n), float) and abs(row[n]) < 1000 else
                              f'{row[n]:,.0f}' if isinstance(row.get(n), (int, float)) else str(row.get(n, '')) for n in names)])
    widths = [max(map(len, column)) for column in zip(*texts)]
    return [table['title'], *('  '.join([text[0].ljust(widths[0]), *(t.rjust(w) for t, w in zip(text[1:], widths[1:]))]) for text in texts), '']
