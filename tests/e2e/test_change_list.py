# SPDX-License-Identifier: Apache-2.0
"""A change list that a mount is created with: what is shown is what Git would have after applying it, it is the job's to write over, it outlives
restarts and the loss of the index, and one that does not apply makes no mount."""
import os
import shutil
import subprocess
import tempfile
import unittest

import repo_maker
from coppice_client import CallError
from node import Node
from tree_compare import Comparison, git_archive


def git(repository, *args):
    return subprocess.run(['git', '-C', repository, *args], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


class ChangeList(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-cl-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        cls.commits(cls.repository)
        cls.node = Node({'demo': cls.repository})
        cls.node.start()
        cls.addClassCleanup(cls.node.close)

    @classmethod
    def commits(cls, path):
        """"change" and "more" go on from "base"; "other" grew beside them, "both" is what that gives; "clash" changed the same file."""
        repo = repo_maker.Repo(path)
        base = {b'README': b'read me\n', b'src/a.c': b'int a;\n', b'src/deep/b.c': b'int b;\n', b'gone/x': b'x\n', b'tool': b'#!\n',
                b'becomes/dir': b'file\n'}
        change = base | {b'src/deep/b.c': b'int b = 1;\n', b'src/new.c': b'int n;\n', b'tool': b'#!\n', b'becomes': b'a file\n'}
        del change[b'gone/x'], change[b'becomes/dir']
        more = change | {b'src/more.c': b'int m;\n'}
        trees = (('main', base), ('base', base), ('change', change), ('more', more), ('other', base | {b'other.c': b'int o;\n'}),
                 ('both', change | {b'other.c': b'int o;\n'}), ('clash', base | {b'src/deep/b.c': b'mine\n'}))
        for name, files in trees:
            repo.begin(ref=b'refs/heads/' + name.encode())
            for file, data in files.items():
                repo.add(file, data, b'100755' if file == b'tool' and name in ('change', 'more', 'both') else b'100644')
        repo.finish()

    def outside(self, branch):
        return git_archive(self.repository, branch, tempfile.mkdtemp(dir=self.folder) + '/tree')

    def assert_shows(self, root, branch):
        self.assertEqual(Comparison(self.outside(branch), root).differences, [])

    def test_a_range_over_another_branch(self):
        mount = self.node.mount('over', revision='other', change_list={'range': 'base..change'})
        self.assert_shows(mount.root, 'both')
        self.assertEqual(mount.change_list.range, 'base..change')
        self.assertEqual(mount.change_list_commit, git(self.repository, 'rev-parse', 'change'))
        self.assertEqual(mount.commit, git(self.repository, 'rev-parse', 'other'))
        self.assertEqual(mount.root_tree, git(self.repository, 'rev-parse', 'both^{tree}'))
        self.assertEqual(mount.change_list_paths, 6)

    def test_the_job_writes_over_it(self):
        root = self.node.mount('writes', revision='base', change_list={'range': 'base..change'}).root
        with open(root + '/src/new.c', 'a', encoding='ascii') as f:
            f.write('int mine;\n')
        os.unlink(root + '/becomes')
        os.mkdir(root + '/gone')
        self.assertEqual(os.listdir(root + '/gone'), [])
        with open(root + '/src/new.c', encoding='ascii') as f:
            self.assertEqual(f.read(), 'int n;\nint mine;\n')

    def test_below_a_path(self):
        mount = self.node.mount('below', revision='base', path='src', change_list={'range': 'base..change'})
        self.assertEqual(sorted(os.listdir(mount.root)), ['a.c', 'deep', 'new.c'])
        self.assertEqual(mount.change_list_paths, 2)
        with self.assertRaises(CallError) as caught:
            self.node.mount('nowhere', revision='base', path='no/where', change_list={'range': 'base..change'})
        self.assertEqual(caught.exception.reason, 'PATH_NOT_FOUND')

    def test_what_clashes_elsewhere_does_not_count(self):
        root = self.node.mount('elsewhere', revision='clash', path='gone', change_list={'range': 'change..base'}).root
        self.assertEqual(os.listdir(root), ['x'])

    def test_one_that_does_not_apply(self):
        with self.assertRaises(CallError) as caught:
            self.node.mount('clash', revision='clash', change_list={'range': 'base..change'})
        self.assertEqual((caught.exception.code, caught.exception.reason), ('FAILED_PRECONDITION', 'CHANGE_LIST_DOES_NOT_APPLY'))
        self.assertIn('"src/deep/b.c" was changed', caught.exception.message)

    def test_the_same_request_is_the_same_mount(self):
        first = self.node.mount('twin', revision='base', change_list={'range': 'base..change'})
        self.assertEqual(self.node.mount('twin', revision='base', change_list={'range': 'base..change'}).mount_id, first.mount_id)
        with self.assertRaises(CallError) as caught:
            self.node.mount('twin', revision='base', change_list={'range': 'base..more'})
        self.assertEqual(caught.exception.reason, 'JOB_ID_IN_USE')

    def test_restart_also_without_the_index(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('job', revision='other', change_list={'range': 'base..change'}).root
            with open(root + '/mine', 'w', encoding='ascii') as f:
                f.write('mine\n')
            for lost in (False, True):
                node.kill()
                if lost:  # it is a cache; no origin has the merged trees
                    shutil.rmtree(node.data + '/index')
                node.start()
                self.assertEqual(node.client.GetMount(job_id='job').change_list.range, 'base..change')
                with open(root + '/mine', encoding='ascii') as f:
                    self.assertEqual(f.read(), 'mine\n')
                os.unlink(root + '/mine')
                self.assert_shows(root, 'both')
                with open(root + '/mine', 'w', encoding='ascii') as f:
                    f.write('mine\n')

    def test_the_command_line(self):
        root = self.node.cli('mount', '--job-id', 'cli', '--revision', 'base', '--change-list', 'base..change').stdout.strip()
        self.assertTrue(os.path.isfile(root + '/becomes'))
        self.assertIn('base..change', self.node.cli('show', 'cli').stdout)


if __name__ == '__main__':
    unittest.main()
