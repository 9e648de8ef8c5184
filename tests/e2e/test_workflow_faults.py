#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Git workflow when something breaks: a typed error that names the thing, the workspace as it was, and a repetition that works."""
import os
import shutil
import subprocess
import tempfile
import unittest

import repo_maker
from coppice_client import CallError
from node import SANITIZE, Node, detach
from twin import git

WHO = {'name': 'A U Thor', 'email': 'a@example.org', 'time': 1700000000}


class WorkflowFaults(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='cop-wff-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.repository = os.path.join(self.folder, 'repo.git')
        repo = repo_maker.Repo(self.repository)
        repo.begin()
        for i in range(50):
            repo.add(f'd{i % 5}/file{i}'.encode(), b'%d\n' % i)
        self.base = repo.finish()

    def fails(self, node, code, reason, call, **fields):
        with self.assertRaises(CallError) as caught:
            answer = getattr(node.client, call)(workspace={'job_id': 'job'}, **fields)
            if hasattr(answer, '__next__'):
                list(answer)
        self.assertEqual((caught.exception.code, caught.exception.reason), (code, reason), caught.exception)
        return caught.exception

    def test_the_disk_is_full(self):
        """Objects of a workspace lie on a disk of their own here, of which nothing is left."""
        with Node({'demo': self.repository}) as node:
            mount = node.mount('job')
            git_dir = os.path.join(node.data, 'workspaces', mount.mount_id, 'git')
            with open(mount.root + '/large', 'wb') as f:
                f.write(os.urandom(1 << 20))
            with open(mount.root + '/d0/file0', 'ab') as f:
                f.write(b'more\n')
            os.mkdir(git_dir, 0o700)
            subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=512k,mode=700', 'tmpfs', git_dir], check=True, timeout=10)
            try:
                before, used = node.cli('status', 'job').stdout, node.client.GetMount(job_id='job').usage.bytes
                e = self.fails(node, 'RESOURCE_EXHAUSTED', 'DISK_FULL', 'Add', all=True)
                self.assertIn('large', e.message)
                self.assertEqual(node.cli('status', 'job').stdout, before)
                self.assertLess(node.client.GetMount(job_id='job').usage.bytes, used + (512 << 10))
                subprocess.run(['mount', '-o', 'remount,size=8m', git_dir], check=True, timeout=10)
                node.cli('add', 'job', '-A')
                self.assertEqual(node.cli('status', 'job').stdout, 'M  d0/file0\nA  large\n')
                subprocess.run(['dd', 'if=/dev/zero', 'of=' + git_dir + '/fill', 'bs=64k'], stderr=subprocess.DEVNULL, timeout=20, check=False)
                self.fails(node, 'RESOURCE_EXHAUSTED', 'DISK_FULL', 'Commit', message='x', author=WHO)
                self.assertEqual(node.cli('log', 'job').stdout, '')
                self.assertEqual(node.cli('status', 'job').stdout, 'M  d0/file0\nA  large\n')
                os.unlink(git_dir + '/fill')
                node.client.Commit(workspace={'job_id': 'job'}, message='x', author=WHO)
                self.assertEqual(node.cli('status', 'job').stdout, '')
            finally:
                detach(git_dir)

    def test_the_quota_is_used_up_at_a_commit(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            with open(root + '/d1/file1', 'ab') as f:
                f.write(b'more\n')
            node.cli('add', 'job', '-A')
            used = node.client.GetMount(job_id='job').usage.bytes
            node.client.UpdateMount(job_id='job', update_mask=['quota.bytes'], quota={'bytes': used + 4096})
            commit = {'message': 'x' * 5000, 'author': WHO}
            self.fails(node, 'RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED', 'Commit', **commit)
            self.assertEqual(node.cli('status', 'job').stdout, 'M  d1/file1\n')
            node.client.UpdateMount(job_id='job', update_mask=['quota.bytes'], quota={'bytes': 1 << 20})
            node.client.Commit(workspace={'job_id': 'job'}, **commit)
            self.assertEqual(node.cli('status', 'job').stdout, '')

    def test_the_quota_is_used_up_among_many_files(self):
        """Those after the first hundred go to a pack: of one that is not complete nothing is left, neither on the disk nor in the usage."""
        with Node({'demo': self.repository}) as node:
            mount = node.mount('job')
            os.mkdir(mount.root + '/new')
            for i in range(300):
                with open(f'{mount.root}/new/{i}', 'wb') as f:
                    f.write(b'%d\n' % i)
            objects = os.path.join(node.data, 'workspaces', mount.mount_id, 'git/objects')
            used = node.client.GetMount(job_id='job').usage.bytes
            node.client.UpdateMount(job_id='job', update_mask=['quota.bytes'], quota={'bytes': used + 200 * 4096})
            self.fails(node, 'RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED', 'Add', all=True)
            self.assertEqual(os.listdir(objects + '/pack'), [])
            self.assertLessEqual(node.client.GetMount(job_id='job').usage.bytes, used + 100 * 4096)
            self.assertEqual(node.cli('status', 'job').stdout, '?? new/\n')
            node.client.UpdateMount(job_id='job', update_mask=['quota.bytes'], quota={'bytes': 8 << 20})
            node.cli('add', 'job', '-A')
            node.client.Commit(workspace={'job_id': 'job'}, message='x', author=WHO)
            self.assertEqual(len(os.listdir(objects + '/pack')), 2)
            self.assertLess(sum(len(files) for _, _, files in os.walk(objects)), 210)
            self.assertEqual(node.client.GetMount(job_id='job').usage.bytes, used + (300 + 3 + 1 + 1) * 4096)  # blobs, trees, the commit
            node.kill()
            node.start()
            self.assertEqual(node.cli('status', 'job').stdout, '')
            result = list(node.client.Push(workspace={'job_id': 'job'}, ref='out'))[-1].result
            git(self.repository, 'fsck', '--strict')
            self.assertEqual(git(self.repository, 'diff', '--shortstat', self.base, result.new).strip().split(b',')[0], b'300 files changed')

    def test_the_origin_is_gone(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            with open(root + '/d1/file1', 'ab') as f:
                f.write(b'more\n')
            os.rename(self.repository, self.repository + '.away')
            node.cli('add', 'job', '-A')  # what is local is enough
            answer = node.client.Commit(workspace={'job_id': 'job'}, message='x', author=WHO)
            with self.assertRaises(CallError) as caught:
                list(node.client.Push(workspace={'job_id': 'job'}, ref='out'))
            self.assertIn(caught.exception.reason, ('ORIGIN_NOT_FOUND', 'ORIGIN_UNAVAILABLE'), caught.exception)
            self.assertIn('demo', caught.exception.message)
            self.assertEqual(node.cli('status', 'job').stdout, '')
            os.rename(self.repository + '.away', self.repository)
            result = list(node.client.Push(workspace={'job_id': 'job'}, ref='out'))[-1].result
            self.assertEqual((result.new, result.created), (answer.commit, True))

    def test_memory_does_not_follow_the_changes(self):
        """What a verb needs it gives back, and it is little: paths are streamed, not collected."""
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            for d in range(20):
                os.mkdir(f'{root}/new{d}')
                for i in range(500):
                    with open(f'{root}/new{d}/{i}', 'wb') as f:
                        f.write(b'%d %d\n' % (d, i))
            before = node.rss_kib()
            with open(f'/proc/{node.process.pid}/clear_refs', 'w', encoding='ascii') as f:
                f.write('5')  # the high-water mark begins anew
            self.assertEqual(len(node.cli('status', 'job', '-uall').stdout.splitlines()), 10000)
            node.cli('add', 'job', '-A')
            self.assertEqual(len(node.cli('status', 'job').stdout.splitlines()), 10000)
            node.cli('commit', 'job', '-m', 'x', '--author', 'a <b>')
            self.assertEqual(node.cli('status', 'job').stdout, '')
            if not SANITIZE:
                self.assertLess(node.status('VmHWM') - before, 24 << 10)

    def test_a_generation_that_is_not_the_present_one(self):
        """Every call that changes something, and what it would have changed."""
        with Node({'demo': self.repository}) as node:
            mount = node.mount('job')
            with open(mount.root + '/d1/file1', 'ab') as f:
                f.write(b'more\n')
            calls = (('Add', {'all': True}), ('Commit', {'message': 'x', 'author': WHO, 'allow_empty': True}),
                     ('Reset', {'mode': 'HARD'}), ('Push', {'ref': 'out'}))
            for call, fields in calls:
                with self.assertRaises(CallError) as caught:
                    answer = getattr(node.client, call)(workspace={'job_id': 'job', 'expected_generation': 77}, **fields)
                    if hasattr(answer, '__next__'):
                        list(answer)
                self.assertEqual((caught.exception.code, caught.exception.reason), ('ABORTED', 'GENERATION_CHANGED'), call)
                self.assertEqual(caught.exception.metadata['generation'], str(mount.generation))
            self.assertEqual(node.cli('status', 'job').stdout, ' M d1/file1\n')
            self.assertEqual(git(self.repository, 'rev-parse', '-q', '--verify', 'out', check=False), b'')


if __name__ == '__main__':
    unittest.main()
