# SPDX-License-Identifier: Apache-2.0
"""A file that is larger than the daemon's memory: it streams to disk, and the daemon does not grow with it."""
import errno
import hashlib
import os
import shutil
import subprocess
import tempfile
import unittest

from node import SANITIZE, SLOW, Node

SIZE = int(os.environ.get('COPPICE_TEST_LARGE_MB', '48' if SANITIZE else '256')) << 20
GROWTH_MAX = 48 << 20


def pieces(size, seed):
    """Bytes that do not compress, the same for every run."""
    block = b''.join(hashlib.sha256(b'%d %d' % (seed, i)).digest() for i in range(32768))
    for at in range(0, size, len(block)):
        yield b'%016x' % at + block[16:min(len(block), size - at)] if size - at > 16 else block[:size - at]


class Large(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-large-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        cls.sha = hashlib.sha256()
        path = os.path.join(cls.folder, 'file')
        with open(path, 'wb') as f:
            for piece in pieces(SIZE, 1):
                f.write(piece)
                cls.sha.update(piece)
        cls.git('init', '-q', '--bare', '-b', 'main', cls.repository)
        # straight into a pack, as a push or clone would have it
        big = cls.git('-C', cls.repository, '-c', 'core.bigFileThreshold=1m', '-c', 'core.compression=0', 'hash-object', '-w', path)
        os.unlink(path)
        tree = cls.git('-C', cls.repository, 'mktree', input=f'100644 blob {big}\tbig\n')
        commit = cls.git('-C', cls.repository, '-c', 'user.name=a', '-c', 'user.email=a', 'commit-tree', '-m', 'large', tree)
        cls.git('-C', cls.repository, 'update-ref', 'refs/heads/main', commit)

    @staticmethod
    def git(*args, **options):
        return subprocess.run(['git', *args], check=True, capture_output=True, text=True, timeout=300 * SLOW, **options).stdout.strip()

    @staticmethod
    def peak(node):
        with open(f'/proc/{node.process.pid}/status', encoding='ascii') as f:
            return next(int(line.split()[1]) << 10 for line in f if line.startswith('VmHWM'))

    def digest(self, path):
        sha = hashlib.sha256()
        with open(path, 'rb') as f:
            while piece := f.read(1 << 20):
                sha.update(piece)
        return sha.hexdigest()

    def test_memory_does_not_grow_with_the_size(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('large').root
            before = self.peak(node)
            self.assertEqual(os.path.getsize(root + '/big'), SIZE)
            self.assertEqual(self.digest(root + '/big'), self.sha.hexdigest())
            if not SANITIZE:  # a sanitizer keeps what was freed
                self.assertLess(self.peak(node) - before, GROWTH_MAX)
            self.assertEqual(os.getxattr(root + '/big', 'user.sha256').decode(), self.sha.hexdigest())
            with open(root + '/big', 'r+b') as f:  # a copy-up streams too
                f.write(b'changed')
            if not SANITIZE:
                self.assertLess(self.peak(node) - before, GROWTH_MAX)
            self.assertEqual(os.path.getsize(root + '/big'), SIZE)
            node.delete('large')

    def test_larger_than_the_cache_is_read_all_the_same(self):
        """Through a window, which streams the whole file each time it moves: slow, so a part of it is enough here."""
        with Node({'demo': self.repository}, extra='cache: {disk: 16MiB, memory: 32MiB}') as node:
            root = node.mount('large').root
            before = self.peak(node)
            with open(root + '/big', 'rb') as f:
                head = f.read(8 << 20)
                f.seek(SIZE - (1 << 20))
                tail = f.read()
            whole = b''.join(pieces(SIZE, 1))
            self.assertEqual(hashlib.sha256(head).digest(), hashlib.sha256(whole[:8 << 20]).digest())
            self.assertEqual(hashlib.sha256(tail).digest(), hashlib.sha256(whole[-(1 << 20):]).digest())
            if not SANITIZE:
                self.assertLess(self.peak(node) - before, GROWTH_MAX)
            with self.assertRaises(OSError) as caught:
                with open(root + '/big', 'r+b') as f:  # a copy needs all of it at once
                    f.write(b'x')
            self.assertEqual(caught.exception.errno, errno.ENOSPC)
            self.assertEqual(os.path.getsize(root + '/big'), SIZE)
            node.delete('large')


if __name__ == '__main__':
    unittest.main()
