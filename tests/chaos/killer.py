# SPDX-License-Identifier: Apache-2.0
"""Kills the daemon under a keeper at random moments, and measures the pause that a job sees: the longest of many small writes around
each kill. The load runs elsewhere; the killer only waits for it between kills to say that it moved on."""
import os
import random
import signal
import threading
import time

from coppice_client import CallError


def daemon_of(keeper):
    """The pid of the daemon that runs now; 0 between two. The last one: one that cannot die may be before it."""
    with open(f'/proc/{keeper}/task/{keeper}/children', encoding='ascii') as f:
        pids = f.read().split()
    return int(pids[-1]) if pids else 0


def answers(node):
    """Does a daemon answer? The first call after a kill may end with the connection to the dead one."""
    try:
        return node.client.GetNode(timeout=20, wait_for_ready=True) is not None
    except CallError:
        return False


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


class Striker:
    """Strikes again and again, and knows when; `strike` is what a subclass does, and says whether it did."""

    def __init__(self, node, probe_path, strikes, seed):
        self.node, self.strikes, self.random = node, strikes, random.Random(seed)
        self.probe = Probe(probe_path)
        self.struck_at = []

    def wait(self):
        time.sleep(self.random.uniform(0.02, 1.8))

    def strike(self):
        raise NotImplementedError

    def run(self, alive):
        """Strikes until enough; `alive()` raises when the load has failed."""
        self.probe.start()
        try:
            while len(self.struck_at) < self.strikes:
                self.wait()
                alive()
                at = time.monotonic()
                if self.strike():
                    self.struck_at.append(at)
            time.sleep(1.5)
            alive()
        finally:
            self.probe.stop()

    def pauses_ms(self):
        """For each strike the longest write that was under way or began in the second after it."""
        pauses = []
        for at in self.struck_at:
            during = [end - begin for begin, end in self.probe.spans if end > at and begin < at + 1]
            pauses.append(1000 * max(during, default=0))
        return sorted(pauses)


class Killer(Striker):
    def strike(self):
        pid = daemon_of(self.node.process.pid)
        if pid:
            os.kill(pid, signal.SIGKILL)
        return pid != 0
