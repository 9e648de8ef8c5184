# SPDX-License-Identifier: Apache-2.0
"""The daemon dies at every step of its journals: right before and after each system call that changes something, and between the change
and its reply (dying.c), under a storm of changes of names and one of creations and deletions; some die again while they take over. No
job may notice, and nothing is left.

  --long: every step five times; --seed N: the same steps again
"""
import argparse
import itertools
import os
import random
import signal
import sys
import time
import unittest

from fire import renew, under_fire, usage
from killer import Striker, answers, daemon_of
from loads import Calls, Load, Make, Storm, World
from node import SANITIZE, SLOW, Node, wait_until

DYING = os.environ.get('COPPICE_DYING_LIBRARY')
# How old a daemon may get before it dies: the keeper waits before it starts the successor of one that died within its first second, if
# the two before did too.
AGES_MS = (1100, 200, 0)
# What the loads make the daemon do, and how often it may have been done when it dies.
STEPS = {'mkdirat': 12, 'linkat': 12, 'unlinkat': 30, 'renameat': 12, 'renameat2': 30, 'openat': 30, 'posix_fallocate': 2,
         'fsetxattr': 12, 'pwrite': 60, 'fdatasync': 12, 'read': 200, 'writev': 200}
REPLIED = ('linkat', 'unlinkat', 'renameat2', 'pwrite')  # by the thread that did it
options = argparse.Namespace(rounds=1, seed='1')


def orders():
    rng = random.Random(options.seed)
    made = []
    for _ in range(options.rounds):
        steps = [(call, stage) for call in STEPS for stage in ('before', 'after')] + [(call, 'reply') for call in REPLIED]
        rng.shuffle(steps)
        made += [f'{call} {stage} {rng.randrange(STEPS[call]) + 1}' for call, stage in steps]
    return [f'{step} {age}' for step, age in zip(made, itertools.cycle(AGES_MS))]


class DyingNode(Node):
    """A node whose daemons have orders when to die, from a library that is loaded first; the keeper hands it on to them."""
    libraries = (DYING,)

    def __init__(self, *args, **options_of_node):
        super().__init__(*args, **options_of_node)
        self.orders = self.path('orders')
        self.order([])

    def order(self, lines):
        with open(self.orders, 'w', encoding='ascii') as f:
            f.write(''.join(line + '\n' for line in lines))

    def ordered(self):
        with open(self.orders, encoding='ascii') as f:
            return f.read().splitlines()

    def command(self, *args):
        extra = [f'ASAN_OPTIONS=verify_asan_link_order=0:{os.environ.get("ASAN_OPTIONS", "")}'] if SANITIZE else []
        return ['/usr/bin/env', f'LD_PRELOAD={":".join(self.libraries)}', f'COPPICE_DYING={self.orders}', *extra, *super().command(*args)]


class Stepper(Striker):
    """Waits for each death; one that does not come in time is a kill, and is told in the end."""

    def __init__(self, node, probe_path, _strikes, seed):
        self.all = orders()
        super().__init__(node, probe_path, len(self.all), seed)
        self.never = []

    def run(self, alive):
        self.node.order(self.all)
        self.pid = daemon_of(self.node.process.pid)
        os.kill(self.pid, signal.SIGKILL)  # the first with an order is next
        self.pid = self.next_pid()
        super().run(alive)
        if self.never:
            raise AssertionError(f'these steps were never made: {self.never}')

    def next_pid(self):
        end = time.monotonic() + 30 * SLOW
        while time.monotonic() < end:
            pid = daemon_of(self.node.process.pid)
            if pid not in (0, self.pid):
                return pid
            time.sleep(0.005)
        raise AssertionError('no daemon follows')

    def wait(self):
        """Until the next death."""
        end = time.monotonic() + (AGES_MS[0] / 1000 + 20) * SLOW
        while daemon_of(self.node.process.pid) == self.pid and time.monotonic() < end:
            time.sleep(0.002)

    def strike(self):
        if daemon_of(self.node.process.pid) == self.pid:
            self.never.append(self.all[len(self.struck_at)])
            os.kill(self.pid, signal.SIGKILL)
        self.pid = self.next_pid()
        return True


class Everything(Load):
    """Several loads at once, in one node."""

    def __init__(self, world):
        super().__init__(world)
        self.parts = [Storm(world), Calls(world), Builds(world)]

    def begin(self, node):
        for part in self.parts:
            part.begin(node)

    def check(self):
        for part in self.parts:
            part.check()

    def stop(self):
        for part in self.parts:
            part.stop()

    def leave(self, node):
        for part in self.parts:
            part.leave(node)

    def __exit__(self, *error):
        for part in self.parts:
            part.__exit__(*error)

    def done(self):
        return {k: v for part in self.parts for k, v in part.done().items()}


class Builds(Make):
    """In a workspace of its own."""

    def begin(self, node):
        self.root = node.mount('build').root
        self.work.start(*self.bodies(node))

    def leave(self, node):
        node.delete('build')


class Steps(unittest.TestCase):
    def test_every_step(self):
        with World(files=200, c_files=20, seed=options.seed) as world:
            under_fire(Everything(world), 60 * options.rounds, options.seed, Stepper, DyingNode)

    def test_a_forget_that_was_read_and_lost(self):
        """The removed file that it was about does not stay until its workspace goes."""
        with World(files=1, c_files=0) as world, DyingNode({'demo': world.repository}, keeper=True) as node:
            root = node.mount('job').root
            orphans = os.path.join(node.data, 'workspaces', node.client.GetMount(job_id='job').mount_id, 'work/orphan')
            node.order(['forget after 1 0'])
            renew(node)
            before = usage(node)
            kept = os.open(root + '/kept', os.O_RDWR | os.O_CREAT)
            lost = os.open(root + '/lost', os.O_RDWR | os.O_CREAT)
            pid = daemon_of(node.process.pid)
            for fd, name in ((kept, 'kept'), (lost, 'lost')):
                os.write(fd, b'x' * 5000)
                os.unlink(f'{root}/{name}')
            self.assertEqual(len(os.listdir(orphans)), 2)
            os.close(lost)
            wait_until(lambda: daemon_of(node.process.pid) not in (0, pid) and answers(node), 20, 'it dies of the FORGET')
            wait_until(lambda: len(os.listdir(orphans)) == 1, 20, f'one orphan goes: {os.listdir(orphans)}')
            self.assertEqual(os.pread(kept, 5000, 0), b'x' * 5000)
            os.close(kept)
            wait_until(lambda: not os.listdir(orphans) and usage(node) == before, 20, f'all is given back: {before} {usage(node)}')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('--long', action='store_true')
    parser.add_argument('--seed', default=options.seed)
    known, rest = parser.parse_known_args()
    options.seed, options.rounds = known.seed, 5 if known.long else options.rounds
    unittest.main(argv=[sys.argv[0], *rest])
