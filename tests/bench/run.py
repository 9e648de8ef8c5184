#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares Coppice with ext4, kernel overlayfs and fuse-overlayfs, interleaved in one run. As root; see README.md.

  tests/bench/run.py                                        everything, 3 rounds, a table on the terminal
  tests/bench/run.py --markdown docs/benchmarks.md          writes the page of the project
  tests/bench/run.py --rows cold-find,build --rounds 5      some rows
  tests/bench/run.py --quick                                small, one column and native; asserts what is deterministic
"""
import argparse
import json
import os
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'lib'))

# pylint: disable=wrong-import-position
import columns  # noqa: E402
import live  # noqa: E402
import measure  # noqa: E402
import nullfs  # noqa: E402
import report  # noqa: E402
import rows  # noqa: E402
from corpus import Corpus  # noqa: E402
from node import program  # noqa: E402

QUICK_SCALE, QUICK_ROUNDS, QUICK_ROUNDS_MAX = 0.05, 2, 20


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--scale', type=float, default=1.0, help='how much of the files and bytes of each row')
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--rows', default='', help='names, comma separated; "live" for the idle workspaces; see --list')
    p.add_argument('--columns', default=','.join(kind.name for kind in columns.KINDS))
    p.add_argument('--json', metavar='FILE')
    p.add_argument('--markdown', metavar='FILE')
    p.add_argument('--again', metavar='FILE', help='measure nothing: the page once more, from what --json saved')
    p.add_argument('--list', action='store_true')
    p.add_argument('--quick', action='store_true')
    a = p.parse_args()
    if a.quick:
        a.scale, a.rounds, a.columns = QUICK_SCALE, QUICK_ROUNDS, 'native,coppice'
        a.rows = a.rows or ','.join(row.name for g in rows.GROUPS for row in g.rows if g.name in ('walk', 'stat', 'read', 'opens'))
    return a


def chosen_groups(wanted):
    """Groups that have a wanted row, with the rows before it, which prepare it."""
    names = {row.name for g in rows.GROUPS for row in g.rows} | {'live'}
    unknown = wanted - names
    if unknown:
        raise SystemExit(f'run.py: unknown rows: {", ".join(sorted(unknown))}; --list names them')
    if not wanted:
        return rows.GROUPS
    groups = []
    for group in rows.GROUPS:
        last = max((i for i, row in enumerate(group.rows) if row.name in wanted), default=-1)
        if last >= 0:
            groups.append(rows.Group(group.name, group.tree, group.changes, group.rows[:last + 1]))
    return groups


def make_columns(names, folder, trees):
    """The columns that this machine can have."""
    made = []
    for kind in columns.KINDS:
        if kind.name not in names:
            continue
        if kind.name == 'fuse-overlayfs' and not shutil.which('fuse-overlayfs'):
            print('fuse-overlayfs is not installed: no such column', file=sys.stderr)
            continue
        made.append(kind(folder, trees) if kind is columns.Coppice else kind(folder))
    return made


def run(a, bench):
    """After each round the results so far are written, so that a long run may be ended at any time."""
    figures = None
    if not a.quick and (not a.rows or 'live' in a.rows.split(',')):
        figures = live.measure(bench.corpus['small'])
    requests = None if a.quick else nullfs.measure(bench.workload)
    for number in range(a.rounds):
        bench.round(number, bench.groups)
        write(a, bench, number + 1, figures, requests)
    while a.quick and disturbed(bench) and number < QUICK_ROUNDS_MAX:
        number += 1
        bench.round(number, bench.groups)
    print(report.page(bench, command(), number + 1, figures, facts_of(bench, requests)))


def again(a):
    """The page from saved samples, as if they had just been taken."""
    with open(a.again, encoding='utf-8') as f:
        saved = json.load(f)
    names = {name for cells in saved['samples'].values() for name in cells}
    groups = chosen_groups(set(saved['samples']))
    bench = measure.Bench(Corpus(saved['scale']), None, [kind for kind in columns.KINDS if kind.name in names], groups)
    bench.results = measure.Results(saved['samples'])
    text = report.page(bench, saved['command'], saved['rounds'], saved['live'], saved['machine'])
    print(text)
    if a.markdown:
        report.write(a.markdown, text)
    return 0


def disturbed(bench):
    """Rows whose messages cannot be judged, because others dropped the kernel's caches in each of their samples."""
    return [row.name for row in bench.rows() if not bench.results.undisturbed(row.name, 'coppice')]


def command():
    return ' '.join(['tests/bench/run.py', *sys.argv[1:]])


def facts_of(bench, requests):
    return dict(report.machine(), round_trip=f'{report.round_trip_us(bench.workload):.1f}', requests=requests)


def write(a, bench, rounds, figures, requests):
    facts = facts_of(bench, requests)
    if a.markdown:
        report.write(a.markdown, report.page(bench, command(), rounds, figures, facts))
    if a.json:
        with open(a.json, 'w', encoding='utf-8') as f:
            json.dump({'command': command(), 'scale': a.scale, 'rounds': rounds, 'machine': facts, 'samples': bench.results,
                       'summary': {row.name: {c.name: bench.results.summary(row.name, c.name) for c in bench.columns}
                                   for row in bench.rows()}, 'live': figures}, f, indent=1)
            f.write('\n')


def loud_rows(bench):
    """Rows that broke a promise that does not depend on time."""
    for row in bench.rows():
        for target in row.targets:
            judged = report.judge(bench, row, target) if target.kind == 'silent' else None
            if judged and not judged[2]:
                yield f'{row.name}: {report.messages_text(bench, row)}'


def main():
    a = arguments()
    if a.list:
        for group in rows.GROUPS:
            for row in group.rows:
                print(f'{row.name:15} {row.title}')
        print(f'{"live":15} 200 idle workspaces')
        return 0
    if a.again:
        return again(a)
    groups = chosen_groups(set(filter(None, a.rows.split(','))))
    corpus = Corpus(a.scale)
    folder = tempfile.mkdtemp(prefix='run-', dir=corpus.folder)
    columns.spread(folder)
    made = []
    try:
        made = make_columns(a.columns.split(','), folder, [corpus[name] for name in sorted({g.tree for g in groups})])
        bench = measure.Bench(corpus, program('bench_workload'), made, groups)
        run(a, bench)
    finally:
        for column in made:
            column.stop()
        shutil.rmtree(folder, ignore_errors=True)
    loud = list(loud_rows(bench)) if a.quick else []
    if a.quick and disturbed(bench):
        print('someone keeps dropping the caches of this machine: not judged:', ', '.join(disturbed(bench)))
    for line in loud:
        print('not silent:', line)
    return 1 if loud or (a.quick and disturbed(bench)) else 0


if __name__ == '__main__':
    sys.exit(main())
