# SPDX-License-Identifier: Apache-2.0
"""Repositories on Git servers: over every transport the tree is that of `git archive`; names, ids and expressions are resolved;
branches are asked for again; and a server that refuses, hides, or cannot do what we want is told as what it is."""
import os
import shutil
import subprocess
import tempfile
import unittest

import repo_maker
from coppice_client import CallError
from git_server import Authority, DaemonServer, HttpServer, SshServer
from node import Node
from tree_compare import Comparison, git_archive


def git(repository, *args):
    return subprocess.run(['git', '-c', 'safe.directory=*', '-C', repository, *args], check=True, capture_output=True, text=True,
                          timeout=60).stdout.strip()


class GitRemote(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-gitremote-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        cls.commit = repo_maker.make(cls.repository, files=300, odd=True, large_mb=0, c_project=0, seed=5, pack=True)
        cls.want = git_archive(cls.repository, cls.commit, os.path.join(cls.folder, 'want'))
        cls.repos = {'repo.git': cls.repository}

    def work_on(self, name):
        """A copy of the repository, and a function that commits to it with the text of a file."""
        path = os.path.join(self.folder, name)
        subprocess.run(['git', 'clone', '-q', '--bare', self.repository, path], check=True, timeout=60)

        def commit(text, branch='main', parent=None):
            blob = subprocess.run(['git', '-C', path, 'hash-object', '-w', '--stdin'], input=text, check=True, capture_output=True,
                                  text=True, timeout=60).stdout.strip()
            tree = subprocess.run(['git', '-C', path, 'mktree'], input=f'100644 blob {blob}\tfile\n', check=True,
                                  capture_output=True, text=True, timeout=60).stdout.strip()
            parent_args = ['-p', parent] if parent else []
            made = git(path, '-c', 'user.name=a', '-c', 'user.email=a@b', 'commit-tree', '-m', text, *parent_args, tree)
            git(path, 'update-ref', f'refs/heads/{branch}', made)
            return made
        return path, commit

    def read(self, *path):
        with open(os.path.join(*path), 'rb') as f:
            return f.read()

    def assert_same_tree(self, origin):
        with Node({'demo': origin}) as node:
            mount = node.mount('job')
            self.assertEqual(mount.commit, self.commit)
            found = Comparison(self.want, mount.root)
            self.assertEqual(found.differences, [])
            self.assertGreater(found.entries, 300)
            return node.log_text()

    def test_http(self):
        with HttpServer(self.folder, self.repos) as server:
            self.assertNotIn('origin_mirrored', self.assert_same_tree(server.url('repo.git')))

    def test_http_with_sizes(self):
        with HttpServer(self.folder, self.repos, object_info=True) as server:
            self.assertNotIn('origin_mirrored', self.assert_same_tree(server.url('repo.git')))

    def test_http_mirror(self):
        with HttpServer(self.folder, self.repos) as server:
            self.assert_same_tree({'url': server.url('repo.git'), 'mode': 'mirror'})

    def test_http_without_filter(self):
        with HttpServer(self.folder, self.repos, allow_filter=False) as server:
            self.assertIn('origin_mirrored', self.assert_same_tree(server.url('repo.git')))

    def test_git_daemon(self):
        with DaemonServer(self.folder, self.repos) as server:
            self.assertNotIn('origin_mirrored', self.assert_same_tree(server.url('repo.git')))
            self.assert_same_tree({'url': server.url('repo.git'), 'mode': 'mirror'})

    def test_ssh(self):
        with SshServer(self.folder, self.repos) as server:
            key, hosts = server.client_files()
            auth = {'ssh_key_file': key, 'ssh_known_hosts_file': hosts}
            origin = {'url': server.url('repo.git'), 'auth': auth}
            self.assertNotIn('origin_mirrored', self.assert_same_tree(origin))
            self.assert_same_tree(dict(origin, mode='mirror'))
            server.client_files(known=False)
            self.assert_mount_fails(origin, 'FAILED_PRECONDITION', 'ORIGIN_AUTH_FAILED', 'host key')

    def test_tls_and_password(self):
        secret = os.path.join(self.folder, 'secret')
        with open(secret, 'w', encoding='ascii') as f:
            f.write('correct horse\n')
        authority = Authority(self.folder)
        with HttpServer(self.folder, self.repos, password='correct horse', tls=authority) as server:
            origin = {'url': server.url('repo.git'), 'tls': {'ca': authority.ca},
                      'auth': {'username': 'builder', 'password_file': secret}}
            log = self.assert_same_tree(origin)
            self.assertNotIn('correct horse', log)
            self.assert_same_tree(dict(origin, mode='mirror'))
            self.assert_mount_fails({k: v for k, v in origin.items() if k != 'auth'}, 'FAILED_PRECONDITION',
                                    'ORIGIN_AUTH_FAILED', 'auth')
            self.assert_mount_fails({k: v for k, v in origin.items() if k != 'tls'}, 'UNAVAILABLE', 'ORIGIN_TLS_FAILED', 'tls.ca')
            with open(secret, 'w', encoding='ascii') as f:
                f.write('wrong\n')
            with Node({'demo': origin}) as node:
                error = self.mount_error(node)
                self.assertEqual((error.code, error.reason), ('FAILED_PRECONDITION', 'ORIGIN_AUTH_FAILED'))
                with open(secret, 'w', encoding='ascii') as f:
                    f.write('correct horse\n')
                self.assertEqual(node.mount('other').commit, self.commit, 'the file is read again')

    def test_expired_certificate(self):
        authority = Authority(self.folder)
        with HttpServer(self.folder, self.repos, tls=authority, days=-1) as server:
            self.assert_mount_fails({'url': server.url('repo.git'), 'tls': {'ca': authority.ca}}, 'UNAVAILABLE',
                                    'ORIGIN_TLS_FAILED', 'certificate')

    def mount_error(self, node, **fields):
        with self.assertRaises(CallError) as caught:
            node.client.CreateMount(job_id='failing', origin='demo', **fields)
        return caught.exception

    def assert_mount_fails(self, origin, code, reason, words):
        with Node({'demo': origin}) as node:
            error = self.mount_error(node)
            self.assertEqual((error.code, error.reason), (code, reason), error.message)
            self.assertIn(words, error.message)

    def test_what_cannot_be_reached(self):
        with HttpServer(self.folder, self.repos) as server:
            self.assert_mount_fails(server.url('none.git'), 'NOT_FOUND', 'ORIGIN_NOT_FOUND', 'check the url')
        self.assert_mount_fails(server.url('repo.git'), 'UNAVAILABLE', 'ORIGIN_UNREACHABLE', 'cannot be reached')
        for scheme in ('http', 'git', 'ssh'):
            self.assert_mount_fails(f'{scheme}://no-such-host.invalid/repo.git', 'UNAVAILABLE', 'ORIGIN_UNREACHABLE', 'name')
        with DaemonServer(self.folder, self.repos) as server:
            self.assert_mount_fails(server.url('none.git'), 'NOT_FOUND', 'ORIGIN_NOT_FOUND', 'check the url')

    def test_revisions(self):
        path, commit = self.work_on('revisions.git')
        second = commit('second', parent=self.commit)
        third = commit('third', parent=second)
        git(path, '-c', 'user.name=a', '-c', 'user.email=a@b', 'tag', '-a', '-m', 'tagged', 'v1', second)
        git(path, 'update-ref', 'refs/pull/7/head', second)
        for mode in ('partial', 'mirror'):
            with self.subTest(mode=mode), HttpServer(self.folder, {'r.git': path}) as server:
                with Node({'demo': {'url': server.url('r.git'), 'mode': mode}}) as node:
                    for i, (revision, wanted) in enumerate((
                            ('', third), ('HEAD', third), ('main', third), ('refs/heads/main', third), ('v1', second),
                            ('refs/pull/7/head', second), (second, second), ('main~1', second), ('HEAD~2', self.commit),
                            ('v1^', self.commit), ('v1^{commit}', second), (third[:10], third), (self.commit[:12], self.commit))):
                        self.assertEqual(node.mount(f'job{i}', revision=revision).commit, wanted, revision)
                        self.assertEqual(sorted(os.listdir(node.mount(f'job{i}', revision=revision).root)),
                                         ['file'] if wanted != self.commit else sorted(os.listdir(self.want)))
                    for revision in ('nothing', 'refs/heads/nothing', 'deadbeef', '0123456789' * 4, 'main~50'):
                        error = self.mount_error(node, revision=revision)
                        self.assertEqual((error.code, error.reason), ('NOT_FOUND', 'REVISION_NOT_FOUND'), revision)
                    for revision in ('main..v1', 'main:file'):
                        self.assertEqual(self.mount_error(node, revision=revision).code, 'INVALID_ARGUMENT', revision)

    def test_branch_moves_on(self):
        for mode in ('partial', 'mirror'):
            path, commit = self.work_on(f'moves-{mode}.git')
            with self.subTest(mode=mode), HttpServer(self.folder, {'r.git': path}) as server:
                with Node({'demo': {'url': server.url('r.git'), 'mode': mode, 'refresh': '1ms'}}) as node:
                    before = node.mount('before')
                    self.assertEqual(before.commit, self.commit)
                    rewritten = commit('forced')  # without a parent: a push by force
                    git(path, 'reflog', 'expire', '--expire=now', '--all')
                    git(path, 'gc', '-q', '--prune=now')
                    after = node.mount('after')
                    self.assertEqual(after.commit, rewritten)
                    self.assertEqual(self.read(after.root, 'file'), b'forced')
                    if mode == 'mirror':  # in mode partial, blobs that nobody read went with the server
                        self.assertEqual(Comparison(self.want, before.root).differences, [])
                    else:
                        self.assertEqual(sorted(os.listdir(before.root)), sorted(os.listdir(self.want)))
                    self.assertEqual(node.mount('pinned', revision=self.commit).commit, self.commit)

    def test_fetch_asks_before_refresh_has_passed(self):
        for mode in ('partial', 'mirror'):
            path, commit = self.work_on(f'fetch-{mode}.git')
            with self.subTest(mode=mode), HttpServer(self.folder, {'r.git': path}) as server:
                with Node({'demo': {'url': server.url('r.git'), 'mode': mode, 'refresh': '1h'}}) as node:
                    root = node.mount('before').root
                    moved = commit('moved on', parent=self.commit)
                    self.assertEqual(node.mount('remembered').commit, self.commit)
                    told = node.client.Fetch(workspace={'job_id': 'before'})
                    self.assertEqual((told.commit, told.moved), (moved, True))
                    self.assertEqual(node.mount('after').commit, moved)
                    self.assertEqual(sorted(os.listdir(root)), sorted(os.listdir(self.want)), 'nothing moves under a mount')

    def test_empty_repository(self):
        path = os.path.join(self.folder, 'empty.git')
        subprocess.run(['git', 'init', '-q', '--bare', path], check=True, timeout=60)
        with HttpServer(self.folder, {'empty.git': path}) as server:
            self.assert_mount_fails(server.url('empty.git'), 'NOT_FOUND', 'REPOSITORY_EMPTY', 'no commit')


if __name__ == '__main__':
    unittest.main()
