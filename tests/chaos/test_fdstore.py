# SPDX-License-Identifier: Apache-2.0
"""systemd's store for descriptors instead of the keeper: a daemon that is killed, hands over or hangs is followed by one that goes on with the
connections and the sockets of the last. The manager is a stand-in that speaks the same protocol (service_manager.py)."""
import os
import shutil
import signal
import tempfile
import threading
import time
import unittest

import repo_maker
from coppice_client import CallError, Client
from killer import answers
from node import SLOW, mounts_below, wait_until
from service_manager import managed_node

ManagedNode = managed_node()

WATCHDOG_S = max(2, SLOW)  # the journal of a slow disk, written once, is no hang
KEPT = ['fuse.default', 'grpc.0', 'lock.data', 'lock.run']


class FdStore(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-fdstore-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo_maker.make(cls.repository, files=20)

    def node(self, **options):
        return ManagedNode({'demo': self.repository}, **options)

    def test_killed(self):
        """Twelve times, under a program that writes all the time: no error, no byte lost, nobody refused, nothing left."""
        with self.node() as node:
            self.assertEqual(node.client.GetNode().device_holder, 'systemd')
            self.assertIn('systemd', node.cli('doctor').stdout)
            root = node.mount('job').root
            wait_until(lambda: node.manager()['kept'] == KEPT, 5, 'everything is kept')
            stop, errors, written = threading.Event(), [], []

            def work():
                try:
                    fd = os.open(root + '/open', os.O_RDWR | os.O_CREAT, 0o600)
                    while not stop.is_set():
                        os.pwrite(fd, b'%08d' % len(written), 8 * len(written))
                        os.mkdir(f'{root}/d{len(written)}')
                        os.rmdir(f'{root}/d{len(written)}')
                        written.append(fd)
                    self.assertEqual(os.pread(fd, 8 * len(written), 0), b''.join(b'%08d' % i for i in range(len(written))))
                    os.close(fd)
                except BaseException as e:  # pylint: disable=broad-except
                    errors.append(e)

            worker = threading.Thread(target=work, daemon=True)
            worker.start()
            for _ in range(12):
                before = len(written)
                node.kill()
                wait_until(lambda: answers(node), 20, 'the next daemon')
                wait_until(lambda b=before: len(written) > b or errors, 20, 'the program goes on')
            stop.set()
            worker.join(20 * SLOW)
            self.assertEqual(errors, [])
            self.assertFalse(worker.is_alive())
            node.assert_logs('event=taken_over')
            wait_until(lambda: node.manager()['kept'] == KEPT, 5, 'everything is kept, and once')
            node.delete('job')

    def test_nobody_is_refused_meanwhile(self):
        with self.node() as node:
            before = node.manager()
            os.kill(before['pid'], signal.SIGKILL)
            caller = Client(node.address)  # connects now, and does not wait for somebody who listens
            self.addCleanup(caller.close)
            self.assertEqual(caller.GetNode(timeout=20 * SLOW).device_holder, 'systemd')
            self.assertEqual(node.manager()['starts'], before['starts'] + 1)

    def test_handed_over(self):
        with self.node() as node:
            root = node.mount('job').root
            fd = os.open(root + '/open', os.O_RDWR | os.O_CREAT, 0o600)
            os.write(fd, b'before')
            self.assertIn('has taken over', node.cli('node', 'upgrade').stdout)
            os.write(fd, b' and after')
            self.assertEqual(os.pread(fd, 100, 0), b'before and after')
            os.close(fd)
            self.assertEqual(node.manager()['starts'], 2)
            node.assert_logs('event=taken_over')

    def test_what_nobody_goes_on_with_is_let_go(self):
        """A tenant that is not configured any more: its connection ends, its mount goes, the next one's stays."""
        tenants = '  - {name: one, admin: true, identities: [{unix_uid: 0}], origins: [{name: demo}]}\n'
        with self.node(tenants=tenants + '  - {name: two, origins: [{name: demo}]}') as node:
            one = node.mount('job', tenant='one').root
            two = node.mount('job', tenant='two').root
            wait_until(lambda: 'fuse.two' in node.manager()['kept'], 5, 'kept')
            inside = os.open(two, os.O_RDONLY | os.O_DIRECTORY)
            node.tenants = tenants
            node.write_config()
            node.kill()
            wait_until(lambda: answers(node), 20, 'the next daemon')
            self.assertTrue(os.path.exists(one + '/.'))
            wait_until(lambda: 'fuse.two' not in node.manager()['kept'], 5, 'let go')
            with self.assertRaises(OSError):
                os.listdir(inside)
            os.close(inside)
            self.assertEqual([m for m in mounts_below(node.base) if m.endswith('/two')], [])

    def test_without_a_store(self):
        """A unit that has none: the daemon notices, says so, and serves."""
        with self.node(store_max=0) as node:
            self.assertEqual(node.client.GetNode().device_holder, 'local')
            self.assertIn('warn  sessions', node.cli('doctor').stdout)
            node.mount('job')
            with self.assertRaises(CallError) as e:
                node.client.Upgrade()
            self.assertEqual(e.exception.reason, 'NOT_KEPT')

    def test_watchdog(self):
        """One that hangs is ended, and the next one goes on with its sessions. One that idles is left alone."""
        with self.node(watchdog_seconds=WATCHDOG_S) as node:
            root = node.mount('job').root
            time.sleep(1.5 * WATCHDOG_S)
            self.assertEqual(node.manager()['ended_by_watchdog'], 0)
            os.kill(node.manager()['pid'], signal.SIGSTOP)
            wait_until(lambda: node.manager()['starts'] == 2, 10, 'the next start')
            self.assertEqual(node.manager()['ended_by_watchdog'], 1)
            with open(root + '/after', 'x', encoding='ascii'):
                pass

    def test_an_orderly_stop(self):
        with self.node() as node:
            node.mount('job')
            node.stop()
            told = node.manager()['told']
            self.assertEqual((told['READY'], told['STOPPING']), ('1', '1'))
            self.assertGreaterEqual(int(told['EXTEND_TIMEOUT_USEC']), 60e6)
            self.assertEqual(node.manager()['starts'], 1)
            self.assertEqual(mounts_below(node.base), [])


if __name__ == '__main__':
    unittest.main()
