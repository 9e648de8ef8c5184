# SPDX-License-Identifier: Apache-2.0
"""WatchMounts and health.Watch: order, resuming, consumers that are too slow or gone."""
import signal
import time
import unittest

import grpc

from harness import MESSAGES, Case, Client, Server, error_info, msg

C = grpc.StatusCode
PRESENT, SYNCED, CHANGED, REMOVED = 1, 2, 3, 4


class Streams(Case):
    server_options = {'stream_bytes': 256 << 10}

    def create(self, job, **kw):
        return self.client.CreateMount(msg('CreateMountRequest', **{'job_id': job, 'origin': 'demo', **kw}))

    def delete(self, job):
        return self.client.DeleteMount(msg('DeleteMountRequest', job_id=job))

    def test_present_then_changes(self):
        self.create('w1')
        stream = self.client.WatchMounts(msg('WatchMountsRequest'))
        seen = []
        while not seen or seen[-1].kind != SYNCED:
            seen.append(next(stream))
        self.assertIn('w1', [e.mount.job_id for e in seen[:-1]])
        self.assertEqual({e.kind for e in seen[:-1]}, {PRESENT})
        self.create('w2')
        self.client.RenewLease(msg('RenewLeaseRequest', job_id='w2', lease_seconds=30))
        self.delete('w2')
        events = [next(stream) for _ in range(3)]
        self.assertEqual([(e.kind, e.mount.job_id) for e in events], [(CHANGED, 'w2'), (CHANGED, 'w2'), (REMOVED, 'w2')])
        self.assertEqual(events[2].mount.state, 5)
        self.assertEqual([e.sequence - events[0].sequence for e in events], [0, 1, 2])
        stream.cancel()

    def test_resume(self):
        self.create('r1')
        stream = self.client.WatchMounts(msg('WatchMountsRequest'))
        last = 0
        for e in stream:
            last = max(last, e.sequence)
            if e.kind == SYNCED:
                break
        stream.cancel()
        self.create('r2')
        resumed = self.client.WatchMounts(msg('WatchMountsRequest', since_sequence=last))
        self.assertEqual(next(resumed).mount.job_id, 'r2')
        resumed.cancel()

    def test_one_mount(self):
        one = self.create('only')
        stream = self.client.WatchMounts(msg('WatchMountsRequest', mount_id=one.mount_id))
        self.assertEqual([next(stream).kind, next(stream).kind], [PRESENT, SYNCED])
        self.create('another')
        self.delete('only')
        e = next(stream)
        self.assertEqual((e.kind, e.mount.job_id), (REMOVED, 'only'))
        stream.cancel()
        self.refused(C.INVALID_ARGUMENT, 'INVALID_FIELD',
                     lambda: next(self.client.WatchMounts(msg('WatchMountsRequest', mount_id='x'))), 'mount_id')

    def test_tenants_see_their_own(self):
        other = Client(self.server.tcp, token='sesame')
        stream = other.WatchMounts(msg('WatchMountsRequest'))
        self.assertEqual(next(stream).kind, SYNCED)
        self.create('not-yours')
        other.CreateMount(msg('CreateMountRequest', job_id='yours', path='src'))
        self.assertEqual(next(stream).mount.job_id, 'yours')
        self.refused(C.PERMISSION_DENIED, 'ADMIN_ONLY',
                     lambda: next(other.WatchMounts(msg('WatchMountsRequest', tenant='root'))))
        other.close()

    def test_slow_consumer(self):
        """It reads nothing: it loses the stream, not the server its memory, and the others go on."""
        slow_client = Client(self.server.tcp, **{'grpc.http2.lookahead_bytes': 65536, 'grpc.http2.bdp_probe': 0})
        fast = self.client.WatchMounts(msg('WatchMountsRequest'), timeout=60)
        slow = slow_client.WatchMounts(msg('WatchMountsRequest'), timeout=60)
        next(slow)
        labels = [msg('Label', key=f'k{i}', value='v' * 255) for i in range(32)]
        self.create('big', labels=labels)
        before = self.server.rss_kib()
        for _ in range(200):
            self.client.RenewLease(msg('RenewLeaseRequest', job_id='big', lease_seconds=50))
            while next(fast).mount.job_id != 'big':
                pass
        self.assertLess(self.server.rss_kib() - before, 32 << 10)
        received = 1
        with self.assertRaises(grpc.RpcError) as caught:
            for e in slow:
                received += 1
        self.assertEqual(caught.exception.code(), C.RESOURCE_EXHAUSTED)
        self.assertEqual(error_info(caught.exception)[0], 'SLOW_CONSUMER')
        self.assertLess(received, 200)
        fast.cancel()
        slow_client.close()

    def test_deadline_ends_a_stream(self):
        with self.assertRaises(grpc.RpcError) as caught:
            list(self.client.WatchMounts(msg('WatchMountsRequest'), timeout=0.5))
        self.assertEqual(caught.exception.code(), C.DEADLINE_EXCEEDED)

    def test_many_streams_that_vanish(self):
        for _ in range(5):
            client = Client(self.server.unix)
            streams = [client.WatchMounts(msg('WatchMountsRequest'), timeout=30) for _ in range(50)]
            for s in streams:
                next(s)
            self.create('v')
            client.close()
        self.delete('v')
        self.assertTrue(self.client.GetNode(msg('GetNodeRequest')).version)

    def test_too_many_streams(self):
        clients = [Client(self.server.unix) for _ in range(3)]
        streams = [c.WatchMounts(msg('WatchMountsRequest'), timeout=60) for c in clients for _ in range(400)]
        codes = []
        for s in streams:
            try:
                next(s)
            except grpc.RpcError as e:
                codes.append((e.code(), error_info(e)[0]))
        self.assertEqual(set(codes), {(C.RESOURCE_EXHAUSTED, 'OVERLOADED')})
        for c in clients:
            c.close()


class HealthWatch(unittest.TestCase):
    def test_drain_and_stop(self):
        server = Server()
        client = Client(server.unix)
        request = MESSAGES['grpc.health.v1.HealthCheckRequest']
        watch = client.method('grpc.health.v1.Health', 'Watch')
        known, unknown = watch(request(service='coppice.v1.MountService'), timeout=30), watch(request(service='x'), timeout=30)
        self.assertEqual((next(known).status, next(unknown).status), (1, 3))
        server.process.send_signal(signal.SIGUSR1)
        self.assertEqual(next(known).status, 2)
        check = client.method('grpc.health.v1.Health', 'Check')
        self.assertEqual(check(request(), timeout=10).status, 2)
        self.assertTrue(client.GetNode(msg('GetNodeRequest')).draining)
        client.ListMounts(msg('ListMountsRequest'))  # a draining server still serves
        start = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - start, 3)
        with self.assertRaises(grpc.RpcError) as caught:
            next(known)
        self.assertEqual(caught.exception.code(), C.UNAVAILABLE)
        client.close()


if __name__ == '__main__':
    unittest.main()
