# SPDX-License-Identifier: Apache-2.0
"""/metrics, /healthz, /readyz, and nothing else."""
import http.client
import signal
import socket
import time
import unittest

from harness import Case, msg


class Http(Case):
    def ask(self, path, method='GET', body=None):
        connection = http.client.HTTPConnection('127.0.0.1', self.server.http, timeout=10)
        connection.request(method, path, body)
        answer = connection.getresponse()
        out = answer.status, answer.read().decode(), answer.headers
        connection.close()
        return out

    def test_metrics(self):
        self.client.ListMounts(msg('ListMountsRequest'))
        status, text, headers = self.ask('/metrics')
        self.assertEqual((status, headers['Content-Type'].split(';')[0]), (200, 'text/plain'))
        wanted = {'coppice_rpc_requests_total{method="coppice.v1.MountService/ListMounts",code="OK"} 1',
                  'coppice_rpc_latency_seconds_count{method="coppice.v1.MountService/ListMounts"} 1',
                  'coppice_rpc_in_flight 0'}
        deadline = time.monotonic() + 30  # a call is counted when its status has left: a moment after the client has it
        while wanted - set(text.splitlines()):
            self.assertLess(time.monotonic(), deadline, wanted - set(text.splitlines()))
            text = self.ask('/metrics')[1]

    def test_head(self):
        status, text, headers = self.ask('/healthz', 'HEAD')
        self.assertEqual((status, text, headers['Content-Length']), (200, '', '3'))

    def test_anything_else(self):
        for path in ('/', '/metrics/', '/v1/mounts', '/../etc/passwd', '/' + 'a' * 4000):
            self.assertEqual(self.ask(path)[0], 404, path)
        for method in ('POST', 'PUT', 'DELETE', 'OPTIONS'):
            self.assertEqual(self.ask('/metrics', method)[0], 405, method)

    def test_bodies_are_not_read(self):
        with self.assertRaises((http.client.RemoteDisconnected, ConnectionError)):
            self.ask('/metrics', 'POST', 'x' * 1000)

    def test_connection_limit(self):
        """Idle connections beyond the limit are closed; the service comes back when they go."""
        many = [socket.create_connection(('127.0.0.1', self.server.http), timeout=5) for _ in range(100)]
        for s in many:
            s.close()
        deadline = time.monotonic() + 30
        while True:
            try:
                self.assertEqual(self.ask('/healthz')[:2], (200, 'ok\n'))
                break
            except (http.client.HTTPException, OSError):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)

    def test_zz_readiness(self):
        self.assertEqual(self.ask('/readyz')[:2], (200, 'ok\n'))
        self.server.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 30
        while self.ask('/readyz')[0] != 503:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        self.assertEqual(self.ask('/healthz')[0], 200)


if __name__ == '__main__':
    unittest.main()
