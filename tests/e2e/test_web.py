# SPDX-License-Identifier: Apache-2.0
"""How servers are reached, for both users of the HTTP client, a Mega server and a server of Git LFS: proxies, certificates, redirects, and
addresses that are wrong. (test_git_hostile.py and test_git_remote.py: the same for the Git program.)"""
import errno
import os
import shutil
import tempfile
import time
import unittest

import repo_maker
from coppice_client import CallError
from git_server import Authority
from mega_server import MegaServer
from node import SLOW, Node, wait_until
from web_proxy import WebProxy

FAILURES = ('EIO', 'EHOSTUNREACH', 'ETIMEDOUT')
KINDS = ('mega', 'lfs')
CONTENT = b'a large file\n' * 1000


def read(path):
    with open(path, 'rb') as f:
        return f.read()


class Web(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-web-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        # the pointer: a server that is not asked for anything makes it
        with MegaServer(cls.make_repository('empty.git', b'')) as server:
            pointer = server.add_lfs(CONTENT)
        cls.make_repository('repo.git', pointer)
        cls.authority, cls.stranger = Authority(cls.folder), Authority(cls.folder)
        cls.good, cls.expired = cls.authority.sign('127.0.0.1')[::-1], cls.authority.sign('expired', days=-1)[::-1]
        cls.client = dict(zip(('key', 'cert'), cls.authority.sign('builder')))

    @classmethod
    def make_repository(cls, name, large):
        repo = repo_maker.Repo(os.path.join(cls.folder, name))
        repo.begin()
        repo.add(b'plain', b'plain\n')
        repo.add(b'large', large)
        repo.finish()
        return os.path.join(cls.folder, name)

    def server(self, **options):
        server = MegaServer(self.repository, **options)
        self.addCleanup(server.close)
        server.add_lfs(CONTENT)
        return server

    def node(self, kind, url, **keys):
        """A node whose file `large` comes through the client: of a Mega server, or of a local repository with LFS."""
        keys = {'timeout': '2s', 'connect_timeout': '2s', **keys}
        if kind == 'mega':
            return Node({'demo': {'type': 'mega', 'url': url, 'lfs': True, **keys}})
        return Node({'demo': {'type': 'git', 'url': self.repository, 'lfs': True, 'lfs_url': url + '/info/lfs', **keys}})

    def assert_works(self, url, kinds=KINDS, **keys):
        for kind in kinds:
            with self.subTest(kind=kind), self.node(kind, url, **keys) as node:
                self.assertEqual(read(node.mount('job').root + '/large'), CONTENT)

    def fails(self, node):
        """It does, with an error that says that the server is the matter, soon; a file that needs no server can be read."""
        start = time.monotonic()
        try:
            root = node.mount('failing').root
            with self.assertRaises(OSError) as caught:
                read(root + '/large')
            self.assertIn(errno.errorcode[caught.exception.errno], FAILURES)
            self.assertEqual(read(root + '/plain'), b'plain\n')
            self.assertEqual(os.stat(root + '/large').st_size, len(CONTENT))
            message = ''
        except CallError as e:
            self.assertIn(e.code, ('UNAVAILABLE', 'FAILED_PRECONDITION'), e.message)
            message = e.message
        self.assertLess(time.monotonic() - start, 25 * SLOW)
        return message

    def assert_fails(self, url, why='', **keys):
        for kind in KINDS:
            with self.subTest(kind=kind), self.node(kind, url, **keys) as node:
                message = self.fails(node)
                self.assertTrue(kind == 'lfs' or why in message, message)

    def test_proxy(self):
        """http by absolute URLs, https through CONNECT; what the proxy refuses fails, and works again when it does not."""
        for tls, word in ((None, 'GET http://'), (self.good, 'CONNECT ')):
            keys = {'tls': {'ca': self.authority.ca}} if tls else {}
            for kind in KINDS:
                server = self.server(tls=tls)
                with self.subTest(kind=kind, tls=bool(tls)), WebProxy() as proxy, \
                        self.node(kind, server.url, proxy=proxy.url, **keys) as node:
                    proxy.refuse = True
                    self.fails(node)
                    self.assertEqual(server.count('.'), 0, 'it was reached without the proxy')
                    proxy.refuse = False

                    def works(node=node):
                        try:
                            return read(node.mount('job').root + '/large') == CONTENT
                        except (OSError, CallError):
                            return False
                    wait_until(works, 30, 'the proxy lets it through', pause=0.2)
                    self.assertTrue([asked for asked in proxy.asked if asked.startswith(word)], proxy.asked)

    def test_proxy_that_is_not_there(self):
        server = self.server()
        self.assert_fails(server.url, proxy='http://127.0.0.1:1')
        self.assertEqual(server.count('.'), 0)

    def test_authorities(self):
        server = self.server(tls=self.good)
        self.assert_works(server.url, tls={'ca': self.authority.ca})
        self.assert_fails(server.url, 'certificate', tls={'ca': self.stranger.ca})
        self.assert_fails(server.url, 'certificate')
        self.assert_fails(self.server(tls=self.expired).url, 'expired', tls={'ca': self.authority.ca})

    def test_client_certificate(self):
        server = self.server(tls=self.good, client_ca=self.authority.ca)
        wrong = dict(zip(('key', 'cert'), self.stranger.sign('builder')))
        self.assert_works(server.url, tls={'ca': self.authority.ca, **self.client})
        before = server.count('.')
        self.assert_fails(server.url, tls={'ca': self.authority.ca})
        self.assert_fails(server.url, tls={'ca': self.authority.ca, **wrong})
        self.assertEqual(server.count('.'), before)

    def test_names_and_ports_that_lead_nowhere(self):
        self.assert_fails('http://no-such-host.invalid:8000')
        self.assert_fails('http://127.0.0.1:1')

    def test_urls_without_a_scheme(self):
        for field, origin in (('url', {'type': 'mega', 'url': 'mega.example.org:8000'}),
                              ('lfs_url', {'type': 'git', 'url': self.repository, 'lfs': True, 'lfs_url': 'lfs.example.org/info/lfs'})):
            node = Node({'demo': origin})
            node.write_config()
            done = node.cli('config', 'check', '--config', node.config, check=False)
            node.close()
            self.assertNotEqual(done.returncode, 0, field)
            self.assertIn(f'origins[0].{field}: must begin with http:// or https://', done.stdout + done.stderr)

    def test_redirect_to_another_server_gets_no_credentials(self):
        token = os.path.join(self.folder, 'token')
        with open(token, 'w', encoding='ascii') as f:
            f.write('abc123\n')
        for kind, match in (('mega', '/file/'), ('lfs', 'GET /info/lfs')):
            elsewhere, server = self.server(), self.server(authorization='Bearer abc123')
            server.fault(match, 'redirect', to=elsewhere.url)
            self.assert_works(server.url, kinds=(kind,), auth={'token_file': token})
            self.assertGreater(elsewhere.count('.'), 0)
            self.assertEqual([path for _, path, headers in elsewhere.requests() if 'Authorization' in headers], [])
            self.assertTrue([path for _, path, headers in server.requests() if 'Authorization' in headers])


if __name__ == '__main__':
    unittest.main()
