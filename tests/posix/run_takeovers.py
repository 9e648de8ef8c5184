#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""As run.py, but while the steps are made the daemon is killed under its keeper, again and again: whatever is open stays open, mapped, locked and
watched, and no step may tell the difference.

  run_takeovers.py [SEED...]"""
import os
import random
import shutil
import signal
import sys
import tempfile
import threading

from killer import answers, daemon_of
from node import SLOW, Node, wait_until
from run import LONG, Runs, report
from tree import FEW_NODES, IN_LAYERS, LocalTree, make_repository

SEEDS, STEPS = (20, 20_000) if LONG else (3, 4000)


class Killer(threading.Thread):
    def __init__(self, node, seed):
        super().__init__(daemon=True)
        self.node, self.random, self.done, self.kills = node, random.Random(seed), threading.Event(), 0

    def run(self):
        pause = self.random.uniform(0.1, 0.4)  # however fast the steps are made
        while not self.done.wait(pause):
            pause = self.random.uniform(0.3, 2) * SLOW
            pid = daemon_of(self.node.process.pid)
            if pid:
                os.kill(pid, signal.SIGKILL)
                self.kills += 1


def run_one(folder, repository, seed):
    with Node({'demo': repository}, keeper=True, extra=FEW_NODES if seed % 2 else '', limit=3600 if LONG else 280) as node:
        runs = Runs(node, folder)
        runs.know_all_trees()
        mount = node.mount('job', **IN_LAYERS)
        local = LocalTree(repository, os.path.join(folder, f'local{seed}'))
        killer = Killer(node, seed)
        killer.start()
        try:
            status, output = runs.steps_between(seed, 0, STEPS, local.path, mount.root, timeout=3600 if LONG else 120 * SLOW)
        finally:
            killer.done.set()
            killer.join()
            local.close()
        if status != 0:
            report(runs, seed, STEPS, output, False)
        if status != 0 or killer.kills == 0:
            raise AssertionError(f'seed {seed}: after {killer.kills} kills')
        wait_until(lambda: answers(node), 20, 'a daemon answers')
        node.delete('job')
        print(f'seed {seed}: {STEPS} steps and {killer.kills} kills without a difference', flush=True)


def main():
    folder = tempfile.mkdtemp(prefix='cop-posix-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
    os.chmod(folder, 0o755)
    try:
        repository = os.path.join(folder, 'repo.git')
        make_repository(repository)
        for seed in [int(n) for n in sys.argv[1:]] or range(201, 201 + SEEDS):
            run_one(folder, repository, seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    main()
