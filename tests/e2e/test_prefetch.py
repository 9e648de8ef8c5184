# SPDX-License-Identifier: Apache-2.0
"""Contents ahead of their use: Prefetch, `coppice prefetch`, wait_for, and read-ahead of readers in order."""
import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest

import repo_maker
from coppice_client import CallError
from delay_proxy import DelayProxy
from git_server import HttpServer
from node import SANITIZE, Node, wait_until

DIRS, FILES = 12, 40


def read(path):
    with open(path, 'rb') as f:
        return f.read()


class DelayProxyOrigin:
    """The repository on a Git server that is far away."""

    def __init__(self, test, **settings):
        self.server = HttpServer(test.folder, {'repo.git': test.repository})
        self.settings = settings

    def __enter__(self):
        self.server.__enter__()
        self.proxy = DelayProxy(('127.0.0.1', self.server.port), **self.settings)
        return self.server.url('repo.git').replace(f':{self.server.port}/', f':{self.proxy.port}/')

    def __exit__(self, *args):
        self.proxy.close()
        self.server.__exit__(*args)


class Prefetch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-prefetch-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo = repo_maker.Repo(cls.repository, pack=False)  # an open pack could be read even when it is gone
        repo.begin()
        repo.add(b'README', b'read me\n')
        for d in range(DIRS):
            for f in range(FILES):
                repo.add(b'src/d%02d/f%02d.c' % (d, f), b'%d of %d\n' % (f, d) * 50)
        repo.add(b'doc/a/b/c/deep.md', b'deep\n')
        repo.add(b'doc/top.md', b'top\n')
        repo.finish()
        cls.blobs = DIRS * FILES + 3

    def setUp(self):
        self.node = Node({'demo': self.repository})
        self.node.__enter__()
        self.addCleanup(self.node.__exit__, None, None, None)

    def gone(self):
        """From here on only what is local can be read."""
        os.rename(self.repository, self.repository + '.gone')
        self.addCleanup(os.rename, self.repository + '.gone', self.repository)

    def fetches(self):
        return self.node.client.GetCacheStats().fetches

    def prefetch(self, **fields):
        if 'paths' in fields:  # bytes are base64 in JSON, from which the client makes messages
            fields['paths'] = [base64.b64encode(path).decode() for path in fields['paths']]
        return list(self.node.client.Prefetch(job_id='job', **fields))

    def assert_whole(self, root):
        for d in range(DIRS):
            for f in range(FILES):
                self.assertEqual(read(f'{root}/src/d{d:02}/f{f:02}.c'), b'%d of %d\n' % (f, d) * 50)

    def test_everything_and_then_the_origin_is_not_needed(self):
        root = self.node.mount('job').root
        last = self.prefetch()[-1]
        self.assertTrue(last.done and last.indexed and not last.stopped)
        self.assertEqual((last.directories, last.blobs, last.failed), (DIRS + 6, self.blobs, 0))
        self.assertEqual((last.directories_found, last.blobs_found, last.bytes_found), (last.directories, last.blobs, last.bytes))
        before = self.fetches()
        self.assertEqual(before, self.blobs)
        self.gone()
        self.assert_whole(root)
        self.assertEqual(self.fetches(), before)
        self.node.assert_logs('prefetch_done')
        self.assertTrue(self.prefetch()[-1].done, 'a second time there is nothing to do')

    def test_paths_patterns_depth_and_budget(self):
        self.node.mount('job')
        self.assertEqual(self.prefetch(paths=[b'src/d00', b'src/d01/f0*.c'])[-1].blobs, FILES + 10)
        self.assertEqual(self.fetches(), FILES + 10)
        self.assertEqual(self.prefetch(paths=[b'**/*.md'])[-1].blobs, 2)
        self.assertEqual(self.prefetch(paths=[b'doc'], depth=1)[-1].blobs, 1)
        self.assertEqual(self.prefetch(paths=[b'nothing/*'])[-1].blobs, 0)
        before = self.fetches()
        self.assertEqual(self.prefetch(directories_only=True)[-1].directories, DIRS + 6)
        self.assertEqual(self.fetches(), before)
        last = self.prefetch(bytes=5000)[-1]
        self.assertTrue(last.stopped and last.done)
        self.assertLess(self.fetches() - before, 30)

    def test_refused(self):
        self.node.mount('job')
        for fields, reason in (({'paths': [b'src/none']}, 'PATH_NOT_FOUND'), ({'paths': [b'../x']}, ''), ({'paths': [b'a\0b']}, ''),
                               ({'paths': [b'a'] * 257}, ''), ({'paths': [b'x' * 5000]}, '')):
            with self.assertRaises(CallError) as caught:
                self.prefetch(**fields)
            self.assertEqual(caught.exception.code, 'NOT_FOUND' if reason else 'INVALID_ARGUMENT')
        with self.assertRaises(CallError) as caught:
            list(self.node.client.Prefetch(job_id='other'))
        self.assertEqual(caught.exception.code, 'NOT_FOUND')

    def test_origin_that_is_gone_is_said_to_be(self):
        self.node.mount('job')
        self.gone()
        with self.assertRaises(CallError) as caught:
            self.prefetch()
        self.assertEqual((caught.exception.code, caught.exception.reason), ('UNAVAILABLE', 'ORIGIN_UNAVAILABLE'))

    def test_ended_by_its_caller(self):
        with DelayProxyOrigin(self, rtt=0.02, rate=200000) as url:
            self.node.origins['far'] = url
            self.node.stop()
            self.node.start()
            self.node.mount('job', origin='far')
            stream = self.node.client.Prefetch(job_id='job')
            next(stream)
            stream.close()
            wait_until(lambda: 'prefetch_done' in self.node.log_text(), 10, 'the prefetch ends with its call')
            self.assertLess(self.node.client.GetCacheStats().fetches, self.blobs)

    def test_far_server_is_read_ahead_of(self):
        """Reading 480 files one after the other costs a few round trips, not 480."""
        with DelayProxyOrigin(self, rtt=0.05) as url:
            self.node.origins['far'] = url
            self.node.stop()
            self.node.start()
            root = self.node.mount('job', origin='far', wait_for='INDEXED').root
            start = time.monotonic()
            self.assert_whole(root)
            if not SANITIZE:
                self.assertLess(time.monotonic() - start, DIRS * FILES * 0.05 / 3)

    def test_created_warm(self):
        root = self.node.mount('warm', wait_for='WARM').root
        self.assertEqual(self.fetches(), self.blobs)
        self.gone()
        self.assert_whole(root)

    def test_created_indexed_to_a_depth(self):
        trees = lambda: self.node.client.GetCacheStats().trees
        self.node.mount('job', wait_for='INDEXED', preload_depth=1)
        self.assertEqual(trees(), 3)
        self.assertEqual(self.fetches(), 0)
        self.node.mount('job', wait_for='INDEXED')
        self.assertEqual(trees(), DIRS + 6)
        self.gone()
        names = subprocess.run(['find', self.node.mount('job').root, '-printf', '%s\n'], capture_output=True, check=True, timeout=60)
        self.assertEqual(len(names.stdout.splitlines()), DIRS * FILES + DIRS + 9)

    def test_reader_in_order_is_read_ahead_of(self):
        root = self.node.mount('job').root
        self.assert_whole(root)
        mount = self.node.client.GetMount(job_id='job')
        self.assertLess(mount.fetch.blobs_fetched, DIRS * FILES / 2, 'the reader had to wait for most files')

    def test_command(self):
        self.node.mount('job')
        out = self.node.cli('prefetch', 'job', 'src/d00', '--depth', '2').stdout
        self.assertEqual(out, f'local: 3 directories, {FILES} files, {self.size_of(0)}\n')
        lines = self.node.cli('-o', 'json', 'prefetch', 'job', 'doc').stdout.splitlines()
        self.assertEqual(json.loads(lines[-1])['done'], True)
        self.assertEqual(self.node.cli('prefetch', 'job', 'none', check=False).returncode, 4)
        self.assertEqual(self.node.cli('prefetch', 'job', '--bytes', 'many', check=False).returncode, 2)
        self.assertIn('/', self.node.cli('mount', '--job-id', 'second', '--origin', 'demo', '--wait', 'warm').stdout)
        self.assertEqual(self.fetches(), self.blobs)

    @staticmethod
    def size_of(d):
        size = sum(len(b'%d of %d\n' % (f, d)) * 50 for f in range(FILES))
        return f'{size / 1024:.1f} KiB'


if __name__ == '__main__':
    unittest.main()
