# SPDX-License-Identifier: Apache-2.0
"""Weeks of a node in minutes: workspaces are made, used and deleted by the hundred while the daemon is killed at random moments. In the
end memory, disk and descriptors are what they were in the beginning; what is remembered of a deleted mount for an hour has a limit.

  --long: 10,000 workspaces instead of 1000; --seed N: the same moments again
"""
import argparse
import itertools
import os
import re
import sys
import threading
import time
import unittest

from fire import renew, under_fire
from killer import Killer, daemon_of
from loads import Calls, World, insist
from node import SANITIZE, wait_until

WARM = 40
# How far apart two measurements of the same thing are, and what a mount that was deleted within the last hour may take.
RSS_SLACK_KIB, DISK_SLACK_KIB = 6 * 1024, 2 * 1024
REMEMBERED_RSS_KIB, REMEMBERED_DISK_KIB = 3, 2
options = argparse.Namespace(workspaces=1000, seed='1')


def rss_kib(pid):
    with open(f'/proc/{pid}/status', encoding='ascii', errors='replace') as f:
        return next(int(line.split()[1]) for line in f if line.startswith('VmRSS:'))


def disk_kib(folder):
    return sum(os.lstat(os.path.join(at, name)).st_blocks for at, _, names in os.walk(folder) for name in names) // 2


class Soak(Calls):
    """A workspace after the other, each used as a small job does."""

    def begin(self, node):
        self.node, self.left, self.lock = node, options.workspaces, threading.Lock()
        self.numbers = itertools.count()
        super().begin(node)

    def bodies(self, node):
        self.first = self.measure(node)
        return super().bodies(node)

    def cycle(self, client):
        with self.lock:
            if not self.left:
                self.work.stopping = True
                return
            self.left -= 1
        self.one(client)

    def one(self, client):
        job = f'soak-{next(self.numbers)}'
        root = insist(client, 'CreateMount', job_id=job, origin='demo', lease_seconds=600).root
        for name in os.listdir(root)[:5]:
            if os.path.isfile(f'{root}/{name}'):
                with open(f'{root}/{name}', 'rb') as f:
                    f.read()
        os.mkdir(root + '/out')
        for i in range(5):
            with open(f'{root}/out/{i}', 'wb') as f:
                f.write(b'%d' % i * 3000)
        os.rename(root + '/out/0', root + '/out/moved')
        os.link(root + '/out/1', root + '/out/linked')
        os.unlink(root + '/out/2')
        with open(root + '/README', 'ab') as f:
            f.write(b'more')
        insist(client, 'DeleteMount', job_id=job)

    def measure(self, node):
        """A daemon that took over and has served a little."""
        renew(node)
        for _ in range(WARM):
            self.one(self.clients[0])
        wait_until(lambda: not os.listdir(node.data + '/trash'), 30, 'the trash is empty')
        journal = disk_kib(node.data + '/mounts')
        return {'rss': rss_kib(daemon_of(node.process.pid)), 'keeper': rss_kib(node.process.pid), 'journal': journal,
                'disk': disk_kib(node.data) - journal}

    def leave(self, node):
        self.last = self.measure(node)
        remembered = next(self.numbers)
        limits = {'rss': RSS_SLACK_KIB + remembered * REMEMBERED_RSS_KIB, 'keeper': 256, 'disk': DISK_SLACK_KIB,
                  'journal': DISK_SLACK_KIB + remembered * REMEMBERED_DISK_KIB}
        if SANITIZE:  # they keep freed memory for a while
            del limits['rss']
        grown = {what: (self.first[what], self.last[what]) for what, limit in limits.items() if self.last[what] > self.first[what] + limit}
        if grown:
            raise AssertionError(f'KiB in the beginning and in the end: {grown}')
        for client in self.clients:
            client.close()

    def stop(self):
        self.work.stop()

    def done(self):
        took = [int(ms) for ms in re.findall(r'event=taken_over .*ms=(\d+)', self.node.log_text())]
        return {'workspaces': options.workspaces, **{f'{what}_kib': [self.first[what], self.last[what]] for what in self.first},
                'takeover_ms': [took[1], took[-1]]}


class Weary(Killer):
    """Kills until the load has done what it has to."""

    def __init__(self, load, *args):
        super().__init__(*args)
        self.load = load

    def wait(self):
        time.sleep(self.random.uniform(0.02, 2))

    def run(self, alive):
        self.probe.start()
        try:
            while self.load.left:
                self.wait()
                alive()
                if self.strike():
                    self.struck_at.append(time.monotonic())
            alive()
        finally:
            self.probe.stop()


class Soaked(unittest.TestCase):
    def test_nothing_grows(self):
        with World(files=100, c_files=0, seed=options.seed) as world:
            load = Soak(world)
            under_fire(load, options.workspaces // 50, options.seed, lambda *args: Weary(load, *args))


if __name__ == '__main__':
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('--long', action='store_true')
    parser.add_argument('--seed', default=options.seed)
    known, rest = parser.parse_known_args()
    options.seed, options.workspaces = known.seed, 10_000 if known.long else options.workspaces
    unittest.main(argv=[sys.argv[0], *rest])
