#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""As run.py, but now and then the daemon is killed between two steps and started again: what was there is there, under the same inode
number, and the steps go on without a difference.

  run_restarts.py [SEED...]"""
import os
import shutil
import sys
import tempfile

from node import Node
from run import LONG, Runs, report
from tree import IN_LAYERS, LocalTree, make_repository

SEEDS, PARTS, STEPS = (20, 20, 2000) if LONG else (4, 4, 500)


def numbers(root):
    """Inode numbers and change-proof facts by path."""
    found = {}
    for folder, dirs, files in os.walk(os.fsencode(root)):
        for name in dirs + files:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            found[path] = (st.st_ino, st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns)
    return found


def run_one(runs, seed):
    node, job = runs.node, f'restart{seed}'
    mount = node.mount(job, **IN_LAYERS)
    local = LocalTree(runs.repository, os.path.join(runs.folder, job))
    try:
        for part in range(PARTS):
            status, output = runs.steps_between(seed, part * STEPS, (part + 1) * STEPS, local.path, mount.root)
            if status != 0:
                report(runs, seed, (part + 1) * STEPS, output, False)
                return 1
            before = numbers(mount.root)
            node.kill()
            node.start()
            after = numbers(mount.root)
            if before != after:
                wrong = [(path, before.get(path), after.get(path)) for path in set(before) | set(after)
                         if before.get(path) != after.get(path)]
                print(f'seed {seed}: after step {(part + 1) * STEPS - 1} and a crash other files are there: {wrong[:10]}')
                return 1
    finally:
        local.close()
        node.delete(job)
    print(f'seed {seed}: {PARTS} times {STEPS} steps and a crash without a difference', flush=True)
    return 0


def main():
    folder = tempfile.mkdtemp(prefix='cop-posix-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
    os.chmod(folder, 0o755)
    try:
        make_repository(os.path.join(folder, 'repo.git'))
        with Node({'demo': os.path.join(folder, 'repo.git')}, limit=100_000 if LONG else 280) as node:
            runs = Runs(node, folder)
            runs.know_all_trees()
            return max(run_one(runs, seed) for seed in [int(n) for n in sys.argv[1:]] or range(100, 100 + SEEDS))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
