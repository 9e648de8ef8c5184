# SPDX-License-Identifier: Apache-2.0
"""A kernel that cannot send requests again (before 6.9; old_kernel.c hides the bit of this one): who waits for an answer when the daemon is
killed gets ECONNABORTED, and nothing else happens to anyone: descriptors, bytes and the next request are as ever."""
import errno
import os
import threading
import time
import unittest

from fire import Traces, assert_no_orphans, assert_nothing_left, assert_usage_exact, renew
from killer import answers, daemon_of
from loads import World
from node import SLOW, wait_until
from test_steps import DyingNode

OLD_KERNEL = os.environ.get('COPPICE_OLD_KERNEL_LIBRARY')
KILLS = 8
WRITERS = 4


class OldKernelNode(DyingNode):
    libraries = (OLD_KERNEL, *DyingNode.libraries)


class Writer:
    """Appends by offset to a file that it has open all the time; an answer that was lost is asked for again."""

    def __init__(self, path):
        self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.written = self.aborted = 0
        self.error, self.stopping = None, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.stopping:
                try:
                    os.pwrite(self.file, b'%07d\n' % self.written, 8 * self.written)
                    self.written += 1
                except OSError as e:
                    if e.errno != errno.ECONNABORTED:
                        raise
                    self.aborted += 1
        except Exception as e:  # pylint: disable=broad-except  # raised by stop
            self.error = e

    def stop(self):
        self.stopping = True
        self.thread.join(30 * SLOW)
        if self.thread.is_alive():
            raise AssertionError('a request is never answered')
        if self.error:
            raise self.error
        content = os.pread(self.file, 8 * self.written + 8, 0)
        os.close(self.file)
        if content != b''.join(b'%07d\n' % i for i in range(self.written)):
            raise AssertionError('wrong bytes')


class OldKernel(unittest.TestCase):
    def test_kills(self):
        with World(files=20, c_files=0) as world, OldKernelNode({'demo': world.repository}, keeper=True) as node:
            root = node.mount('job').root
            renew(node)
            before = Traces(node)
            for i in range(WRITERS):
                with open(f'{root}/lower{i}', 'wb') as f:
                    f.write(b'x')
            writers = [Writer(f'{root}/w{i}') for i in range(WRITERS)]
            for _ in range(KILLS):
                time.sleep(0.4)
                pid, written = daemon_of(node.process.pid), [w.written for w in writers]
                renew(node)
                self.assertNotEqual(daemon_of(node.process.pid), pid)
                wait_until(lambda old=written: all(w.written > then or w.error for w, then in zip(writers, old)), 20, 'all go on')
            for w in writers:
                w.stop()
            self.assertNotIn('session_not_adopted', node.log_text())
            self.assertEqual(node.log_text().count('event=taken_over'), KILLS + 1)
            # each kill loses what was being answered: no more than one request of a writer
            self.assertLessEqual(sum(w.aborted for w in writers), KILLS * WRITERS)
            print(f'{sum(w.written for w in writers)} writes, {sum(w.aborted for w in writers)} ended with ECONNABORTED')
            assert_no_orphans(node)
            assert_usage_exact(node)
            for i in range(WRITERS):
                os.unlink(f'{root}/lower{i}')
                os.unlink(f'{root}/w{i}')
            wait_until(lambda: answers(node), 20, 'it answers')
            assert_nothing_left(node, before)

    def test_what_was_being_answered_ends(self):
        """The daemon dies right after it has read a request, again and again: somebody is told, and nobody hangs."""
        with World(files=20, c_files=0) as world, OldKernelNode({'demo': world.repository}, keeper=True) as node:
            root = node.mount('job').root
            node.order(['read after 300 1100'] * 3)
            renew(node)
            writer = Writer(root + '/w')
            for _ in range(3):
                pid = daemon_of(node.process.pid)
                wait_until(lambda old=pid: daemon_of(node.process.pid) not in (0, old), 20, 'it dies of a request')
            wait_until(lambda: answers(node), 20, 'it answers')
            writer.stop()
            self.assertEqual(writer.aborted, 3)

    def test_upgrade_loses_nothing(self):
        with World(files=20, c_files=0) as world, OldKernelNode({'demo': world.repository}, keeper=True) as node:
            root = node.mount('job').root
            writers = [Writer(f'{root}/w{i}') for i in range(WRITERS)]
            for _ in range(4):
                pid = daemon_of(node.process.pid)
                node.client.Upgrade()
                wait_until(lambda old=pid: daemon_of(node.process.pid) not in (0, old) and answers(node), 20, 'the new one answers')
            for w in writers:
                w.stop()
            self.assertEqual([w.aborted for w in writers], [0] * WRITERS)


if __name__ == '__main__':
    unittest.main()
