# SPDX-License-Identifier: Apache-2.0
"""Digest attributes: what Buck2 and Bazel read is what the file holds, at once after every kind of change, and nobody can forge it."""
import concurrent.futures
import errno
import hashlib
import mmap
import os
import random
import shutil
import signal
import subprocess
import tempfile
import unittest

import repo_maker
from node import Node

NAMES = ('user.coppice.oid', 'user.sha256', 'user.sha1', 'user.coppice.sha256.raw')
MIB = 1 << 20


def expected(data):
    """The attributes that belong to these bytes."""
    sha256 = hashlib.sha256(data)
    return {'user.coppice.oid': hashlib.sha1(b'blob %d\0' % len(data) + data).hexdigest().encode(),
            'user.sha256': sha256.hexdigest().encode(), 'user.sha1': hashlib.sha1(data).hexdigest().encode(),
            'user.coppice.sha256.raw': sha256.digest()}


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def tool(*args, cwd=None):
    return subprocess.run(args, cwd=cwd, check=True, capture_output=True, timeout=120)


class Digests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-digests-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo_maker.make(cls.repository, files=150, odd=True, large_mb=24)

    def assert_digests(self, path, data=None):
        data = read(path) if data is None else data
        for name, value in expected(data).items():
            self.assertEqual(os.getxattr(path, name), value, f'{name} of {path!r}')

    def files(self, root):
        for folder, _, names in os.walk(os.fsencode(root)):
            for name in names:
                path = os.path.join(folder, name)
                if not os.path.islink(path):
                    yield path

    def test_every_lower_file(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            paths = list(self.files(root))
            self.assertGreater(len(paths), 180)
            # Before anything was read: eight at a time, as a build tool does.
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                sha256 = list(pool.map(lambda p: os.getxattr(p, 'user.sha256'), paths))
            for path, value in zip(paths, sha256):
                self.assertEqual(value, hashlib.sha256(read(path)).hexdigest().encode())
                self.assert_digests(path)
                self.assertEqual(os.listxattr(path), [])
            with self.assertRaises(OSError) as caught:
                os.getxattr(root, 'user.sha256')
            self.assertEqual(caught.exception.errno, errno.ENODATA)

    def test_known_ones_need_no_content(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            want = {path: expected(read(path)) for path in list(self.files(root))[:40]}
            for path in want:
                self.assert_digests(path)
            node.stop()
            shutil.rmtree(os.path.join(node.data, 'blobs'))
            os.rename(self.repository, self.repository + '.away')
            try:
                node.start()
                for path, values in want.items():
                    for name in NAMES:
                        self.assertEqual(os.getxattr(path, name), values[name])
            finally:
                os.rename(self.repository + '.away', self.repository)

    def test_every_change(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            self.changes(root + '/fresh', b'')
            self.changes(root + '/README', read(root + '/README'))
            self.changes(root + '/odd/more64k', read(root + '/odd/more64k'))

    def changes(self, path, data):
        """A long way of changes, each asked at once."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self.assert_digests(path, data)
        os.pwrite(fd, b'X', 3)
        data = data[:3].ljust(3, b'\0') + b'X' + data[4:]
        self.assert_digests(path, data)
        appended = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.write(appended, b'tail' * 5000)
        os.close(appended)
        data += b'tail' * 5000
        self.assert_digests(path, data)
        os.ftruncate(fd, 10000)
        data = data[:10000]
        self.assert_digests(path, data)
        os.ftruncate(fd, 12000)
        data += b'\0' * 2000
        self.assert_digests(path, data)
        os.posix_fallocate(fd, 12000, 500)
        data += b'\0' * 500
        self.assert_digests(path, data)
        os.copy_file_range(fd, fd, 100, 3, 12000)
        data = data[:12000] + data[3:103] + data[12100:]
        self.assert_digests(path, data)
        tool('fallocate', '--punch-hole', '--offset', '4096', '--length', '4096', path)
        data = data[:4096] + b'\0' * 4096 + data[8192:]
        self.assert_digests(path, data)
        os.chmod(path, 0o755)
        os.utime(path, (1, 2))
        os.link(path, path + '.link')
        os.pwrite(fd, b'Y', 5)
        data = data[:5] + b'Y' + data[6:]
        self.assert_digests(path + '.link', data)
        os.rename(path + '.link', path + '.moved')
        self.assert_digests(path + '.moved', data)
        os.unlink(path)
        os.unlink(path + '.moved')
        self.assertEqual(os.getxattr(fd, 'user.sha256'), expected(data)['user.sha256'], 'open and without a name')
        os.close(fd)
        with open(path, 'wb') as f:
            f.write(b'new')
        self.assert_digests(path, b'new')
        os.truncate(path, 0)
        self.assert_digests(path, b'')

    def test_mapped_for_writing(self):
        """What was changed through a mapping, and nobody has written back yet, counts."""
        with Node({'demo': self.repository}) as node:
            path = node.mount('job').root + '/mapped'
            data = bytearray(random.Random(1).randbytes(3 * MIB + 123))
            with open(path, 'wb') as f:
                f.write(data)
            self.assert_digests(path, data)
            fd = os.open(path, os.O_RDWR)
            with mmap.mmap(fd, len(data)) as mapped:
                os.close(fd)
                for i in range(30):
                    at = (i * 104729) % len(data)
                    mapped[at] = data[at] = (data[at] + 1) % 256
                    self.assertEqual(os.getxattr(path, 'user.sha256'), hashlib.sha256(data).hexdigest().encode(), f'change {i}')
                    self.assertEqual(mapped[at], data[at], 'the mapping goes on')
                self.assert_digests(path, data)
            self.assertEqual(read(path), data)

    def test_mapped_over_a_takeover(self):
        """The next daemon knows nothing of the mapping and has no digest; its answer is right all the same."""
        with Node({'demo': self.repository}, keeper=True) as node:
            root = node.mount('job').root
            path, data = root + '/mapped', bytearray(b'x' * 100000)
            with open(path, 'wb') as f:
                f.write(data)
            fd = os.open(path, os.O_RDWR)
            with mmap.mmap(fd, len(data)) as mapped:
                os.close(fd)
                self.assert_digests(path, data)
                mapped[1] = data[1] = 1
                daemon = subprocess.run(['pgrep', '-P', str(node.process.pid)], check=True, capture_output=True, text=True).stdout
                os.kill(int(daemon), signal.SIGKILL)
                self.assert_digests(path, data)
                mapped[2] = data[2] = 2
                self.assert_digests(path, data)
            self.assert_digests(root + '/README')

    def test_lower_file_mapped_for_writing(self):
        """What was changed in a source through a mapping counts from the first byte on, though nobody has told the overlay that it changes."""
        with Node({'demo': self.repository}) as node:
            path = node.mount('job').root + '/odd/exact64k'
            data = bytearray(read(path))
            for _ in range(2):
                self.assert_digests(path, data)  # the kernel has read it: nothing changes by asking
            self.assertEqual(os.stat(path).st_mtime, os.stat(os.path.dirname(path)).st_mtime, 'it is a source still')
            fd = os.open(path, os.O_RDWR)
            with mmap.mmap(fd, len(data)) as mapped:
                os.close(fd)
                mapped[5] = data[5] = data[5] ^ 1
                self.assert_digests(path, data)
                mapped[5] = data[5] = data[5] ^ 1
                self.assert_digests(path, data)
                mapped[6] = data[6] = data[6] ^ 1
                self.assert_digests(path, data)
                mapped[7] = data[7] = data[7] ^ 1
            self.assert_digests(path, data)

    def test_lower_file_mapped_over_a_takeover(self):
        """The next daemon knows that the kernel has pages of it."""
        with Node({'demo': self.repository}, keeper=True) as node:
            path = node.mount('job').root + '/odd/exact64k'
            data = bytearray(read(path))
            fd = os.open(path, os.O_RDWR)
            with mmap.mmap(fd, len(data)) as mapped:
                os.close(fd)
                mapped[1] = data[1] = data[1] ^ 1
                daemon = subprocess.run(['pgrep', '-P', str(node.process.pid)], check=True, capture_output=True, text=True).stdout
                os.kill(int(daemon), signal.SIGKILL)
                self.assert_digests(path, data)

    def test_while_it_is_written(self):
        """A digest is that of one moment, never of a mixture."""
        with Node({'demo': self.repository}) as node:
            path = node.mount('job').root + '/turns'
            turns = [bytes([c]) * 5000 for c in b'ab']
            with open(path, 'wb') as f:
                f.write(turns[0])
            allowed = {hashlib.sha256(t).hexdigest().encode() for t in turns}
            child = os.fork()
            if child == 0:
                fd = os.open(path, os.O_WRONLY)
                for i in range(3000):
                    os.pwrite(fd, turns[i % 2], 0)
                os._exit(0)
            while os.waitpid(child, os.WNOHANG) == (0, 0):
                self.assertIn(os.getxattr(path, 'user.sha256'), allowed)
            self.assert_digests(path, turns[1])

    def test_cannot_be_forged(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            os.mkdir(root + '/dir')
            for path in (root + '/README', root + '/fresh', root + '/dir'):
                if not os.path.exists(path):
                    with open(path, 'wb') as f:
                        f.write(b'fresh')
                for name in NAMES + ('user.coppice.other',):
                    for call in (lambda: os.setxattr(path, name, b'0' * 64), lambda: os.removexattr(path, name),
                                 lambda: os.setxattr(path, name, b'', os.XATTR_CREATE)):
                        with self.assertRaises(OSError) as caught:
                            call()
                        self.assertEqual(caught.exception.errno, errno.EPERM, f'{name} of {path}')
                self.assertEqual(os.listxattr(path), [])
            self.assert_digests(root + '/README')
            self.assert_digests(root + '/fresh', b'fresh')

    def test_tools_that_copy_attributes(self):
        """Attributes that are not listed are not copied, and nothing fails for their sake."""
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            os.setxattr(root + '/README', 'user.mine', b'kept')
            want = read(root + '/README')
            tool('cp', '-a', 'README', 'odd/one', root + '/links', cwd=root)
            tool('rsync', '-aHAX', root + '/README', root + '/synced')
            tool('tar', '--xattrs', '--xattrs-include=*', '-cf', root + '/a.tar', 'README', 'odd/one', cwd=root)
            os.mkdir(root + '/out')
            tool('tar', '--xattrs', '--xattrs-include=*', '-xf', root + '/a.tar', '-C', root + '/out')
            for path in (root + '/links/README', root + '/synced', root + '/out/README'):
                self.assertEqual(os.listxattr(path), ['user.mine'])
                self.assertEqual(os.getxattr(path, 'user.mine'), b'kept')
                self.assert_digests(path, want)
            outside = os.path.join(self.folder, 'outside')
            tool('cp', '-a', root + '/README', outside)
            self.assertEqual(os.listxattr(outside), ['user.mine'])

    def test_large(self):
        """A large file is hashed without keeping others waiting, and once."""
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            self.assert_digests(root + '/large/file.bin')
            shutil.copyfile(root + '/large/file.bin', root + '/copy')
            with open(root + '/copy', 'r+b') as f:
                f.write(b'changed')
            self.assert_digests(root + '/copy')


if __name__ == '__main__':
    unittest.main()
