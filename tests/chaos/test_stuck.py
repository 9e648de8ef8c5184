#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A daemon that is killed while one of its threads waits in the kernel for a directory of its own mount cannot die: the lock's
holder waits for an answer that only the dead daemon could give. It must not keep the node down: without a keeper the next daemon
ends it, and programs get errors; with one it is followed at once, and nobody notices. Whether a kill hits the moment is chance; that the
node is back after each is asserted."""
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import repo_maker
from node import SLOW, Node

KILLS = 6
BACK_S = 20 * SLOW


def answer(node):
    try:
        node.client.GetNode(timeout=1 * SLOW)
        return True
    except Exception:  # not there yet, in any way
        return False


class Load:
    """Workspaces that come and go while others look up names beside them: both need the lock of the session's root."""

    def __init__(self, node):
        self.node, self.over, self.errors = node, threading.Event(), []
        self.threads = [threading.Thread(target=self.churn, args=(n,), daemon=True) for n in range(3)]
        self.threads += [threading.Thread(target=self.look, daemon=True) for _ in range(4)]
        for thread in self.threads:
            thread.start()

    def churn(self, n):
        while not self.over.is_set():
            try:
                self.node.client.CreateMount(job_id=f'j{n}', origin='demo', timeout=2 * SLOW)
                self.node.client.DeleteMount(job_id=f'j{n}', timeout=2 * SLOW)
            except Exception:  # the daemon was killed
                return

    def look(self):
        while not self.over.is_set():
            try:
                os.stat(f'{self.node.run}/mnt/default/none{time.monotonic_ns() % 7}')
            except FileNotFoundError:
                pass
            except OSError as e:
                self.errors.append(e)
                return

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(BACK_S)


# Processes, not threads: one that waits for a page of a mapping holds Python's lock.
MAPPER = '''
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
os.ftruncate(fd, 1 << 20)
m = mmap.mmap(fd, 1 << 20)
while True:
    for at in range(0, 1 << 20, 4096):
        m[at] = (m[at] + 1) % 256
'''
ASKER = '''
import os, sys
while True:
    try:
        os.getxattr(sys.argv[1], 'user.sha256')
    except FileNotFoundError:
        pass
'''


class Stuck(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(dir='/var/tmp')
        self.addCleanup(shutil.rmtree, self.directory)
        repo_maker.make(f'{self.directory}/r.git', files=10)

    def wait_back(self, node, what):
        end = time.monotonic() + BACK_S
        while not answer(node):
            self.assertLess(time.monotonic(), end, f'{what}: the node did not come back; its log ends:\n{node.log_tail()}')
            time.sleep(0.05)

    def test_the_next_daemon_ends_one_that_cannot_die(self):
        with Node({'demo': f'{self.directory}/r.git'}) as node:
            old = []
            for kill in range(KILLS):
                load = Load(node)
                time.sleep(0.3)
                old.append(node.process)
                node.process.send_signal(signal.SIGKILL)
                time.sleep(0.5)  # long enough to die, if it can
                node.process = None
                node.start()
                self.wait_back(node, f'kill {kill}')
                load.end()
            for process in old:
                process.wait(BACK_S)
            print(node.log_text().count('predecessor_stuck'), 'of', KILLS, 'could not die', end=' ')

    def test_the_keeper_goes_on_without_a_child_that_cannot_die(self):
        with Node({'demo': f'{self.directory}/r.git'}, keeper=True) as node:
            for kill in range(KILLS):
                load = Load(node)
                time.sleep(0.3)
                with open(f'/proc/{node.process.pid}/task/{node.process.pid}/children') as f:
                    child = int(f.read().split()[0])
                os.kill(child, signal.SIGKILL)
                end = time.monotonic() + BACK_S
                while os.path.exists(f'/proc/{child}'):
                    self.assertLess(time.monotonic(), end, f'kill {kill}: {child} does not die')
                    time.sleep(0.02)
                self.wait_back(node, f'kill {kill}')
                load.end()
                self.assertEqual(load.errors, [], 'somebody noticed')
            print(node.log_text().count('keeper child_stuck pid'), 'of', KILLS, 'could not die', end=' ')

    def test_a_kill_while_digests_have_pages_written_back_is_no_long_pause(self):
        """The kernel writes the pages of a mapping back, to a daemon that is dead; the thread that asked for it waits there."""
        with Node({'demo': f'{self.directory}/r.git'}, keeper=True) as node:
            path = node.mount('job').root + '/mapped'
            programs = [subprocess.Popen(['/usr/bin/python3', '-c', script, path], stderr=subprocess.PIPE) for script in (MAPPER, ASKER, ASKER)]
            try:
                for kill in range(KILLS):
                    time.sleep(0.4)
                    with open(f'/proc/{node.process.pid}/task/{node.process.pid}/children') as f:
                        os.kill(int(f.read().split()[0]), signal.SIGKILL)
                    self.wait_back(node, f'kill {kill}')
                self.assertEqual([p.poll() for p in programs], [None] * 3, 'somebody noticed')
                self.assertNotIn('child_does_not_die', node.log_text())
            finally:
                for p in programs:
                    p.kill()
                    p.communicate(timeout=BACK_S)
            print(node.log_text().count('keeper child_stuck pid'), 'of', KILLS, 'could not die', end=' ')


if __name__ == '__main__':
    unittest.main()
