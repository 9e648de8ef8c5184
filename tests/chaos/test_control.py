# SPDX-License-Identifier: Apache-2.0
"""The control plane over kills of the daemon: a caller sees a pause, never a refused connection; a call that was cut off is repeated and
finds what happened; a watch goes on after the last event that it saw; nothing is left behind.

  --long: a hundred kills; --seed N: the same moments again
"""
import argparse
import http.client
import socket
import sys
import threading
import time
import unittest
import urllib.request

from coppice_client import CallError, Client
from fire import under_fire
from loads import Calls, World, insist
from node import SLOW, wait_until
from ports import free_port

PRESENT, SYNCED, CHANGED, REMOVED = 1, 2, 3, 4
LEASE_S = 60
options = argparse.Namespace(kills=8, seed='1')


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


class Control(Calls):
    """Creations and deletions, and beside them everything else that callers do."""

    def __init__(self, world):
        super().__init__(world)
        self.ports = [free_port(), free_port()]
        self.http = f'127.0.0.1:{self.ports[1]}'
        self.node_options = {'listen': [f'127.0.0.1:{self.ports[0]}'], 'http': self.http}
        self.connections, self.waits = 0, []

    def bodies(self, node):
        self.socket, self.asker = node.socket, Client(node.address)
        self.watching = Client(node.address)
        self.watcher = Watcher(self.watching)
        self.watcher.start()
        insist(self.asker, 'CreateMount', job_id='renewed', origin='demo', lease_seconds=LEASE_S)
        return [*super().bodies(node), self.connect, self.renew, self.scrape]

    def connect(self):
        """Any socket, at any moment: there is always somebody who listens."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.socket)
        for port in self.ports:
            with socket.create_connection(('127.0.0.1', port), timeout=30 * SLOW):
                self.connections += 1
        time.sleep(0.001)

    def renew(self):
        """The lease of a mount that is renewed at a third of it never comes near its end."""
        lease = insist(self.asker, 'RenewLease', job_id='renewed', lease_seconds=LEASE_S).lease_expires_at.seconds
        begin = time.monotonic()
        while time.monotonic() < begin + 2:
            left = insist(self.asker, 'GetMount', job_id='renewed').lease_expires_at.seconds
            if left < lease:
                raise AssertionError('a lease became shorter')
            time.sleep(0.05)

    def scrape(self):
        begin = time.monotonic()
        try:
            with urllib.request.urlopen(f'http://{self.http}/readyz', timeout=30 * SLOW) as answer:
                if answer.read() != b'ok\n':
                    raise AssertionError('not ready')
        except (ConnectionResetError, http.client.IncompleteRead):
            pass  # it was being answered
        except urllib.error.URLError as e:
            if isinstance(e.reason, ConnectionRefusedError):
                raise AssertionError('refused') from e
        self.waits.append(time.monotonic() - begin)
        time.sleep(0.02)

    def stop(self):
        super().stop()
        insist(self.asker, 'DeleteMount', job_id='renewed')
        insist(self.asker, 'CreateMount', job_id='last', origin='demo')
        insist(self.asker, 'DeleteMount', job_id='last')
        wait_until(lambda: 'last' in self.watcher.removed or self.watcher.error, 20, 'the watcher sees the last deletion')
        self.watcher.stopping = True
        self.watching.close()
        self.asker.close()
        self.watcher.join(20 * SLOW)
        if self.watcher.error:
            raise self.watcher.error
        if self.watcher.known != {'kept'} or not self.watcher.resumed:
            raise AssertionError(f'the watcher knows {self.watcher.known}, resumed {self.watcher.resumed} times')

    def done(self):
        return {**super().done(), 'connections': self.connections, 'watches': self.watcher.resumed,
                'longest_scrape_ms': round(1000 * max(self.waits))}


class ControlPlane(unittest.TestCase):
    def test_storm_of_calls(self):
        with World(files=50, c_files=0, seed=options.seed) as world:
            under_fire(Control(world), options.kills, options.seed)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('--long', action='store_true')
    parser.add_argument('--seed', default=options.seed)
    known, rest = parser.parse_known_args()
    options.seed, options.kills = known.seed, 100 if known.long else options.kills
    unittest.main(argv=[sys.argv[0], *rest])
