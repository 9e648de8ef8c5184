#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Git workflow against Git itself: status, add and commit of N changed files in a workspace and in a plain clone of the same repository.

  COPPICE_BIN=$PWD/build/release/bin tests/bench/workflow.py --files 200000 --changes 10,1000,100000 [--json FILE]

Each figure is the time of one command as a person waits for it, `coppice` and `git` in turn; of status the least of five.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
import repo_maker  # noqa: E402
from node import Node  # noqa: E402
from twin import git  # noqa: E402


def timed(call, *args):
    began = time.monotonic()
    call(*args)
    return time.monotonic() - began


def change(roots, files):
    for root in roots:
        for path in files:
            with open(os.path.join(root, path), 'a', encoding='ascii') as f:
                f.write('changed\n')


def measure(node, clone, files, count):
    """Seconds by verb: (coppice, git)."""
    job = f'changes{count}'
    root = node.mount(job).root
    step = max(1, len(files) // count)
    change([root, clone], files[::step][:count])
    git(clone, 'status', '--short')  # both have seen it once
    node.cli('status', job)
    both = [(timed(node.cli, 'status', job), timed(git, clone, 'status', '--short')) for _ in range(5)]
    found = {'status': tuple(min(x) for x in zip(*both))}
    found['add'] = timed(node.cli, 'add', job, '-A'), timed(git, clone, 'add', '-A')
    found['commit'] = (timed(node.cli, 'commit', job, '-m', 'x', '--author', 'a <b>'), timed(git, clone, 'commit', '-q', '-m', 'x'))
    found['memory_mib'] = node.rss_kib() // 1024
    git(clone, 'reset', '-q', '--hard', 'HEAD~1')
    node.delete(job)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--files', type=int, default=200000)
    parser.add_argument('--changes', default='10,1000,100000')
    parser.add_argument('--json')
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix='cop-bench-wf-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
    rows = {}
    try:
        repository, clone = folder + '/repo.git', folder + '/clone'
        repo_maker.make(repository, files=options.files)
        subprocess.run(['git', 'clone', '-q', repository, clone], check=True, timeout=1800)
        files = git(clone, 'ls-files', '-z').decode().split('\0')[:-1]
        with Node({'demo': repository}, limit=3600) as node:
            for count in (int(c) for c in options.changes.split(',')):
                rows[count] = measure(node, clone, files, count)
                for verb in ('status', 'add', 'commit'):
                    mine, gits = rows[count][verb]
                    print(f'{count:>7} changes  {verb:<7} coppice {mine:8.3f} s   git {gits:8.3f} s   {gits / mine:6.1f} times', flush=True)
                print(f'{count:>7} changes  memory  coppiced {rows[count]["memory_mib"]} MiB', flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        with open(options.json, 'w', encoding='utf-8') as f:
            json.dump(rows, f, indent=1)


if __name__ == '__main__':
    main()
