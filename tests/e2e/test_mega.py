# SPDX-License-Identifier: Apache-2.0
"""A Mega server as origin: the tree is that of the commit, whatever the server's oddities; what it does wrong is an error, never other bytes."""
import errno
import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import repo_maker
import side_by_side
from coppice_client import CallError
from mega_server import Mega, MegaServer
from node import SLOW, Node, wait_until
from ports import free_port
from tree_compare import Comparison, git_archive

FAILURES = ('EIO', 'EHOSTUNREACH', 'ETIMEDOUT')
ODD = (b'a+b', b'c#d', b'e%66', b'g?h', b'i j', b'k&l=m', b'caf\xc3\xa9', b'\xff\xfe', b'"q"', b'n\\o', b'new\nline')


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def git(repository, *args):
    return subprocess.run(['git', '-c', 'safe.directory=*', '-c', 'user.name=T', '-c', 'user.email=t@example.org', '-C', repository, *args],
                          check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def can_connect(port):
    with socket.socket() as s:
        return s.connect_ex(('127.0.0.1', port)) == 0


class MeasuredNode(Node):
    """Serves its metrics too."""

    def __init__(self, *args, **options):
        self.port = free_port()
        super().__init__(*args, **options)

    def command(self, *args):
        return super().command('--set', f'http.listen=127.0.0.1:{self.port}', *args)

    def metric(self, name):
        with urllib.request.urlopen(f'http://127.0.0.1:{self.port}/metrics', timeout=20 * SLOW) as answer:
            text = answer.read().decode()
        return sum(int(float(line.rsplit(' ', 1)[1])) for line in text.splitlines() if line.startswith(name + '{'))


class Base(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='cop-mega-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.repository = os.path.join(self.folder, 'repo.git')

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, text):
        with open(self.path(name), 'w', encoding='ascii') as f:
            f.write(text)
        return self.path(name)

    def server(self, repository=None, **options):
        server = MegaServer(repository or self.repository, **options)
        self.addCleanup(server.close)
        return server

    def origin(self, server, **keys):
        return {'type': 'mega', 'url': server.url, **keys}

    def assert_fails(self, call, *args):
        with self.assertRaises(OSError) as caught:
            result = call(*args)
            self.fail(f'gave {result!r}')
        self.assertIn(errno.errorcode[caught.exception.errno], FAILURES)

    def assert_equal_to_archive(self, revision, root, folder='want'):
        compared = Comparison(git_archive(self.repository, revision, self.path(folder)), root)
        self.assertEqual(compared.differences, [])
        return compared.entries


class Tree(Base):
    def test_whole_tree(self):
        repo = repo_maker.Repo(self.repository)
        repo.begin()
        repo_maker.add_files(repo, repo_maker.random.Random(1), 300)
        repo_maker.add_odd(repo, repo_maker.random.Random(2))
        for name in ODD:
            repo.add(b'names/' + name, b'file ' + name)
            repo.add(b'names/in ' + name + b'/' + name + b'/' + name, b'deep ' + name)
        commit = repo.finish()
        server = self.server()
        with Node({'demo': self.origin(server)}) as node:
            mount = node.mount('job')
            self.assertEqual(mount.commit, commit)
            self.assertGreater(self.assert_equal_to_archive('main', mount.root), 400)
            self.assertEqual(int(os.stat(mount.root + '/names/a+b').st_mtime), 1700000000)
            asked = server.count('.')
            self.assertEqual(server.count('/tree/content-hash'), 1, 'the head serves all but the root')
            # A second workspace, and another process, ask for nothing but the commit.
            self.assert_equal_to_archive('main', node.mount('other').root, 'want2')
            node.stop()
            node.start()
            self.assert_equal_to_archive('main', node.mount('third').root, 'want3')
            self.assertEqual(server.count('.') - asked, 2)
            self.assertEqual(server.count('latest-commit'), 3)

    def test_pinned_while_the_head_moves(self):
        repo = repo_maker.Repo(self.repository)
        repo.begin()
        for d in range(4):
            for i in range(30):
                repo.add(b'd%d/f%d' % (d, i), b'%d/%d' % (d, i), b'100755' if i % 9 == 0 else b'100644')
        repo.add(b'gone/run.sh', b'#!/bin/sh\n', b'100755')
        repo.add(b'gone/link', b'run.sh', b'120000')
        repo.add(b'scripts/a', b'1', b'100755')
        repo.add(b'scripts/b', b'2', b'100755')
        repo.add(b'scripts/c', b'3', b'100755')
        repo.add(b'top.sh', b'#!/bin/sh\n', b'100755')
        first = repo.finish()
        server = self.server()
        with Node({'demo': self.origin(server)}) as node:
            mount = node.mount('job')
            repo = repo_maker.Repo.__new__(repo_maker.Repo)  # another commit on the same branch
            repo.path, repo.count = self.repository, 0
            repo.proc = subprocess.Popen(['git', '-C', self.repository, 'fast-import', '--quiet', '--date-format=raw'],
                                         stdin=subprocess.PIPE)
            repo.out = repo.proc.stdin
            repo.begin(b'second\n', parent=b'refs/heads/main^0')
            repo.out.write(b'D gone\nD scripts\n')
            for d in range(4):
                repo.add(b'd%d/f3' % d, b'changed')
                repo.add(b'd%d/new' % d, b'new', b'100755')
            second = repo.finish()
            self.assertNotEqual(first, second)
            self.assert_equal_to_archive(first, mount.root)
            self.assertGreater(server.count('/tree/content-hash.*' + first), 4)
            self.assertEqual(node.mount('new').commit, second)
            self.assert_equal_to_archive(second, node.client.GetMount(job_id='new').root, 'want2')
            # By id, by tag, by branch.
            git(self.repository, 'tag', '-a', '-m', 'x', 'v1', first)
            for revision in (first, 'v1', 'refs/tags/v1'):
                self.assertEqual(node.mount('by-' + revision.replace('/', '-'), revision=revision).commit, first)
            for revision in ('no-such', 'refs/heads/other', '0' * 40):
                with self.assertRaises(CallError) as caught:
                    node.mount('none', revision=revision)
                self.assertEqual((caught.exception.code, caught.exception.reason), ('NOT_FOUND', 'REVISION_NOT_FOUND'))

    def test_imported_directories_do_not_mix_in(self):
        imported = self.path('imported.git')
        repo = repo_maker.Repo(imported)
        repo.begin()
        repo.add(b'lib.c', b'imported\n')
        repo.finish()
        repo = repo_maker.Repo(self.repository)
        repo.begin()
        repo.add(b'third-party/foo/.gitkeep', b'')
        repo.add(b'third-party/note', b'native\n')
        repo.add(b'project/a.c', b'a\n')
        repo.finish()
        server = self.server(imports={'/third-party/foo': imported})
        with Node({'demo': self.origin(server)}) as node:
            root = node.mount('job').root
            self.assertEqual(sorted(os.listdir(root + '/third-party')), ['foo', 'note'])
            for _ in range(2):
                self.assert_fails(os.listdir, root + '/third-party/foo')
                self.assert_fails(read, root + '/third-party/foo/lib.c')
                self.assert_fails(os.stat, root + '/third-party/foo/no such file')
            self.assertEqual(read(root + '/third-party/note'), b'native\n')
            self.assertEqual(read(root + '/project/a.c'), b'a\n')
            node.assert_logs('event=mega_drift')
            node.assert_logs('path="third-party/foo"')

    def test_lengths_that_are_not_announced(self):
        repo_maker.make(self.repository, files=40, odd=True)
        server = self.server(chunked=True)
        with Node({'demo': self.origin(server)}) as node:
            self.assert_equal_to_archive('main', node.mount('job').root)

    def test_directories_that_came_from_elsewhere(self):
        """Another origin has the same trees: the server was not asked for those above, and must be asked by path below."""
        repo = repo_maker.Repo(self.repository)
        repo.begin()
        for d in range(5):
            for e in range(5):
                repo.add(b'd%d/e%d/f/g' % (d, e), b'%d/%d\n' % (d, e))
        repo.finish()
        server = self.server()
        with Node({'demo': self.origin(server), 'local': self.repository}) as node:
            local = node.mount('local', origin='local').root
            for d in range(5):
                self.assertEqual(len(os.listdir(f'{local}/d{d}')), 5)
            root = node.mount('job').root
            before = server.count('file/tree')
            self.assertEqual(read(root + '/d3/e4/f/g'), b'3/4\n')
            self.assertEqual(read(root + '/d0/e0/f/g'), b'0/0\n')
            self.assertGreaterEqual(server.count('file/tree') - before, 2)
            node.stop()  # and when all was forgotten
            shutil.rmtree(node.path('data', 'origins'))
            node.start()
            root = node.mount('again').root
            self.assertEqual(read(root + '/d4/e4/f/g'), b'4/4\n')
            self.assert_equal_to_archive('main', root)

    def test_many_readers_of_one_cold_file(self):
        repo_maker.make(self.repository, files=10, large_mb=4)
        server = self.server()
        with Node({'demo': self.origin(server)}) as node:
            roots = [node.mount(f'job{i}').root for i in range(8)]
            oid = git(self.repository, 'rev-parse', 'main:large/file.bin')
            with ThreadPoolExecutor(8) as pool:
                sizes = set(pool.map(lambda root: len(read(root + '/large/file.bin')), roots))
            self.assertEqual(sizes, {4 << 20})
            self.assertEqual(server.count('GET .*' + oid), 1)
            self.assertEqual(server.count('HEAD .*' + oid), 1)


DIRECTORIES = 24  # of the repository with faults


class Faults(Base):
    """One directory per fault, so that nothing is known before."""

    def setUp(self):
        super().setUp()
        repo = repo_maker.Repo(self.repository)
        repo.begin()
        for d in range(DIRECTORIES):
            for i in range(3):
                repo.add(b'd%02d/f%d' % (d, i), b'%d/%d\n' % (d, i) * 2000)
            repo.add(b'd%02d/large' % d, (b'%d large ' % d) * 300000)
        self.commit = repo.finish()
        self.next = 0
        self.remote = self.server()
        patience = f'{max(1000, 300 * SLOW)}ms'  # the server is slow too: it is in Python, and in this process
        self.node = Node({'demo': self.origin(self.remote, timeout=patience, connect_timeout=patience)})
        self.node.__enter__()
        self.addCleanup(self.node.close)
        self.root = self.node.mount('job').root

    def fresh(self):
        """A directory that nobody has asked for. From the last to the first: who goes in order is read ahead of."""
        self.next += 1
        d = DIRECTORIES - self.next
        return d, f'{self.root}/d{d:02d}'

    def right(self, d, path):
        self.assertEqual(sorted(os.listdir(path)), ['f0', 'f1', 'f2', 'large'])
        for i in range(3):
            self.assertEqual(read(f'{path}/f{i}'), b'%d/%d\n' % (d, i) * 2000)
        self.assertEqual(read(path + '/large'), (b'%d large ' % d) * 300000)

    def passes(self, match, action, **more):
        """A fault that passes is not seen."""
        d, path = self.fresh()
        self.remote.fault(match, action, **more)
        self.right(d, path)
        self.remote.heal()

    def comes_back(self, d, path):
        def listed():
            try:
                return len(os.listdir(path)) == 4 and all(read(f'{path}/f{i}') for i in range(3))
            except OSError as e:
                self.assertIn(errno.errorcode[e.errno], FAILURES)
                return False
        self.remote.heal()
        wait_until(listed, 15, 'the server is well again, so is its directory', pause=0.05)
        self.right(d, path)

    def fails_listing(self, match, action, **more):
        """One that stays is an error within the deadline, and is not remembered."""
        d, path = self.fresh()
        self.remote.fault(match, action, **more)
        start = time.monotonic()
        self.assert_fails(os.listdir, path)
        self.assert_fails(os.stat, path + '/f1')
        self.assertLess(time.monotonic() - start, 30 * SLOW)
        self.comes_back(d, path)

    def fails_reading(self, match, action, name='f0', **more):
        d, path = self.fresh()
        self.assertEqual(len(os.listdir(path)), 4)
        self.assertEqual(os.stat(path + '/f0').st_size, len(b'%d/0\n' % d * 2000))
        self.remote.fault(match, action, **more)
        self.assert_fails(read, path + '/' + name)
        self.comes_back(d, path)

    def test_what_passes(self):
        for action in ({'action': 'status', 'status': 500}, {'action': 'status', 'status': 503}, {'action': 'reset'},
                       {'action': 'garbage'}, {'action': 'hang'}):
            for match in ('/file/tree', 'HEAD .*/file/blob', 'GET .*/file/blob'):
                self.passes(match, times=2, **action)
        self.passes('.', 'slow', seconds=0.2)

    def test_large_file_goes_on_where_it_was_cut(self):
        d, path = self.fresh()
        os.listdir(path)
        for after in (2000000, 1000000, 0, 2399999 - 1):
            self.remote.fault('GET .*/file/blob', 'cut', after=after, times=1)
        self.right(d, path)

    def test_retry_after_is_kept(self):
        d, path = self.fresh()
        self.remote.fault('/file/tree', 'status', status=429, retry_after=2, times=1)
        start = time.monotonic()
        self.right(d, path)
        self.assertGreater(time.monotonic() - start, 1.9)

    def test_listings_that_stay_wrong(self):
        everything = '/tree'  # file/tree and content-hash
        self.fails_listing(everything, 'status', status=500)
        self.fails_listing(everything, 'status', status=404)
        self.fails_listing(everything, 'empty')
        self.fails_listing(everything, 'lie')
        self.fails_listing(everything, 'short')
        self.fails_listing(everything, 'cut')
        self.fails_listing(everything, 'replace', data='')
        self.fails_listing('HEAD', 'status', status=404)

    def test_a_lie_about_a_directory_is_found_out_and_made_good(self):
        d, path = self.fresh()
        self.remote.fault('/file/tree', 'lie')
        self.right(d, path)  # by its listing and the modes that lead to its id

    def test_sizes_that_are_a_lie(self):
        """The length that HEAD told is not that of the content: an error, never a part of the file as if that were all."""
        for length in (7, 4096, 100000):
            _, path = self.fresh()
            self.remote.fault('HEAD .*/file/blob', 'replace', data='x' * length)
            self.assertEqual(os.stat(path + '/f0').st_size, length)
            self.remote.heal()
            self.assert_fails(read, path + '/f0')
            self.assert_fails(read, path + '/large')
            self.right(*self.fresh())  # the others are not affected

    def test_contents_that_stay_wrong(self):
        self.fails_reading('GET .*/file/blob', 'status', status=500)
        self.fails_reading('GET .*/file/blob', 'status', status=404)
        self.fails_reading('GET .*/file/blob', 'empty')
        self.fails_reading('GET .*/file/blob', 'lie', name='large')
        self.fails_reading('GET .*/file/blob', 'short')
        self.fails_reading('GET .*/file/blob', 'cut', name='large')
        self.fails_reading('GET .*/file/blob', 'reset')

    def test_a_server_that_hangs(self):
        """For a while it is left alone; what is local, and other origins, do not notice."""
        local, local_path = self.fresh()
        self.right(local, local_path)
        self.fails_reading('GET .*/file/blob', 'hang')
        self.remote.fault('.', 'hang')
        self.next += 10  # nothing near it was looked at
        d, path = self.fresh()
        start = time.monotonic()
        self.assert_fails(os.listdir, path)
        self.assertLess(time.monotonic() - start, 20 * SLOW)
        start = time.monotonic()
        self.assertEqual(read(local_path + '/f0'), b'%d/0\n' % local * 2000)
        self.assertLess(time.monotonic() - start, 1 * SLOW)
        with self.assertRaises(CallError) as caught:
            self.node.mount('other')
        self.assertIn(caught.exception.code, ('UNAVAILABLE', 'DEADLINE_EXCEEDED'))
        self.assertIn('demo', caught.exception.message)
        self.node.assert_logs('event=origin_down')
        self.comes_back(d, path)
        self.node.assert_logs('event=origin_up')
        self.assertEqual(self.node.mount('other').commit, self.commit)


class Server(Base):
    def setUp(self):
        super().setUp()
        repo = repo_maker.Repo(self.repository)
        repo.begin()
        for i in range(200):
            repo.add(b'many/%03d' % i, b'%d of many\n' % i)
        for d in range(6):
            repo.add(b'd%d/f' % d, b'content %d\n' % d)
        self.commit = repo.finish()

    def test_a_directory_of_which_one_size_fails_begins_anew_each_time(self):
        def oid(name):
            return git(self.repository, 'rev-parse', f'{self.commit}:many/{name}')

        def size(name):
            try:
                return os.stat(f'{root}/many/{name}').st_size
            except OSError as e:
                self.assertIn(errno.errorcode[e.errno], FAILURES)
                return None
        with Mega(self.repository) as server, Node({'demo': {'type': 'mega', 'url': server.url}}) as node:
            root = node.mount('job').root
            server.fault('HEAD .*' + oid('199'), 'status', status=404)
            self.assertIsNone(size('000'))
            server.heal()
            wait_until(lambda: size('150') == len(b'150 of many\n'), 20, 'the directory is there')
            self.assertEqual([server.count('HEAD .*' + oid(name)) for name in ('000', '150')], [1, 1])

    def test_it_is_away_for_a_while(self):
        server = MegaServer(self.repository)
        with Node({'demo': self.origin(server, timeout='500ms')}) as node:
            root = node.mount('job').root
            self.assertEqual(read(root + '/d0/f'), b'content 0\n')
            server.close()
            self.assert_fails(os.listdir, root + '/d1')
            self.assertEqual(read(root + '/d0/f'), b'content 0\n')
            node.stop()
            node.start()  # and without the server at all
            self.assertEqual(read(root + '/d0/f'), b'content 0\n')
            self.assert_fails(os.listdir, root + '/d1')
            server = self.server(port=server.port)

            def back():
                try:
                    return read(root + '/d1/f') == b'content 1\n'
                except OSError:
                    return False
            wait_until(back, 15, 'the server is back', pause=0.1)
            self.assertEqual(read(root + '/d2/f'), b'content 2\n')

    def test_credentials(self):
        secret = self.write('password', 'right\n')
        server = self.server(authorization=Mega.basic('me', 'right'))
        with Node({'demo': self.origin(server, auth={'username': 'me', 'password_file': secret})}) as node:
            root = node.mount('job').root
            self.assertEqual(read(root + '/d0/f'), b'content 0\n')
            server.set(authorization=Mega.basic('me', 'new'))
            with self.assertRaises(CallError) as caught:
                node.mount('other')
            self.assertNotIn('right', caught.exception.message)
            self.assert_fails(os.listdir, root + '/d1')
            self.write('password', 'new\n')  # it is read again
            self.assertEqual(read(root + '/d1/f'), b'content 1\n')
            self.assertNotIn('right', node.log_text())

    def test_token(self):
        token = self.write('token', 'abc123\n')
        server = self.server(authorization='Bearer abc123')
        with Node({'demo': self.origin(server, auth={'token_file': token})}) as node:
            self.assertEqual(read(node.mount('job').root + '/d0/f'), b'content 0\n')
            os.unlink(token)
            self.assert_fails(os.listdir, node.client.GetMount(job_id='job').root + '/d1')

    def test_credentials_do_not_follow_a_redirect_to_another_server(self):
        token = self.write('token', 'abc123\n')
        elsewhere = self.server()
        server = self.server(authorization='Bearer abc123')
        server.fault('/file/', 'redirect', to=elsewhere.url)
        with Node({'demo': self.origin(server, auth={'token_file': token})}) as node:
            root = node.mount('job').root
            self.assertEqual(read(root + '/d0/f'), b'content 0\n')
            server.heal()
            before = server.count('/file/tree')
            server.fault('/file/tree', 'redirect', to=server.url)  # in a circle
            self.assert_fails(os.listdir, root + '/d1')
            # whole rounds, once what goes on in the background is over
            wait_until(lambda: (server.count('/file/tree') - before) % 6 == 0, 10, 'a round of redirects ends')
            self.assertGreater(server.count('/file/tree'), before)
        self.assertGreater(elsewhere.count('.'), 1)
        for _, path, headers in elsewhere.requests():
            self.assertNotIn('Authorization', headers, path)

    def test_addresses_that_lead_nowhere(self):
        for url in ('http://127.0.0.1:1', 'http://no-such-host.invalid:8000'):
            with Node({'demo': {'type': 'mega', 'url': url, 'connect_timeout': '1s'}}) as node:
                start = time.monotonic()
                with self.assertRaises(CallError) as caught:
                    node.mount('job')
                self.assertEqual(caught.exception.code, 'UNAVAILABLE', url)
                self.assertIn('demo', caught.exception.message)
                self.assertLess(time.monotonic() - start, 20 * SLOW)
        node = Node({'demo': {'type': 'mega', 'url': 'mega.example.org:8000'}})
        node.write_config()
        done = node.cli('config', 'check', '--config', node.config, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('origins[0].url: must begin with http:// or https://', done.stdout + done.stderr)
        node.close()

    def test_proxy(self):
        server = self.server()  # as a proxy it sees "GET http://mega.invalid/api/…"
        with Node({'demo': {'type': 'mega', 'url': 'http://mega.invalid', 'proxy': server.url}}) as node:
            self.assertEqual(read(node.mount('job').root + '/d0/f'), b'content 0\n')
        self.assertGreater(server.count('GET http://mega.invalid/'), 2)

    def certificate(self, name, ca, days):
        key, cert, request, extra = (self.path(f'{name}.{end}') for end in ('key', 'crt', 'csr', 'ext'))
        with open(extra, 'w', encoding='ascii') as f:
            f.write('subjectAltName=IP:127.0.0.1\n' if ca else 'basicConstraints=critical,CA:TRUE\n')

        def openssl(*args):
            subprocess.run(['openssl', *args], check=True, capture_output=True, timeout=60)
        openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', f'/CN={name}', '-keyout', key,
                '-out', request)
        signer = ('-CA', ca[0], '-CAkey', ca[1], '-CAcreateserial') if ca else ('-signkey', key)
        openssl('x509', '-req', '-in', request, *signer, '-days', str(days), '-extfile', extra, '-out', cert)
        return cert, key

    def test_tls(self):
        ca = self.certificate('ca', None, 10)
        good, expired = self.certificate('good', ca, 10), self.certificate('expired', ca, -1)
        trusted = {'tls': {'ca': ca[0]}, 'timeout': '2s'}
        with Node({'demo': self.origin(self.server(tls=good), **trusted)}) as node:
            self.assertEqual(read(node.mount('job').root + '/d0/f'), b'content 0\n')
        for server, keys, why in ((self.server(tls=expired), trusted, 'expired'), (self.server(tls=good), {}, 'certificate')):
            with Node({'demo': self.origin(server, **keys)}) as node:
                start = time.monotonic()
                with self.assertRaises(CallError) as caught:
                    node.mount('job')
                self.assertEqual(caught.exception.code, 'UNAVAILABLE')
                self.assertIn(why, caught.exception.message)
                self.assertLess(time.monotonic() - start, 10 * SLOW)
            self.assertEqual(server.count('.'), 0)

    def test_metrics(self):
        server = self.server()
        with MeasuredNode({'demo': self.origin(server)}) as node:
            self.assertEqual(read(node.mount('job').root + '/d0/f'), b'content 0\n')
            self.assertEqual(node.metric('coppice_http_requests_total'), server.count('.'))
            self.assertEqual(node.metric('coppice_http_breaker'), 0)
            self.assertEqual(node.metric('coppice_mega_drift_total'), 0)

    def test_http2(self):
        """Behind a web server that offers it, all requests share few connections."""
        repo = repo_maker.Repo(self.path('many.git'))
        repo.begin()
        for d in range(10):
            for i in range(20):
                repo.add(b'd%d/f%d' % (d, i), b'%d/%d\n' % (d, i))
        repo.finish()
        ca = self.certificate('ca', None, 10)
        certificate, key = self.certificate('web', ca, 10)
        port, server = free_port(), self.server(self.path('many.git'))
        config = self.write('lighttpd.conf', f"""
            server.modules = ("mod_openssl", "mod_proxy")
            server.document-root = "{self.folder}"
            server.bind = "127.0.0.1"
            server.port = {port}
            ssl.engine = "enable"
            ssl.pemfile = "{certificate}"
            ssl.privkey = "{key}"
            proxy.server = ("" => (("host" => "127.0.0.1", "port" => {server.port})))
        """)
        with subprocess.Popen(['lighttpd', '-D', '-f', config], stderr=subprocess.DEVNULL) as web:
            try:
                origin = {'type': 'mega', 'url': f'https://127.0.0.1:{port}', 'tls': {'ca': ca[0]}}
                wait_until(lambda: can_connect(port), 15, 'lighttpd listens')
                with MeasuredNode({'demo': origin}) as node:
                    root = node.mount('job').root
                    with ThreadPoolExecutor(8) as pool:
                        names = [(d, i) for d in range(10) for i in range(20)]
                        texts = list(pool.map(lambda n: read(f'{root}/d{n[0]}/f{n[1]}'), names))
                    self.assertEqual(texts, [b'%d/%d\n' % n for n in names])
                    self.assertGreater(node.metric('coppice_http_requests_total'), 400)
                    self.assertLess(node.metric('coppice_http_connections_total'), 60)
            finally:
                web.terminate()


if __name__ == '__main__':
    side_by_side.main()
