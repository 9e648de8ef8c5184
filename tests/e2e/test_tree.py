# SPDX-License-Identifier: Apache-2.0
"""The mounted tree equals `git archive` of the same revision, for repositories of every kind."""
import os
import shutil
import subprocess
import tempfile
import unittest

import repo_maker
from node import TOP, Node
from tree_compare import Comparison, git_archive

FILES = 20000
LARGE_MB = 200


def git(repository, *args):
    return subprocess.run(['git', '-c', 'safe.directory=*', '-C', repository, *args], check=True, capture_output=True, text=True,
                          timeout=300).stdout.strip()


class Tree(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-repos-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def check(self, url, repository, commitish='HEAD', **fields):
        """Mounts url and compares with the archive of repository; the number of entries compared."""
        want = git_archive(repository, git(repository, 'rev-parse', commitish + '^{commit}') + ':' + fields.get('path', ''),
                           self.path('want'))
        try:
            with Node({'demo': url}) as node:
                mount = node.mount('tree', **fields)
                self.assertEqual(mount.commit, git(repository, 'rev-parse', commitish + '^{commit}'))
                self.assertEqual(mount.root_tree, git(repository, 'rev-parse', mount.commit + ':' + fields.get('path', '')))
                times = int(git(repository, 'show', '-s', '--format=%ct', mount.commit))
                comparison = Comparison(want, mount.root, times, root_mode=True)
                self.assertEqual(comparison.differences, [])
                self.assertEqual((mount.usage.bytes, mount.usage.inodes), (0, 0))
                node.delete('tree')
                return comparison.entries
        finally:
            shutil.rmtree(want)

    def test_this_project(self):
        entries = self.check(TOP, TOP)
        self.assertGreater(entries, 200)

    def test_bare_packed_with_20000_files(self):
        repository = self.path('big.git')
        commit = repo_maker.make(repository, files=FILES, odd=True, large_mb=LARGE_MB)
        entries = self.check('file://' + repository, repository, 'main', revision=commit[:12])
        self.assertGreater(entries, FILES)
        shutil.rmtree(repository)

    def test_non_bare_with_loose_objects(self):
        repository = self.path('loose')
        os.makedirs(repository)
        git(repository, 'init', '-q', '-b', 'trunk')
        for name, text, mode in (('a file', 'one\n', 0o644), ('dir/run', '#!/bin/sh\n', 0o755), ('dir/empty', '', 0o600)):
            os.makedirs(os.path.dirname(os.path.join(repository, name)), exist_ok=True)
            with open(os.path.join(repository, name), 'w', encoding='utf-8') as f:
                f.write(text)
            os.chmod(os.path.join(repository, name), mode)
        os.symlink('a file', os.path.join(repository, 'link'))
        git(repository, 'add', '-A')
        git(repository, '-c', 'user.name=t', '-c', 'user.email=t@example.org', 'commit', '-q', '-m', 'one')
        git(repository, 'tag', 'v1')
        with open(os.path.join(repository, 'a file'), 'a', encoding='utf-8') as f:
            f.write('two\n')
        git(repository, '-c', 'user.name=t', '-c', 'user.email=t@example.org', 'commit', '-q', '-a', '-m', 'two')
        self.assertEqual(git(repository, 'count-objects', '-v').splitlines()[2], 'in-pack: 0')
        self.check(repository, repository, 'trunk')
        self.check(repository, repository, 'v1', revision='v1')
        self.check(repository, repository, 'v1', revision='refs/tags/v1', path='dir')

    def test_alternates_and_a_submodule(self):
        base, borrower = self.path('base.git'), self.path('borrower.git')
        repo_maker.make(base, files=200, odd=True, seed=7)
        subprocess.run(['git', '-c', 'safe.directory=*', 'clone', '-q', '--bare', '--shared', base, borrower], check=True)
        self.assertTrue(os.path.exists(borrower + '/objects/info/alternates'))
        self.assertEqual(git(borrower, 'count-objects', '-v').splitlines()[2], 'in-pack: 0')
        self.check(borrower, borrower, 'main')
        with Node({'demo': borrower}) as node:
            self.assertEqual(os.listdir(node.mount('sub').root + '/vendor/sub'), [])


if __name__ == '__main__':
    unittest.main()
