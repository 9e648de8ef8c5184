#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two tenants at once: what one gets done alone, and what both get done beside each other, in the same workload. On two idle cores that is
nearly twice as much, since they share no lock that a request waits for. CPU per operation (client and daemon) and how often a
thread of the daemon sleeps for one tell the same on a machine that is not idle: they must not rise.

  tenants.py [--rounds N] [--check]     a Markdown table; --check: fail below 1.8 times
"""
import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '../lib')]

import repo_maker  # noqa: E402
from node import Node, program  # noqa: E402

NAMES = ('left', 'right')
TENANTS = """
  - {name: left, admin: true, origins: [{name: demo}], identities: [{unix_uid: 0}]}
  - {name: right, origins: [{name: demo}], identities: [{unix_uid: 12345}]}
"""
DIRECTORIES = 20
# name: operations of a run, arguments of bench_workload in a workspace
WORK = {
    'append 300 B': (60000, lambda root, dirs: ['append', root + '/log', '300', '60000']),
    'write 4 KiB': (30000, lambda root, dirs: ['write', root + '/data', '4096', '30000']),
    'negative lookup, first': (30000, lambda root, dirs: ['negative', root, dirs, '30000', '1']),
}
TARGET = 1.8


def cpu_seconds(pid):
    """Of the daemon and of the programs that have ended."""
    with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as f:
        fields = f.read().rsplit(')', 1)[1].split()
    clients = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK') + clients.ru_utime + clients.ru_stime


def sleeps(pid):
    """How often threads of the daemon have given up their CPU to wait for something: a request, or a lock."""
    total = 0
    for task in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{task}/status', encoding='ascii', errors='replace') as f:
            total += next(int(line.split()[1]) for line in f if line.startswith('voluntary_ctxt_switches'))
    return total


def run(node, roots, arguments, dirs):
    """(seconds, seconds of CPU, sleeps) until it is done once in each of them, all at once."""
    pid = node.process.pid
    cpu, slept, start = cpu_seconds(pid), sleeps(pid), time.monotonic()
    clients = [subprocess.Popen([program('bench_workload'), *arguments(root, dirs)], stdout=subprocess.DEVNULL) for root in roots]
    if any([c.wait(300) for c in clients]):
        raise SystemExit('bench_workload failed')
    return time.monotonic() - start, cpu_seconds(pid) - cpu, sleeps(pid) - slept


def measure(node, arguments, dirs):
    """What `run` gives for the left one, for the right one, and for both; each in a fresh workspace."""
    results = []
    for tenants in (NAMES[:1], NAMES[1:], NAMES):
        roots = [node.mount('job', tenant=tenant).root for tenant in tenants]
        results.append(run(node, roots, arguments, dirs))
        for tenant in tenants:
            node.delete('job', tenant=tenant)
    return results


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--check', action='store_true')
    args = p.parse_args()
    folder, worst = tempfile.mkdtemp(prefix='cop-tenants-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp')), 2.0
    try:
        repo, dirs = repo_maker.Repo(folder + '/repo.git'), folder + '/dirs'
        repo.begin()
        for i in range(DIRECTORIES):
            repo.add(b'd%d/file' % i, b'')
        repo.finish()
        with open(dirs, 'w', encoding='ascii') as f:
            f.writelines(f'd{i}\n' for i in range(DIRECTORIES))
        print('| workload | alone, per second | both, per second | gain | µs of CPU each, alone | both | sleeps each, alone | both |\n'
              '|---|--:|--:|--:|--:|--:|--:|--:|')
        with Node({'demo': folder + '/repo.git'}, tenants=TENANTS, limit=1200) as node:
            for name, (count, arguments) in WORK.items():
                rounds = [measure(node, arguments, dirs) for _ in range(args.rounds)]
                alone = [min(min(r[0][k], r[1][k]) for r in rounds) for k in range(3)]
                both = [min(r[2][k] for r in rounds) for k in range(3)]
                gain = 2 * alone[0] / both[0]
                worst = min(worst, gain)
                print(f'| {name} | {count / alone[0]:,.0f} | {2 * count / both[0]:,.0f} | {gain:.2f} × | {alone[1] * 1e6 / count:.1f} | '
                      f'{both[1] * 1e6 / 2 / count:.1f} | {alone[2] / count:.2f} | {both[2] / 2 / count:.2f} |', flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if args.check and worst < TARGET else 0


if __name__ == '__main__':
    sys.exit(main())
