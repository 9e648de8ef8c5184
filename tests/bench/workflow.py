#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Git workflow against Git itself: status, add, commit and push of N changed files in a workspace and in a plain clone of the same
repository.

  COPPICE_BIN=$PWD/build/release/bin tests/bench/workflow.py --files 200000 --changes 10,1000,100000 [--rounds 3]
      [--json FILE] [--markdown docs/benchmarks.md] [--repository DIR] [--merge FILE]

Each figure is the time of one command as a person waits for it, `coppice` and `git` in turn, each the least of all rounds (of status: of
five in each). Every round begins with a new workspace and the clone as it was; both push to a bare copy of the repository of their own,
on this disk, to a new branch. "status, staged" is what is asked after add, when no file has changed since. Memory is what the daemon
needs at most during all of these, beyond what it had before the first. With --markdown the section of this program in that page is replaced.
With --repository the repository is made there unless it is there already, and is kept. With --merge the figures of an earlier run's --json
join this one's, so that a long measurement can be made in pieces.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), 'lib'), HERE]

# pylint: disable=wrong-import-position
import repo_maker  # noqa: E402
import report  # noqa: E402
from node import Node  # noqa: E402
from twin import WHO  # noqa: E402

VERBS = ('status', 'add', 'status, staged', 'commit', 'push')
PROMISED = {('status', 10): 10, ('commit', 10): 10, ('status', 100000): 1, ('commit', 100000): 1}  # at least so many times faster
STATUS_EACH = 5
BEGIN, END = '<!-- Written by tests/bench/workflow.py: begin -->', '<!-- Written by tests/bench/workflow.py: end -->'


def git(folder, *args):
    done = subprocess.run(['git', *args], cwd=folder, env=dict(os.environ, **WHO), capture_output=True, timeout=1800, check=False)
    if done.returncode != 0:
        raise RuntimeError(f'git {args}: {done.stderr.decode(errors="replace")}')
    return done.stdout


def timed(call, *args):
    began = time.monotonic()
    call(*args)
    return time.monotonic() - began


class Bench:
    def __init__(self, folder, files, repository):
        self.folder, self.clone = folder, folder + '/clone'
        self.repository = repository or folder + '/repo.git'
        self.ours, self.theirs = (f'{folder}/{name}.git' for name in ('ours', 'theirs'))
        if not os.path.exists(self.repository):
            repo_maker.make(self.repository, files=files)
        for copy in (self.ours, self.theirs):
            git(folder, 'clone', '-q', '--bare', self.repository, copy)
        git(folder, 'clone', '-q', self.theirs, self.clone)
        self.paths = git(self.clone, 'ls-files', '-z').decode().split('\0')[:-1]
        self.found = {}  # (verb, count): (coppice, git)
        self.memory = {}  # count: MiB

    def start(self):
        return Node({'demo': {'url': self.repository, 'push_url': self.ours}}, limit=7200)

    def change(self, roots, count):
        step = max(1, len(self.paths) // count)
        for root in roots:
            for path in self.paths[::step][:count]:
                with open(os.path.join(root, path), 'a', encoding='ascii') as f:
                    f.write('changed\n')

    def note(self, verb, count, mine, gits):
        old = self.found.get((verb, count), (mine, gits))
        self.found[verb, count] = min(old[0], mine), min(old[1], gits)

    def pair(self, node, job, verb, count, mine, gits):
        self.note(verb, count, timed(node.cli, mine[0], job, *mine[1:]), timed(git, self.clone, *gits))

    def round(self, node, number, count):
        job, branch = f'changes{count}-{number}', f'bench{count}-{number}'
        root = node.mount(job).root
        self.change([root, self.clone], count)
        git(self.clone, 'status', '--short')  # both have seen it once
        node.cli('status', job)
        time.sleep(1)  # a file that has just been written is read by either
        before = node.rss_kib()
        with open(f'/proc/{node.process.pid}/clear_refs', 'w', encoding='ascii') as f:
            f.write('5')  # VmHWM begins anew
        for _ in range(STATUS_EACH):
            self.pair(node, job, 'status', count, ['status'], ['status', '--short'])
        self.pair(node, job, 'add', count, ['add', '-A'], ['add', '-A'])
        self.pair(node, job, 'status, staged', count, ['status'], ['status', '--short'])
        self.pair(node, job, 'commit', count, ['commit', '-m', 'x', '--author', 'a <b>'], ['commit', '-q', '-m', 'x'])
        self.pair(node, job, 'push', count, ['push', '--ref', branch], ['push', '-q', 'origin', 'HEAD:refs/heads/' + branch])
        self.memory[count] = max(self.memory.get(count, 0), (node.status('VmHWM') - before) >> 10)
        git(self.clone, 'reset', '-q', '--hard', 'HEAD~1')
        node.delete(job)

    def figures(self):
        return ([{'verb': v, 'changes': n, 'coppice_s': both[0], 'git_s': both[1]} for (v, n), both in self.found.items()]
                + [{'changes': n, 'memory_mib': m} for n, m in self.memory.items()])

    def merge(self, figures):
        for f in figures:
            if 'verb' in f:
                self.note(f['verb'], f['changes'], f['coppice_s'], f['git_s'])
            else:
                self.memory[f['changes']] = max(self.memory.get(f['changes'], 0), f['memory_mib'])

    def verdict(self, verb, count):
        mine, gits = self.found[verb, count]
        promised = PROMISED.get((verb, count))
        if not promised:
            return ''
        return f'≥ {promised}: ' + ('met' if gits / mine >= promised else '**not met**')

    def table(self, counts):
        lines = ['| files changed | verb | Coppice, s | git, s | times faster | promised |', '|--:|---|--:|--:|--:|---|']
        for count in counts:
            for verb in VERBS:
                mine, gits = self.found[verb, count]
                lines.append(f'| {count:,} | {verb} | {mine:.3f} | {gits:.3f} | {gits / mine:.1f} | {self.verdict(verb, count)} |')
            lines.append(f'| {count:,} | memory of the daemon | + {self.memory[count]} MiB | | | |')
        return lines


def section(bench, counts, rounds):
    facts = report.machine()
    command = ' '.join(['tests/bench/workflow.py', *sys.argv[1:]])
    return '\n'.join([
        BEGIN, '', '## The Git workflow', '',
        f'Written by `{command}` on {facts["date"]}; {facts["cpu"]}, {facts["memory"]}, Linux {facts["kernel"]}, '
        f'{report.first_line("git", "--version")}.' + report.busy(facts), '',
        f'A repository of {len(bench.paths):,} files; one line more in every n-th. Seconds that a person waits for one command, the least of '
        f'{rounds} rounds; both push to a bare repository on the same disk. "Staged" is after `add`. Memory is the most that the daemon '
        'needed for all of them, beyond what it had with the files changed.', '', *bench.table(counts), '', END])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--files', type=int, default=200000)
    p.add_argument('--changes', default='10,1000,100000')
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--json')
    p.add_argument('--markdown')
    p.add_argument('--repository')
    p.add_argument('--merge')
    a = p.parse_args()
    counts = [int(c) for c in a.changes.split(',')]
    folder = tempfile.mkdtemp(prefix='cop-bench-wf-', dir=os.environ.get('COPPICE_BENCH_DIR', '/var/tmp'))
    try:
        bench = Bench(folder, a.files, a.repository)
        with bench.start() as node:
            for number in range(a.rounds):
                for count in counts:
                    bench.round(node, number, count)
                    print(f'round {number + 1} of {count} changes is done', file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if a.merge:
        with open(a.merge, encoding='utf-8') as f:
            bench.merge(json.load(f))
        counts = sorted(bench.memory)
    print('\n'.join(bench.table(counts)))
    if a.json:
        with open(a.json, 'w', encoding='utf-8') as f:
            json.dump(bench.figures(), f, indent=1)
    if a.markdown:
        report.replace_section(a.markdown, BEGIN, END, section(bench, counts, a.rounds))


if __name__ == '__main__':
    main()
