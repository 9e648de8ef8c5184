# SPDX-License-Identifier: Apache-2.0
"""Requests that want too much: size, compression, nesting, time, numbers."""
import time
import unittest

import grpc

from harness import Case, Client, msg

C = grpc.StatusCode


def varint(n):
    out = b''
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


class Limits(Case):
    def raw(self, data, method='CreateMount', **kw):
        return self.client.channel.unary_unary(f'/coppice.v1.MountService/{method}')(data, timeout=20, **kw)

    def test_too_large(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.raw(b'\x1a' + varint(5 << 20) + b'x' * (5 << 20))
        self.assertEqual(caught.exception.code(), C.RESOURCE_EXHAUSTED)

    def test_gzip_is_refused_and_not_inflated(self):
        before = self.server.rss_kib()
        with self.assertRaises(grpc.RpcError) as caught:
            self.raw(b'\x1a' + varint(64 << 20) + b'\0' * (64 << 20), compression=grpc.Compression.Gzip)
        self.assertEqual(caught.exception.code(), C.UNIMPLEMENTED)
        self.assertLess(self.server.rss_kib() - before, 48 << 10)

    def test_malformed(self):
        for data in (b'\xff', b'\x0a\x05ab', b'\x0b\x0c', b'\x08\x01', b'\x00', b'\x42' + b'\xff' * 9 + b'\x7f'):
            with self.subTest(data=data):
                self.refused(C.INVALID_ARGUMENT, 'MALFORMED_REQUEST', lambda: self.raw(data))

    def test_text(self):
        self.refused(C.INVALID_ARGUMENT, 'INVALID_FIELD', lambda: self.raw(b'\x12\x03a\0b'), 'job_id')
        self.refused(C.INVALID_ARGUMENT, 'INVALID_FIELD', lambda: self.raw(b'\x22\x02\xff\xfe'), 'path')

    def test_bombs(self):
        before = self.server.rss_kib()
        self.refused(C.INVALID_ARGUMENT, 'REQUEST_TOO_COMPLEX', lambda: self.raw(b'\x62\x00' * (2 << 20)))
        self.refused(C.INVALID_ARGUMENT, 'REQUEST_TOO_COMPLEX', lambda: self.raw(b'\xf8\x7f\x00' * (1 << 20)))
        self.refused(C.INVALID_ARGUMENT, 'REQUEST_TOO_COMPLEX',
                     lambda: self.raw(b'\x12\x01\x01' * (1 << 20), method='ListMounts'))
        self.assertLess(self.server.rss_kib() - before, 64 << 10)

    def test_no_message(self):
        call = self.client.channel.stream_unary('/coppice.v1.MountService/GetMount')
        self.refused(C.INVALID_ARGUMENT, 'MALFORMED_REQUEST', lambda: call(iter([]), timeout=10))

    def test_deadline_reaches_the_handler(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.client.CreateMount(msg('CreateMountRequest', job_id='late', origin='stuck'), timeout=1,
                                    metadata=[('x-request-id', 'late')])
        self.assertEqual(caught.exception.code(), C.DEADLINE_EXCEEDED)
        self.server.wait_log('event=fake_origin .*job_id=late')
        # The server counts from when the call arrives: on a slow machine the client's clock ends first, and its reset is a cancellation.
        self.server.wait_log('request_id=late method=CreateMount code=(DEADLINE_EXCEEDED|CANCELLED)')

    def test_cancellation_reaches_the_handler(self):
        stub = self.client.method('coppice.v1.MountService', 'CreateMount')
        call = stub.future(msg('CreateMountRequest', job_id='unwanted', origin='stuck'), timeout=30,
                           metadata=[('x-request-id', 'unwanted')])
        self.server.wait_handler('unwanted')
        call.cancel()
        self.server.wait_log('event=fake_origin .*job_id=unwanted')
        self.server.wait_log('request_id=unwanted method=CreateMount code=CANCELLED')

    def test_a_dead_client_cancels(self):
        client = Client(self.server.unix)
        call = client.method('coppice.v1.MountService', 'CreateMount').future(
            msg('CreateMountRequest', job_id='orphan', origin='stuck'), timeout=60)
        self.server.wait_handler('orphan')
        client.close()
        self.server.wait_log('event=fake_origin .*job_id=orphan')
        self.assertTrue(call.done())

    def test_reads_do_not_wait_behind_origins(self):
        stub = self.client.method('coppice.v1.MountService', 'CreateMount')
        stuck = [stub.future(msg('CreateMountRequest', job_id=f's{i}', origin='stuck'), timeout=30) for i in range(40)]
        start = time.monotonic()
        self.client.ListMounts(msg('ListMountsRequest'), timeout=20)
        self.refused(C.NOT_FOUND, 'MOUNT_NOT_FOUND', lambda: self.client.DeleteMount(
            msg('DeleteMountRequest', job_id='none'), timeout=20))
        self.assertLess(time.monotonic() - start, 15)  # they are stuck for 30
        for call in stuck:
            call.cancel()

    def test_a_thousand_at_once(self):
        stubs = {name: self.client.method('coppice.v1.MountService', name) for name in ('CreateMount', 'ListMounts', 'GetMount')}
        self.client.CreateMount(msg('CreateMountRequest', job_id='seen', origin='demo'))
        calls = []
        for i in range(1000):
            if i % 3 == 0:
                calls.append(stubs['CreateMount'].future(msg('CreateMountRequest', job_id=f'k{i % 60}', origin='nap-1'), timeout=60))
            elif i % 3 == 1:
                calls.append(stubs['ListMounts'].future(msg('ListMountsRequest', page_size=3), timeout=60))
            else:
                calls.append(stubs['GetMount'].future(msg('GetMountRequest', job_id='seen'), timeout=60))
        self.assertEqual([c.code() for c in calls], [C.OK] * 1000)

    def test_overload_is_refused(self):
        """More than a tenant may queue: refused at once, nothing hangs, another tenant has room, and it recovers."""
        second, other_tenant = Client(self.server.tcp), Client(self.server.tcp, token='sesame')
        stubs = [c.method('coppice.v1.MountService', 'CreateMount') for c in (self.client, second)]
        calls = [s.future(msg('CreateMountRequest', job_id=f'o{i}', origin='stuck'), timeout=120)
                 for i in range(900) for s in stubs]
        deadline = time.monotonic() + 60
        while sum(c.done() for c in calls) < 1800 - 1536:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        self.assertEqual({c.code() for c in calls if c.done()}, {C.RESOURCE_EXHAUSTED})
        # its other calls, and another tenant's, are not refused
        self.client.ListMounts(msg('ListMountsRequest'))
        theirs = other_tenant.method('coppice.v1.MountService', 'CreateMount').future(
            msg('CreateMountRequest', job_id='theirs', path='src'), metadata=other_tenant.metadata, timeout=120)
        for c in calls:
            c.cancel()
        codes = [c.code() for c in calls]
        self.assertEqual((codes.count(C.RESOURCE_EXHAUSTED), codes.count(C.CANCELLED)), (1800 - 1536, 1536))
        self.assertEqual(theirs.result().tenant, 'team-t')
        for c in (second, other_tenant):
            c.close()
        self.client.CreateMount(msg('CreateMountRequest', job_id='after', origin='demo'))


if __name__ == '__main__':
    unittest.main()
