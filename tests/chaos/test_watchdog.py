# SPDX-License-Identifier: Apache-2.0
"""A session that answers nothing is seen: a warning, a metric; and in the end it is aborted by itself, its users get errors instead of
hanging, and its workspaces are back. The others do not notice."""
import ctypes
import errno
import os
import re
import shutil
import tempfile
import threading
import time
import unittest
import urllib.request

import repo_maker
from node import SLOW, Node, wait_until

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000
EXTRA = 'watchdog: {stuck: %dms, abort: %dms}\nworkers: 2'


class Frozen:
    """Threads of a process that stand still, as if the disk under them did. All in one thread of ours: ptrace wants that."""

    def __init__(self, pid, name):
        self.tids = [int(tid) for tid in os.listdir(f'/proc/{pid}/task') if self.name_of(pid, tid).startswith(name)]
        assert self.tids

    def name_of(self, pid, tid):
        with open(f'/proc/{pid}/task/{tid}/comm', encoding='ascii') as f:
            return f.read().strip()

    def call(self, request, tid):
        if libc.ptrace(request, tid, None, None) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def __enter__(self):
        for tid in self.tids:
            self.call(PTRACE_SEIZE, tid)
            self.call(PTRACE_INTERRUPT, tid)
            os.waitpid(tid, WALL)
        return self

    def __exit__(self, *_):
        for tid in self.tids:
            self.call(PTRACE_DETACH, tid)


class Watchdog(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-watchdog-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo_maker.make(cls.repository, files=20)

    def metric(self, node, name):
        port = re.findall(r'protocol="http" port=(\d+)', node.log_text())[-1]
        with urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics', timeout=20 * SLOW) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(re.escape(name) + r'[ {]', line))

    def reasons(self, events):
        """What a watch said was wrong with its mount, without repetitions, until nothing was any more."""
        told = ['']
        for event in events:
            reason = event.mount.reason.split(';')[0]
            if event.HasField('mount') and reason != told[-1]:
                told.append(reason)
                if not reason:
                    return told[1:]
        raise AssertionError(f'the watch has ended: {told}')

    def asker(self, root):
        """A program that needs an answer; what it got."""
        got = []

        def ask():
            try:
                with open(root + '/made', 'xb') as f:
                    f.write(b'x')
                got.append(0)
            except OSError as e:
                got.append(e.errno)
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        return thread, got

    def node(self, stuck_ms, abort_ms):
        return Node({'demo': self.repository}, extra=EXTRA % (stuck_ms, abort_ms), http='127.0.0.1:0')

    def test_it_is_told_and_ended(self):
        with self.node(1000 * SLOW, 2500 * SLOW) as node:
            root = node.mount('job').root
            events = node.client.WatchMounts(timeout=60 * SLOW)
            self.assertEqual(next(events).mount.job_id, 'job')
            with open(root + '/before', 'wb') as f:
                f.write(b'kept')
            with Frozen(node.process.pid, 'fuse-worker'):
                begin = time.monotonic()
                thread, got = self.asker(root)
                wait_until(lambda: self.metric(node, 'coppice_sessions_stuck') == 1, 20, 'it is seen')
                self.assertRegex(node.log_text(), r'event=session_stuck tenant="default" waiting=[1-9]')
                self.assertEqual(got, [])
                self.assertIn('answers nothing', node.client.GetMount(job_id='job').reason)
                thread.join(20 * SLOW)
                took = time.monotonic() - begin
            self.assertIn(got, ([errno.ECONNABORTED], [errno.ENOTCONN]))
            self.assertLess(took, 10 * SLOW)
            node.assert_logs('event=session_aborted')
            wait_until(lambda: 'event=session_revived' in node.log_text(), 20, 'it is opened again')
            wait_until(lambda: os.path.exists(root + '/before'), 20, 'the workspace is back')
            with open(root + '/before', 'rb') as f:
                self.assertEqual(f.read(), b'kept')
            self.assertEqual(self.reasons(events), ['its session answers nothing', 'its session answered nothing and was ended', ''])
            self.assertEqual((self.metric(node, 'coppice_sessions_aborted_total'), self.metric(node, 'coppice_sessions_stuck')), (1, 0))

    def test_it_moves_again(self):
        with self.node(1000 * SLOW, 60000 * SLOW) as node:
            root = node.mount('job').root
            with Frozen(node.process.pid, 'fuse-worker'):
                thread, got = self.asker(root)
                wait_until(lambda: self.metric(node, 'coppice_sessions_stuck') == 1, 20, 'it is seen')
            thread.join(20 * SLOW)
            self.assertEqual(got, [0])
            wait_until(lambda: self.metric(node, 'coppice_sessions_stuck') == 0, 20, 'it is not stuck any more')
            node.assert_logs('event=session_moves')
            self.assertEqual(self.metric(node, 'coppice_sessions_aborted_total'), 0)

    def test_idle_is_not_stuck(self):
        with self.node(200, 400) as node:
            root = node.mount('job').root
            os.listdir(root)
            time.sleep(1.5)
            self.assertNotIn('session_stuck', node.log_text())
            self.assertTrue(os.path.isdir(root))


if __name__ == '__main__':
    unittest.main()
