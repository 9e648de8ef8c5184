# SPDX-License-Identifier: Apache-2.0
"""An origin that fails is EIO: never ENOENT, never an empty directory, never wrong bytes; and all is well when it is back."""
import errno
import os
import shutil
import subprocess
import tempfile
import unittest

import repo_maker
from coppice_client import CallError
from node import Node, wait_until

FAILURES = ('EIO', 'EHOSTUNREACH', 'ETIMEDOUT')


class Origin(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='cop-origin-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.repository = os.path.join(self.folder, 'repo.git')
        repo = repo_maker.Repo(self.repository, pack=False)
        repo.begin()
        for d in range(6):
            for i in range(8):
                repo.add(b'dir%d/sub/file%d' % (d, i), b'%d/%d\n' % (d, i) * 500)
        repo.add(b'README', b'read me\n')
        self.commit = repo.finish()

    def assert_fails(self, call, *args):
        with self.assertRaises(OSError) as caught:
            result = call(*args)
            self.fail(f'gave {result!r}')
        self.assertIn(errno.errorcode[caught.exception.errno], FAILURES)

    def read(self, path):
        with open(path, 'rb') as f:
            return f.read()

    def test_repository_is_moved_away(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            self.assertEqual(sorted(os.listdir(root)), ['README'] + [f'dir{d}' for d in range(6)])
            self.assertEqual(self.read(root + '/dir0/sub/file0'), b'0/0\n' * 500)
            away = self.repository + '.away'
            os.rename(self.repository, away)
            for _ in range(2):  # a failure is not remembered as an answer
                self.assert_fails(os.listdir, root + '/dir5/sub')
                self.assert_fails(os.stat, root + '/dir5/sub/file1')
                self.assert_fails(os.stat, root + '/dir5/sub/no such file')
                self.assert_fails(self.read, root + '/dir4/sub/file3')
            self.assertEqual(self.read(root + '/dir0/sub/file0'), b'0/0\n' * 500, 'what is local goes on')
            with self.assertRaises(FileNotFoundError):
                os.stat(root + '/no such file in a known directory')
            with open(root + '/new', 'w', encoding='ascii') as f:
                f.write('works')
            with self.assertRaises(CallError) as caught:
                node.client.CreateMount(job_id='other', origin='demo', revision='refs/heads/elsewhere')
            self.assertEqual((caught.exception.code, caught.exception.reason), ('UNAVAILABLE', 'ORIGIN_UNAVAILABLE'))
            self.assertIn('demo', caught.exception.message)
            os.rename(away, self.repository)
            self.comes_back(root + '/dir5/sub', 5)
            self.assertEqual(node.mount('other').commit, self.commit)

    def test_repository_of_another_format_looks_as_if_it_came_back(self):
        other = os.path.join(self.folder, 'sha256')
        subprocess.run(['git', 'init', '-q', '--object-format=sha256', other], check=True, timeout=30)
        with Node({'demo': self.repository, 'other': other}) as node:
            with self.assertRaises(CallError) as caught:
                node.client.CreateMount(job_id='job', origin='other')
            self.assertEqual((caught.exception.code, caught.exception.reason), ('FAILED_PRECONDITION', 'ORIGIN_UNSUPPORTED'))
            self.assertIn('objectformat', caught.exception.message)

    def test_restart_while_it_is_away(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            self.assertEqual(self.read(root + '/dir0/sub/file0'), b'0/0\n' * 500)
            with open(root + '/new', 'w', encoding='ascii') as f:
                f.write('works')
            node.stop()
            os.rename(self.repository, self.repository + '.away')
            node.start()
            self.assertEqual(self.read(root + '/new'), b'works')
            self.assertEqual(self.read(root + '/dir0/sub/file0'), b'0/0\n' * 500)
            self.assert_fails(os.listdir, root + '/dir5/sub')
            origin = node.client.GetNode().origins[0]
            self.assertFalse(origin.available)
            self.assertTrue(origin.error)
            os.rename(self.repository + '.away', self.repository)
            self.comes_back(root + '/dir5/sub', 5)
            self.assertEqual(node.mount('other').commit, self.commit)
            self.assertTrue(node.client.GetNode().origins[0].available)

    def comes_back(self, folder, d):
        def listed():
            try:
                return len(os.listdir(folder)) == 8
            except OSError as e:
                self.assertIn(errno.errorcode[e.errno], FAILURES)
                return False
        wait_until(listed, 30, 'the origin is back, so is its directory', pause=0.2)
        for i in range(8):
            self.assertEqual(self.read(f'{folder}/file{i}'), b'%d/%d\n' % (d, i) * 500)

    def loose(self, spec):
        oid = subprocess.run(['git', '-c', 'safe.directory=*', '-C', self.repository, 'rev-parse', self.commit + ':' + spec],
                             check=True, capture_output=True, text=True).stdout.strip()
        return os.path.join(self.repository, 'objects', oid[:2], oid[2:])

    def test_damaged_objects(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            self.assertTrue(os.path.exists(self.loose('dir2/sub')), 'loose objects are what this test needs')
            swapped = self.read(self.loose('dir3/sub/file1'))
            kept = {}
            for spec, data in (('dir2/sub', b'garbage'), ('dir3/sub/file0', swapped), ('dir4/sub/file2', b''), ('dir1', b'x' * 40)):
                path = self.loose(spec)
                kept[path] = self.read(path)
                os.chmod(path, 0o644)
                with open(path, 'wb') as f:
                    f.write(data)
            for _ in range(2):
                self.assert_fails(os.listdir, root + '/dir2/sub')
                self.assert_fails(os.stat, root + '/dir1/sub')
                self.assert_fails(self.read, root + '/dir3/sub/file0')  # good zlib, another object's bytes
                self.assert_fails(self.read, root + '/dir4/sub/file2')
            self.assertEqual(self.read(root + '/dir3/sub/file1'), b'3/1\n' * 500)
            for path, data in kept.items():
                with open(path, 'wb') as f:
                    f.write(data)
            self.comes_back(root + '/dir2/sub', 2)
            self.comes_back(root + '/dir3/sub', 3)
            self.comes_back(root + '/dir4/sub', 4)
            self.comes_back(root + '/dir1/sub', 1)

    def test_corrupt_pack(self):
        git = ['git', '-c', 'safe.directory=*', '-C', self.repository]
        subprocess.run([*git, 'repack', '-q', '-a', '-d'], check=True)
        subprocess.run([*git, 'prune-packed', '-q'], check=True)
        with Node({'demo': self.repository}) as node:
            pack = next(os.path.join(folder, name) for folder, _, names in os.walk(self.repository) for name in names
                        if name.endswith('.pack'))
            good = self.read(pack)
            os.chmod(pack, 0o644)
            with open(pack, 'r+b') as f:  # everything but the header and the first objects, which are the commit
                f.seek(len(good) // 3)
                f.write(os.urandom(len(good) - len(good) // 3 - 20))
            failed = good_files = 0
            try:
                root = node.mount('job').root
            except CallError as e:
                self.assertIn(e.code, ('UNAVAILABLE', 'DATA_LOSS', 'INTERNAL'))
                self.assertIn('demo', e.message)
                failed, root = 1, None
            for d in range(6 if root else 0):
                for i in range(8):
                    try:
                        self.assertEqual(self.read(f'{root}/dir{d}/sub/file{i}'), b'%d/%d\n' % (d, i) * 500)
                        good_files += 1
                    except OSError as e:
                        self.assertIn(errno.errorcode[e.errno], FAILURES)
                        failed += 1
            self.assertGreater(failed, 0)
            with open(pack, 'r+b') as f:
                f.write(good)
            root = root or node.mount('job').root
            for d in range(6):
                self.comes_back(f'{root}/dir{d}/sub', d)


if __name__ == '__main__':
    unittest.main()
