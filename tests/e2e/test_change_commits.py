# SPDX-License-Identifier: Apache-2.0
"""Working with Git over a change list, beside a clone in which it was applied with `git apply --index`: the same status, differences and commit ids."""
import base64
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import unittest

from coppice_client import CallError
from node import Node

FOLDER = os.environ.get('COPPICE_TEST_DIR', '/var/tmp')
WHO = {f'GIT_{who}_{what}': value for who in ('AUTHOR', 'COMMITTER')
       for what, value in (('NAME', 'T'), ('EMAIL', 't@example.org'), ('DATE', '1700000000 +0000'))}


def git(folder, *args, stdin=None):
    return subprocess.run(['git', '-c', 'protocol.file.allow=always', '-c', 'safe.directory=*', '-C', folder, *args], input=stdin,
                          capture_output=True, check=True, timeout=60, env={**os.environ, **WHO}).stdout


class Commits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-clc-', dir=FOLDER)
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.clone = cls.folder + '/clone'
        cls.repository = cls.folder + '/repo.git'
        os.makedirs(cls.clone)
        git(cls.clone, 'init', '-q', '-b', 'main')
        for i in range(12):
            cls.write(f'd{i % 3}/f{i}.txt', ''.join(f'line {n}\n' for n in range(30)))
        cls.write('tool', '#!/bin/sh\n')
        cls.module('modules/one', '1' * 40)
        cls.module('modules/two', '2' * 40)
        cls.commit('base')
        git(cls.clone, 'checkout', '-q', '-b', 'topic')
        cls.write('d0/f0.txt', 'changed by the list\n')
        cls.write('new/deep/file', 'made by the list\n')
        os.chmod(cls.clone + '/tool', 0o755)
        os.unlink(cls.clone + '/d1/f1.txt')
        os.symlink('tool', cls.clone + '/link')
        cls.module('modules/one', '3' * 40)
        cls.module('modules/three', '4' * 40)
        cls.commit('topic')
        git(cls.clone, 'checkout', '-q', '-b', 'ahead', 'main')
        cls.write('d2/f2.txt', 'main went on\n')
        cls.commit('ahead')
        git(cls.folder, 'clone', '-q', '--bare', cls.clone, cls.repository)
        cls.node = Node({'demo': cls.repository})
        cls.node.start()
        cls.addClassCleanup(cls.node.close)

    @classmethod
    def write(cls, name, text, root=None):
        path = os.path.join(root or cls.clone, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='ascii') as f:
            f.write(text)

    @classmethod
    def module(cls, name, commit):
        git(cls.clone, 'update-index', '--add', '--cacheinfo', f'160000,{commit},{name}')
        os.makedirs(f'{cls.clone}/{name}', exist_ok=True)

    @classmethod
    def commit(cls, message):
        git(cls.clone, 'add', '-A')
        git(cls.clone, 'commit', '-q', '-m', message)

    def tearDown(self):
        for m in self.node.client.ListMounts().mounts:
            self.node.client.DeleteMount(mount_id=m.mount_id)

    def twin(self, branch, patch=None):
        """A clone at a branch, with the patch staged."""
        path = tempfile.mkdtemp(dir=self.folder) + '/twin'
        git(self.folder, 'clone', '-q', '-b', branch, self.repository, path)
        if patch:
            git(path, 'apply', '--index', '-', stdin=patch)
        return path

    def cli(self, *args):
        return self.node.cli(*args).stdout

    def check(self, job, twin):
        self.assertEqual(sorted(self.cli('status', job).splitlines()), sorted(git(twin, 'status', '--porcelain=v1').decode().splitlines()))
        for words in (('--staged',), ()):
            self.assertEqual(self.cli('diff', job, *words), git(twin, 'diff', '-M', *words).decode())

    def commit_both(self, job, twin, message):
        git(twin, 'commit', '-q', '-m', message)
        self.cli('commit', job, '-m', message, '--author', 'T <t@example.org>', '--date', '1700000000')
        self.assertEqual(self.cli('log', job, '--limit', '1').split()[1][:12], git(twin, 'rev-parse', 'HEAD').decode()[:12])

    def work(self, job, root, twin):
        """Some edits, two commits; the push gives the server exactly them."""
        self.check(job, twin)
        base = git(twin, 'rev-parse', 'HEAD').decode().strip()
        for at in (root, twin):
            self.write('d0/f3.txt', 'changed by the job\n', at)
            self.write('new/deep/more', 'made by the job\n', at)
        self.check(job, twin)
        self.cli('add', job, '--all')
        git(twin, 'add', '-A', ':!modules')
        self.check(job, twin)
        self.commit_both(job, twin, 'one')
        self.check(job, twin)
        for at in (root, twin):
            os.unlink(at + '/new/deep/file')
        self.cli('add', job, '--all')
        git(twin, 'add', '-A', ':!modules')
        self.commit_both(job, twin, 'two')
        self.check(job, twin)
        self.cli('push', job, '--ref', job)
        self.assertEqual(git(self.repository, 'rev-parse', job), git(twin, 'rev-parse', 'HEAD'))
        self.assertEqual(git(self.repository, 'fsck', '--strict', '--no-dangling', job), b'')
        self.assertEqual(git(self.repository, 'diff', base, job), git(twin, 'diff', base, 'HEAD'))

    def patch(self):
        return git(self.repository, 'diff', '--binary', 'main', 'topic')

    def test_a_patch(self):
        mount = self.node.mount('patch', revision='main', change_list={'patch': base64.b64encode(self.patch()).decode()})
        self.work('patch', mount.root, self.twin('main', self.patch()))

    def test_a_range_over_what_went_on(self):
        mount = self.node.mount('range', revision='ahead', change_list={'range': 'main..topic'})
        self.work('range', mount.root, self.twin('ahead', self.patch()))

    def test_a_ref_that_is_shown_as_it_is(self):
        """Commits go on from it, and it can be pushed to."""
        mount = self.node.mount('ref', revision='main', change_list={'ref': 'topic'})
        self.work('ref', mount.root, self.twin('topic'))

    def test_an_archive(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode='w') as tar:
            for name, data in (('d0/f0.txt', b'from the archive\n'), ('made/here', b'x\n')):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        archive = base64.b64encode(out.getvalue()).decode()
        mount = self.node.mount('tar', revision='main', change_list={'tar': {'tar': archive, 'deleted': [base64.b64encode(b'd1').decode()]}})
        twin = self.twin('main')
        git(twin, 'rm', '-rq', 'd1')
        subprocess.run(['tar', '-x', '-C', twin], input=out.getvalue(), check=True, timeout=60)
        git(twin, 'add', 'd0', 'made')
        self.write('new/deep/file', 'x\n', mount.root)
        self.write('new/deep/file', 'x\n', twin)
        self.work('tar', mount.root, twin)

    def test_below_a_path(self):
        mount = self.node.mount('below', revision='ahead', path='d0', change_list={'range': 'main..topic'})
        self.assertEqual(self.cli('status', 'below').splitlines(), ['M  f0.txt'])
        self.write('mine', 'x\n', mount.root)
        self.cli('add', 'below', '--all')
        self.cli('commit', 'below', '-m', 'below', '--author', 'T <t@example.org>', '--date', '1700000000')
        self.cli('push', 'below', '--ref', 'below')
        self.assertEqual(git(self.repository, 'diff', '--name-status', 'ahead', 'below').decode().splitlines(), ['M\td0/f0.txt', 'A\td0/mine'])
        self.assertEqual(git(self.repository, 'fsck', '--strict', '--no-dangling', 'below'), b'')

    def test_switching_the_list(self):
        """What is staged goes along."""
        self.node.mount('switch', revision='main')
        patch = {'patch': base64.b64encode(self.patch()).decode()}
        self.cli('status', 'switch')
        self.node.client.SetChangeList(job_id='switch', change_list=patch)
        self.check('switch', self.twin('main', self.patch()))
        self.node.client.SetChangeList(job_id='switch', change_list={'ref': 'topic'})
        self.check('switch', self.twin('topic'))
        self.node.client.ClearChangeList(job_id='switch')
        self.check('switch', self.twin('main'))
        self.node.client.SetChangeList(job_id='switch', change_list=patch)
        self.cli('commit', 'switch', '-m', 'mine', '--author', 'T <t@example.org>')
        with self.assertRaises(CallError) as caught:
            self.node.client.ClearChangeList(job_id='switch')  # it has a submodule
        self.assertEqual(caught.exception.reason, 'WORKSPACE_HAS_COMMITS')

    def test_a_hard_reset_takes_it_away(self):
        """As in the clone: HEAD does not have it. A restart finds everything as it was."""
        mount = self.node.mount('reset', revision='main', change_list={'patch': base64.b64encode(self.patch()).decode()})
        twin = self.twin('main', self.patch())
        self.cli('status', 'reset')
        self.node.kill()
        self.node.start()
        self.check('reset', twin)
        self.cli('reset', 'reset', '--hard')
        git(twin, 'reset', '-q', '--hard')
        self.check('reset', twin)
        with open(mount.root + '/d0/f0.txt', encoding='ascii') as f:
            self.assertTrue(f.read().startswith('line 0'))


if __name__ == '__main__':
    unittest.main()
