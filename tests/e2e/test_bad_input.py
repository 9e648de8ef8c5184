# SPDX-License-Identifier: Apache-2.0
"""Everything that callers and operators get wrong: the exact code and reason, a message that says what and what to do, and nothing lost."""
import errno
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest

import repo_maker
from coppice_client import CallError
from node import SLOW, Node, program, wait_until

UUID = '00000000-0000-4000-8000-000000000000'

# request, code, reason, the field or None, a part of the message
CREATE = [
    ({'job_id': ''}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'job_id', '1 to 128'),
    ({'job_id': 'a/b'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'job_id', '1 to 128'),
    ({'job_id': '..'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'job_id', 'start'),
    ({'job_id': '-x'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'job_id', 'start'),
    ({'job_id': 'x' * 129}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'job_id', '128'),
    ({'job_id': 'nul\0'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'job_id', 'NUL'),
    ({'job_id': 'umlaut-ä'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'job_id', 'letters'),
    ({'origin': 'nowhere'}, 'NOT_FOUND', 'ORIGIN_NOT_FOUND', None, 'demo'),
    ({'origin': '../etc'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'origin', 'name'),
    ({'revision': 'no-such-branch'}, 'NOT_FOUND', 'REVISION_NOT_FOUND', None, 'no-such-branch'),
    ({'revision': '0123456789' * 4}, 'NOT_FOUND', 'REVISION_NOT_FOUND', None, '0123456789'),
    ({'revision': 'x' * 300}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'revision', '255'),
    ({'revision': 'a b'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'revision', 'blank'),
    ({'path': 'no/such/dir'}, 'NOT_FOUND', 'PATH_NOT_FOUND', None, 'no'),
    ({'path': 'README'}, 'FAILED_PRECONDITION', 'PATH_NOT_A_DIRECTORY', None, 'README'),
    ({'path': '../up'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'path', '..'),
    ({'path': 'x/' * 3000}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'path', '4095'),
    ({'quota': {}}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'quota', '0 bytes'),
    ({'lease_seconds': 1}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'lease_seconds', '5'),
    ({'lease_seconds': 604801}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'lease_seconds', '604800'),
    ({'mountpoint': 'relative'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'mountpoint', 'absolute'),
    ({'mountpoint': '/'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'mountpoint', "'/'"),
    ({'mountpoint': '/tmp/../etc'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'mountpoint', '..'),
    ({'mountpoint': '/no/such/parent/x'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'mountpoint', '/no/such/parent'),
    ({'mountpoint': '{base}/data/x'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'mountpoint', 'inside'),
    ({'mountpoint': '{base}/full'}, 'FAILED_PRECONDITION', 'MOUNTPOINT_NOT_EMPTY', None, 'not empty'),
    ({'mountpoint': '{base}/coppice.yaml'}, 'FAILED_PRECONDITION', 'MOUNTPOINT_UNUSABLE', None, 'not a directory'),
    ({'mountpoint': '/proc/x'}, 'FAILED_PRECONDITION', 'MOUNTPOINT_UNUSABLE', None, '/proc/x'),
    ({'mountpoint': '{base}/link/x'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'mountpoint', 'symbolic link'),
    ({'labels': [{'key': 'a b', 'value': ''}]}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'labels[0].key', '63'),
    ({'labels': [{'key': 'k', 'value': 'v' * 256}]}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'labels[0].value', '255'),
    ({'labels': [{'key': 'k', 'value': ''}] * 2}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'labels[1].key', 'twice'),
    ({'labels': [{'key': f'k{i}', 'value': ''} for i in range(33)]}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'labels', '32'),
    ({'tenant': 'nobody'}, 'NOT_FOUND', 'TENANT_NOT_FOUND', None, 'nobody'),
    ({'change_list': {'ref': 'absent'}}, 'NOT_FOUND', 'REVISION_NOT_FOUND', None, 'absent'),
    ({'change_list': {'link': 'ABCD1234'}}, 'FAILED_PRECONDITION', 'ORIGIN_UNSUPPORTED', None, 'Mega'),
    ({'change_list': {'link': '../x'}}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'change_list.link', 'link'),
    ({'change_list': {'ref': 'main', 'path': 'x'}}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'change_list.path', 'link only'),
    ({'change_list': {}}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'change_list', 'no source'),
    ({'change_list': {'patch': 'cnViYmlzaA=='}}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'change_list.patch', 'no change of a file'),
    ({'change_list': {'tar': {'tar': 'cnViYmlzaA=='}}}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'change_list.tar', 'tar archive'),
    ({'change_list': {'tar': {'deleted': ['Li4vcGFzc3dk']}}}, 'INVALID_ARGUMENT', 'INVALID_FIELD', None, 'outside'),
    ({'change_list': {'range': 'main'}}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'change_list.range', 'a..b'),
    ({'change_list': {'range': 'main...main'}}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'change_list.range', 'a..b'),
    ({'change_list': {'range': 'main..absent'}}, 'NOT_FOUND', 'REVISION_NOT_FOUND', None, 'absent'),
]
OTHERS = [
    ('GetMount', {}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'mount_id', 'either'),
    ('GetMount', {'job_id': 'a', 'mount_id': UUID}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'job_id', 'not both'),
    ('GetMount', {'mount_id': 'not-a-uuid'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'mount_id', 'UUID'),
    ('GetMount', {'mount_id': UUID}, 'NOT_FOUND', 'MOUNT_NOT_FOUND', None, UUID),
    ('GetMount', {'job_id': 'gone'}, 'NOT_FOUND', 'MOUNT_NOT_FOUND', None, 'gone'),
    ('DeleteMount', {'job_id': 'gone'}, 'NOT_FOUND', 'MOUNT_NOT_FOUND', None, 'gone'),
    ('RenewLease', {'job_id': 'gone'}, 'NOT_FOUND', 'MOUNT_NOT_FOUND', None, 'gone'),
    ('UpdateMount', {'job_id': 'base', 'update_mask': ['owner']}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'update_mask', 'owner'),
    ('UpdateMount', {'job_id': 'base'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'update_mask', ''),
    ('UpdateMount', {'job_id': 'base', 'update_mask': ['quota'], 'quota': {}}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'quota', '0'),
    ('ListMounts', {'page_token': 'garbage'}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'page_token', ''),
    ('ListMounts', {'page_size': 1001}, 'INVALID_ARGUMENT', 'INVALID_FIELD', 'page_size', '1000'),
]
# configuration, what the message must have besides the file and the line
CONFIGS = [
    ('data_dirr: /x\n', 1, ('data_dirr', 'unknown')),
    ('data_dir: relative\n', 1, ('data_dir', 'absolute')),
    ('cache:\n  memory: lots\n', 2, ('cache.memory', 'size')),
    ('origins:\n  - {name: a, type: svn, url: /x}\n', 2, ('type', 'git')),
    ('origins:\n  - {name: a, type: git, url: /x}\n  - {name: a, type: git, url: /y}\n', 3, ('name', 'a')),
    ('origins:\n  - {name: a, type: git, url: "ftp://x/y"}\n', 2, ('url',)),
    ('grpc: {listen: ["0.0.0.0:1"]}\n', 1, ('grpc.listen', 'loopback')),
    ('tenants:\n  - name: t\n    origins: [{name: none}]\n', 3, ('none',)),
    ('tenants:\n  - {name: t, identities: [{unix_uid: -1}]}\n', 2, ('unix_uid',)),
    ('cache: {redis: {url: "http://h"}}\n', 1, ('cache.redis.url', 'redis+cluster://')),
    ('data_dir: [\n', None, ()),
    ('\t- x\n', 1, ()),
]


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-bad-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo_maker.make(cls.repository, files=20)

    def refused(self, code, reason, field, part, call, **fields):
        with self.assertRaises(CallError) as caught:
            call(**fields)
        e = caught.exception
        self.assertEqual((e.code, e.reason), (code, reason), e.message)
        if field:
            self.assertEqual(e.metadata.get('field'), field, e.message)
        self.assertIn(part, e.message)
        return e

    def test_requests(self):
        with Node({'demo': self.repository}) as node:
            node.mount('base')
            os.makedirs(node.path('full/inside'))
            os.symlink(node.path('full'), node.path('link'))
            for fields, *answer in CREATE:
                with self.subTest(**fields):
                    fields = {'job_id': 'new', 'origin': 'demo', **fields}
                    if 'mountpoint' in fields:
                        fields['mountpoint'] = fields['mountpoint'].replace('{base}', node.base)
                    self.refused(*answer, node.client.CreateMount, **fields)
            for method, fields, *answer in OTHERS:
                with self.subTest(method=method, **fields):
                    self.refused(*answer, getattr(node.client, method), **fields)
            self.assertEqual([m.job_id for m in node.client.ListMounts().mounts], ['base'], 'none of it made anything')
            self.assertEqual(len(os.listdir(node.data + '/workspaces')), 1)
            self.assertEqual(node.client.GetNode().tenants[0].mounts, 1)

    def test_raw_bytes(self):
        with Node({'demo': self.repository}) as node:
            for name, data in (('truncated', b'\x12\x7fab'), ('not UTF-8', b'\x12\x02\xff\xfe'), ('wrong type', b'\x10\x01'),
                               ('group', b'\x0b\x0c'), ('endless varint', b'\xff' * 20)):
                with self.subTest(name):
                    with self.assertRaises(CallError) as caught:
                        node.client.raw('CreateMount', data)
                    self.assertEqual(caught.exception.code, 'INVALID_ARGUMENT', caught.exception.message)
            with self.assertRaises(CallError) as caught:
                node.client.raw('CreateMount', b'\x12\x80\x80\x80\x04' + b'a' * (8 << 20))
            self.assertIn(caught.exception.code, ('RESOURCE_EXHAUSTED', 'INVALID_ARGUMENT'))
            node.mount('still-alive')

    def test_job_id_reused(self):
        with Node({'demo': self.repository}) as node:
            first = node.mount('job', path='d0001')
            self.assertEqual(node.mount('job', path='/d0001/').mount_id, first.mount_id, 'the same request')
            for fields in ({}, {'path': 'd0002'}, {'path': 'd0001', 'read_only': True}, {'path': 'd0001', 'lease_seconds': 60},
                           {'path': 'd0001', 'quota': {'bytes': 1}}, {'path': 'd0001', 'revision': 'main'}):
                with self.subTest(**fields):
                    e = self.refused('ALREADY_EXISTS', 'JOB_ID_IN_USE', None, first.mount_id, node.client.CreateMount, job_id='job',
                                     origin='demo', **fields)
                    self.assertEqual(e.metadata['mount_id'], first.mount_id)
            deleted = node.delete('job')
            again = node.delete('job')
            self.assertEqual((again.mount_id, node.client.state(again)), (deleted.mount_id, 'DELETED'))
            self.assertNotEqual(node.mount('job').mount_id, first.mount_id)

    def test_twins_make_one(self):
        with Node({'demo': self.repository}) as node:
            calls = [node.client.future('CreateMount', job_id='twin', origin='demo') for _ in range(20)]
            self.assertEqual(len({node.client.result(c).mount_id for c in calls}), 1)
            self.assertEqual(len(node.client.ListMounts().mounts), 1)
            calls = [node.client.future('DeleteMount', job_id='twin') for _ in range(20)]
            self.assertEqual({node.client.state(node.client.result(c)) for c in calls}, {'DELETED'})

    def test_mountpoint_in_use(self):
        with Node({'demo': self.repository}) as node:
            node.mount('one', mountpoint=node.path('here'))
            for other in ('here', 'here/d0001'):
                with self.assertRaises(CallError) as caught:
                    node.mount('two', mountpoint=node.path(other))
                self.assertIn(caught.exception.reason, ('MOUNTPOINT_IN_USE', 'MOUNTPOINT_NOT_EMPTY'))
                self.assertEqual(caught.exception.code, 'FAILED_PRECONDITION')

    def test_mount_limit(self):
        with Node({'demo': self.repository}, tenants='  - {name: t, admin: true, quota: {mounts: 2}, identities: [{unix_uid: 0}]}') as node:
            node.mount('one')
            node.mount('two')
            self.refused('RESOURCE_EXHAUSTED', 'MOUNT_LIMIT', None, '2', node.client.CreateMount, job_id='three', origin='demo')
            node.delete('one')
            node.mount('three')

    def test_read_only(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('ro', read_only=True).root

            def append(path):  # the kernel opens without asking, so the write is what fails
                with open(path, 'ab', buffering=0) as f:
                    f.write(b'x')

            for call, path in ((os.mknod, 'new'), (os.unlink, 'README'), (os.mkdir, 'd'), (lambda p: os.truncate(p, 0), 'README'),
                               (lambda p: os.chmod(p, 0o600), 'README'), (append, 'README'), (lambda p: os.rename(p, p + '2'), 'd0001')):
                with self.assertRaisesRegex(OSError, 'Read-only file system'):
                    call(os.path.join(root, path))
            with open(root + '/README', 'rb') as f:
                self.assertEqual(f.read(), b'made by repo_maker\n')

    def test_missing_repository(self):
        with Node({'demo': self.repository, 'gone': self.folder + '/no-such.git'}) as node:
            node.mount('fine', origin='demo')
            self.refused('UNAVAILABLE', 'ORIGIN_UNAVAILABLE', None, self.folder + '/no-such.git', node.client.CreateMount,
                         job_id='x', origin='gone')
            self.assertEqual({o.name: o.available for o in node.client.GetNode().origins}, {'demo': True, 'gone': False})
            shutil.copytree(self.repository, self.folder + '/no-such.git')
            node.mount('x', origin='gone')

    def test_cancelled_and_late(self):
        """A caller that gives up leaves either a mount or nothing, never a half."""
        with Node({'demo': self.repository}) as node:
            for i in range(30):
                call = node.client.future('CreateMount', job_id=f'job{i}', origin='demo', timeout=0.0005 * i if i % 2 else 60)
                if i % 2 == 0:
                    threading.Timer(0.0005 * i, call.cancel).start()
                try:
                    call.result()
                except Exception:  # cancelled and late ones differ in type; what counts is what is there afterwards
                    pass
            wait_until(lambda: all(node.client.state(m) == 'READY' for m in node.client.ListMounts().mounts), 10, 'all are ready')
            for i in range(30):
                self.assertIn('README', os.listdir(node.mount(f'job{i}').root))
                node.delete(f'job{i}')
            wait_until(lambda: os.listdir(node.data + '/workspaces') == [], 20, 'nothing is left')


class FullDisk(unittest.TestCase):
    """A data_dir without room: writes fail with ENOSPC, creations with DISK_FULL, what is there stays, and room makes it well."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='cop-disk-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.repository = os.path.join(self.folder, 'repo.git')
        repo_maker.make(self.repository, files=20, large_mb=8)
        self.node = Node({'demo': self.repository})
        os.makedirs(self.node.data)
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=24m,mode=700', 'coppice-test', self.node.data], check=True)
        self.addCleanup(self.end)

    def end(self):
        if self.node.process:
            self.node.stop()
        subprocess.run(['umount', self.node.data], check=True)
        self.node.close()

    def fill(self):
        """Leaves not one block."""
        with open(self.node.data + '/ballast', 'wb', buffering=0) as f:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        f.write(b'x' * size)
                except OSError as e:
                    self.assertEqual(e.errno, errno.ENOSPC)

    def assert_no_room(self, call, *args):
        with self.assertRaises(OSError) as caught:
            call(*args)
        self.assertEqual(errno.errorcode[caught.exception.errno], 'ENOSPC')

    def append(self, path, data):
        with open(path, 'ab', buffering=0) as f:
            while data:
                data = data[f.write(data):]

    def test_full_and_empty_again(self):
        node = self.node
        node.start()
        root = node.mount('job').root
        self.append(root + '/before', b'kept')
        self.fill()
        self.assertEqual(os.statvfs(root).f_bavail, 0, 'df in the workspace tells')
        self.assert_no_room(self.append, root + '/new', b'x' * (1 << 20))
        self.assert_no_room(self.append, root + '/large/file.bin', b'x')  # to be copied up: 8 MiB
        with open(root + '/before', 'rb') as f:
            self.assertEqual(f.read(), b'kept')
        with open(root + '/README', 'rb') as f:
            self.assertEqual(f.read(), b'made by repo_maker\n')
        with self.assertRaises(CallError) as caught:
            for i in range(100):  # the journal may have a few free pages
                node.mount(f'more{i}')
        self.assertEqual((caught.exception.code, caught.exception.reason), ('RESOURCE_EXHAUSTED', 'DISK_FULL'))
        self.assertIn(node.data, caught.exception.message)
        os.unlink(node.data + '/ballast')
        self.append(root + '/large/file.bin', b'end')
        self.assertEqual(os.stat(root + '/large/file.bin').st_size, (8 << 20) + 3)
        node.mount('after')
        with self.subTest('kill -9 on a full disk'):
            self.fill()
            node.kill()
            node.start()
            with open(root + '/before', 'rb') as f:
                self.assertEqual(f.read(), b'kept')
            os.unlink(node.data + '/ballast')
        for m in node.client.ListMounts().mounts:
            node.client.DeleteMount(mount_id=m.mount_id)


class BadStart(unittest.TestCase):
    """The daemon that cannot start says why, with the exit code for it."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='cop-start-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def run_daemon(self, *args):
        done = subprocess.run([program('coppiced'), *args], capture_output=True, text=True, timeout=30 * SLOW, check=False, cwd='/')
        self.assertEqual(done.stdout, '')
        return done.returncode, done.stderr

    def config(self, text):
        path = os.path.join(self.folder, 'bad.yaml')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        return path

    def test_configurations(self):
        for text, line, parts in CONFIGS:
            with self.subTest(text):
                path = self.config(text)
                code, message = self.run_daemon('--config', path)
                self.assertEqual(code, 2, message)
                self.assertIn(path + (f':{line}' if line else ''), message)
                for part in parts:
                    self.assertIn(part, message)

    def test_unreadable(self):
        for path, part in ((self.folder + '/none.yaml', 'No such file'), (self.folder, 'directory')):
            code, message = self.run_daemon('--config', path)
            self.assertEqual(code, 2, message)
            self.assertIn(path, message)
            self.assertIn(part, message)

    def test_usage(self):
        for args in (('--bogus',), ('word',), ('--set', 'novalue'), ('--set', 'no.such.key=1')):
            code, message = self.run_daemon(*args)
            self.assertEqual(code, 2, message)
            self.assertTrue(message)

    def test_data_dir_that_cannot_be(self):
        with open(self.folder + '/file', 'w', encoding='ascii'):
            pass
        path = self.config(f'data_dir: {self.folder}/file/data\nrun_dir: {self.folder}/run\n'
                           f'grpc: {{listen: ["unix:{self.folder}/s"]}}\nhttp: {{listen: ""}}\n')
        code, message = self.run_daemon('--config', path)
        self.assertEqual(code, 1, message)
        self.assertIn(self.folder + '/file/data', message)

    def test_stopped_while_it_starts(self):
        path = self.config(f'data_dir: {self.folder}/data\nrun_dir: {self.folder}/run\n'
                           f'grpc: {{listen: ["unix:{self.folder}/s"]}}\nhttp: {{listen: ""}}\n')
        for delay_ms in (5, 20, 50, 100, 200):
            process = subprocess.Popen([program('coppiced'), '--config', path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(delay_ms / 1000)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
            self.assertIn(process.wait(30 * SLOW), (0, -signal.SIGTERM))  # it may not have come to blocking signals yet


if __name__ == '__main__':
    unittest.main()
