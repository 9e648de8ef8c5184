#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long a takeover takes, by the number of objects that are in use: the daemon is killed under the keeper, and its successor says how long it
took (event=taken_over). CPU is what the successor had used when it answered.

  COPPICE_BIN=$PWD/build/release/bin PYTHONPATH=tests/lib tests/bench/takeover.py 10000 100000

A million objects take some three minutes, most of them to make the files.
"""
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import repo_maker
from coppice_client import CallError
from node import Node

PER_DIRECTORY, KILLS = 1000, 3
# A process may have some 20,000 descriptors, so several hold the objects.
HOLDER = '''
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = [os.open(f'{sys.argv[1]}/{d}/{f}', os.O_PATH) for d in sys.argv[3:] for f in range(int(sys.argv[2]))]
print(len(held), flush=True)
sys.stdin.read()
'''


def make(root, count):
    names = []
    for start in range(0, count, PER_DIRECTORY):
        names.append(f'd{start}')
        os.mkdir(f'{root}/{names[-1]}')
        for i in range(PER_DIRECTORY):
            os.close(os.open(f'{root}/{names[-1]}/{i}', os.O_CREAT | os.O_WRONLY))
    return names


def hold(root, names):
    per_process = (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 100) // PER_DIRECTORY
    holders = []
    for at in range(0, len(names), per_process):
        holders.append(subprocess.Popen(['/usr/bin/python3', '-c', HOLDER, root, str(PER_DIRECTORY), *names[at:at + per_process]],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        if not holders[-1].stdout.readline():
            raise AssertionError('the objects cannot be held open')
    return holders


def child_of(pid):
    with open(f'/proc/{pid}/task/{pid}/children', encoding='ascii') as f:
        return int(f.read().split()[-1])


def cpu_ms(pid):
    with open(f'/proc/{pid}/stat', encoding='ascii') as f:
        user, system = f.read().rsplit(')', 1)[1].split()[11:13]
    return (int(user) + int(system)) * 1000 // os.sysconf('SC_CLK_TCK')


def kill(node):
    """Returns the CPU time that the successor needed."""
    os.kill(child_of(node.process.pid), signal.SIGKILL)
    while True:
        try:
            node.client.GetNode(timeout=120, wait_for_ready=True)
            return cpu_ms(child_of(node.process.pid))
        except CallError:
            pass  # the connection to the dead one has ended


def measure(repository, count):
    with Node({'demo': repository}, keeper=True, limit=1800) as node:
        root = node.mount('job').root
        holders = hold(root, make(root, count))
        try:
            cpu = [kill(node) for _ in range(KILLS)]
        finally:
            for holder in holders:
                holder.kill()
                holder.communicate()
        told = re.findall(r'event=taken_over .*nodes=(\d+) .*ms=(\d+)', node.log_text())
        print(f'{told[-1][0]:>8} nodes: taken over in {min(int(ms) for _, ms in told)} ms (best of {KILLS}), CPU of the start {min(cpu)} ms',
              flush=True)


def main():
    folder = tempfile.mkdtemp(prefix='cop-takeover-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
    try:
        repo_maker.make(folder + '/repo.git', files=20)
        for count in [int(word) for word in sys.argv[1:]] or [10000, 100000]:
            measure(folder + '/repo.git', count)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    main()
