#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The same random steps on the local filesystem and in a workspace (differ.c): seed after seed until the time is up.

  run.py                           what CI runs; COPPICE_TEST_LONG=1: 20 seeds of 100,000 steps
  run.py --seed 5 --steps 3000     one seed; --only 1,2,3: of its steps only these; --shrink: find few that are enough
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

from node import SLOW, Node
from tree import FEW_NODES, IN_LAYERS, LocalTree, make_repository

HERE = os.path.dirname(os.path.abspath(__file__))
LONG = os.environ.get('COPPICE_TEST_LONG') == '1'
DIFFER = os.environ.get('COPPICE_DIFFER', '')


class Runs:
    """A daemon, and a fresh pair of equal trees for each run."""

    def __init__(self, node, folder):
        self.node, self.folder, self.count = node, folder, 0
        self.repository = os.path.join(folder, 'repo.git')

    def know_all_trees(self):
        """As long as a tree is not local, st_nlink of its directory is 1: "not counted" (docs/posix.md)."""
        for _ in os.walk(self.node.mount('first', **IN_LAYERS).root):
            pass
        self.node.delete('first')

    def run(self, seed, steps, only=None, whole_every=100, timeout=60):
        """(status, output) of one run."""
        self.count += 1
        job = f'run{self.count}'
        mount = self.node.mount(job, **IN_LAYERS)
        local = LocalTree(self.repository, os.path.join(self.folder, job))
        try:
            return self.steps_between(seed, 0, steps, local.path, mount.root, only, whole_every, timeout)
        finally:
            local.close()
            self.node.delete(job)

    def steps_between(self, seed, first, end, left, right, only=None, whole_every=100, timeout=60 * SLOW):
        command = [DIFFER, '--seed', str(seed), '--first', str(first), '--steps', str(end), '--left', left, '--right', right,
                   '--whole-every', str(whole_every)]
        if only is not None:
            command += ['--only', ','.join(map(str, only))]
        done = subprocess.run(command, capture_output=True, timeout=timeout, check=False)
        return done.returncode, done.stdout.decode('utf-8', 'backslashreplace') + done.stderr.decode('utf-8', 'replace')

    def shrink(self, seed, last, rounds=80):
        """Fewer steps that still differ, and what they print."""
        steps, size, text = list(range(last + 1)), (last + 2) // 2, ''
        while size >= 1 and rounds > 0:
            at, changed = 0, False
            while at < len(steps) and rounds > 0:
                fewer = steps[:at] + steps[at + size:]
                rounds -= 1
                status, out = self.run(seed, last + 1, fewer, whole_every=10**9)
                if status == 1:
                    steps, text, changed = fewer, out, True
                else:
                    at += size
            if size == 1 and not changed:
                break
            size = max(1, size // 2)
        return steps, text


def difference_at(output):
    for line in output.splitlines():
        if ': a difference at step ' in line:
            return int(line.rsplit(' ', 1)[1])
    return None


def report(runs, seed, steps, output, shrink):
    print(output)
    at = difference_at(output)
    if shrink and at is not None:
        few, text = runs.shrink(seed, min(at, steps - 1))
        print(f'enough: --seed {seed} --steps {steps} --only {",".join(map(str, few))}\n{text}')


def one(runs, args):
    only = [int(n) for n in args.only.split(',')] if args.only else None
    status, output = runs.run(args.seed, args.steps, only, args.whole_every, timeout=3600)
    if status != 0:
        report(runs, args.seed, args.steps, output, args.shrink)
    else:
        print(f'seed {args.seed}: {args.steps} steps without a difference')
    return status


def many(runs):
    """Until the time is up, but every seed of the long form."""
    seeds, steps = (20, 100_000) if LONG else (12, 3000)
    end = time.monotonic() + (70 if SLOW == 1 else 120)
    for seed in range(1, seeds + 1):
        if not LONG and time.monotonic() > end:
            break
        start = time.monotonic()
        status, output = runs.run(seed, steps, timeout=7200 if LONG else 120 * SLOW)
        if status != 0:
            report(runs, seed, steps, output, not LONG)
            return 1
        print(f'seed {seed}: {steps} steps without a difference, {time.monotonic() - start:.1f} s', flush=True)
    return 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--seed', type=int)
    p.add_argument('--steps', type=int, default=3000)
    p.add_argument('--only')
    p.add_argument('--whole-every', type=int, default=100)
    p.add_argument('--shrink', action='store_true')
    args = p.parse_args()
    folder = tempfile.mkdtemp(prefix='cop-posix-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
    os.chmod(folder, 0o755)
    try:
        make_repository(os.path.join(folder, 'repo.git'))
        with Node({'demo': os.path.join(folder, 'repo.git')}, extra=FEW_NODES, limit=100_000 if LONG or args.seed else 280) as node:
            runs = Runs(node, folder)
            runs.know_all_trees()
            return one(runs, args) if args.seed is not None else many(runs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
