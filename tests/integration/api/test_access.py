# SPDX-License-Identifier: Apache-2.0
"""Who is calling: the kernel's word for a Unix peer, a token, loopback; and what each may name."""
import json
import os
import subprocess
import sys
import unittest

import grpc

from harness import Case, Client, msg

C = grpc.StatusCode
AS_USER = '''
import json, os, sys
from harness import Client, error_info, msg
import grpc
msg("ListMountsRequest")  # all is loaded: the source tree may be closed to that user
uid = int(sys.argv[3])
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
client = Client(sys.argv[1])
out = []
for name, request in json.loads(sys.argv[2]):
    try:
        kind = {"ListMounts": "ListMountsRequest"}.get(name, name + "Request")
        answer = getattr(client, name)(msg(kind, **request))
        out.append(["OK", answer.tenant, answer.owner.uid] if name == "CreateMount" else
                   ["OK", sorted(m.job_id for m in answer.mounts)] if name == "ListMounts" else ["OK"])
    except grpc.RpcError as e:
        out.append([e.code().name, error_info(e)[0]])
print(json.dumps(out))
'''


class Access(Case):
    def as_user(self, uid, *calls):
        """Calls made by a process of another uid over the Unix socket."""
        done = subprocess.run(
            [sys.executable, '-B', '-c', AS_USER, self.server.unix, json.dumps(calls), str(uid)],
            env={**os.environ, 'PYTHONPATH': os.path.dirname(os.path.abspath(__file__))},
            capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    @unittest.skipIf(os.getuid() != 0, 'needs root to become another user')
    def test_two_users(self):
        create = lambda job, **kw: ('CreateMount', {'job_id': job, 'origin': 'demo', **kw})
        a = self.as_user(65534, create('job'), create('own', tenant='team-a', origin=''), create('x', tenant='team-b'),
                         create('x', origin='other'), ('GetNode', {}), ('GetCacheStats', {}),
                         ('ListMounts', {'tenant': 'team-b'}))
        self.assertEqual(a, [['OK', 'team-a', 65534], ['OK', 'team-a', 65534], ['PERMISSION_DENIED', 'ADMIN_ONLY'],
                             ['PERMISSION_DENIED', 'ORIGIN_NOT_ALLOWED'], ['PERMISSION_DENIED', 'ADMIN_ONLY'],
                             ['PERMISSION_DENIED', 'ADMIN_ONLY'], ['PERMISSION_DENIED', 'ADMIN_ONLY']])
        theirs = self.client.GetMount(msg('GetMountRequest', job_id='job', tenant='team-a')).mount_id
        b = self.as_user(1, create('job'), ('ListMounts', {}), ('GetMount', {'mount_id': theirs}),
                         ('DeleteMount', {'mount_id': theirs}), ('GetMount', {'job_id': 'own'}))
        self.assertEqual(b, [['OK', 'team-b', 1], ['OK', ['job']], ['NOT_FOUND', 'MOUNT_NOT_FOUND'],
                             ['NOT_FOUND', 'MOUNT_NOT_FOUND'], ['NOT_FOUND', 'MOUNT_NOT_FOUND']])
        everything = self.client.ListMounts(msg('ListMountsRequest'))
        self.assertEqual(sorted((m.tenant, m.job_id) for m in everything.mounts if m.tenant != 'team-t'),
                         [('team-a', 'job'), ('team-a', 'own'), ('team-b', 'job')])
        self.assertEqual(self.client.DeleteMount(msg('DeleteMountRequest', mount_id=theirs)).tenant, 'team-a')

    @unittest.skipIf(os.getuid() != 0, 'needs root to become another user')
    def test_unknown_user(self):
        self.assertEqual(self.as_user(4242, ('ListMounts', {})), [['UNAUTHENTICATED', 'UNAUTHENTICATED']])

    def test_token(self):
        for target in (self.server.tcp, self.server.unix):
            known, unknown = Client(target, token='sesame'), Client(target, token='wrong')
            self.assertEqual(known.CreateMount(msg('CreateMountRequest', job_id='t', path='src/x')).tenant, 'team-t')
            self.refused(C.PERMISSION_DENIED, 'PATH_NOT_ALLOWED', lambda: known.CreateMount(
                msg('CreateMountRequest', job_id='p', path='srcs')))
            self.refused(C.UNAUTHENTICATED, 'UNAUTHENTICATED', lambda: unknown.ListMounts(msg('ListMountsRequest')))
            known.close()
            unknown.close()
        self.assertNotIn('sesame', self.server.log_text())

    def test_many_connections_keep_their_identity(self):
        """Descriptor numbers are used again only after all others."""
        for i in range(200):
            client = Client(self.server.unix)
            self.assertEqual(len(client.ListMounts(msg('ListMountsRequest', origin='none')).mounts), 0)
            client.close()


if __name__ == '__main__':
    unittest.main()
