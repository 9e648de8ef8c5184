# SPDX-License-Identifier: Apache-2.0
"""The contract of degraded modes in docs/operations.md: what goes on, which errors come, what is shown, and that it ends by itself."""
import contextlib
import errno
import mmap
import os
import random
import shutil
import subprocess
import tempfile
import unittest

import repo_maker
from node import Node, wait_until
from ports import free_port

SMALL, LARGE = 200, 3


def content(name, size):
    return (name.encode() * (size // len(name) + 1))[:size]


def read(path):
    with open(path, 'rb') as f:
        return f.read()


class Degraded(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-degraded-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        cls.files = {f'small/f{i:03}': content(f's{i}-', 40000) for i in range(SMALL)}
        cls.files.update({f'large/f{i}': content(f'l{i}-', 1500000) for i in range(LARGE)})
        cls.files.update({f'later/f{i}': content(f'z{i}-', 900000) for i in range(60)})
        cls.files['huge/f0'] = random.Random(5).randbytes(9 << 20)
        repo = repo_maker.Repo(cls.repository, pack=False)  # an open pack could be read even when it is gone
        repo.begin()
        for name, data in cls.files.items():
            repo.add(name.encode(), data)
        repo.finish()

    def setUp(self):
        self.later = iter([name for name in self.files if name.startswith('later/')])

    def degraded(self, node):
        return {d.component: d for d in node.client.GetNode().degraded}

    def assert_files(self, root, prefix):
        for name, data in self.files.items():
            if name.startswith(prefix):
                self.assertTrue(read(f'{root}/{name}') == data, name)

    def wait_recovered(self, node, root, component):
        """It ends with the next success, once it has been good for some seconds."""
        def recovered():
            name = next(self.later)
            self.assertTrue(read(f'{root}/{name}') == self.files[name])
            return component not in self.degraded(node)
        wait_until(recovered, 20, f'{component} is not degraded any more', pause=0.5)
        node.assert_logs('recovered')

    @contextlib.contextmanager
    def tmpfs(self, size):
        path = tempfile.mkdtemp(prefix='tmpfs-', dir=self.folder)
        subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size},mode=0700', 'tmpfs', path], check=True, timeout=20)
        try:
            yield path
        finally:
            subprocess.run(['umount', '-l', path], check=True, timeout=20)

    def test_disk_full(self):
        node = Node({'demo': self.repository})
        with self.tmpfs('2m') as blobs:
            os.mkdir(node.data)
            os.symlink(blobs, os.path.join(node.data, 'blobs'))
            with node:
                self.full_disk(node, blobs)

    def full_disk(self, node, blobs):
        root = node.mount('job').root
        for _ in range(2):
            self.assert_files(root, 'small/')
            self.assert_files(root, 'large/')
        self.assertIn('disk cache', self.degraded(node))
        condition = self.degraded(node)['disk cache']
        self.assertIn('No space left', condition.reason)
        self.assertTrue(condition.advice and condition.since.seconds)
        node.assert_logs('degraded')
        self.assertIn('DEGRADED disk cache', node.cli('node').stdout)
        with open(root + '/large/f0', 'r+b') as f:  # a copy-up of what is in memory only
            f.write(b'changed')
        self.assertTrue(read(root + '/large/f0') == b'changed' + self.files['large/f0'][7:])
        subprocess.run(['mount', '-o', 'remount,size=200m', blobs], check=True, timeout=20)
        self.wait_recovered(node, root, 'disk cache')
        node.delete('job')

    def test_a_file_that_nothing_can_keep_while_the_disk_is_full(self):
        """Larger than what memory takes: it is read through a window of 2 MiB, and cannot be copied; until there is room."""
        name = 'huge/f0'
        node = Node({'demo': self.repository}, extra='cache: {memory: 8MiB}')
        with self.tmpfs('2m') as blobs:
            os.mkdir(node.data)
            os.symlink(blobs, os.path.join(node.data, 'blobs'))
            with node:
                root = node.mount('job').root
                self.assertTrue(read(f'{root}/{name}') == self.files[name])
                with open(f'{root}/{name}', 'rb') as f:
                    for at in (8 << 20, 5, 6000000, (9 << 20) - 1):
                        self.assertTrue(os.pread(f.fileno(), 70000, at) == self.files[name][at:at + 70000])
                self.assertIn('disk cache', self.degraded(node))
                window = next(t for t in node.client.GetCacheStats().tiers if t.name == 'window')
                self.assertGreater(window.hits, 0)
                self.assertLessEqual(window.bytes, 6 << 20)
                with self.assertRaises(OSError) as caught, open(f'{root}/{name}', 'r+b') as f:
                    f.write(b'changed')
                self.assertEqual(caught.exception.errno, errno.ENOSPC)
                self.assertTrue(read(f'{root}/{name}') == self.files[name])
                subprocess.run(['mount', '-o', 'remount,size=200m', blobs], check=True, timeout=20)
                self.wait_recovered(node, root, 'disk cache')

                def changed():
                    try:
                        with open(f'{root}/{name}', 'r+b') as f:
                            f.write(b'changed')
                        return True
                    except OSError as e:
                        self.assertEqual(e.errno, errno.ENOSPC)
                        return False
                wait_until(changed, 20, 'it can be copied', pause=0.5)
                self.assertTrue(read(f'{root}/{name}') == b'changed' + self.files[name][7:])
                node.delete('job')

    def many_directories(self):
        """A repository whose directories fill an index of some hundred KiB."""
        path = os.path.join(self.folder, 'many.git')
        repo = repo_maker.Repo(path)
        repo.begin()
        for d in range(120):
            for f in range(100):
                repo.add(b'd%03d/a name that is long enough to make a large directory of it %03d' % (d, f), b'%d of %d\n' % (f, d))
        repo.finish()
        return path

    def test_index_cannot_be_written(self):
        node = Node({'demo': self.many_directories()})
        with self.tmpfs('600k') as index:
            os.mkdir(node.data)
            os.symlink(index, os.path.join(node.data, 'index'))
            with node:
                root = node.mount('job').root
                seen, refused = [], None
                for d in range(119):
                    try:
                        self.assertEqual(len(os.listdir(f'{root}/d{d:03}')), 100, 'never a part of it')
                        seen.append(d)
                    except OSError as e:
                        self.assertEqual(e.errno, errno.ENOSPC)
                        refused = d
                        break
                self.assertTrue(seen and refused is not None)
                condition = self.degraded(node)['index']
                self.assertIn('No space left', condition.reason)
                self.assertIn('DEGRADED index', node.cli('node').stdout)
                node.assert_logs('component="index"')
                for d in seen:  # what is in the index goes on, contents too
                    self.assertEqual(len(os.listdir(f'{root}/d{d:03}')), 100)
                self.assertEqual(read(f'{root}/d{seen[0]:03}/a name that is long enough to make a large directory of it 007'), b'7 of %d\n' % seen[0])
                with open(root + '/written', 'w', encoding='ascii') as f:
                    f.write('by the job')
                with self.assertRaises(OSError) as caught:
                    os.stat(f'{root}/d{refused:03}/no such file')
                self.assertEqual(caught.exception.errno, errno.ENOSPC, 'never ENOENT')
                subprocess.run(['mount', '-o', 'remount,size=200m', index], check=True, timeout=20)
                later = iter(range(refused, 120))

                def recovered():
                    self.assertEqual(len(os.listdir(f'{root}/d{next(later):03}')), 100)
                    return 'index' not in self.degraded(node)
                wait_until(recovered, 20, 'the index is not degraded any more', pause=0.5)
                node.delete('job')

    def test_index_is_damaged(self):
        """It is set aside and built again; what is mounted comes back."""
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            self.assert_files(root, 'small/')
            with open(root + '/small/f001', 'wb') as f:
                f.write(b'mine')
            node.kill()
            path = os.path.join(node.data, 'index', 'data.mdb')
            with open(path, 'r+b') as f:
                f.write(os.urandom(16384))
            answer = node.start()
            self.assertTrue(answer.index_set_aside)
            self.assertTrue(read(root + '/small/f001') == b'mine')
            self.assert_files(root, 'large/')
            self.assertTrue(read(root + '/small/f002') == self.files['small/f002'])
            self.assertEqual(list(self.degraded(node)), [])
            node.delete('job')

    def test_origin_gone(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            self.assert_files(root, 'large/f1')
            self.assert_files(root, 'large/f0')  # not in order: nothing is read ahead
            os.listdir(root + '/small')
            os.listdir(root + '/later')
            os.rename(self.repository, self.repository + '.gone')
            try:
                for i in range(4):
                    with self.assertRaises(OSError) as caught:
                        read(f'{root}/small/f{i:03}')
                    self.assertIn(caught.exception.errno, (errno.EIO, errno.EHOSTUNREACH), 'never ENOENT')
                self.assert_files(root, 'large/f0')
                self.assertEqual(sorted(os.listdir(root)), ['huge', 'large', 'later', 'small'])
                self.assertIn('origin demo', self.degraded(node))
            finally:
                os.rename(self.repository + '.gone', self.repository)
            self.assertTrue(read(root + '/small/f000') == self.files['small/f000'], 'at once, without a restart')
            self.wait_recovered(node, root, 'origin demo')
            self.assert_files(root, 'small/')
            node.delete('job')

    def test_redis_down(self):
        port = free_port()
        with Node({'demo': self.repository}, extra=f'cache: {{redis: {{url: "redis://127.0.0.1:{port}/0"}}}}') as node:
            root = node.mount('job').root
            self.assert_files(root, 'small/')
            self.assertIn('redis', self.degraded(node))
            node.assert_logs('redis_down')
            server = subprocess.Popen(['redis-server', '--port', str(port), '--bind', '127.0.0.1', '--save', '', '--dir', self.folder],
                                      stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
            try:
                self.wait_recovered(node, root, 'redis')
            finally:
                server.kill()
                server.wait()
            self.assert_files(root, 'large/')
            node.delete('job')

    def test_eviction_does_not_disturb_what_is_open(self):
        with Node({'demo': self.repository}, extra='cache: {disk: 4MiB, memory: 1MiB}') as node:
            root = node.mount('job').root
            name = 'large/f0'
            with open(f'{root}/{name}', 'rb') as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                for at in range(0, len(self.files[name]), 300000):
                    self.assertTrue(os.pread(f.fileno(), 300000, at) == self.files[name][at:at + 300000])
                    self.assert_files(root, 'small/f0')  # 4 MB of others
                    with open('/proc/sys/vm/drop_caches', 'w', encoding='ascii') as drop:
                        drop.write('1')
                    self.assertTrue(mapped[at:at + 5000] == self.files[name][at:at + 5000])
            disk = next(t for t in node.client.GetCacheStats().tiers if t.name == 'disk')
            self.assertGreater(disk.evictions, 0)
            self.assertLessEqual(disk.bytes, 4 << 20)
            self.assertEqual(list(self.degraded(node)), [])
            node.delete('job')


if __name__ == '__main__':
    unittest.main()
