# SPDX-License-Identifier: Apache-2.0
"""Git LFS: contents where the repository has pointers, with their sizes, verified, fetched once for all; pointers where it is off."""
import errno
import hashlib
import json
import os
import shutil
import tempfile
import unittest

import repo_maker
from mega_server import MegaServer
from node import Node, wait_until

FAILURES = ('EIO', 'EHOSTUNREACH', 'ETIMEDOUT')


def read(path):
    with open(path, 'rb') as f:
        return f.read()


class Lfs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='cop-lfs-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.repository = os.path.join(self.folder, 'repo.git')
        self.contents = {
            'small.bin': b'small content\n',
            'large.bin': bytes(range(256)) * 20000,
            'empty.bin': b'',
            'other.bin': b'other' * 1000,
        }
        self.pointers = {name: self.pointer(data) for name, data in self.contents.items()}
        almost = self.pointer(b'x').replace(b'spec/v1', b'spec/v2')
        self.plain = {'text': b'y' * 130, 'almost': almost, 'with-extension': almost + b'ext-0-x sha256:' + b'0' * 64 + b'\n'}
        repo = repo_maker.Repo(self.repository)
        repo.begin()
        for name, data in {**self.pointers, **self.plain}.items():
            repo.add(b'assets/' + name.encode(), data, b'100755' if name == 'other.bin' else b'100644')
        repo.add(b'copy/of-large.bin', self.pointers['large.bin'])
        self.link = self.pointer(b'what a link would point to')
        repo.add(b'link', self.link, b'120000')  # not a regular file: no pointer
        repo.add(b'lone/broken.bin', self.pointer(b'the server does not have this'))
        self.commit = repo.finish()
        self.server = MegaServer(self.repository)
        self.addCleanup(self.server.close)
        for data in self.contents.values():
            self.server.add_lfs(data)

    @staticmethod
    def pointer(data):
        return (f'version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(data).hexdigest()}\n'
                f'size {len(data)}\n').encode()

    def origins(self):
        return {'demo': {'type': 'mega', 'url': self.server.url, 'lfs': True, 'timeout': '2s'},
                'off': {'type': 'mega', 'url': self.server.url},
                'local': {'type': 'git', 'url': self.repository, 'lfs': True, 'lfs_url': self.server.url + '/info/lfs'}}

    def assert_contents(self, root):
        for name, data in self.contents.items():
            path = f'{root}/assets/{name}'
            self.assertEqual(os.stat(path).st_size, len(data), name)
            self.assertEqual(hashlib.sha256(read(path)).hexdigest(), hashlib.sha256(data).hexdigest(), name)
        for name, data in self.plain.items():
            self.assertEqual(read(f'{root}/assets/{name}'), data)
        self.assertEqual(os.stat(root + '/assets/other.bin').st_mode & 0o777, 0o755)
        self.assertEqual(os.readlink(root + '/link').encode(), self.link)
        self.assertEqual(os.stat(root + '/copy/of-large.bin').st_size, len(self.contents['large.bin']))

    def assert_pointers(self, root):
        for name, data in {**self.pointers, **self.plain}.items():
            self.assertEqual(os.stat(f'{root}/assets/{name}').st_size, len(data))
            self.assertEqual(read(f'{root}/assets/{name}'), data)

    def assert_fails(self, call, *args):
        with self.assertRaises(OSError) as caught:
            result = call(*args)
            self.fail(f'gave {result!r}')
        self.assertIn(errno.errorcode[caught.exception.errno], FAILURES)

    def test_contents(self):
        with Node(self.origins()) as node:
            root = node.mount('job').root
            self.assert_contents(root)
            self.assertEqual(read(root + '/copy/of-large.bin'), self.contents['large.bin'])
            # The same tree through an origin without LFS, before and after.
            self.assert_pointers(node.mount('off', origin='off').root)
            self.assert_contents(node.mount('again').root)
            # Fetched once, by whoever; a second origin and a second process use it.
            downloads = self.server.count('GET /info/lfs/objects')
            self.assertEqual(downloads, len(self.contents) - 1)  # nothing is asked of an empty file
            self.assert_contents(node.mount('local', origin='local').root)
            node.stop()
            node.start()
            self.assert_contents(root)
            self.assert_contents(node.mount('third').root)
            self.assert_pointers(node.client.GetMount(job_id='off').root)
            self.assertEqual(self.server.count('GET /info/lfs/objects'), downloads)
            self.assertIn('X-Lfs', next(h for m, p, h in self.server.requests() if 'GET /info/lfs' in f'{m} {p}'))

    def test_pointers_first(self):
        with Node(self.origins()) as node:
            self.assert_pointers(node.mount('off', origin='off').root)
            self.assert_contents(node.mount('job').root)

    def test_what_a_job_does_with_them(self):
        with Node(self.origins()) as node:
            root = node.mount('job').root
            large = self.contents['large.bin']
            path = root + '/assets/large.bin'
            self.assertEqual(os.getxattr(path, 'user.sha256'), hashlib.sha256(large).hexdigest().encode())
            self.assertEqual(os.getxattr(path, 'user.sha1'), hashlib.sha1(large).hexdigest().encode())
            with open(path, 'r+b') as f:  # copied up
                f.seek(10)
                f.write(b'changed')
            self.assertEqual(read(path), large[:10] + b'changed' + large[17:])
            self.assertEqual(read(root + '/copy/of-large.bin'), large)
            os.truncate(root + '/copy/of-large.bin', 100)
            self.assertEqual(read(root + '/copy/of-large.bin'), large[:100])

    def test_what_the_server_does_wrong(self):
        with Node(self.origins()) as node:
            root = node.mount('job').root
            path = root + '/assets/other.bin'
            for match, action, more in (('GET /info/lfs', 'lie', {}), ('GET /info/lfs', 'short', {}), ('GET /info/lfs', 'empty', {}),
                                        ('POST', 'status', {'status': 500}), ('POST', 'empty', {}), ('POST', 'status', {'status': 404}),
                                        ('POST', 'replace', {'data': json.dumps({'objects': []})})):
                self.server.fault(match, action, **more)
                self.assert_fails(read, path)
                self.server.heal()
            self.assert_fails(read, root + '/lone/broken.bin')
            self.assertEqual(os.stat(root + '/lone/broken.bin').st_size, len(b'the server does not have this'))

            def right():
                try:
                    return read(path) == self.contents['other.bin']
                except OSError:
                    return False
            wait_until(right, 15, 'the server is well again', pause=0.05)
            self.assert_contents(root)

    def test_places_of_many_are_asked_for_in_one_request(self):
        """Prefetch asks the batch API once for up to 100 contents; a place that has expired meanwhile is asked for again."""
        contents = {f'{i:03d}.bin': b'content %d' % i * (i + 1) for i in range(150)}
        repo = repo_maker.Repo(self.folder + '/many.git')
        repo.begin()
        for name, data in contents.items():
            repo.add(b'many/' + name.encode(), self.pointer(data))
        repo.finish()
        for stale in (False, True):
            with MegaServer(self.folder + '/many.git') as server:
                for data in contents.values():
                    server.add_lfs(data)
                if stale:
                    server.fault('GET /info/lfs', 'status', status=403, times=1)
                with Node({'demo': {'type': 'mega', 'url': server.url, 'lfs': True}}) as node:
                    root = node.mount('job').root
                    last = list(node.client.Prefetch(job_id='job'))[-1]
                    self.assertEqual((last.done, last.blobs, last.failed), (True, len(contents), 0))
                    self.assertEqual(server.count('POST /info/lfs/objects/batch'), 3 if stale else 2)
                    self.assertEqual(server.count('GET /info/lfs/objects'), len(contents) + (1 if stale else 0))
                    for name, data in contents.items():
                        self.assertEqual(read(f'{root}/many/{name}'), data)

    def test_a_place_that_only_the_server_can_reach(self):
        self.server.set(lfs_href='http://127.0.0.1:1/info/lfs')
        with Node(self.origins()) as node:
            self.assert_contents(node.mount('job').root)


if __name__ == '__main__':
    unittest.main()
