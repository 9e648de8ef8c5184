#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two tenants at once: what one gets done alone, and what both get done beside each other, in the same workload. On two idle cores that is
nearly twice as much, since they share no lock that a request waits for; as near as the machine lets any two processes come: virtual CPUs may
share a core, its clock and its caches. So what the machine itself gives is measured in the same rounds (two pairs of processes that pass a byte
back and forth, each pair on a CPU of its own), and the gain is told as a part of that too. CPU per operation (client and daemon) and
how often a thread of the daemon sleeps for one tell the same on a machine that is not idle: they must not rise.

  tenants.py [--rounds N] [--check]     a Markdown table; --check: fail below 1.8 times, or 0.9 of what the machine gives
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
FLOOR = 200000  # round trips


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


def measure_machine():
    """Seconds for the round trips on each of two CPUs alone, and on both at once."""
    results, cpus = [], sorted(os.sched_getaffinity(0))[:2]
    for at in (cpus[:1], cpus[1:], cpus):
        start = time.monotonic()
        pairs = [subprocess.Popen(['taskset', '-c', str(cpu), program('bench_workload'), 'round-trips', str(FLOOR)]) for cpu in at]
        if any([p.wait(300) for p in pairs]):
            raise SystemExit('bench_workload failed')
        results.append(time.monotonic() - start)
    return results


def gain_of(rounds):
    """Of the best times: (alone, both, how many times as much is done by both)."""
    alone, both = min(min(r[0], r[1]) for r in rounds), min(r[2] for r in rounds)
    return alone, both, 2 * alone / both


def print_rows(rounds, machine):
    """The table. The worst gain, as a part of twice and of what the machine gives; the better of these two."""
    gives, worst = gain_of(machine)[2], 1.0
    print('| workload | alone, per second | both, per second | gain | of the machine\'s own | µs of CPU each, alone | both | sleeps each, alone | both |\n'
          '|---|--:|--:|--:|--:|--:|--:|--:|--:|')
    for name, (count, _) in WORK.items():
        alone, both, gain = gain_of([[sample[0] for sample in r] for r in rounds[name]])
        worst = min(worst, max(gain / 2, gain / gives))
        cpu, slept = ([min(min(r[0][k], r[1][k]) for r in rounds[name]) / count, min(r[2][k] for r in rounds[name]) / 2 / count] for k in (1, 2))
        print(f'| {name} | {count / alone:,.0f} | {2 * count / both:,.0f} | {gain:.2f} × | {gain / gives:.2f} | {cpu[0] * 1e6:.1f} | '
              f'{cpu[1] * 1e6:.1f} | {slept[0]:.2f} | {slept[1]:.2f} |')
    print(f'| the machine: round trips between two processes | {FLOOR / gain_of(machine)[0]:,.0f} | {2 * FLOOR / gain_of(machine)[1]:,.0f} | '
          f'{gives:.2f} × | 1 | | | | |')
    return worst


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--check', action='store_true')
    args = p.parse_args()
    folder = tempfile.mkdtemp(prefix='cop-tenants-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
    try:
        repo, dirs = repo_maker.Repo(folder + '/repo.git'), folder + '/dirs'
        repo.begin()
        for i in range(DIRECTORIES):
            repo.add(b'd%d/file' % i, b'')
        repo.finish()
        with open(dirs, 'w', encoding='ascii') as f:
            f.writelines(f'd{i}\n' for i in range(DIRECTORIES))
        with Node({'demo': folder + '/repo.git'}, tenants=TENANTS, limit=1200) as node:
            rounds, machine = {name: [] for name in WORK}, []
            for _ in range(args.rounds):
                machine.append(measure_machine())
                for name, (_, arguments) in WORK.items():
                    rounds[name].append(measure(node, arguments, dirs))
        worst = print_rows(rounds, machine)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if args.check and worst < TARGET / 2 else 0


if __name__ == '__main__':
    sys.exit(main())
