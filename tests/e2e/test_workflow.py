#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Git workflow of a workspace against a plain clone: the same changes, then the same answers."""
import os
import shutil
import tempfile
import unittest

import repo_maker
from coppice_client import CallError
from node import Node
from twin import Twin, git

SEEDS = [int(s) for s in os.environ.get('COPPICE_WORKFLOW_SEEDS', '1 2 3').split()]
STEPS = int(os.environ.get('COPPICE_WORKFLOW_STEPS', '25'))


def make_repository(path):
    """Some directories, an executable, symlinks, names that sort oddly, a submodule, rules of what to ignore."""
    repo = repo_maker.Repo(path)
    repo.begin()
    for d in ('src', 'src/deep/er', 'lib', 'lib-x', 'doc'):
        for i in range(8):
            text = ''.join(f'{d} {i} line {n}\n' for n in range(20 + i))
            repo.add(f'{d}/file{i}.c'.encode(), text.encode(), b'100755' if i == 3 else b'100644')
    repo.add(b'lib.c', b'between lib-x and lib/\n')
    repo.add(b'README', b'read me\n')
    repo.add(b'link', b'README', b'120000')
    repo.add(b'empty', b'')
    repo.add(b'src/.gitignore', b'*.tmp\n/build/\n')
    repo.add(b'tracked.tmp', b'tracked\n')
    repo.submodule(b'module', b'1' * 40)
    return repo.finish()


class Workflow(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-wf-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        cls.base = make_repository(cls.repository)
        cls.node = Node({'demo': cls.repository}, tenants='''
  - {name: ops, admin: true, quota: {mounts: 50}, identities: [{unix_uid: 0}]}
  - {name: other, identities: [{unix_uid: 61000}]}
''')
        cls.node.__enter__()
        cls.addClassCleanup(cls.node.close)

    def tearDown(self):
        for m in self.node.client.ListMounts().mounts:
            self.node.client.DeleteMount(mount_id=m.mount_id)

    def twin(self, job, **options):
        return Twin(self.node, job, self.repository, self.folder, **options)

    def status(self, job, *args):
        return self.node.cli('status', job, *args).stdout.splitlines()

    def test_random_changes(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                twin = self.twin(f'random{seed}', seed=seed)
                for _ in range(STEPS):
                    twin.step()
                    twin.check_status()

    def test_status_of_an_untouched_workspace(self):
        root = self.node.mount('clean').root
        self.assertEqual(self.status('clean'), [])
        with open(root + '/README', 'r+', encoding='ascii') as f:  # copied up, and the same
            text = f.read()
            f.seek(0)
            f.write(text)
        self.assertEqual(self.status('clean'), [])

    def test_status_ignores(self):
        twin = self.twin('ignores')
        for path in ('src/a.tmp', 'src/build/x', 'build/x', 'b.tmp', 'src/deep/c.tmp'):
            twin.both(lambda root, path=path: os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True))
            twin.write(path, 'x\n')
        twin.check_status()
        for args in (['--ignored'], ['--ignored', '-uall'], ['-uno']):
            twin.compare_status(*args)

    def test_status_by_path(self):
        twin = self.twin('paths')
        for path in ('src/file1.c', 'lib/file2.c', 'lib-x/file3.c', 'lib/new'):
            twin.write(path, 'changed\n')
        for spec in (['lib'], ['lib/'], ['*.c'], ['lib', ':!lib/file2.c'], [':(glob)l*/*.c'], ['./lib'], ['.'], [':(literal)*.c'],
                     ['nothing-of-this-name']):
            twin.compare_status('--', *spec)

    def test_special_files_are_nothing(self):
        root = self.node.mount('special').root
        os.mkfifo(root + '/fifo')
        os.mkdir(root + '/empty-folder')
        os.mkdir(root + '/.git')
        with open(root + '/.git/HEAD', 'w', encoding='ascii') as f:
            f.write('x')
        self.assertEqual(self.status('special'), [])

    def test_mount_of_a_directory(self):
        root = self.node.mount('part', path='src').root
        with open(root + '/file1.c', 'a', encoding='ascii') as f:
            f.write('more\n')
        self.assertEqual(self.status('part'), [' M file1.c'])

    def test_errors(self):
        client = self.node.client
        self.node.mount('errors')

        def fails(code, reason, call, **fields):
            with self.assertRaises(CallError) as caught:
                list(getattr(client, call)(**fields))
            self.assertEqual((caught.exception.code, caught.exception.reason), (code, reason), caught.exception)
            return caught.exception

        fails('NOT_FOUND', 'MOUNT_NOT_FOUND', 'Status', workspace={'job_id': 'nobody'})
        fails('INVALID_ARGUMENT', 'INVALID_FIELD', 'Status')
        fails('INVALID_ARGUMENT', 'INVALID_FIELD', 'Status', workspace={'job_id': 'errors'}, paths=['Li4veA=='])  # ../x
        fails('INVALID_ARGUMENT', 'INVALID_FIELD', 'Status', workspace={'job_id': 'errors', 'expected_head': 'main'})
        e = fails('ABORTED', 'GENERATION_CHANGED', 'Status', workspace={'job_id': 'errors', 'expected_generation': 99})
        self.assertEqual(e.metadata['generation'], str(client.GetMount(job_id='errors').generation))
        e = fails('ABORTED', 'HEAD_CHANGED', 'Status', workspace={'job_id': 'errors', 'expected_head': '1' * 40})
        self.assertEqual(e.metadata['head'], self.base)

    def test_another_tenant_sees_nothing(self):
        self.node.mount('private')
        answer = self.node.call_as(61000, 'Status', workspace={'job_id': 'private'})
        self.assertEqual(answer['error']['reason'], 'MOUNT_NOT_FOUND')


if __name__ == '__main__':
    unittest.main()
