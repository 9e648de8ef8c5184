# SPDX-License-Identifier: Apache-2.0
"""Git servers behind proxies, with client certificates, that send elsewhere, refuse, and lie: right bytes or an error in time, nothing
wrong is kept, others go on, and all is well once the server is."""
import contextlib
import errno
import os
import shutil
import subprocess
import tempfile
import time
import unittest

import repo_maker
from coppice_client import CallError
from delay_proxy import DelayProxy
from git_server import USER, Authority, DaemonServer, HttpServer
from node import SLOW, Node, program, wait_until
from tree_compare import Comparison, git_archive
from web_proxy import WebProxy

FAILURES = ('EIO', 'EHOSTUNREACH', 'ETIMEDOUT')


class GitHostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-githostile-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo = repo_maker.Repo(cls.repository)
        repo.begin()
        repo.add(b'README', b'read me\n')
        repo.add(b'big', os.urandom(2 << 20))
        repo.add(b'page', b'p' * 4096)
        repo.add(b'empty', b'')
        for i in range(40):
            repo.add(b'dir%d/file%d' % (i % 4, i), os.urandom(3000))
        for i in range(12):
            repo.add(b'alone%02d/f' % i, os.urandom(1000))
        cls.commit = repo.finish()
        cls.want = git_archive(cls.repository, cls.commit, os.path.join(cls.folder, 'want'))
        cls.repos = {'repo.git': cls.repository}

    def read(self, *path):
        with open(os.path.join(*path), 'rb') as f:
            return f.read()

    def origin(self, server, **keys):
        return {'url': server.url('repo.git'), 'timeout': '2s', 'connect_timeout': '2s', 'refresh': '1ms', **keys}

    def mount_error(self, node):
        begin = time.monotonic()
        with self.assertRaises(CallError) as caught:
            node.client.CreateMount(job_id=f'fails-{begin}', origin='demo')
        self.assertLess(time.monotonic() - begin, 40 * SLOW)
        return caught.exception

    def assert_fails(self, call, *args, codes=FAILURES):
        begin = time.monotonic()
        with self.assertRaises(OSError) as caught:
            call(*args)
        self.assertIn(errno.errorcode[caught.exception.errno], codes)
        self.assertLess(time.monotonic() - begin, 60 * SLOW)

    def assert_whole(self, node, job='whole'):
        mount = node.mount(job)
        self.assertEqual(mount.commit, self.commit)
        self.assertEqual(Comparison(self.want, mount.root).differences, [])

    def assert_recovers(self, node, root):
        def whole():
            try:
                return not Comparison(self.want, root).differences
            except OSError as e:
                self.assertIn(errno.errorcode[e.errno], FAILURES)
                return False
        wait_until(whole, 60, 'the server is well, so are all files', pause=0.3)

    # ---- how it is reached ----

    def test_proxy(self):
        authority = Authority(self.folder)
        with HttpServer(self.folder, self.repos) as plain, HttpServer(self.folder, self.repos, tls=authority) as tls, \
                WebProxy() as proxy:
            for server, asked in ((plain, f'GET {plain.url("repo.git")}/info/refs'), (tls, f'CONNECT 127.0.0.1:{tls.port}')):
                origin = self.origin(server, proxy=proxy.url, **({'tls': {'ca': authority.ca}} if server is tls else {}))
                for mode in ('partial', 'mirror'):
                    proxy.asked.clear()
                    with self.subTest(asked=asked, mode=mode), Node({'demo': dict(origin, mode=mode)}) as node:
                        self.assert_whole(node)
                        self.assertTrue([line for line in proxy.asked if line.startswith(asked)], proxy.asked)
            proxy.refuse = True
            with Node({'demo': self.origin(tls, proxy=proxy.url, tls={'ca': authority.ca})}) as node:
                self.assertIn(self.mount_error(node).code, ('UNAVAILABLE', 'FAILED_PRECONDITION'))
                proxy.refuse = False
                self.assert_whole(node)
        with HttpServer(self.folder, self.repos) as server, Node({'demo': self.origin(server, proxy=proxy.url)}) as node:
            error = self.mount_error(node)  # the proxy has gone: nobody goes around it
            self.assertEqual((error.code, error.reason), ('UNAVAILABLE', 'ORIGIN_UNREACHABLE'), error.message)

    def test_client_certificate(self):
        authority, stranger = Authority(self.folder), Authority(self.folder)
        files = dict(zip(('key', 'cert'), authority.sign('builder')))
        with HttpServer(self.folder, self.repos, tls=authority, client_ca=True) as server:
            for mode in ('partial', 'mirror'):
                with Node({'demo': self.origin(server, mode=mode, tls={'ca': authority.ca, **files})}) as node:
                    self.assert_whole(node)
            wrong = dict(zip(('key', 'cert'), stranger.sign('builder')))
            for tls in ({'ca': authority.ca}, {'ca': authority.ca, **wrong}, {'ca': stranger.ca, **files}):
                with Node({'demo': self.origin(server, tls=tls)}) as node:
                    error = self.mount_error(node)
                    self.assertEqual(error.code, 'UNAVAILABLE', error.message)

    def test_redirect_to_another_server_gets_no_credentials(self):
        secret = os.path.join(self.folder, 'redirect-secret')
        with open(secret, 'w', encoding='ascii') as f:
            f.write('hunter2\n')
        auth = {'username': USER, 'password_file': secret}
        with HttpServer(self.folder, self.repos) as other, HttpServer(self.folder, self.repos, faulty=True) as server:
            server.fault(redirect=f'http://127.0.0.1:{other.port}/git')
            with Node({'demo': self.origin(server, auth=auth)}) as node:
                self.assert_whole(node)  # as git does, the first question of a conversation is followed
                self.assertEqual([line for line in other.requests() if 'auth=-' not in line], [])
        for password in (None, 'hunter2'):
            with HttpServer(self.folder, self.repos, password=password) as other, \
                    HttpServer(self.folder, self.repos, password='hunter2', faulty=True) as server:
                server.fault(redirect=f'http://127.0.0.1:{other.port}/git')
                with Node({'demo': self.origin(server, auth=auth)}) as node:
                    self.assertIn(self.mount_error(node).code, ('UNAVAILABLE', 'FAILED_PRECONDITION'))
                    self.assertTrue([line for line in server.requests() if 'auth=Basic' in line], 'the origin got them')
                    self.assertEqual([line for line in other.requests() if 'auth=-' not in line], [])
                    self.assertNotIn('hunter2', node.log_text())
                    server.fault()
                    self.assert_whole(node)

    def test_url_without_scheme(self):
        node = Node({'demo': 'git.example.org/mono.git'})
        node.write_config()
        checked = subprocess.run([program('coppiced'), '--check', '--config', node.config], capture_output=True, text=True, timeout=60,
                                 check=False)
        node.close()
        self.assertEqual(checked.returncode, 2)
        self.assertIn('origins[0].url: must be', checked.stderr)

    # ---- what it answers ----

    def test_answers_that_are_none(self):
        with HttpServer(self.folder, self.repos, faulty=True) as server, Node({'demo': self.origin(server)}) as node:
            root = node.mount('job').root
            os.stat(root + '/big')
            # backwards: who reads in order is read ahead of
            for i, fault in enumerate(({'status': 500}, {'status': 429, 'headers': {'Retry-After': '1'}}, {'status': 404},
                                       {'status': 403}, {'empty': True}, {'empty': True, 'only': 'POST'},
                                       {'status': 200, 'body': '<html>'},
                                       {'status': 200, 'body': '0009ERR x', 'only': 'POST'},
                                       {'redirect': server.url('').removesuffix('/')})):
                name = f'alone{11 - i:02}/f'
                with self.subTest(fault=fault):
                    os.stat(os.path.join(root, name))
                    server.fault(**fault)
                    self.assert_fails(self.read, root, name)
                    self.assertEqual(sorted(os.listdir(root)), sorted(os.listdir(self.want)))
                    with self.assertRaises(FileNotFoundError):
                        os.stat(root + '/absent')
                    if i < 3:
                        self.mount_error(node)
                    server.fault()
                    wait_until(lambda name=name: self.readable(root, name), 30, 'it can be read', pause=0.2)
            self.assert_recovers(node, root)

    def readable(self, root, name):
        try:
            return self.read(root, name) == self.read(self.want, name)
        except OSError as e:
            self.assertIn(errno.errorcode[e.errno], FAILURES)
            return False

    def test_lies(self):
        other = subprocess.run(['git', '-C', self.repository, 'rev-parse', f'{self.commit}:README'], check=True, capture_output=True,
                               text=True, timeout=60).stdout.strip()
        with HttpServer(self.folder, self.repos, faulty=True) as server, \
                Node({'demo': self.origin(server), 'local': self.repository}) as node:
            root = node.mount('job').root
            os.stat(root + '/big')
            for i, fault in enumerate(({'flip': True}, {'instead': other})):
                with self.subTest(fault=fault):
                    os.stat(f'{root}/dir{i}/file{i}')
                    server.fault(**fault)
                    self.assert_fails(self.read, root, 'big')
                    self.assert_fails(self.read, root, f'dir{i}/file{i}')
                    server.fault()
            self.assertEqual(self.read(node.mount('local', origin='local').root, 'dir2/file2'), self.read(self.want, 'dir2/file2'), 'others go on')
            server.fault()
            self.assert_recovers(node, root)
            self.assertEqual(os.listdir(node.path('data', 'origins', 'demo', 'mirror.git')).count('incoming'), 0)

    def test_lies_about_sizes(self):
        for amount in (3, -3):
            with self.subTest(amount=amount), HttpServer(self.folder, self.repos, faulty=True) as server, \
                    Node({'demo': self.origin(server)}) as node:
                server.fault(size=amount)
                root = node.mount('job').root
                self.assertEqual(os.stat(root + '/empty').st_size, 0, 'what is empty is known by its id')
                self.assertEqual(os.stat(root + '/page').st_size, 4096 + amount)
                for name in ('page', 'README'):  # part of a page, and all of one
                    self.assert_fails(self.read, root, name, codes=('EIO',))
                    self.assert_fails(self.append, root, name, codes=('EIO',))
                node.stop()  # nor after it was forgotten that it was told
                node.start()
                self.assert_fails(self.read, root, 'page', codes=('EIO',))
                server.fault()
                node.assert_logs('origin_lied')

    def append(self, root, name):
        with open(os.path.join(root, name), 'ab') as f:
            f.write(b'x')

    def test_what_is_large_is_not_fetched_for_its_size(self):
        path = os.path.join(self.folder, 'large.git')
        repo = repo_maker.Repo(path)
        repo.begin()
        for i in range(60):
            repo.add(b'd/small%d' % i, os.urandom(2000))
        for i in range(2):
            repo.add(b'd/large%d' % i, os.urandom(16 << 20))
        commit = repo.finish()
        subprocess.run(['git', '-C', path, 'repack', '-adq', '--window=0'], check=True, timeout=120)
        want = git_archive(path, commit, os.path.join(self.folder, 'large'))
        with HttpServer(self.folder, {'repo.git': path}) as server, DelayProxy(('127.0.0.1', server.port)) as proxy, \
                Node({'demo': f'http://127.0.0.1:{proxy.port}/git/repo.git'}) as node:
            root = node.mount('job').root
            for name in os.listdir(want + '/d'):
                self.assertEqual(os.stat(f'{root}/d/{name}').st_size, os.stat(f'{want}/d/{name}').st_size, name)
            self.assertLess(proxy.stats()['to_client'], 16 << 20)
            self.assertEqual(Comparison(want, root).differences, [])

    # ---- what it does not answer ----

    def test_daemon_that_hangs_and_cuts(self):
        with DaemonServer(self.folder, self.repos) as server, DelayProxy(('127.0.0.1', server.port)) as proxy, \
                Node({'demo': {'url': f'git://127.0.0.1:{proxy.port}/repo.git', 'timeout': '1s', 'connect_timeout': '1s',
                               'refresh': '1ms'}, 'local': self.repository}) as node:
            root = node.mount('job').root
            os.stat(root + '/big')
            proxy.set(cut_after=50000)
            self.assert_fails(self.read, root, 'big')
            proxy.set(cut_after=0, hang=True)
            self.assert_fails(self.read, root, 'big')
            self.assertIn(self.mount_error(node).code, ('UNAVAILABLE', 'DEADLINE_EXCEEDED'))
            self.assertEqual(self.read(node.mount('local', origin='local').root, 'dir0/file0'), self.read(self.want, 'dir0/file0'), 'others go on')
            proxy.set(hang=False)
            self.assert_recovers(node, root)

    @contextlib.contextmanager
    def tmpfs(self, size):
        path = tempfile.mkdtemp(prefix='tmpfs-', dir=self.folder)
        subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size},mode=0700', 'tmpfs', path], check=True, timeout=20)
        try:
            yield path
        finally:
            subprocess.run(['umount', '-l', path], check=True, timeout=20)

    def test_disk_of_the_mirror_full(self):
        with HttpServer(self.folder, self.repos, object_info=True) as server, self.tmpfs('1536k') as disk:
            node = Node({'demo': self.origin(server), 'local': self.repository})
            os.mkdir(node.data)
            os.symlink(disk, os.path.join(node.data, 'origins'))
            with node:
                root = node.mount('job').root
                self.assert_fails(self.read, root, 'big', codes=('ENOSPC',))
                self.assertEqual(self.read(root, 'dir3/file3'), self.read(self.want, 'dir3/file3'), 'what has room goes on')
                local = node.mount('local', origin='local').root
                self.assertEqual(self.read(local, 'README'), b'read me\n', 'others go on')
                subprocess.run(['mount', '-o', 'remount,size=64m', disk], check=True, timeout=20)
                self.assert_recovers(node, root)


if __name__ == '__main__':
    unittest.main()
