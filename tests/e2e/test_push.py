#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Pushing the commits of a workspace: to a repository on this disk and to a server, and all the ways in which a server says no."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import repo_maker
from coppice_client import CallError
from git_server import USER, Authority, HttpServer, SshServer
from node import Node, wait_until
from ports import free_port
from twin import git


def answers(port):
    with socket.socket() as s:
        return s.connect_ex(('127.0.0.1', port)) == 0


class Push(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-push-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo = repo_maker.Repo(cls.repository)
        repo.begin()
        for i in range(400):
            repo.add(f'd{i % 20}/e{i % 7}/file{i}'.encode(), b'%d\n' % i)
        repo.submodule(b'd0/module', b'1' * 40)
        repo.add(b'large.txt', b''.join(b'%064x\n' % (i * 0x9e3779b97f4a7c15 ** 4 % 2 ** 256) for i in range(10000)))
        for i in range(3000):
            repo.add(b'many/file%d' % i, b'%d\n' % i)
        cls.base = repo.finish()
        # a history behind the base, which a push must not need
        tree = git(cls.repository, 'rev-parse', 'main^{tree}').decode().strip()
        for i in range(3):
            cls.base = git(cls.repository, 'commit-tree', tree, '-p', cls.base, '-m', f'older {i}').decode().strip()
        git(cls.repository, 'update-ref', 'refs/heads/main', cls.base)
        cls.port, closed = free_port(), free_port()
        daemon = subprocess.Popen(['git', '-c', 'safe.directory=*', 'daemon', '--reuseaddr', '--export-all', '--enable=receive-pack',
                                   '--listen=127.0.0.1', f'--port={cls.port}', '--base-path=' + cls.folder, cls.folder],
                                  stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        cls.addClassCleanup(daemon.wait)
        cls.addClassCleanup(os.killpg, daemon.pid, signal.SIGKILL)
        wait_until(lambda: answers(cls.port), 20, 'git daemon answers')
        cls.node = Node(tenants='''
  - {name: ops, admin: true, quota: {mounts: 50}, identities: [{unix_uid: 0}]}
  - {name: may, origins: [{name: demo, push: true}], identities: [{unix_uid: 61000}]}
  - {name: may-not, origins: [{name: demo}], identities: [{unix_uid: 61001}]}
''', extra=f'''
origins:
  - {{name: demo, type: git, url: "{cls.repository}"}}
  - {{name: far, type: git, url: "{cls.repository}", push_url: "git://127.0.0.1:{cls.port}/repo.git"}}
  - {{name: none, type: git, url: "{cls.repository}", push_url: "git://127.0.0.1:{cls.port}/none.git"}}
  - {{name: closed, type: git, url: "{cls.repository}", push_url: "http://127.0.0.1:{closed}/repo.git"}}
''')
        cls.node.__enter__()
        cls.addClassCleanup(cls.node.close)

    def tearDown(self):
        hook = self.repository + '/hooks/pre-receive'
        if os.path.exists(hook):
            os.unlink(hook)
        for m in self.node.client.ListMounts().mounts:
            self.node.client.DeleteMount(mount_id=m.mount_id)

    def hook(self, text):
        path = self.repository + '/hooks/pre-receive'
        with open(path, 'w', encoding='ascii') as f:
            f.write('#!/bin/sh\n' + text)
        os.chmod(path, 0o755)

    def commit(self, job, name, text='text\n'):
        """A change and its commit."""
        root = self.node.client.GetMount(job_id=job).root
        os.makedirs(os.path.dirname(f'{root}/{name}'), exist_ok=True)
        with open(f'{root}/{name}', 'w', encoding='ascii') as f:
            f.write(text)
        self.node.cli('add', job, '-A')
        return self.node.cli('commit', job, '-m', 'change ' + name, '--author', 'A U Thor <author@example.org>').stdout.strip()

    def push(self, job, **fields):
        answers_ = list(self.node.client.Push(workspace={'job_id': job}, **fields))
        return answers_[-1].result, [a.progress for a in answers_[:-1]]

    def at(self, ref):
        return git(self.repository, 'rev-parse', '--verify', '-q', ref, check=False).decode().strip()

    def fails(self, code, reason, job, **fields):
        with self.assertRaises(CallError) as caught:
            self.push(job, **fields)
        self.assertEqual((caught.exception.code, caught.exception.reason), (code, reason), caught.exception)
        return caught.exception

    def test_push(self):
        for origin in ('demo', 'far'):
            with self.subTest(origin=origin):
                root, ref = self.node.mount(origin, origin=origin).root, 'refs/heads/' + origin
                first = self.commit(origin, 'd3/e3/new')
                os.rename(root + '/d5', root + '/moved')  # 20 files, no object of theirs is new
                shutil.rmtree(root + '/d6')
                second = self.commit(origin, 'd4/e4/other')
                result, progress = self.push(origin, ref=origin)
                self.assertEqual((result.ref, result.old, result.new, result.created, result.up_to_date), (ref, '', second, True, False))
                self.assertEqual(self.at(ref), second)
                self.assertEqual(git(self.repository, 'fsck', '--strict', '--no-dangling'), b'')
                self.assertEqual(git(self.repository, 'rev-list', f'{self.base}..{ref}').decode().split(), [second, first])
                written = [p for p in progress if p.phase == 3]  # two commits, their roots, d3 d4 e3 e4 and two files
                self.assertEqual((written[-1].objects, written[-1].total), (9, 9))
                result, _ = self.push(origin, ref=ref)
                self.assertTrue(result.up_to_date)
                third = self.commit(origin, 'd3/e3/new', 'again\n')
                result, _ = self.push(origin, ref=ref)
                self.assertEqual((result.old, result.new, result.created), (second, third, False))
                out = subprocess.run(['git', 'clone', '-q', '-b', origin, self.repository, f'{self.folder}/{origin}-out'], timeout=60, check=True)
                self.assertEqual(out.returncode, 0)
                seen = {os.path.relpath(os.path.join(at, n), r) for r in (root,) for at, _, ns in os.walk(r) for n in ns}
                got = {os.path.relpath(os.path.join(at, n), r) for r in (f'{self.folder}/{origin}-out',) for at, d, ns in os.walk(r)
                       if '.git' not in at for n in ns}
                self.assertEqual(seen, got)

    def test_default_reference(self):
        self.node.mount('branch', origin='demo', revision='main')
        git(self.repository, 'branch', 'before', self.base)
        commit = self.commit('branch', 'd1/on-main')
        self.assertEqual(self.node.cli('push', 'branch').stdout, f'refs/heads/main {self.base[:12]}..{commit[:12]}\n')
        self.assertEqual(self.at('main'), commit)
        git(self.repository, 'update-ref', 'refs/heads/main', self.base)
        self.node.mount('nameless', origin='demo', revision=self.base)
        self.commit('nameless', 'x')
        self.fails('INVALID_ARGUMENT', 'INVALID_FIELD', 'nameless')

    def test_part_of_the_repository(self):
        self.node.mount('part', origin='demo', path='d7/e0')
        commit = self.commit('part', 'sub/new')
        self.push('part', ref='part')
        self.assertEqual(git(self.repository, 'diff', '--name-only', self.base, commit), b'd7/e0/sub/new\n')
        self.assertEqual(self.at('part'), commit)

    def test_somebody_else_was_faster(self):
        self.node.mount('slow', origin='demo')
        commit = self.commit('slow', 'mine')
        self.push('slow', ref='busy')
        other = git(self.repository, 'commit-tree', f'{self.base}^{{tree}}', '-p', self.base, '-m', 'other').decode().strip()
        git(self.repository, 'update-ref', 'refs/heads/busy', other)
        self.commit('slow', 'mine', 'more')
        e = self.fails('FAILED_PRECONDITION', 'NON_FAST_FORWARD', 'slow', ref='busy')
        self.assertEqual(e.metadata['old'], other)
        self.fails('FAILED_PRECONDITION', 'NON_FAST_FORWARD', 'slow', ref='busy', force_with_lease=commit)
        self.assertEqual(self.at('busy'), other)
        result, _ = self.push('slow', ref='busy', force_with_lease=other)
        self.assertEqual((result.old, self.at('busy')), (other, result.new))

    def test_a_small_change_of_a_large_file_is_sent_as_such(self):
        root = self.node.mount('delta', origin='demo').root
        with open(root + '/large.txt', 'r+b') as f:
            f.seek(100000)
            f.write(b'a few bytes')
        for i in range(3):  # and of a large directory
            with open(f'{root}/many/new{i}', 'wb') as f:
                f.write(b'%d' % i)
        self.node.cli('add', 'delta', '-A')
        self.node.cli('commit', 'delta', '-m', 'x', '--author', 'a <b>')
        _, progress = self.push('delta', ref='delta')
        sent = max(p.bytes for p in progress if p.phase == 3)
        self.assertLess(sent, 20000)
        self.assertEqual(git(self.repository, 'fsck', '--strict', '--no-dangling'), b'')

    def test_the_server_has_moved_on(self):
        """No reference of the server is the commit that was mounted: it is behind all of them, as it is a day later."""
        for origin in ('demo', 'far'):
            with self.subTest(origin=origin):
                self.node.mount('later-' + origin, origin=origin, revision=self.base)
                commit = self.commit('later-' + origin, 'd1/e1/later', origin)
                git(self.repository, 'update-ref', 'refs/heads/main', git(
                    self.repository, 'commit-tree', f'{self.base}^{{tree}}', '-p', self.base, '-m', 'later').decode().strip())
                self.addCleanup(git, self.repository, 'update-ref', 'refs/heads/main', self.base)
                for ref in git(self.repository, 'for-each-ref', '--format=%(refname)', '--points-at', self.base).decode().split():
                    git(self.repository, 'update-ref', '-d', ref)
                result, progress = self.push('later-' + origin, ref='later-' + origin)
                self.assertEqual((result.new, self.at('later-' + origin)), (commit, commit))
                self.assertEqual(git(self.repository, 'fsck', '--strict', '--no-dangling'), b'')
                written = [p for p in progress if p.phase == 3]  # the commit, its root, d1, e1 and the file
                self.assertEqual(written[-1].total, 5)
                git(self.repository, 'update-ref', '-d', 'refs/heads/later-' + origin)

    def test_the_server_hides_the_base_from_who_pushes(self):
        """It names it to who reads: what it says there is no promise."""
        git(self.repository, 'config', 'receive.hideRefs', 'refs/heads/main')
        self.addCleanup(git, self.repository, 'config', '--unset', 'receive.hideRefs')
        for ref in git(self.repository, 'for-each-ref', '--format=%(refname)', '--points-at', self.base).decode().split():
            if ref != 'refs/heads/main':
                git(self.repository, 'update-ref', '-d', ref)
        self.node.mount('hidden', origin='far')
        commit = self.commit('hidden', 'd2/hidden')
        result, progress = self.push('hidden', ref='hidden')
        self.assertEqual((result.new, self.at('hidden')), (commit, commit))
        self.assertEqual([p for p in progress if p.phase == 3][-1].total, 4)  # the commit, its root, d2 and the file

    def test_a_hook_refuses(self):
        for origin in ('demo', 'far'):
            self.node.mount('hook-' + origin, origin=origin)
            self.commit('hook-' + origin, 'x')
            self.hook('echo "not on a Sunday" >&2\nexit 1\n')
            e = self.fails('FAILED_PRECONDITION', 'PUSH_REFUSED', 'hook-' + origin, ref='refused')
            self.assertIn('not on a Sunday', e.message)
            self.assertEqual(self.at('refused'), '')
            self.hook('echo "welcome" >&2\n')
            _, progress = self.push('hook-' + origin, ref='accepted-' + origin)
            self.assertIn(b'welcome', b' '.join(p.text for p in progress))

    def test_servers_that_are_not_there(self):
        self.node.mount('gone', origin='closed')
        self.commit('gone', 'x')
        self.fails('UNAVAILABLE', 'ORIGIN_UNAVAILABLE', 'gone', ref='x')
        self.node.mount('none', origin='none')
        self.commit('none', 'x')
        with self.assertRaises(CallError) as caught:
            self.push('none', ref='x')
        self.assertIn(caught.exception.reason, ('ORIGIN_NOT_FOUND', 'ORIGIN_UNAVAILABLE'), caught.exception)

    def test_the_answer_is_lost(self):
        """The server has done it, and the connection breaks before it says so."""
        self.node.mount('lost', origin='far')
        commit = self.commit('lost', 'x')
        hook = self.repository + '/hooks/post-receive'
        with open(hook, 'w', encoding='ascii') as f:  # kills receive-pack when all is done but the report
            f.write('#!/bin/sh\nkill -9 $PPID\n')
        os.chmod(hook, 0o755)
        try:
            result, _ = self.push('lost', ref='lost')
        finally:
            os.unlink(hook)
        self.assertEqual((result.new, self.at('lost')), (commit, commit))
        self.hook('kill -9 $PPID\n')  # before anything is done
        self.commit('lost', 'y')
        self.fails('UNAVAILABLE', 'PUSH_LOST', 'lost', ref='lost')
        self.assertEqual(self.at('lost'), commit)

    def test_words(self):
        self.node.mount('words', origin='demo')
        self.fails('FAILED_PRECONDITION', 'NOTHING_TO_PUSH', 'words', ref='x')
        self.commit('words', 'x')
        for ref in ('refs/heads/a..b', 'a b', 'refs/x', 'a.lock', '-x/~y', 'a/', '0' * 40, 'refs/heads/.x'):
            self.fails('INVALID_ARGUMENT', 'INVALID_FIELD', 'words', ref=ref)
        self.fails('INVALID_ARGUMENT', 'INVALID_FIELD', 'words', ref='x', force_with_lease='main')
        self.assertNotIn('push-', ' '.join(os.listdir(self.workspace('words') + '/git')))

    def test_what_a_dead_push_has_left(self):
        self.node.mount('dead', origin='demo')
        self.commit('dead', 'x')
        left = self.workspace('dead') + '/git/push-1-abcdef/objects'
        os.makedirs(left)
        self.push('dead', ref='dead')
        self.assertNotIn('push-', ' '.join(os.listdir(self.workspace('dead') + '/git')))

    def workspace(self, job):
        return os.path.join(self.node.data, 'workspaces', self.node.client.GetMount(job_id=job).mount_id)

    def test_grants(self):
        for uid, tenant, reason in ((61000, 'may', None), (61001, 'may-not', 'PUSH_NOT_ALLOWED')):
            root = self.node.mount('granted', origin='demo', tenant=tenant).root
            with open(root + '/new', 'w', encoding='ascii') as f:
                f.write(tenant)
            self.node.cli('add', 'granted', '-A', '--tenant', tenant)
            self.node.cli('commit', 'granted', '-m', 'x', '--author', 'a <b>', '--tenant', tenant)
            answer = self.node.call_as(uid, 'Push', workspace={'job_id': 'granted'}, ref=tenant)
            self.assertEqual(answer.get('error', {}).get('reason'), reason, answer)

    def test_deleted_meanwhile(self):
        self.node.mount('short', origin='far')
        self.commit('short', 'x')
        self.hook(f'touch {self.folder}/waiting\nsleep 30\n')
        failure = []

        def push():
            try:
                self.push('short', ref='short')
            except CallError as e:
                failure.append(e)
        thread = threading.Thread(target=push)
        thread.start()
        wait_until(lambda: os.path.exists(self.folder + '/waiting'), 20, 'the hook runs')
        began = time.monotonic()
        self.node.client.DeleteMount(job_id='short')
        thread.join(20)
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual([(e.code, e.reason) for e in failure], [('FAILED_PRECONDITION', 'NOT_READY')])
        git(self.repository, 'config', 'x.y', 'z')  # the repository is as good as before


class Servers(unittest.TestCase):
    """Workspaces of a repository on a server, pushed back to it: with passwords, certificates and keys."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='cop-push-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.repository = os.path.join(self.folder, 'repo.git')
        repo = repo_maker.Repo(self.repository)
        repo.begin()
        for i in range(60):
            repo.add(f'd{i % 5}/file{i}'.encode(), b'%d\n' % i)
        self.base = repo.finish()
        git(self.repository, 'config', 'http.receivepack', 'true')

    def secret(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, 'w', encoding='ascii') as f:
            f.write(text)
        os.chmod(path, 0o600)
        return path

    def push(self, origin):
        """A commit in a workspace of this origin, and where it is on the server afterwards."""
        with Node(extra='origins:\n  - ' + origin) as node:
            root = node.mount('job', origin='hub').root
            with open(root + '/d1/new', 'w', encoding='ascii') as f:
                f.write('new\n')
            node.cli('add', 'job', '-A')
            commit = node.cli('commit', 'job', '-m', 'new', '--author', 'a <b>').stdout.strip()
            try:
                result = list(node.client.Push(workspace={'job_id': 'job'}, ref='pushed'))[-1].result
                self.assertEqual((result.new, result.created), (commit, True))
            finally:
                for text in ('hunter2', 'tok-en'):
                    self.assertNotIn(text, node.log_text())
            self.assertEqual(git(self.repository, 'rev-parse', 'pushed').decode().strip(), commit)
            self.assertEqual(git(self.repository, 'fsck', '--strict', '--no-dangling'), b'')

    def test_https_with_a_password(self):
        authority = Authority(self.folder)
        with HttpServer(self.folder, {'repo.git': self.repository}, password='hunter2', tls=authority) as server:
            auth = f'auth: {{username: {USER}, password_file: "{self.secret("right", "hunter2")}"}}'
            tls = f'tls: {{ca: "{authority.ca}"}}'
            self.push(f'{{name: hub, type: git, url: "{server.url("repo.git")}", {auth}, {tls}}}')
            wrong = f'auth: {{username: {USER}, password_file: "{self.secret("wrong", "guess")}"}}'
            with self.assertRaises(CallError) as caught:
                self.push(f'{{name: hub, type: git, url: "{self.repository}", push_url: "{server.url("repo.git")}", {wrong}, {tls}}}')
            self.assertEqual((caught.exception.code, caught.exception.reason), ('PERMISSION_DENIED', 'PUSH_DENIED'), caught.exception)

    def test_ssh(self):
        with SshServer(self.folder, {'repo.git': self.repository}) as server:
            with open(server.key('host') + '.pub', encoding='ascii') as f:
                known = self.secret('known', f'[127.0.0.1]:{server.port} ' + f.read())
            auth = f'auth: {{ssh_key_file: "{server.key("client")}", ssh_known_hosts_file: "{known}"}}'
            self.push(f'{{name: hub, type: git, url: "{server.url("repo.git")}", {auth}}}')


if __name__ == '__main__':
    unittest.main()
