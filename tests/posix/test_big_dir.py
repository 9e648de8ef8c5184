#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A directory of 100,000 names, half of them from the sources, listed while others change it (big_dir.c): the same holds here and on the local
filesystem."""
import os
import shutil
import subprocess
import tempfile
import unittest

import repo_maker
from node import SLOW, Node

COUNT = 100_000 if SLOW == 1 else 10_000
BIG_DIR = os.environ.get('COPPICE_DIFFER', '').replace('coppice_differ', 'coppice_big_dir')


class BigDirectory(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='cop-posix-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def list_under_change(self, path):
        done = subprocess.run([BIG_DIR, path, str(COUNT)], capture_output=True, text=True, timeout=200 * SLOW, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        return done.stdout

    def test_in_a_workspace(self):
        repo = repo_maker.Repo(self.folder + '/repo.git')
        repo.begin()
        for number in range(COUNT // 2):
            repo.add(b'big/source%d' % number, b'')
        repo.finish()
        with Node({'demo': self.folder + '/repo.git'}) as node:
            path = node.mount('job').root + '/big'
            for number in range(0, COUNT // 2, 100):  # some are the workspace's own by now
                os.chmod(f'{path}/source{number}', 0o600)
            self.assertIn(f'{COUNT // 2} of them from the sources', self.list_under_change(path))

    def test_on_the_local_filesystem(self):
        self.assertIn('0 of them', self.list_under_change(self.folder))


if __name__ == '__main__':
    unittest.main()
