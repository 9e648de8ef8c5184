# SPDX-License-Identifier: Apache-2.0
"""What the last run left is damaged, or there is no room to go on: what can be repaired is, the rest is set aside with a clear message,
and nothing that a job wrote is lost."""
import contextlib
import errno
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

import repo_maker
from coppice_client import CallError
from node import SLOW, Node, wait_until


def write(path, data):
    with open(path, 'wb') as f:
        f.write(data)


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def damage(path):
    """Other bytes, of the same length."""
    size = os.path.getsize(path)
    assert size, path
    with open(path, 'r+b') as f:
        f.write(b'\xde' * size)


class Leftovers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-left-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo_maker.make(cls.repository, files=30)

    def state(self, node, job_id):
        return node.client.state(node.client.GetMount(job_id=job_id))

    def work(self, node, job_id):
        """What the daemon keeps beside the files of a job."""
        return os.path.join(node.data, 'workspaces', node.client.GetMount(job_id=job_id).mount_id, 'work')

    # ---- damage ----

    def test_damaged_journal_of_a_workspace(self):
        """What it says is for a session that goes on; files are on the disk without it."""
        with Node({'demo': self.repository}) as node:
            root, work = node.mount('job').root, self.work(node, 'job')
            for i in range(50):
                write(f'{root}/f{i}', b'%d' % i)
            os.rename(root + '/f1', root + '/moved')
            os.unlink(root + '/README')
            before = sorted(os.listdir(root))
            node.kill()
            for name in ('journal', 'refs'):
                for path in glob.glob(f'{work}/{name}*'):
                    damage(path)
            node.start()
            self.assertEqual(self.state(node, 'job'), 'READY')
            self.assertRegex(node.log_text(), 'event=workspace_journal_set_aside .*job_id="job"')
            self.assertEqual(sorted(os.listdir(root)), before)
            self.assertEqual(read(root + '/moved'), b'1')
            write(root + '/after', b'goes on')
            self.usage_is_exact(node)

    def test_half_made_and_removed_parts_of_a_workspace(self):
        with Node({'demo': self.repository}) as node:
            root, work = node.mount('job').root, self.work(node, 'job')
            write(root + '/kept', b'kept')
            node.kill()
            for name in ('tmp', 'orphan', 'links'):
                shutil.rmtree(f'{work}/{name}')
            write(f'{work}/../upper/.wh..stranger', b'')
            node.start()
            self.assertEqual((self.state(node, 'job'), read(root + '/kept')), ('READY', b'kept'))
            write(root + '/after', b'goes on')
            os.unlink(root + '/kept')
            self.usage_is_exact(node)

    def test_a_workspace_whose_files_are_gone(self):
        """It is told as such and does not come back empty; the other one does not notice."""
        with Node({'demo': self.repository}) as node:
            node.mount('gone')
            root, work = node.mount('stays').root, self.work(node, 'gone')
            write(root + '/kept', b'kept')
            node.kill()
            shutil.rmtree(os.path.dirname(work))
            node.start()
            gone = node.client.GetMount(job_id='gone')
            self.assertEqual(node.client.state(gone), 'FAILED')
            self.assertTrue(gone.reason)
            self.assertRegex(node.log_text(), 'event=mount_not_recovered .*job_id="gone"')
            self.assertFalse(os.path.lexists(gone.root))
            self.assertEqual(read(root + '/kept'), b'kept')
            node.delete('gone')
            self.usage_is_exact(node)

    def test_damaged_journal_of_mounts(self):
        """Nothing is started on a guess, nor removed; with the journal restored everything is back."""
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            write(root + '/kept', b'kept')
            node.stop()
            journal = os.path.join(node.data, 'mounts', 'data.mdb')
            shutil.copy(journal, node.path('backup'))
            damage(journal)
            process = node.launch()
            self.assertEqual(process.wait(30 * SLOW), 1)
            self.assertRegex(node.log_text(), 'event=start_failed reason="?STORE_DAMAGED')
            self.assertEqual(set(read(journal)), {0xde})
            self.assertEqual(len(os.listdir(node.data + '/workspaces')), 1)
            shutil.copy(node.path('backup'), journal)
            node.start()
            self.assertEqual((self.state(node, 'job'), read(root + '/kept')), ('READY', b'kept'))

    def test_damaged_state_of_the_workflow(self):
        """What was staged and committed is in a folder of the workspace. When it cannot be read calls say so, and the files are there."""
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            write(root + '/kept', b'kept')
            node.cli('add', 'job', '.')
            git = os.path.join(os.path.dirname(self.work(node, 'job')), 'git')
            node.kill()
            damaged = [path for path in glob.glob(git + '/**', recursive=True) if os.path.isfile(path) and os.path.getsize(path)]
            self.assertTrue(damaged)
            for path in damaged:
                damage(path)
            node.start()
            self.assertEqual((self.state(node, 'job'), read(root + '/kept')), ('READY', b'kept'))
            done = node.cli('status', 'job', check=False)
            self.assertNotEqual(done.returncode, 0, done.stdout)
            self.assertRegex(done.stderr, '(?i)damaged|cannot be read|corrupt')
            write(root + '/after', b'goes on')

    def usage_is_exact(self, node):
        """What was counted while it ran is what the next one finds."""
        def usage():
            return {m.job_id: (m.usage.bytes, m.usage.inodes) for m in node.client.ListMounts().mounts if node.client.state(m) == 'READY'}
        for orphans in glob.glob(os.path.join(node.data, 'workspaces', '*', 'work', 'orphan')):  # the kernel has not let go of them yet
            wait_until(lambda at=orphans: os.listdir(at) == [], 20, 'they go')
        counted = usage()
        node.kill()
        node.start()
        self.assertEqual(usage(), counted)

    # ---- no room ----

    @contextlib.contextmanager
    def small_disk(self, size):
        """A node whose data_dir is on a file system of its own."""
        node = Node({'demo': self.repository}, keeper=True, extra='cache: {disk: 8MiB, memory: 8MiB}')
        node.data = tempfile.mkdtemp(prefix='small-', dir=self.folder)
        subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size},mode=0755', 'tmpfs', node.data], check=True, timeout=20)
        try:
            with node:
                yield node
        finally:
            subprocess.run(['umount', '-l', node.data], check=True, timeout=20)

    def fill(self, root):
        """All there is."""
        with open(root + '/filler', 'wb', buffering=0) as f:
            for size in (1 << 20, 1 << 16, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        f.write(b'x' * size)

    def storm(self, root, model, number):
        """Changes of names until none of them has room any more; the model has what succeeded."""
        failed = set()
        for i in range(400):
            name = f's{number}-{i}'
            try:
                os.mkdir(f'{root}/{name}')
                model.add(name)
                os.rename(f'{root}/{name}', f'{root}/{name}r')
                model.remove(name)
                model.add(name + 'r')
            except OSError as e:
                failed.add(e.errno)
        return failed

    def names(self, root):
        return {name for name in os.listdir(root) if name.startswith('s')}

    def kill_daemon(self, node):
        pid = node.below_keeper()
        os.kill(pid, signal.SIGKILL)

        def answers():
            try:
                return node.below_keeper() != pid and node.client.GetNode(timeout=5 * SLOW, wait_for_ready=True) is not None
            except (CallError, IndexError):
                return False
        wait_until(answers, 30, 'the next daemon answers')

    def test_full_disk(self):
        """Journals find no room: calls get ENOSPC, nothing that was answered is lost, also by a kill, and with room again it goes on."""
        with self.small_disk('48m') as node:
            root, model = node.mount('job').root, set()
            node.mount('spare')
            with open(root + '/open', 'w+b', buffering=0) as held:
                held.write(b'before')
                self.storm(root, model, 0)
                self.fill(root)
                self.assertEqual(self.storm(root, model, 1), {errno.ENOSPC})
                self.assertEqual(self.names(root), model)
                with self.assertRaises(CallError) as caught:
                    node.mount('new')
                self.assertEqual((caught.exception.code, caught.exception.reason), ('RESOURCE_EXHAUSTED', 'DISK_FULL'))
                for _ in range(2):
                    self.kill_daemon(node)
                    self.assertEqual(self.names(root), model)
                    self.assertEqual(read(root + '/open'), b'before')
                node.delete('spare')  # what frees room can be journaled
                wait_until(lambda: len(os.listdir(node.data + '/workspaces')) == 1, 20, 'it is removed')
                os.unlink(root + '/filler')
                held.write(b' and after')
                self.assertEqual(self.storm(root, model, 2), set())
                self.kill_daemon(node)
                self.assertEqual(self.names(root), model)
                self.assertEqual(read(root + '/open'), b'before and after')
            node.mount('new')


if __name__ == '__main__':
    unittest.main()
