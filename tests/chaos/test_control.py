# SPDX-License-Identifier: Apache-2.0
"""The control plane over kills of the daemon: a caller sees a pause, never a refused connection; a call that was cut off is repeated and
finds what happened; a watch goes on after the last event that it saw; nothing is left behind.

  --long: a hundred kills; --seed N: the same moments again
"""
import argparse
import itertools
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

import repo_maker
from coppice_client import CallError, Client
from killer import Killer, Work, answers
from node import SLOW, Node, wait_until

PRESENT, SYNCED, CHANGED, REMOVED = 1, 2, 3, 4
LEASE_S = 60
options = argparse.Namespace(kills=8, seed='1')


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def insist(client, method, **fields):
    """The answer, however often the call is cut off: every other error is the test's."""
    end = time.monotonic() + 60 * SLOW
    while True:
        try:
            return client.result(client.future(method, timeout=30 * SLOW, **fields))
        except CallError as e:
            if e.code != 'UNAVAILABLE' or time.monotonic() > end:
                raise
            time.sleep(0.02)


class Watcher(threading.Thread):
    """Follows the mounts by events alone."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.known, self.removed = client, set(), set()
        self.sequence = self.resumed = 0
        self.error, self.stopping = None, False

    def take(self, event, present):
        if event.kind == PRESENT:  # its number is that of the mount's last event: not where to go on
            present.add(event.mount.job_id)
            return
        if event.sequence < self.sequence:
            raise AssertionError('numbers of events go back')
        self.sequence = event.sequence
        if event.kind == SYNCED:
            self.removed |= self.known - present
            self.known = set(present)
        elif event.kind == CHANGED:
            self.known.add(event.mount.job_id)
        elif event.kind == REMOVED:
            self.known.discard(event.mount.job_id)
            self.removed.add(event.mount.job_id)

    def run(self):
        try:
            while not self.stopping:
                present = set()
                try:
                    for event in self.client.WatchMounts(since_sequence=self.sequence, timeout=300 * SLOW):
                        self.take(event, present)
                except CallError as e:
                    if e.code != 'UNAVAILABLE' and not self.stopping:
                        raise
                self.resumed += 1
                time.sleep(0.02)
        except Exception as e:  # pylint: disable=broad-except  # raised by the test
            self.error = e


class Control(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-control-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo_maker.make(cls.repository, files=50)

    def test_storm_of_calls(self):
        ports = [free_port(), free_port()]
        http = f'127.0.0.1:{ports[1]}'
        with Node({'demo': self.repository}, keeper=True, limit=240 + 4 * options.kills, listen=[f'127.0.0.1:{ports[0]}'],
                  http=http) as node:
            kept = node.mount('kept', lease_seconds=LEASE_S)
            clients = [Client(node.address) for _ in range(4)]
            watcher = Watcher(clients[3])
            watcher.start()
            numbers, connections, pauses = itertools.count(), [0], []

            def storm(client):
                job = f'job-{next(numbers)}'
                mount = insist(client, 'CreateMount', job_id=job, origin='demo', lease_seconds=600)
                if client.state(mount) != 'READY':
                    raise AssertionError(f'{job} is {client.state(mount)}: {mount.reason}')
                again = insist(client, 'CreateMount', job_id=job, origin='demo', lease_seconds=600)
                if again.mount_id != mount.mount_id:
                    raise AssertionError('a repeated creation made another mount')
                with open(mount.root + '/written', 'wb') as f:
                    f.write(job.encode())
                with open(mount.root + '/written', 'rb') as f:
                    self.assertEqual(f.read(), job.encode())
                gone = insist(client, 'DeleteMount', job_id=job)
                self.assertEqual((gone.mount_id, client.state(gone)), (mount.mount_id, 'DELETED'))

            def connect():
                """Any socket, at any moment: there is always somebody who listens."""
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(node.socket)
                for port in ports:
                    with socket.create_connection(('127.0.0.1', port), timeout=30 * SLOW):
                        connections[0] += 1
                time.sleep(0.001)

            def renew():
                """The lease of a mount that is renewed at a third of it never comes near its end."""
                lease = insist(clients[0], 'RenewLease', job_id='kept', lease_seconds=LEASE_S).lease_expires_at.seconds
                begin = time.monotonic()
                while time.monotonic() < begin + 2:
                    left = insist(clients[0], 'GetMount', job_id='kept').lease_expires_at.seconds
                    if left < lease:
                        raise AssertionError('a lease became shorter')
                    time.sleep(0.05)

            def scrape():
                begin = time.monotonic()
                try:
                    with urllib.request.urlopen(f'http://{http}/readyz', timeout=30 * SLOW) as answer:
                        self.assertEqual(answer.read(), b'ok\n')
                except ConnectionResetError:
                    pass  # it was being answered
                except urllib.error.URLError as e:
                    if isinstance(e.reason, ConnectionRefusedError):
                        raise AssertionError('refused') from e
                pauses.append(time.monotonic() - begin)
                time.sleep(0.02)

            work = Work()
            work.start(lambda: storm(clients[0]), lambda: storm(clients[1]), lambda: storm(clients[2]), connect, renew, scrape)
            killer = Killer(node, kept.root + '/.probe', options.kills, f'control/{options.seed}')
            try:
                killer.run(work.check)
            finally:
                work.stop()
            killer.report('control')
            print(f'control: {next(numbers)} mounts, {connections[0]} connections, {watcher.resumed} watches resumed, '
                  f'longest wait for /readyz {1000 * max(pauses):.0f} ms')
            insist(clients[0], 'CreateMount', job_id='last', origin='demo')
            insist(clients[0], 'DeleteMount', job_id='last')
            wait_until(lambda: 'last' in watcher.removed or watcher.error, 20, 'the watcher sees the last deletion')
            watcher.stopping = True
            for client in clients:
                client.close()
            watcher.join(20 * SLOW)
            if watcher.error:
                raise watcher.error
            self.assertEqual(watcher.known, {'kept'})
            self.assertGreater(watcher.resumed, 0)
            wait_until(lambda: answers(node), 20, 'a daemon answers')
            node.delete('kept')
            wait_until(lambda: os.listdir(node.data + '/workspaces') == [], 20, 'the workspaces are removed')
            tenant = node.client.GetNode().tenants[0]
            self.assertEqual((tenant.mounts, tenant.bytes, tenant.inodes), (0, 0, 0))


if __name__ == '__main__':
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('--long', action='store_true')
    parser.add_argument('--seed', default=options.seed)
    known, rest = parser.parse_known_args()
    options.seed, options.kills = known.seed, 100 if known.long else options.kills
    unittest.main(argv=[sys.argv[0], *rest])
