#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Git LFS on the way out: what .gitattributes send there is committed as a pointer, and its content goes to the LFS server with a push."""
import hashlib
import os
import shutil
import tempfile
import unittest

import repo_maker
from coppice_client import CallError
from mega_server import MegaServer
from node import Node
from twin import git

ATTRIBUTES = b'*.bin filter=lfs diff=lfs merge=lfs -text\n'


def pointer(data):
    return (f'version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(data).hexdigest()}\n'
            f'size {len(data)}\n').encode()


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as f:
        f.write(data)


def read(path):
    with open(path, 'rb') as f:
        return f.read()


class WorkflowLfs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='cop-wflfs-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.repository = os.path.join(self.folder, 'repo.git')
        self.old = b'old content ' * 5000
        repo = repo_maker.Repo(self.repository)
        repo.begin()
        repo.add(b'.gitattributes', ATTRIBUTES)
        repo.add(b'a/old.bin', pointer(self.old))
        repo.add(b'a/text', b'text\n')
        self.base = repo.finish()
        self.server = MegaServer(self.repository)
        self.addCleanup(self.server.close)
        self.server.add_lfs(self.old)

    def node(self):
        lfs = {'type': 'git', 'url': self.repository, 'lfs': True, 'lfs_url': self.server.url + '/info/lfs', 'timeout': '2s'}
        return Node({'demo': lfs, 'plain': {'type': 'git', 'url': self.repository}})

    def commit(self, node, job):
        node.cli('add', job, '-A')
        return node.cli('commit', job, '-m', 'x', '--author', 'a <b>').stdout.strip()

    def push(self, node, job, ref):
        answers = list(node.client.Push(workspace={'job_id': job}, ref=ref))
        return answers[-1].result, [a.progress for a in answers[:-1]]

    def uploads(self):
        return self.server.count('PUT /info/lfs/objects')

    def blob(self, commit, path):
        return git(self.repository, 'cat-file', 'blob', f'{commit}:{path}')

    def test_pointers_are_committed_and_contents_uploaded(self):
        new, large = b'new content\n' * 100, os.urandom(3 << 20)
        with self.node() as node:
            root = node.mount('job').root
            write(root + '/a/old.bin', self.old)  # the same again
            write(root + '/a/text', b'changed\n')
            self.assertEqual(node.cli('status', 'job').stdout, ' M a/text\n')
            write(root + '/a/old.bin', self.old + b'more')
            write(root + '/b/new.bin', new)
            write(root + '/b/empty.bin', b'')
            write(root + '/b/large.bin', large)
            write(root + '/b/pointer.bin', pointer(self.old))  # is one already
            write(root + '/b/other', new)  # not sent there
            first = self.commit(node, 'job')
            self.assertEqual(node.cli('status', 'job').stdout, '')
            write(root + '/b/new.bin', new * 2)
            self.assertEqual(node.cli('status', 'job').stdout, ' M b/new.bin\n')
            self.assertIn('+oid sha256:' + hashlib.sha256(new * 2).hexdigest(), node.cli('diff', 'job').stdout)
            second = self.commit(node, 'job')
            self.assertEqual(self.uploads(), 0)
            _, progress = self.push(node, 'job', 'out')
            self.assertEqual(self.uploads(), 4)  # old and more, new, new twice, large
            self.assertEqual(self.server.count('POST /info/lfs/verify'), 4)
            told = [p for p in progress if p.phase == 5]
            self.assertEqual((told[-1].objects, told[-1].bytes), (4, len(self.old) + 4 + 3 * len(new) + len(large)))
            self.assertEqual(self.blob(first, 'b/new.bin'), pointer(new))
            for path, data in (('a/old.bin', pointer(self.old + b'more')), ('b/new.bin', pointer(new * 2)), ('b/empty.bin', b''),
                               ('b/large.bin', pointer(large)), ('b/pointer.bin', pointer(self.old)), ('b/other', new)):
                self.assertEqual(self.blob(second, path), data, path)
            self.assertEqual(git(self.repository, 'fsck', '--strict', '--no-dangling'), b'')
            result, _ = self.push(node, 'job', 'again')  # a second push sends no content again
            self.assertEqual((result.new, self.uploads()), (second, 4))
            other = node.mount('other', revision='out').root
            for path, data in (('a/old.bin', self.old + b'more'), ('b/new.bin', new * 2), ('b/large.bin', large), ('b/pointer.bin', self.old)):
                self.assertEqual(read(f'{other}/{path}'), data, path)

    def test_a_hard_reset_writes_contents(self):
        with self.node() as node:
            root = node.mount('job').root
            write(root + '/b/new.bin', b'one')
            write(root + '/a/moved.bin', self.old)
            self.commit(node, 'job')
            for path in ('b/new.bin', 'a/moved.bin', 'a/old.bin'):
                write(f'{root}/{path}', b'two')
            node.cli('reset', 'job', '--hard')
            self.assertEqual([read(f'{root}/{p}') for p in ('b/new.bin', 'a/moved.bin', 'a/old.bin')], [b'one', self.old, self.old])
            self.assertEqual(node.cli('status', 'job').stdout, '')

    def test_an_origin_without_lfs_commits_files_as_they_are(self):
        with self.node() as node:
            root = node.mount('plain', origin='plain').root
            self.assertEqual(read(root + '/a/old.bin'), pointer(self.old))
            write(root + '/a/new.bin', b'new')
            commit = self.commit(node, 'plain')
            self.push(node, 'plain', 'plain')
            self.assertEqual((self.blob(commit, 'a/new.bin'), self.uploads()), (b'new', 0))

    def test_contents_are_charged(self):
        with self.node() as node:
            root = node.mount('job', quota={'bytes': 1 << 20, 'inodes': 1000}).root
            write(root + '/new.bin', os.urandom(600 << 10))
            with self.assertRaises(CallError) as caught:
                node.client.Add(workspace={'job_id': 'job'}, all=True)
            self.assertEqual((caught.exception.code, caught.exception.reason), ('RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED'))
            self.assertIn('new.bin', caught.exception.message)
            self.assertEqual(node.cli('status', 'job').stdout, '?? new.bin\n')
            node.client.UpdateMount(job_id='job', update_mask=['quota.bytes'], quota={'bytes': 4 << 20})
            self.commit(node, 'job')

    def test_a_server_that_fails_stops_the_push(self):
        with self.node() as node:
            root = node.mount('job').root
            write(root + '/new.bin', b'new')
            self.commit(node, 'job')
            for match, status, code, reason in (('PUT', 500, 'UNAVAILABLE', 'ORIGIN_UNAVAILABLE'), ('PUT', 403, 'PERMISSION_DENIED', 'PUSH_DENIED'),
                                                ('POST /info/lfs/objects/batch', 404, 'UNAVAILABLE', 'ORIGIN_UNAVAILABLE'),
                                                ('POST /info/lfs/verify', 404, 'UNAVAILABLE', 'ORIGIN_UNAVAILABLE')):
                self.server.fault(match, 'status', status=status)
                with self.assertRaises(CallError) as caught:
                    self.push(node, 'job', 'failed')
                self.server.heal()
                self.assertEqual((caught.exception.code, caught.exception.reason), (code, reason), caught.exception)
                self.assertIn('new.bin', caught.exception.message)
                self.assertEqual(git(self.repository, 'rev-parse', '-q', '--verify', 'failed', check=False), b'')
            result, _ = self.push(node, 'job', 'failed')
            self.assertTrue(result.created)


if __name__ == '__main__':
    unittest.main()
