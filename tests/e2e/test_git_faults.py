# SPDX-License-Identifier: Apache-2.0
"""A Git server that hangs, cuts, hides or lies ends in the right bytes or an error in time; others go on; all is well when it is back."""
import errno
import glob
import os
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

import repo_maker
from coppice_client import CallError
from delay_proxy import DelayProxy
from git_server import HttpServer
from node import SLOW, Node, wait_until
from tree_compare import Comparison, git_archive

FAILURES = ('EIO', 'EHOSTUNREACH', 'ETIMEDOUT')
TENANTS = 8


class GitFaults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-gitfaults-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo = repo_maker.Repo(cls.repository)
        repo.begin()
        for d in range(12):
            for i in range(8):
                repo.add(b'dir%d/sub/file%d' % (d, i), b'%d/%d\n' % (d, i) * 300)
        repo.add(b'big', os.urandom(3 << 20))
        repo.add(b'README', b'read me\n')
        cls.commit = repo.finish()
        cls.want = git_archive(cls.repository, cls.commit, os.path.join(cls.folder, 'want'))

    def setUp(self):
        # sizes come from the server, so that blobs are fetched when they are read
        self.server = HttpServer(self.folder, {'repo.git': self.repository}, object_info=True)
        self.server.start()
        self.addCleanup(self.server.stop)
        self.proxy = DelayProxy(('127.0.0.1', self.server.port))
        self.proxy.__enter__()
        self.addCleanup(self.proxy.__exit__, None, None, None)

    def origin(self, **keys):
        return {'url': f'http://127.0.0.1:{self.proxy.port}/git/repo.git', 'timeout': '1s', 'connect_timeout': '1s',
                'refresh': '1ms', **keys}

    def read(self, *path):
        with open(os.path.join(*path), 'rb') as f:
            return f.read()

    def assert_fails(self, call, *args, seconds=60):
        begin = time.monotonic()
        with self.assertRaises(OSError) as caught:
            call(*args)
        self.assertIn(errno.errorcode[caught.exception.errno], FAILURES)
        self.assertLess(time.monotonic() - begin, seconds * SLOW)

    def assert_mount_fails(self, node, **fields):
        with self.assertRaises(CallError) as caught:
            node.client.CreateMount(job_id=f'fails-{time.monotonic()}', origin='demo', **fields)
        return caught.exception

    def assert_recovers(self, node, root):
        def whole():
            try:
                return not Comparison(self.want, root).differences
            except OSError as e:
                self.assertIn(errno.errorcode[e.errno], FAILURES)
                return False
        wait_until(whole, 60, 'the server is back, so are all files', pause=0.3)
        self.assert_asked_again(node, 'after')

    def assert_asked_again(self, node, job):
        def mounted():
            try:
                return node.mount(job).commit == self.commit
            except CallError as e:
                self.assertEqual(e.code, 'UNAVAILABLE')
                return False
        wait_until(mounted, 30, 'the server is asked again', pause=0.3)

    def posts(self):
        return len(self.server.requests('POST'))

    def test_many_who_open_a_cold_file_make_one_request(self):
        tenants = '\n'.join(f'  - {{name: t{i}}}' for i in range(TENANTS))
        tenants += '\n  - {name: root, admin: true, identities: [{unix_uid: 0}]}'
        with Node({'demo': self.origin()}, tenants=tenants) as node:
            roots = [node.mount(f'job{i}', tenant=f't{i}').root for i in range(TENANTS)]
            for root in roots:
                os.stat(os.path.join(root, 'big'))
            before, results = self.posts(), []
            barrier = threading.Barrier(TENANTS)

            def opens(root):
                barrier.wait(30)
                results.append(self.read(root, 'big'))
            threads = [threading.Thread(target=opens, args=(root,)) for root in roots]
            for t in threads:
                t.start()
            for t in threads:
                t.join(60 * SLOW)
            self.assertEqual(results, [self.read(self.want, 'big')] * TENANTS)
            self.assertEqual(self.posts() - before, 1)

    def test_hang(self):
        other = os.path.join(self.folder, 'other.git')  # nothing in common: contents are shared over origins
        repo_maker.make(other, files=50, odd=False, large_mb=0, c_project=0, seed=99, pack=True)
        other_tree = git_archive(other, 'main', os.path.join(self.folder, 'other'))
        with Node({'demo': self.origin(), 'local': other}) as node:
            root = node.mount('job').root
            self.read(root, 'README')
            os.stat(root + '/dir1/sub/file0')
            self.proxy.set(hang=True)
            begin = time.monotonic()
            error = self.assert_mount_fails(node)
            self.assertIn(error.code, ('DEADLINE_EXCEEDED', 'UNAVAILABLE'), error.message)
            self.assertLess(time.monotonic() - begin, 30 * SLOW)
            failing = threading.Thread(target=self.assert_fails, args=(self.read, root, 'big'))
            failing.start()
            local = node.mount('local', origin='local').root  # not held up
            self.assertEqual(Comparison(other_tree, local).differences, [])
            self.assertEqual(self.read(root, 'README'), b'read me\n')
            self.assertEqual(node.mount('pinned', revision=self.commit).commit, self.commit, 'what is here needs no server')
            failing.join(90 * SLOW)
            self.assertFalse(failing.is_alive())
            self.proxy.set(hang=False)
            self.assert_recovers(node, root)

    def test_cut_in_mid_body(self):
        with Node({'demo': self.origin()}) as node:
            root = node.mount('job').root
            os.stat(root + '/big')
            self.proxy.set(cut_after=200000)
            self.assert_fails(self.read, root, 'big')
            self.assertEqual(self.read(root, 'dir3/sub/file2'), b'3/2\n' * 300, 'what is smaller passes')
            self.proxy.set(cut_after=0)
            self.assert_recovers(node, root)
            self.assertEqual(glob.glob(node.path('data', 'origins', 'demo', 'mirror.git', 'incoming-*')), [])

    def test_refused_and_hidden(self):
        with Node({'demo': self.origin()}) as node:
            root = node.mount('job').root
            os.stat(root + '/dir2/sub/file0')
            os.stat(root + '/dir3/sub/file0')
            self.proxy.set(refuse=True)
            self.proxy.cut()
            self.assertEqual(self.assert_mount_fails(node).code, 'UNAVAILABLE')
            self.assert_fails(self.read, root, 'dir2/sub/file0')
            self.proxy.set(refuse=False)
            self.assert_asked_again(node, 'between')
            self.server.hide('repo.git')
            self.proxy.cut()
            error = self.assert_mount_fails(node)
            self.assertEqual((error.code, error.reason), ('NOT_FOUND', 'ORIGIN_NOT_FOUND'), error.message)
            self.assert_fails(self.read, root, 'dir3/sub/file0')  # EIO, never ENOENT
            with self.assertRaises(FileNotFoundError):
                os.stat(root + '/no such name')
            self.server.show('repo.git')
            self.assert_recovers(node, root)

    def status(self, node):
        """Of the origin: ('' or what is wrong with it, the components that are degraded)."""
        answer = node.client.GetNode()
        origin = next(o for o in answer.origins if o.name == 'demo')
        self.assertEqual(origin.available, not origin.error)
        return origin.error, [d.component for d in answer.degraded]

    def test_node_tells_that_it_is_down_and_finds_out_itself_that_it_is_back(self):
        with Node({'demo': self.origin()}) as node:
            node.mount('job')
            self.assertEqual(self.status(node), ('', []))
            self.proxy.set(refuse=True)
            self.proxy.cut()
            self.assertEqual(self.assert_mount_fails(node).code, 'UNAVAILABLE')
            error, degraded = self.status(node)
            self.assertTrue(error)
            self.assertEqual(degraded, ['origin demo'])
            self.proxy.set(refuse=False)
            wait_until(lambda: self.status(node) == ('', []), 30, 'nobody asks, and still it is known to be back', pause=0.3)
            self.server.hide('repo.git')
            self.assert_mount_fails(node)
            self.assertIn('no such repository', self.status(node)[0])
            self.server.show('repo.git')
            wait_until(lambda: self.status(node) == ('', []), 30, 'the repository is back', pause=0.3)

    def test_crash_in_mid_fetch(self):
        for mode in ('partial', 'mirror'):
            with self.subTest(mode=mode), Node({'demo': self.origin(mode=mode, timeout='20s')}) as node:
                self.proxy.set(rate=200000)
                if mode == 'partial':
                    self.proxy.set(rate=0)
                    root = node.mount('job').root
                    os.stat(root + '/big')
                    self.proxy.set(rate=200000)
                    reader = threading.Thread(target=self.try_to_read, args=(root + '/big',))
                else:
                    reader = threading.Thread(target=self.try_to_mount, args=(node,))
                reader.start()
                pack = node.path('data', 'origins', 'demo', 'mirror.git', 'objects', 'pack')
                coming = node.path('data', 'origins', 'demo', 'mirror.git', 'incoming-*')
                wait_until(lambda: glob.glob(coming) or glob.glob(pack + '/tmp_*'), 30, 'a pack is on its way')
                node.kill()
                reader.join(60 * SLOW)
                for name in ('packed-refs.lock', 'HEAD.lock', 'refs/heads/main.lock'):
                    path = node.path('data', 'origins', 'demo', 'mirror.git', name)
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    open(path, 'wb').close()  # as a killed git leaves them
                self.proxy.set(rate=0)
                node.start()
                self.assertEqual(Comparison(self.want, node.mount('again').root).differences, [])
                self.assertEqual(glob.glob(pack + '/tmp_*') + glob.glob(coming), [])

    def try_to_read(self, path):
        try:
            self.read(path)
        except OSError:
            pass  # the daemon was killed

    def try_to_mount(self, node):
        try:
            node.client.CreateMount(job_id='killed', origin='demo')
        except CallError:
            pass  # the daemon was killed

    def test_no_server_at_start(self):
        with Node({'demo': self.origin()}) as node:
            root = node.mount('job').root
            self.assertEqual(self.read(root, 'README'), b'read me\n')
            self.proxy.set(refuse=True)
            self.proxy.cut()
            node.stop()
            node.start()
            self.assertEqual(self.read(root, 'README'), b'read me\n')
            self.assertEqual(node.mount('pinned', revision=self.commit).commit, self.commit)
            self.assert_fails(self.read, root, 'big')
            self.proxy.set(refuse=False)
            self.assert_recovers(node, root)

    def test_damaged_mirror(self):
        with Node({'demo': self.origin()}) as node:
            node.mount('job')
            node.stop()
            for path in glob.glob(node.path('data', 'origins', 'demo', 'mirror.git', 'objects', 'pack', '*')):
                os.unlink(path)
            node.start()
            root = node.mount('again', revision=self.commit).root
            self.assertEqual(Comparison(self.want, root).differences, [])


if __name__ == '__main__':
    unittest.main()
