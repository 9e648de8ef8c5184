# SPDX-License-Identifier: Apache-2.0
"""Kills the daemon under a keeper at random moments, and measures the pause that a job sees: the longest of many small writes around
each kill. The workload runs elsewhere; the killer only waits for it between kills to say that it moved on."""
import os
import random
import signal
import threading
import time

from coppice_client import CallError
from node import SLOW


def daemon_of(keeper):
    """The pid of the daemon that runs now; 0 between two."""
    with open(f'/proc/{keeper}/task/{keeper}/children', encoding='ascii') as f:
        pids = f.read().split()
    return int(pids[0]) if pids else 0


def answers(node):
    """Does a daemon answer? The first call after a kill may end with the connection to the dead one."""
    try:
        return node.client.GetNode(timeout=20, wait_for_ready=True) is not None
    except CallError:
        return False


class Work:
    """What runs in other threads until it is told to stop; its first error is the test's."""

    def __init__(self):
        self.stopping, self.error, self.threads, self.rounds = False, None, [], 0

    def start(self, *bodies):
        for body in bodies:
            thread = threading.Thread(target=self.guard, args=(body,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def guard(self, body):
        try:
            while not self.stopping and not self.error:
                body()
                self.rounds += 1
        except Exception as e:  # pylint: disable=broad-except  # raised by check
            self.error = e

    def check(self):
        if self.error:
            raise self.error

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(120 * SLOW)
            if thread.is_alive():
                raise AssertionError('a thread of the workload hangs')
        self.check()


class Probe(threading.Thread):
    """Writes a few bytes every millisecond; each write is a request."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.spans, self.error, self.stopping = [], None, False

    def run(self):
        number = 0
        try:
            while not self.stopping:
                number += 1
                begin = time.monotonic()
                os.pwrite(self.file, b'%016d' % number, 0)
                end = time.monotonic()
                if end - begin > 0.002:
                    self.spans.append((begin, end))
                if os.pread(self.file, 16, 0) != b'%016d' % number:
                    raise AssertionError('the probe read what it did not write')
                time.sleep(0.001)
        except Exception as e:  # pylint: disable=broad-except  # reported by the test
            self.error = e

    def stop(self):
        self.stopping = True
        self.join(30)
        os.close(self.file)
        if self.error:
            raise self.error


class Killer:
    def __init__(self, node, probe_path, kills, seed):
        self.node, self.kills, self.random = node, kills, random.Random(seed)
        self.probe = Probe(probe_path)
        self.killed_at = []

    def run(self, alive):
        """Kills until enough; `alive()` raises when the workload has failed."""
        self.probe.start()
        while len(self.killed_at) < self.kills:
            time.sleep(self.random.uniform(0.02, 1.8))
            alive()
            pid = daemon_of(self.node.process.pid)
            if not pid:
                continue
            self.killed_at.append(time.monotonic())
            os.kill(pid, signal.SIGKILL)
        time.sleep(1.5)
        alive()
        self.probe.stop()

    def pauses_ms(self):
        """For each kill the longest write that was under way or began in the second after it."""
        pauses = []
        for at in self.killed_at:
            during = [end - begin for begin, end in self.probe.spans if end > at and begin < at + 1]
            pauses.append(1000 * max(during, default=0))
        return sorted(pauses)

    def report(self, title):
        pauses = self.pauses_ms()
        text = f'{title}: {len(pauses)} kills, pause p50 {pauses[len(pauses) // 2]:.0f} ms, p99 {pauses[-1 - len(pauses) // 100]:.0f} ms'
        print(text, flush=True)
