# SPDX-License-Identifier: Apache-2.0
"""Start, stop and what is in the way: sockets that are taken or left over, addresses that may not be used, calls in flight."""
import concurrent.futures
import os
import shutil
import signal
import socket
import stat
import tempfile
import time
import unittest

import grpc

from harness import Client, Server, error_info, msg

C = grpc.StatusCode


class Lifecycle(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix='api-life-')
        self.addCleanup(shutil.rmtree, self.directory)

    def start(self, **kw):
        return Server(directory=self.directory, **kw)

    def test_socket_mode_and_removal(self):
        server = self.start()
        mode = os.lstat(server.socket)
        self.assertTrue(stat.S_ISSOCK(mode.st_mode))
        self.assertEqual(stat.S_IMODE(mode.st_mode), 0o666)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(server.socket)).st_mode), 0o755)
        self.assertEqual(server.stop(), 0)
        self.assertFalse(os.path.exists(server.socket))

    def test_silent_connection_does_not_delay_the_stop(self):
        server = self.start()
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(server.socket)
            # The preface and an empty SETTINGS frame, then silence: it never answers the server's GOAWAY.
            peer.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + b'\0\0\0\4\0\0\0\0\0')
            self.assertTrue(peer.recv(9))
            start = time.monotonic()
            self.assertEqual(server.stop(), 0)
            self.assertLess(time.monotonic() - start, 5)

    def test_restart_after_kill(self):
        server = self.start()
        server.stop(signal.SIGKILL)
        self.assertTrue(os.path.exists(server.socket))
        server = self.start()
        client = Client(server.unix)
        self.assertEqual(len(client.ListMounts(msg('ListMountsRequest')).mounts), 0)
        client.close()
        self.assertEqual(server.stop(), 0)

    def test_second_server(self):
        first = self.start()
        other = tempfile.mkdtemp(prefix='api-life-')
        self.addCleanup(shutil.rmtree, other)
        os.makedirs(os.path.join(other, 'run'))
        os.symlink(first.socket, os.path.join(other, 'run', 'api.sock'))
        with self.assertRaises(RuntimeError) as caught:
            Server(directory=other)
        self.assertIn('is not a socket', str(caught.exception))
        os.unlink(os.path.join(other, 'run', 'api.sock'))
        with self.assertRaises(RuntimeError) as caught:
            Server(directory=other, tcp=first.tcp)
        self.assertIn(f'ADDRESS_IN_USE', str(caught.exception))
        self.assertIn(first.tcp, str(caught.exception))
        self.assertTrue(os.path.exists(first.socket))
        self.assertEqual(first.stop(), 0)

    def test_live_socket_is_not_taken(self):
        path = os.path.join(self.directory, 'run', 'api.sock')
        os.makedirs(os.path.dirname(path))
        with socket.socket(socket.AF_UNIX) as live:
            live.bind(path)
            live.listen(1)
            with self.assertRaises(RuntimeError) as caught:
                self.start()
            self.assertIn('another process serves at', str(caught.exception))
        self.assertTrue(os.path.exists(path))
        self.assertEqual(self.start().stop(), 0)

    def test_addresses_that_may_not_be_used(self):
        for tcp in ('0.0.0.0:0', '10.0.0.1:80', '[::]:0'):
            with self.subTest(tcp=tcp), self.assertRaises(RuntimeError) as caught:
                self.start(tcp=tcp)
            self.assertIn('needs grpc.tls', str(caught.exception))
        for tcp in ('nonsense', 'example.org:80', '127.0.0.1', '127.0.0.1:99999', ':1'):
            with self.subTest(tcp=tcp), self.assertRaises(RuntimeError) as caught:
                self.start(tcp=tcp)
            self.assertIn('is not an address', str(caught.exception))

    def test_call_in_flight_is_finished(self):
        server = self.start(grace_ms=10000)
        client = Client(server.unix)
        stub = client.method('coppice.v1.MountService', 'CreateMount')
        call = stub.future(msg('CreateMountRequest', job_id='x', origin='nap-800'), timeout=30)
        server.wait_handler('x')
        self.assertEqual(server.stop(), 0)
        self.assertEqual(call.result().job_id, 'x')
        client.close()

    def test_calls_that_come_while_it_stops(self):
        """Seen as a daemon that aborted: one had come, and nobody had looked at it, when the queue it came from was shut down."""
        for _ in range(20):
            server = self.start(grace_ms=10000)

            def call_until_it_stops(address=server.unix):
                client = Client(address)
                try:
                    while True:
                        client.ListMounts(msg('ListMountsRequest'))
                except grpc.RpcError as e:
                    return e.code()
                finally:
                    client.close()
            with concurrent.futures.ThreadPoolExecutor() as pool:
                calls = [pool.submit(call_until_it_stops) for _ in range(8)]
                time.sleep(0.05)
                self.assertEqual(server.stop(), 0)
                self.assertEqual({call.result(30) for call in calls}, {C.UNAVAILABLE})

    def test_grace_runs_out(self):
        server = self.start(grace_ms=300)
        client = Client(server.unix)
        call = client.method('coppice.v1.MountService', 'CreateMount').future(
            msg('CreateMountRequest', job_id='x', origin='stuck'), timeout=30)
        server.wait_handler('x')
        start = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - start, 5)
        self.assertIn(call.code(), (C.UNAVAILABLE, C.CANCELLED))
        client.close()

    def test_streams_are_told(self):
        server = self.start()
        client = Client(server.tcp)
        stream = client.WatchMounts(msg('WatchMountsRequest'), timeout=30)
        next(stream)
        self.assertEqual(server.stop(), 0)
        with self.assertRaises(grpc.RpcError) as caught:
            next(stream)
        self.assertEqual(caught.exception.code(), C.UNAVAILABLE)
        self.assertEqual(error_info(caught.exception)[0], 'DRAINING')
        client.close()

    def test_nothing_is_left_open(self):
        server = self.start()
        fds = lambda: len(os.listdir(f'/proc/{server.process.pid}/fd'))
        threads = lambda: len(os.listdir(f'/proc/{server.process.pid}/task'))
        client = Client(server.unix)
        client.ListMounts(msg('ListMountsRequest'))
        before = fds()
        for _ in range(30):
            other = Client(server.unix)
            other.ListMounts(msg('ListMountsRequest'))
            other.close()
        deadline = time.monotonic() + 30
        while fds() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(fds(), before)
        self.assertLess(threads(), 40)
        client.close()
        self.assertEqual(server.stop(), 0)


if __name__ == '__main__':
    unittest.main()
