#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""As run.py, but the daemon is killed and started again all the time, under the keeper: no step may notice."""
import os
import shutil
import sys
import tempfile
import threading

from node import SLOW, Node
from run import LONG, Runs, report
from tree import make_repository

SEEDS, STEPS = (20, 20_000) if LONG else (3, 3000)


def restart_until(stop, node, failures):
    """Kills in the middle of whatever is under way, with a breath between two."""
    count = 0
    while not stop.wait(0.5 * SLOW):
        try:
            node.kill()
            node.start()
            count += 1
        except Exception as e:  # whatever it was, the main thread must know
            failures.append(f'after {count} restarts: {e}')
            return
    node.restarts = count


def run_one(runs, seed):
    stop, failures = threading.Event(), []
    thread = threading.Thread(target=restart_until, args=(stop, runs.node, failures))
    status, output = runs.run(seed, STEPS, timeout=600 * SLOW, meanwhile=(thread.start, lambda: (stop.set(), thread.join())))
    if status != 0:
        report(runs, seed, STEPS, output, False)
    for failure in failures:
        print(failure)
    if status != 0 or failures:
        return 1
    print(f'seed {seed}: {STEPS} steps over {runs.node.restarts} restarts without a difference', flush=True)
    return 0


def main():
    folder = tempfile.mkdtemp(prefix='cop-posix-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
    os.chmod(folder, 0o755)
    try:
        make_repository(os.path.join(folder, 'repo.git'))
        with Node({'demo': os.path.join(folder, 'repo.git')}, keeper=True, limit=100_000 if LONG else 280) as node:
            runs = Runs(node, folder)
            runs.know_all_trees()
            return max(run_one(runs, 100 + seed) for seed in range(SEEDS))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
