# SPDX-License-Identifier: Apache-2.0
"""Pushing to a Mega server: the workspace's commits become one over the directory's main, which becomes a change list."""
import os
import shutil
import subprocess
import tempfile
import unittest

from coppice_client import CallError
from mega_server import MegaServer
from node import Node

FOLDER = os.environ.get('COPPICE_TEST_DIR', '/var/tmp')


def git(folder, *args):
    return subprocess.run(['git', '-c', 'safe.directory=*', '-c', 'user.name=T', '-c', 'user.email=t@example.org', '-C', folder, *args],
                          capture_output=True, check=True, timeout=60).stdout


class MegaPush(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='cop-mp-', dir=FOLDER)
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.repository = self.folder + '/mono'
        os.makedirs(self.repository)
        git(self.repository, 'init', '-q', '-b', 'main')
        for i in range(20):
            self.write(f'project/app/d{i % 4}/f{i}.c', f'int f{i};\n')
        self.write('project/lib/b.c', 'int b;\n')
        self.write('project/app/run', '#!/bin/sh\n')
        os.chmod(self.repository + '/project/app/run', 0o755)
        self.save()
        secret = self.folder + '/token'
        with open(secret, 'w', encoding='ascii') as f:
            f.write('letmein\n')
        self.server = MegaServer(self.repository, push_authorization='Bearer letmein')
        self.addCleanup(self.server.close)
        self.node = Node({'mega': {'type': 'mega', 'url': self.server.url, 'auth': {'token_file': secret}}})
        self.node.start()
        self.addCleanup(self.node.close)

    def write(self, name, text, root=None):
        path = os.path.join(root or self.repository, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='ascii') as f:
            f.write(text)

    def save(self):
        git(self.repository, 'add', '-A')
        git(self.repository, 'commit', '-q', '-m', 'mono')

    def mount(self, job, **more):
        return self.node.mount(job, origin='mega', **more)

    def commit(self, job, message):
        self.node.cli('add', job, '--all')
        self.node.cli('commit', job, '-m', message, '--author', 'T <t@example.org>', '--date', '1700000000')

    def push(self, job, **more):
        messages = list(self.node.client.Push(workspace={'job_id': job}, **more))
        return messages[-1].result, messages

    def refused(self, job, **more):
        with self.assertRaises(CallError) as caught:
            self.push(job, **more)
        return caught.exception.code, caught.exception.reason

    def edited(self, job, **more):
        root = self.mount(job, path='project/app', **more).root
        self.write('d1/f1.c', 'int changed;\n', root)
        self.write('new/deep/n.c', 'int n;\n', root)
        shutil.rmtree(root + '/d3')
        os.symlink('run', root + '/link')
        self.commit(job, f'{job}: first\n\nwith a body')
        return root

    def show(self, what, *args):
        return git(self.repository, *args, what).decode().strip()

    def test_a_change_list_is_created_and_updated(self):
        root = self.edited('job')
        result, messages = self.push('job')
        refs = self.server.refs_of('project/app')
        main = refs['refs/heads/main']
        self.assertEqual((result.ref, result.old, result.created, result.up_to_date), ('refs/heads/main', main, True, False))
        self.assertEqual(refs['refs/cl/' + result.change_list], result.new)
        self.assertEqual(self.show(result.new, 'rev-parse', '--verify', '-q').split()[0], result.new)
        self.assertEqual(self.show(f'{result.new}^', 'rev-parse'), main)
        self.assertEqual(git(self.repository, 'diff', '--name-status', '--no-renames', main, result.new).decode().splitlines(),
                         ['M\td1/f1.c', *(f'D\td3/f{i}.c' for i in (11, 15, 19, 3, 7)), 'A\tlink', 'A\tnew/deep/n.c'])
        self.assertEqual(git(self.repository, 'fsck', '--strict', '--no-dangling', result.new), b'')
        self.assertEqual(git(self.repository, 'log', '-1', '--format=%an %ae %at%n%B', result.new).decode().rstrip(),
                         'T t@example.org 1700000000\njob: first\n\nwith a body')
        self.assertTrue(any(m.progress.phase for m in messages[:-1]))

        # again: it is there
        again, _ = self.push('job')
        self.assertEqual((again.new, again.change_list, again.up_to_date), (result.new, result.change_list, True))

        # more: the same change list, still one commit over main
        self.write('d2/f2.c', 'int more;\n', root)
        self.commit('job', 'second')
        more, _ = self.push('job')
        self.assertEqual((more.change_list, more.created, more.up_to_date), (result.change_list, False, False))
        self.assertEqual(self.show(f'{more.new}^', 'rev-parse'), main)
        self.assertEqual(git(self.repository, 'log', '-1', '--format=%B', more.new).decode().rstrip(), 'job: first\n\nwith a body\n\nsecond')
        self.assertEqual(self.show(f'{more.new}:d2/f2.c', 'show'), 'int more;')
        self.assertEqual(self.server.refs_of('project/app')['refs/heads/main'], main)

    def test_a_change_list_over_a_change_list(self):
        """What is pushed has all of it, and the edits."""
        first = self.edited('one')
        self.assertTrue(first)
        pushed, _ = self.push('one')
        root = self.mount('two', path='project/app', change_list={'link': pushed.change_list}).root
        self.assertTrue(os.path.exists(root + '/new/deep/n.c'))
        self.write('d0/f0.c', 'int review;\n', root)
        self.commit('two', 'after review')
        result, _ = self.push('two')
        self.assertEqual((result.change_list, result.created), (pushed.change_list, False))
        self.assertEqual(git(self.repository, 'diff', '--name-status', pushed.new, result.new).decode().splitlines(), ['M\td0/f0.c'])
        self.assertEqual(git(self.repository, 'fsck', '--strict', '--no-dangling', result.new), b'')

    def test_the_root_of_the_monorepo(self):
        root = self.mount('root').root
        self.write('project/lib/b.c', 'int root;\n', root)
        self.commit('root', 'root')
        result, _ = self.push('root')
        self.assertEqual(self.show(f'{result.new}:project/lib/b.c', 'show'), 'int root;')
        self.assertIn('refs/cl/' + result.change_list, self.server.refs_of(''))

    def test_main_has_moved(self):
        self.edited('moved')
        self.write('project/app/other.c', 'int other;\n')
        self.save()
        self.assertEqual(self.refused('moved'), ('FAILED_PRECONDITION', 'NON_FAST_FORWARD'))

    def test_elsewhere_main_may_move(self):
        self.edited('elsewhere')
        self.write('project/lib/b.c', 'int other;\n')
        self.save()
        self.assertTrue(self.push('elsewhere')[0].created)

    def test_refusals(self):
        self.mount('nothing', path='project/app')
        self.assertEqual(self.refused('nothing'), ('FAILED_PRECONDITION', 'NOTHING_TO_PUSH'))
        self.edited('job')
        self.assertEqual(self.refused('job', ref='topic'), ('INVALID_ARGUMENT', 'INVALID_FIELD'))
        self.server.set(push_authorization='Bearer other')
        self.assertEqual(self.refused('job'), ('PERMISSION_DENIED', 'PUSH_DENIED'))

    def test_lost_connections(self):
        """Before the server has it: push again. After: found out, and there is one change list."""
        self.edited('lost')
        self.server.fault('POST .*receive-pack', 'reset')
        self.assertEqual(self.refused('lost'), ('UNAVAILABLE', 'PUSH_LOST'))
        self.server.heal()
        self.server.fault('POST .*receive-pack', 'cut', times=1)
        result, _ = self.push('lost')
        self.assertTrue(result.created)
        self.assertEqual(self.server.refs_of('project/app')['refs/cl/' + result.change_list], result.new)
        self.assertEqual(len([name for name in self.server.refs_of('project/app') if name.startswith('refs/cl/')]), 1)

    def test_the_command_line(self):
        self.edited('cli')
        said = self.node.cli('push', 'cli').stdout
        self.assertRegex(said, r'change list P[A-Z0-9]{7} created')
        self.assertRegex(self.node.cli('push', 'cli').stdout, 'up to date')


if __name__ == '__main__':
    unittest.main()
