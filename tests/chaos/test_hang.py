# SPDX-License-Identifier: Apache-2.0
"""A daemon that hangs as a whole is killed by the keeper and followed: jobs wait for that long and go on. One that only is idle is left
alone, and so is every one if the keeper is told so."""
import os
import shutil
import signal
import tempfile
import threading
import time
import unittest

import repo_maker
from killer import answers, daemon_of
from node import SANITIZE, SLOW, Node, program, wait_until

HANGING = os.environ.get('COPPICE_HANGING_LIBRARY')
WATCHDOG_S = max(2, SLOW)  # the journal of a slow disk, written once, is no hang


class Watched(Node):
    """A node whose keeper has little patience with silence; its daemon locks itself up when it is told to."""

    def __init__(self, *args, watchdog=WATCHDOG_S, **options):
        super().__init__(*args, keeper=True, **options)
        self.watchdog_s, self.trigger = watchdog, self.path('hang')

    def command(self, *args):
        _, *rest = super().command(*args)
        extra = [f'ASAN_OPTIONS=verify_asan_link_order=0:{os.environ.get("ASAN_OPTIONS", "")}'] if SANITIZE else []
        return ['/usr/bin/env', f'LD_PRELOAD={HANGING}', f'COPPICE_HANGING={self.trigger}', *extra,
                program('coppice-keeper'), '--watchdog', str(self.watchdog_s), *rest]

    def lock_up(self):
        with open(self.trigger, 'wb'):
            pass


class Writer(threading.Thread):
    """A job: lines to an open file; its first error."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.file = open(path, 'w+', encoding='ascii', buffering=1)  # pylint: disable=consider-using-with  # closed by end
        self.lines, self.error, self.stopping = 0, None, False

    def run(self):
        try:
            while not self.stopping:
                self.file.write(f'{self.lines}\n')
                self.lines += 1
                time.sleep(0.002)
        except OSError as e:
            self.error = e

    def end(self):
        self.stopping = True
        self.join(30 * SLOW)
        self.file.seek(0)
        text = self.file.read()
        self.file.close()
        return self.error, text == ''.join(f'{i}\n' for i in range(self.lines))


class Hang(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-hang-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo_maker.make(cls.repository, files=20)

    def followed(self, hang):
        """It hangs in the middle of a job's work."""
        with Watched({'demo': self.repository}) as node:
            pid, job = daemon_of(node.process.pid), Writer(node.mount('job').root + '/lines')
            job.start()
            hang(node, pid)
            wait_until(lambda: daemon_of(node.process.pid) not in (0, pid) and answers(node), 20, 'another one answers')
            lines = job.lines
            wait_until(lambda: job.lines > lines + 10 or job.error, 20, 'the job goes on')
            self.assertEqual(job.end(), (None, True))
            node.assert_logs(f'keeper child_hangs pid={pid} mounts=1')
            self.assertEqual(node.client.GetMount(job_id='job').lease_seconds, 0)

    def test_stopped(self):
        self.followed(lambda node, pid: os.kill(pid, signal.SIGSTOP))

    def test_deadlock(self):
        self.followed(lambda node, pid: node.lock_up())

    def test_idle_is_not_hung(self):
        with Watched({'demo': self.repository}) as node:
            pid = daemon_of(node.process.pid)
            time.sleep(2 * WATCHDOG_S)
            self.assertEqual((daemon_of(node.process.pid), answers(node)), (pid, True))

    def test_switched_off(self):
        with Watched({'demo': self.repository}, watchdog=0) as node:
            pid = daemon_of(node.process.pid)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(2 * WATCHDOG_S)
            os.kill(pid, signal.SIGCONT)
            wait_until(lambda: answers(node), 20, 'it answers again')
            self.assertEqual(daemon_of(node.process.pid), pid)
            self.assertNotIn('child_hangs', node.log_text())


if __name__ == '__main__':
    unittest.main()
