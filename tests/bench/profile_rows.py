#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Where the daemon's CPU goes in a row of the benchmark: samples of `perf`, by the system call that the daemon was in. As root; a program
of its own. With --markdown its section of that page is replaced.

  COPPICE_BIN=$PWD/build/release/bin tests/bench/profile_rows.py --rows untar,cold-read,cold-lstat [--markdown docs/benchmarks.md]
"""
import argparse
import collections
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'lib'))

# pylint: disable=wrong-import-position
import columns  # noqa: E402
import measure  # noqa: E402
import report  # noqa: E402
import run  # noqa: E402
from corpus import Corpus  # noqa: E402
from node import program  # noqa: E402

HERTZ = 997
LEAST = 0.01  # what has less has no line
BEGIN, END = '<!-- Written by tests/bench/profile_rows.py: begin -->', '<!-- Written by tests/bench/profile_rows.py: end -->'
ENTRY = 'entry_SYSCALL_64_after_hwframe'  # what called it is the libc's wrapper
WRAPPER = re.compile(r'^_*(?:GI_+)?(?:libc_)?(\w+)')
# what the daemon's calls are for
MEANING = {'writev': 'the reply, and waking the client', 'read': 'taking the request', 'epoll_wait': 'waiting for a request',
           'epoll_ctl': 'taking turns at a session', 'pread': 'contents, from the disk', 'pwrite': 'contents, to the disk',
           'openat64': 'opening and creating on the disk', 'open': 'where the client is now (/proc)', 'fstatat64': 'attributes on the disk',
           'fchmod': 'its mode', 'utimensat': 'its times', 'close': 'a file of the disk', 'sched_setaffinity': 'following the client to its CPU'}
FAULT, OTHER_KERNEL, OWN = 'page faults', 'interrupts', 'its own code and libraries'


def place_of(frames):
    """Of one sample, from the innermost frame to the outermost."""
    if ENTRY in frames[:-1]:
        return f'`{WRAPPER.match(frames[frames.index(ENTRY) + 1]).group(1)}`'
    if any('exc_page_fault' in frame for frame in frames):
        return FAULT
    return OTHER_KERNEL if any('sysvec' in frame for frame in frames) else OWN


class Profile(collections.Counter):
    """Where the daemon was → samples."""

    @classmethod
    def of(cls, data, pid):
        text = subprocess.run(['perf', 'script', '-i', data, '--pid', str(pid), '--no-inline', '-F', 'ip,sym'], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=True, timeout=600).stdout.decode(errors='replace')
        self = cls()
        for stack in text.split('\n\n'):
            frames = [line.split(None, 1)[1] for line in stack.split('\n') if len(line.split(None, 1)) == 2]
            if frames:
                self[place_of(frames)] += 1
        return self


class Profiler(measure.Bench):
    """Rounds in which the daemon is sampled while a wanted row runs."""

    def __init__(self, *args, wanted):
        super().__init__(*args)
        self.wanted, self.profiles = wanted, {}

    def sample(self, row, column, place):
        if row.name not in self.wanted:
            return super().sample(row, column, place)
        data = os.path.join(column.folder, 'perf.data')
        # all CPUs: to follow a process costs something at each of its context switches
        recorder = subprocess.Popen(['perf', 'record', '-q', '-a', '-e', 'cpu-clock', '-F', str(HERTZ), '-g', '-o', data], stderr=subprocess.DEVNULL)
        try:
            return super().sample(row, column, place)
        finally:
            recorder.send_signal(signal.SIGINT)
            recorder.wait(120)
            self.profiles[row.name] = Profile.of(data, column.node.process.pid)


def table(bench, row):
    profile, total = bench.profiles[row.name], sum(bench.profiles[row.name].values())
    each = bench.results.summary(row.name, 'coppice')['server'] / row.operations(bench) * 1e6
    lines = [f'{row.title}: {each:.1f} µs of the daemon each; {total:,} samples.', '', '| the daemon is in | share | µs each | for |', '|---|--:|--:|---|']
    rest = total
    for name, count in profile.most_common():
        if count >= LEAST * total:
            rest -= count
            lines.append(f'| {name} | {100 * count / total:.0f}% | {each * count / total:.1f} | {MEANING.get(name.strip("`"), "")} |')
    return [*lines, f'| everything else | {100 * rest / total:.0f}% | {each * rest / total:.1f} | |', '']


def section(bench, command):
    facts = report.machine()
    lines = [BEGIN, '', '## Profiles', '', f'Written by `{command}` on {facts["date"]}; {facts["cpu"]}, Linux {facts["kernel"]}. Samples of `perf` ({HERTZ} a second '
             'and CPU) by the system call that the daemon was in, the work of the kernel included.', '']
    for row in bench.rows():
        if row.name in bench.profiles:
            lines += table(bench, row)
    return '\n'.join([*lines, END])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--rows', default='untar,cold-read,cold-lstat', help='names, comma separated; run.py --list names them')
    p.add_argument('--scale', type=float, default=1.0)
    p.add_argument('--markdown', metavar='FILE')
    a = p.parse_args()
    if not shutil.which('perf'):
        raise SystemExit('profile_rows.py: perf is not installed (apt-get install linux-perf)')
    wanted = set(a.rows.split(','))
    groups, corpus = run.chosen_groups(wanted), Corpus(a.scale)
    folder = tempfile.mkdtemp(prefix='run-', dir=corpus.folder)
    columns.spread(folder)
    try:
        column = columns.Coppice(folder, [corpus[name] for name in sorted({g.tree for g in groups})])
        try:
            bench = Profiler(corpus, program('bench_workload'), [column], groups, wanted=wanted)
            bench.round(0, groups)
        finally:
            column.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = section(bench, ' '.join(['tests/bench/profile_rows.py', *sys.argv[1:]]))
    print(text)
    if a.markdown:
        report.replace_section(a.markdown, BEGIN, END, text)


if __name__ == '__main__':
    main()
