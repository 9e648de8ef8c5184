# SPDX-License-Identifier: Apache-2.0
"""Tenants by Unix uid and by token: nobody can see, name or enter what is another's; an admin can."""
import hashlib
import os
import shutil
import subprocess
import tempfile
import unittest

import repo_maker
from coppice_client import CallError, Client
from node import SLOW, Node
from ports import free_port

ADMIN, ALICE, BOB, NOBODY = 0, 61001, 61002, 61003
TOKEN = 'correct horse battery staple'


class Tenants(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-tenants-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        for name in ('demo', 'secret'):
            repo_maker.make(os.path.join(cls.folder, name), files=20)
        hashed = os.path.join(cls.folder, 'token.sha256')
        with open(hashed, 'w', encoding='ascii') as f:
            f.write(hashlib.sha256(TOKEN.encode()).hexdigest() + '\n')
        tenants = f'''
  - {{name: ops, admin: true, identities: [{{unix_uid: {ADMIN}}}]}}
  - {{name: alice, origins: [{{name: demo}}], identities: [{{unix_uid: {ALICE}}}, {{token_sha256_file: {hashed}}}]}}
  - {{name: bob, private: true, origins: [{{name: demo, paths: ["/d0001"]}}], identities: [{{unix_uid: {BOB}}}]}}
'''
        cls.node = Node({name: os.path.join(cls.folder, name) for name in ('demo', 'secret')}, tenants=tenants)
        cls.node.__enter__()
        cls.addClassCleanup(cls.node.close)

    def tearDown(self):
        for m in self.node.client.ListMounts().mounts:
            self.node.client.DeleteMount(mount_id=m.mount_id)

    def refused(self, uid, code, reason, method, **fields):
        answer = self.node.call_as(uid, method, **fields)
        self.assertIn('error', answer)
        self.assertEqual((answer['error']['code'], answer['error']['reason']), (code, reason), answer['error']['message'])
        return answer['error']['message']

    def test_each_sees_its_own(self):
        call = self.node.call_as
        a = call(ALICE, 'CreateMount', job_id='same')
        b = call(BOB, 'CreateMount', job_id='same', path='d0001')
        self.assertEqual((a['tenant'], b['tenant']), ('alice', 'bob'))
        self.assertEqual((a['origin'], b['origin']), ('demo', 'demo'), 'the only one that they may use')
        self.assertNotEqual(a['mount_id'], b['mount_id'])
        for uid, mine in ((ALICE, a), (BOB, b)):
            self.assertEqual([m['mount_id'] for m in call(uid, 'ListMounts')['mounts']], [mine['mount_id']])
            self.assertEqual(call(uid, 'GetMount', job_id='same')['mount_id'], mine['mount_id'])
        for method in ('GetMount', 'DeleteMount', 'RenewLease'):
            self.refused(ALICE, 'NOT_FOUND', 'MOUNT_NOT_FOUND', method, mount_id=b['mount_id'])
        self.refused(ALICE, 'NOT_FOUND', 'MOUNT_NOT_FOUND', 'UpdateMount', mount_id=b['mount_id'], update_mask=['labels'])
        unknown = self.refused(ALICE, 'NOT_FOUND', 'MOUNT_NOT_FOUND', 'GetMount', mount_id='0' * 8 + '-0000-4000-8000-' + '0' * 12)
        theirs = self.refused(ALICE, 'NOT_FOUND', 'MOUNT_NOT_FOUND', 'GetMount', mount_id=b['mount_id'])
        self.assertEqual(theirs.replace(b['mount_id'], ''), unknown.replace('00000000-0000-4000-8000-000000000000', ''),
                         'one cannot tell a foreign mount from none')
        for method in ('ListMounts', 'WatchMounts'):
            self.refused(ALICE, 'PERMISSION_DENIED', 'ADMIN_ONLY', method, tenant='bob')
        self.refused(ALICE, 'PERMISSION_DENIED', 'ADMIN_ONLY', 'GetMount', tenant='bob', job_id='same')
        self.refused(ALICE, 'PERMISSION_DENIED', 'ADMIN_ONLY', 'CreateMount', tenant='bob', job_id='x')
        first = call(ALICE, 'WatchMounts')
        self.assertEqual(first['mount']['mount_id'], a['mount_id'])

    def test_the_admin_sees_all(self):
        a = self.node.call_as(ALICE, 'CreateMount', job_id='job')
        b = self.node.call_as(BOB, 'CreateMount', job_id='job', path='d0001')
        client = self.node.client
        self.assertEqual({m.tenant for m in client.ListMounts().mounts}, {'alice', 'bob'})
        self.assertEqual([m.mount_id for m in client.ListMounts(tenant='bob').mounts], [b['mount_id']])
        self.assertEqual(client.GetMount(tenant='alice', job_id='job').mount_id, a['mount_id'])
        self.assertEqual(client.GetMount(mount_id=b['mount_id']).tenant, 'bob')
        theirs = client.CreateMount(tenant='bob', origin='demo', path='d0001', job_id='by-admin')
        self.assertEqual(self.node.call_as(BOB, 'GetMount', job_id='by-admin')['mount_id'], theirs.mount_id)
        client.DeleteMount(mount_id=a['mount_id'])
        self.refused(ALICE, 'NOT_FOUND', 'MOUNT_NOT_FOUND', 'GetMount', job_id='job')

    def test_what_they_may_mount(self):
        self.refused(ALICE, 'PERMISSION_DENIED', 'ORIGIN_NOT_ALLOWED', 'CreateMount', job_id='x', origin='secret')
        self.refused(BOB, 'PERMISSION_DENIED', 'PATH_NOT_ALLOWED', 'CreateMount', job_id='x')
        self.refused(BOB, 'PERMISSION_DENIED', 'PATH_NOT_ALLOWED', 'CreateMount', job_id='x', path='d0002')
        self.refused(BOB, 'PERMISSION_DENIED', 'PATH_NOT_ALLOWED', 'CreateMount', job_id='x', path='d00011')
        self.refused(NOBODY, 'UNAUTHENTICATED', 'UNAUTHENTICATED', 'ListMounts')
        for method in ('GetNode', 'GetCacheStats'):
            self.refused(ALICE, 'PERMISSION_DENIED', 'ADMIN_ONLY', method)

    def test_token(self):
        client = Client(self.node.address, token=TOKEN)
        self.addCleanup(client.close)
        self.assertEqual(client.CreateMount(job_id='by-token').tenant, 'alice')
        wrong = Client(self.node.address, token=TOKEN + '!')
        self.addCleanup(wrong.close)
        with self.assertRaises(CallError) as caught:
            wrong.ListMounts()
        self.assertEqual(caught.exception.code, 'UNAUTHENTICATED', 'a wrong token is not made good by the right uid')
        self.assertNotIn(TOKEN, str(caught.exception))
        self.assertNotIn(TOKEN, self.node.log_text())

    def run_as(self, uid, *args):
        return subprocess.run(args, user=uid, group=uid, extra_groups=[], capture_output=True, text=True, timeout=30 * SLOW,
                              check=False)

    def test_the_files_are_the_owners(self):
        a = self.node.call_as(ALICE, 'CreateMount', job_id='files')
        root = a['root']
        self.assertEqual(a['owner'], {'uid': ALICE, 'gid': ALICE})
        st = os.stat(root + '/README')
        self.assertEqual((st.st_uid, st.st_gid, st.st_mode & 0o777), (ALICE, ALICE, 0o644))
        done = self.run_as(ALICE, 'sh', '-c', f'cd {root} && echo mine >> README && mkdir sub && echo x > sub/y && rm -r d0001')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(os.stat(root + '/sub/y').st_uid, ALICE)
        for words in (('sh', '-c', f'echo x >> {root}/README'), ('rm', root + '/sub/y'), ('mkdir', root + '/bobs'),
                      ('chmod', '777', root + '/README'), ('truncate', '-s', '0', root + '/README')):
            done = self.run_as(BOB, *words)
            self.assertNotEqual(done.returncode, 0, words)
            self.assertRegex(done.stderr, 'denied|not permitted')
        chosen = self.node.client.CreateMount(tenant='alice', origin='demo', job_id='chosen', owner={'uid': 7, 'gid': 8})
        st = os.stat(chosen.root + '/README')
        self.assertEqual((st.st_uid, st.st_gid), (7, 8))

    def test_others_read_a_private_workspace(self):
        point = self.node.path('bobs-own')
        os.mkdir(point)
        os.chown(point, BOB, BOB)
        root = self.node.call_as(BOB, 'CreateMount', job_id='closed', path='d0001', mountpoint=point)['root']
        name = os.listdir(root)[0]
        for uid, allowed in ((BOB, True), (ALICE, False)):
            for folder in (root, point):
                with self.subTest(uid=uid, folder=folder):
                    for words in (('ls', folder), ('cat', f'{folder}/{name}')):
                        self.assertEqual(self.run_as(uid, *words).returncode == 0, allowed, words)
        self.assertNotEqual(self.run_as(ALICE, 'ls', os.path.dirname(root)).returncode, 0, 'nor the names')
        self.assertEqual(self.run_as(BOB, 'sh', '-c', f'cd {root} && echo x >new && mkdir -p a/b && ls').returncode, 0)
        self.node.kill()
        self.node.start()
        self.assertEqual(self.run_as(BOB, 'ls', root).returncode, 0)
        self.assertNotEqual(self.run_as(ALICE, 'ls', root).returncode, 0, 'after a restart')
        open_to_all = self.node.call_as(ALICE, 'CreateMount', job_id='open')['root']
        self.assertEqual(self.run_as(BOB, 'cat', open_to_all + '/README').returncode, 0, 'as a checkout')


class NoTenants(unittest.TestCase):
    """Without configured tenants root is the admin, over TCP as over the socket."""

    def test_any_user_is_an_admin_over_tcp(self):
        port = free_port()
        folder = tempfile.mkdtemp(prefix='cop-tenants-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        repo_maker.make(os.path.join(folder, 'demo'), files=5)
        with Node({'demo': os.path.join(folder, 'demo')}, listen=[f'127.0.0.1:{port}']) as node:
            for address in (node.address, f'127.0.0.1:{port}'):
                with self.subTest(address=address):
                    node.address = address
                    self.assertEqual(node.call_as(BOB, 'CreateMount', job_id='bobs')['tenant'], 'default')
                    self.assertEqual(node.call_as(BOB, 'GetNode')['error']['reason'], 'ADMIN_ONLY')
                    refused = node.call_as(BOB, 'CreateMount', job_id='elsewhere', mountpoint=os.path.join(folder, 'bound'))
                    self.assertEqual(refused['error']['reason'], 'MOUNTPOINT_NOT_ALLOWED')
                    self.assertIn('version', node.call_as(0, 'GetNode'))
                    node.call_as(0, 'DeleteMount', job_id='bobs')
            node.address = 'unix:' + node.socket


if __name__ == '__main__':
    unittest.main()
