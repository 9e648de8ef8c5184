# SPDX-License-Identifier: Apache-2.0
"""The proxy that other tests measure with must itself be right."""
import socket
import socketserver
import threading
import time
import unittest

from delay_proxy import DelayProxy


class Echo(socketserver.ThreadingTCPServer):
    """Sends back what it is sent; 'size N' in its first line asks for N bytes instead."""
    daemon_threads = allow_reuse_address = True

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            try:
                for line in self.rfile:
                    self.wfile.write(b'x' * int(line[5:]) if line.startswith(b'size ') else line)
            except OSError:
                pass  # the proxy was told to cut

    def __init__(self):
        super().__init__(('127.0.0.1', 0), self.Handler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def __exit__(self, *args):
        self.shutdown()
        super().__exit__(*args)


class Proxy(unittest.TestCase):
    def setUp(self):
        self.server = Echo()
        self.addCleanup(self.server.__exit__)
        self.proxy = DelayProxy(self.server.server_address)
        self.addCleanup(self.proxy.close)

    def connect(self):
        sock = socket.create_connection(('127.0.0.1', self.proxy.port), 5)
        sock.settimeout(5)
        self.addCleanup(sock.close)
        return sock

    @staticmethod
    def ask(sock, line, size):
        start = time.monotonic()
        sock.sendall(line)
        got = b''
        while len(got) < size:
            piece = sock.recv(1 << 20)
            if not piece:
                break
            got += piece
        return got, time.monotonic() - start

    def test_round_trip_takes_as_long_as_ordered(self):
        sock = self.connect()
        self.assertEqual(self.ask(sock, b'near\n', 5)[0], b'near\n')
        self.proxy.set(rtt=0.1)
        times = []
        for _ in range(3):
            got, took = self.ask(sock, b'far\n', 4)
            self.assertEqual(got, b'far\n')
            times.append(took)
        self.assertGreaterEqual(min(times), 0.1)
        self.assertLess(min(times), 0.18)
        self.assertEqual(self.proxy.stats()['turns'], 4)

    def test_delay_of_many_pieces_overlaps(self):
        self.proxy.set(rtt=0.1)
        got, took = self.ask(self.connect(), b'size 4000000\n', 4000000)
        self.assertEqual(got, b'x' * 4000000)
        self.assertLess(took, 1.0, 'one round trip and a copy, not one a piece')

    def test_rate(self):
        self.proxy.set(rate=1_000_000)
        _, took = self.ask(self.connect(), b'size 300000\n', 300000)
        self.assertGreaterEqual(took, 0.29)

    def test_hang_and_go_on(self):
        sock = self.connect()
        self.ask(sock, b'a\n', 2)
        self.proxy.set(hang=True)
        sock.settimeout(0.2)
        with self.assertRaises(socket.timeout):
            self.ask(sock, b'b\n', 2)
        late = self.connect()
        late.settimeout(0.2)
        with self.assertRaises(socket.timeout):
            self.ask(late, b'c\n', 2)
        self.proxy.set(hang=False)
        for each, want in ((sock, b'b\n'), (late, b'c\n')):
            each.settimeout(5)
            self.assertEqual(each.recv(10), want)

    def test_cut(self):
        sock = self.connect()
        self.ask(sock, b'a\n', 2)
        self.proxy.cut()
        with self.assertRaises(ConnectionResetError):
            sock.recv(1)
        self.assertEqual(self.ask(self.connect(), b'b\n', 2)[0], b'b\n', 'a new connection works')

    def test_cut_in_the_middle(self):
        self.proxy.set(cut_after=100000)
        sock = self.connect()
        got = b''
        sock.sendall(b'size 300000\n')
        with self.assertRaises(ConnectionResetError):
            while piece := sock.recv(1 << 20):
                got += piece
        self.assertLessEqual(len(got), 100000)
        self.assertEqual(self.proxy.stats()['to_client'], 100000)

    def test_refuse(self):
        self.proxy.set(refuse=True)
        with self.assertRaises(OSError):
            sock = self.connect()
            self.ask(sock, b'a\n', 2)
            sock.recv(1)
        self.proxy.set(refuse=False)
        self.assertEqual(self.ask(self.connect(), b'b\n', 2)[0], b'b\n')

    def test_unknown_order(self):
        with self.assertRaises(RuntimeError):
            self.proxy.set(speed=1)


if __name__ == '__main__':
    unittest.main()
