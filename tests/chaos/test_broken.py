# SPDX-License-Identifier: Apache-2.0
"""A session whose state is damaged while no daemon runs is not taken over: its mounts come back fresh, with their files, and the session
of the other tenant does not notice."""
import os
import shutil
import signal
import tempfile
import unittest

import repo_maker
from killer import answers, daemon_of
from node import Node, detach, wait_until

TENANTS = '''
  - {name: one, admin: true, identities: [{unix_uid: 0}], origins: [{name: demo}]}
  - {name: two, identities: [{unix_uid: 1002}], origins: [{name: demo}]}
'''


class Broken(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-broken-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo_maker.make(cls.repository, files=20)

    def killed_with(self, damage):
        """Two tenants with open files; the keeper sleeps while `damage(node, mount of one)` works."""
        with Node({'demo': self.repository}, tenants=TENANTS, keeper=True) as node:
            one = node.mount('a')
            also = node.mount('b')
            two = node.call_as(1002, 'CreateMount', job_id='c', origin='demo')
            self.assertEqual(two.get('state'), 'READY', two)
            files = {}
            for root in (one.root, also.root, two['root']):
                files[root] = os.open(root + '/written', os.O_RDWR | os.O_CREAT, 0o600)
                os.write(files[root], b'before')
            pid = daemon_of(node.process.pid)
            os.kill(node.process.pid, signal.SIGSTOP)
            try:
                os.kill(pid, signal.SIGKILL)
                damage(node, one)
            finally:
                os.kill(node.process.pid, signal.SIGCONT)
            wait_until(lambda: answers(node), 20, 'another daemon answers')
            os.write(files[two['root']], b' and after')  # the healthy one: same descriptor
            self.assertEqual(os.pread(files[two['root']], 100, 0), b'before and after')
            for root in (one.root, also.root):  # the broken one: the old descriptor is dead, the file is not
                with self.assertRaises(OSError):
                    os.write(files[root], b' and after')
                with open(root + '/written', 'rb') as f:
                    self.assertEqual(f.read(), b'before')
            for fd in files.values():
                try:
                    os.close(fd)
                except OSError:
                    pass  # flushing a dead descriptor
            states = {m.job_id: node.client.state(m) for m in node.client.ListMounts().mounts}
            self.assertEqual(states, {'a': 'READY', 'b': 'READY', 'c': 'READY'})
            node.delete('a')
            node.delete('b')
            node.call_as(1002, 'DeleteMount', job_id='c')
            wait_until(lambda: os.listdir(node.data + '/workspaces') == [], 20, 'the workspaces are removed')
            return node.log_text()

    def test_agreement_with_the_kernel_is_lost(self):
        def damage(node, _mount):
            os.unlink(node.run + '/sessions/one/init')
        self.killed_with(damage)

    def test_agreement_with_the_kernel_is_another(self):
        def damage(node, _mount):
            with open(node.run + '/sessions/one/init', 'r+b') as f:
                f.seek(-8, os.SEEK_END)
                f.write(b'\x55')
        self.killed_with(damage)

    def test_counts_are_lost(self):
        def damage(node, mount):
            os.truncate(os.path.join(node.data, 'workspaces', mount.mount_id, 'work/refs'), 0)
        self.assertIn('event=session_not_adopted', self.killed_with(damage))

    def test_mount_was_detached(self):
        def damage(node, _mount):
            detach(node.run + '/mnt/one')
        self.killed_with(damage)


if __name__ == '__main__':
    unittest.main()
