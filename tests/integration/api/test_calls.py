# SPDX-License-Identifier: Apache-2.0
"""Every RPC once as it is meant to be used, and what each check answers."""
import os
import unittest

import grpc
from google.protobuf import field_mask_pb2  # noqa: F401  (known to protobuf by name)

from harness import FILES, MESSAGES, SERVICES, Case, Client, error_info, msg

C = grpc.StatusCode
create = lambda **kw: msg('CreateMountRequest', **{'origin': 'demo', **kw})


class Mounts(Case):
    def test_life(self):
        labels = [msg('Label', key='ci/pipeline', value='42')]
        m = self.client.CreateMount(create(
            job_id='life', path='/src//lib/', revision='main', lease_seconds=60, labels=labels,
            quota=msg('Quota', bytes=1 << 30), owner=msg('Owner', uid=7, gid=8), mountpoint='/build/x/'))
        self.assertEqual((m.job_id, m.tenant, m.origin, m.path, m.state), ('life', 'root', 'demo', 'src/lib', 2))
        self.assertEqual((m.quota.bytes, m.quota.inodes), (1 << 30, 0))
        self.assertEqual((m.owner.uid, m.owner.gid, m.mountpoint), (7, 8, '/build/x'))
        self.assertEqual(m.lease_expires_at.seconds - m.created_at.seconds, 60)
        self.assertEqual([(x.key, x.value) for x in m.labels], [('ci/pipeline', '42')])
        self.assertEqual(self.client.CreateMount(create(job_id='life', path='src/lib')).mount_id, m.mount_id)
        self.assertEqual(self.client.GetMount(msg('GetMountRequest', mount_id=m.mount_id)).job_id, 'life')
        self.assertEqual(self.client.GetMount(msg('GetMountRequest', job_id='life')).mount_id, m.mount_id)
        renewed = self.client.RenewLease(msg('RenewLeaseRequest', job_id='life', lease_seconds=90))
        self.assertEqual(renewed.lease_seconds, 90)
        update = msg('UpdateMountRequest', job_id='life', quota=msg('Quota', bytes=5, inodes=6))
        update.update_mask.paths[:] = ['quota.inodes', 'labels']
        m = self.client.UpdateMount(update)
        self.assertEqual((m.quota.bytes, m.quota.inodes, len(m.labels)), (1 << 30, 6, 0))
        gone = self.client.DeleteMount(msg('DeleteMountRequest', job_id='life'))
        self.assertEqual(gone.state, 5)
        self.assertEqual(self.client.DeleteMount(msg('DeleteMountRequest', mount_id=gone.mount_id)).state, 5)
        self.refused(C.NOT_FOUND, 'MOUNT_NOT_FOUND', lambda: self.client.GetMount(msg('GetMountRequest', job_id='life')))

    def test_owner_is_the_peer(self):
        m = self.client.CreateMount(create(job_id='mine'))
        self.assertEqual((m.owner.uid, m.owner.gid), (os.getuid(), os.getgid()))
        tcp = Client(self.server.tcp)
        self.assertEqual(tcp.CreateMount(create(job_id='tcp')).owner.uid, 0)
        tcp.close()

    def test_job_id_in_use(self):
        first = self.client.CreateMount(create(job_id='used', path='a'))
        error = self.refused(C.ALREADY_EXISTS, 'JOB_ID_IN_USE',
                             lambda: self.client.CreateMount(create(job_id='used', path='b')))
        self.assertEqual(error_info(error)[1], {'mount_id': first.mount_id})

    def test_text_that_is_not_utf8_goes_out_repaired(self):
        self.assertEqual(self.client.CreateMount(create(job_id='odd')).reason, 'bad ? name')

    def test_pages(self):
        for i in range(130):
            self.client.CreateMount(create(job_id=f'page-{i:03}', origin='paged'))
        seen, token, pages = [], '', 0
        while True:
            answer = self.client.ListMounts(msg('ListMountsRequest', origin='paged', page_size=60, page_token=token))
            seen += [m.job_id for m in answer.mounts]
            token, pages = answer.next_page_token, pages + 1
            if not token:
                break
        self.assertEqual((seen, pages), ([f'page-{i:03}' for i in range(130)], 3))
        self.assertEqual(len(self.client.ListMounts(msg('ListMountsRequest', origin='paged')).mounts), 100)

    def test_large_page_ends_early(self):
        labels = [msg('Label', key=f'k{i}', value='v' * 255) for i in range(32)]
        for i in range(500):
            self.client.CreateMount(create(job_id=f'large-{i}', origin='large', labels=labels))
        answer = self.client.ListMounts(msg('ListMountsRequest', origin='large', page_size=1000))
        self.assertTrue(100 <= len(answer.mounts) < 500)
        self.assertTrue(answer.next_page_token)

    def test_filters(self):
        label = msg('Label', key='team', value='x')
        self.client.CreateMount(create(job_id='filtered', labels=[label]))
        found = self.client.ListMounts(msg('ListMountsRequest', labels=[label], states=[2]))
        self.assertEqual([m.job_id for m in found.mounts], ['filtered'])
        self.assertEqual(len(self.client.ListMounts(msg('ListMountsRequest', labels=[label], states=[6])).mounts), 0)


class Checks(Case):
    def bad(self, field, code=C.INVALID_ARGUMENT, reason='INVALID_FIELD', **fields):
        with self.subTest(field=field, fields=str(fields)[:80]):
            self.refused(code, reason, lambda: self.client.CreateMount(create(**{'job_id': 'bad', **fields})), field)

    def test_create(self):
        for job in ('', '.a', '-a', 'a/b', 'a b', 'x' * 129, 'ü'):
            self.bad('job_id', job_id=job)
        for path in ('a/../b', '.', 'x' * 5000, 'a/' + 'n' * 256):
            self.bad('path', path=path)
        for point in ('relative', '/', '/a/../b', '//'):
            self.bad('mountpoint', mountpoint=point)
        for lease in (1, 4, 604801):
            self.bad('lease_seconds', lease_seconds=lease)
        self.bad('revision', revision='r' * 256)
        self.bad('revision', revision='a b')
        self.bad('quota', quota=msg('Quota'))
        self.bad('labels', labels=[msg('Label', key=f'k{i}') for i in range(33)])
        self.bad('labels[1].key', labels=[msg('Label', key='a'), msg('Label', key='a')])
        self.bad('labels[0].key', labels=[msg('Label', key='ä')])
        self.bad('labels[0].value', labels=[msg('Label', key='a', value='v' * 256)])
        self.bad('wait_for', wait_for=9)
        self.bad('origin', origin='a/b')
        self.bad('tenant', tenant='..')
        self.bad('origin', origin='')
        self.bad('change_list', C.INVALID_ARGUMENT, 'INVALID_FIELD', change_list=msg('ChangeList'))
        self.bad(None, C.NOT_FOUND, 'ORIGIN_NOT_FOUND', origin='missing')
        self.bad(None, C.NOT_FOUND, 'TENANT_NOT_FOUND', tenant='nobody')

    def test_keys(self):
        get = lambda **kw: lambda: self.client.GetMount(msg('GetMountRequest', **kw))
        self.refused(C.INVALID_ARGUMENT, 'INVALID_FIELD', get(), 'mount_id')
        self.refused(C.INVALID_ARGUMENT, 'INVALID_FIELD', get(mount_id='x'), 'mount_id')
        self.refused(C.INVALID_ARGUMENT, 'INVALID_FIELD', get(mount_id='x', job_id='y'), 'job_id')

    def test_list(self):
        ask = lambda **kw: lambda: self.client.ListMounts(msg('ListMountsRequest', **kw))
        self.refused(C.INVALID_ARGUMENT, 'INVALID_FIELD', ask(page_size=1001), 'page_size')
        self.refused(C.INVALID_ARGUMENT, 'INVALID_FIELD', ask(page_token='t' * 64), 'page_token')
        self.refused(C.INVALID_ARGUMENT, 'INVALID_FIELD', ask(states=[8]), 'states')
        self.refused(C.INVALID_ARGUMENT, 'INVALID_FIELD', ask(states=[0]), 'states')

    def test_update(self):
        def ask(paths, **kw):
            request = msg('UpdateMountRequest', job_id='x', **kw)
            request.update_mask.paths[:] = paths
            return lambda: self.client.UpdateMount(request)
        self.refused(C.INVALID_ARGUMENT, 'INVALID_FIELD', ask([]), 'update_mask')
        self.refused(C.INVALID_ARGUMENT, 'INVALID_FIELD', ask(['job_id']), 'update_mask')
        self.refused(C.INVALID_ARGUMENT, 'INVALID_FIELD', ask(['quota']), 'quota')
        self.refused(C.INVALID_ARGUMENT, 'INVALID_FIELD', ask(['quota'], quota=msg('Quota')), 'quota')
        self.refused(C.INVALID_ARGUMENT, 'INVALID_FIELD', ask(['lease_seconds'], lease_seconds=3), 'lease_seconds')

    def test_request_id(self):
        def ids(**kw):
            _, call = self.client.method('coppice.v1.MountService', 'ListMounts').with_call(
                msg('ListMountsRequest'), timeout=10, **kw)
            return dict(call.trailing_metadata())['x-request-id']
        self.assertEqual(ids(metadata=[('x-request-id', 'build-7.a')]), 'build-7.a')
        self.assertRegex(ids(), '^[0-9a-f]{16}$')
        self.assertRegex(ids(metadata=[('x-request-id', 'no spaces please')]), '^[0-9a-f]{16}$')
        self.assertIn('request_id=build-7.a', self.server.log_text().replace('"', ''))


class Node(Case):
    def test_node(self):
        self.client.CreateMount(create(job_id='one'))
        node = self.client.GetNode(msg('GetNodeRequest'))
        self.assertEqual((node.hostname, node.mounts, node.workers), (os.uname().nodename, 1, 2))
        self.assertIn(os.uname().release, node.kernel)
        self.assertRegex(node.version, r'^[0-9]+\.[0-9]+')
        self.assertRegex(node.node_id, '^[0-9a-f-]{36}$')
        self.assertGreater(node.resident_bytes, 1 << 20)
        self.assertGreater(node.disk_free_bytes, 0)
        self.assertEqual([t.tenant for t in node.tenants], ['root', 'team-a', 'team-b', 'team-t'])
        self.assertEqual([t.mounts_limit for t in node.tenants], [0, 200, 0, 0])
        self.assertEqual([(o.operation, o.count) for o in node.fuse_operations], [('LOOKUP', 7), ('OPCODE_63', 2)])
        self.assertEqual([(o.name, o.type, o.available) for o in node.origins],
                         [('demo', 'git', True), ('gone', 'git', False)])
        self.assertTrue(node.origins[0].url.endswith('/demo.git'))
        self.assertIn('gone.git', node.origins[1].error)

    def test_cache(self):
        stats = self.client.GetCacheStats(msg('GetCacheStatsRequest'))
        self.assertEqual([t.name for t in stats.tiers], ['memory', 'disk', 'spill', 'window'])
        self.assertEqual(stats.tiers[0].budget_bytes, 1 << 20)


class Standard(Case):
    def reflect(self, version, **request):
        package = f'grpc.reflection.{version}'
        stub = self.client.method(f'{package}.ServerReflection', 'ServerReflectionInfo')
        make = MESSAGES[f'{package}.ServerReflectionRequest']
        answers = list(stub(iter([make(**request), make(list_services='')]), timeout=10))
        self.assertEqual(len(answers), 2)
        self.assertEqual(answers[0].original_request, make(**request))
        return answers

    def test_reflection(self):
        for version in ('v1', 'v1alpha'):
            listed = self.reflect(version, list_services='')[1].list_services_response.service
            self.assertEqual(sorted(s.name for s in listed), sorted(SERVICES))
            by_symbol = self.reflect(version, file_containing_symbol='coppice.v1.MountService.CreateMount')[0]
            files = by_symbol.file_descriptor_response.file_descriptor_proto
            by_name = {f.name: f for f in FILES.file}
            parsed = [type(FILES.file[0]).FromString(raw) for raw in files]
            self.assertEqual(parsed[0].name, 'coppice/v1/mount.proto')
            self.assertEqual({f.name for f in parsed}, {'coppice/v1/mount.proto', *parsed[0].dependency})
            self.assertEqual(parsed, [by_name[f.name] for f in parsed])
            missing = self.reflect(version, file_by_filename='no.proto')[0]
            self.assertEqual(missing.error_response.error_code, 5)

    def test_health_check(self):
        check = self.client.method('grpc.health.v1.Health', 'Check')
        request = MESSAGES['grpc.health.v1.HealthCheckRequest']
        for name in ('', 'coppice.v1.MountService', 'coppice.v1.NodeService'):
            self.assertEqual(check(request(service=name), timeout=10).status, 1)
        self.refused(C.NOT_FOUND, 'SERVICE_NOT_FOUND', lambda: check(request(service='coppice.v1.Mount'), timeout=10))

    def test_unknown_method(self):
        call = self.client.channel.unary_unary('/coppice.v1.MountService/Explode')
        self.refused(C.UNIMPLEMENTED, 'METHOD_NOT_FOUND', lambda: call(b'', timeout=10))
        call = self.client.channel.unary_unary('/')
        self.refused(C.UNIMPLEMENTED, 'METHOD_NOT_FOUND', lambda: call(b'', timeout=10))


if __name__ == '__main__':
    unittest.main()
