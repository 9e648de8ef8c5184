# SPDX-License-Identifier: Apache-2.0
"""The runbook for a mount that hangs (docs/operations.md): its commands, as they are printed, on a node whose workers stand still."""
import errno
import os
import re
import signal
import subprocess
import threading
import unittest

from killer import answers, daemon_of
from loads import World
from node import SLOW, TOP, Node, wait_until
from test_watchdog import Frozen

NEVER = 'watchdog: {stuck: 4s, abort: 1200s}\nworkers: 2'
WHO, DAEMON, WAITING, ABORT, KILL = range(5)


def commands():
    """The sh blocks of the section, in order."""
    with open(os.path.join(TOP, 'docs/operations.md'), encoding='utf-8') as f:
        section = re.search(r'^## A mount that hangs\n(.*?)^## ', f.read(), re.MULTILINE | re.DOTALL).group(1)
    return [re.sub(r'^ {3}', '', block, flags=re.MULTILINE) for block in re.findall(r'^ *```sh\n(.*?)^ *```$', section, re.MULTILINE | re.DOTALL)]


class Runbook(unittest.TestCase):
    def shell(self, node, *steps):
        """What the steps print, one after the other in one shell."""
        script = 'set -eu\n' + '\n'.join(commands()[step] for step in steps)
        environment = dict(os.environ, RUN_DIR=node.run, DATA_DIR=node.data, TENANT='default')
        done = subprocess.run(['bash', '-c', script], env=environment, capture_output=True, text=True, timeout=30 * SLOW, check=False)
        self.assertEqual(done.returncode, 0, f'{script}: {done.stderr}')
        return done.stdout

    def hanging(self, root):
        """A program that needs an answer, and how its call ends."""
        ended = []

        def ask():
            try:
                os.mkdir(root + '/made')
                ended.append(0)
            except OSError as e:
                ended.append(e.errno)
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        return thread, ended

    def test_a_session_is_ended(self):
        self.assertEqual(len(commands()), 5)
        with World(files=5, c_files=0) as world, Node({'demo': world.repository}, extra=NEVER) as node:
            root = node.mount('job').root
            self.assertEqual(self.shell(node, WAITING).split()[-1], '0')
            with Frozen(node.process.pid, 'fuse-worker'):
                thread, ended = self.hanging(root)
                wait_until(lambda: self.shell(node, WAITING).split()[-1] == '1', 20, 'it waits')
                self.assertIn(str(os.getpid()), [line.split()[0] for line in self.shell(node, WHO).splitlines()])
                self.assertGreater(len(self.shell(node, DAEMON).splitlines()), 10)
                self.shell(node, WAITING, ABORT)
                thread.join(20 * SLOW)
            self.assertIn(ended, ([errno.ECONNABORTED], [errno.ENOTCONN]))
            wait_until(lambda: 'event=session_revived' in node.log_text(), 20, 'the session is opened again')
            self.assertTrue(os.path.isdir(node.client.GetMount(job_id='job').root))

    def test_a_daemon_is_ended(self):
        with World(files=5, c_files=0) as world, Node({'demo': world.repository}, keeper=True, extra=NEVER) as node:
            root, pid = node.mount('job').root, daemon_of(node.process.pid)
            os.kill(pid, signal.SIGSTOP)
            thread, ended = self.hanging(root)
            wait_until(lambda: self.shell(node, WAITING).split()[-1] == '1', 20, 'it waits')
            self.shell(node, KILL)
            wait_until(lambda: daemon_of(node.process.pid) not in (0, pid) and answers(node), 20, 'another daemon answers')
            thread.join(20 * SLOW)
            self.assertEqual(ended, [0])


if __name__ == '__main__':
    unittest.main()
