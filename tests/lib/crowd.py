# SPDX-License-Identifier: Apache-2.0
"""Many processes at once: crowd(8, work) runs work(0) ... work(7), each in a process of its own, all released at the same moment.

Returns what they returned (anything JSON can carry); the first failure is raised here with its traceback. Children that outlive the
time-out are killed. Seeds of random tests come from seed(), which prints them: COPPICE_TEST_SEED repeats a run.
"""
import json
import os
import random
import signal
import sys
import time
import traceback


def seed(what):
    value = int(os.environ.get('COPPICE_TEST_SEED', 0)) or random.SystemRandom().randrange(1, 1 << 31)
    print(f'seed of {what}: COPPICE_TEST_SEED={value}', file=sys.stderr, flush=True)
    return value


class Child:
    """One process, and the pipe on which its answer comes."""

    def __init__(self, work, number, gate, release):
        self.number = number
        self.out, answer = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(answer)
            return
        try:
            os.close(release)
            os.read(gate, 1)  # ends when the last copy of the other end is closed: all are there
            done = {'result': work(number)}
        except BaseException:  # also KeyboardInterrupt: nothing may run on in a forked test
            done = {'failure': traceback.format_exc()}
        with os.fdopen(answer, 'w', encoding='utf-8') as f:
            json.dump(done, f)
        os._exit(0)

    def answer(self, end):
        data = b''
        os.set_blocking(self.out, False)
        while time.monotonic() < end:
            try:
                piece = os.read(self.out, 65536)
            except BlockingIOError:
                time.sleep(0.005)
                continue
            if not piece:
                return json.loads(data) if data else {'failure': f'process {self.number} ended without an answer'}
            data += piece
        return {'failure': f'process {self.number} did not end in time'}


def crowd(count, work, seconds=60):
    gate, release = os.pipe()
    children = [Child(work, i, gate, release) for i in range(count)]
    end = time.monotonic() + seconds
    os.close(gate)
    os.close(release)
    try:
        answers = [c.answer(end) for c in children]
    finally:
        for c in children:
            os.kill(c.pid, signal.SIGKILL)  # has ended already, or is late; not reaped yet, so the id is its own
            os.waitpid(c.pid, 0)
            os.close(c.out)
    failures = [a['failure'] for a in answers if 'failure' in a]
    if failures:
        raise AssertionError(f'{len(failures)} of {count} processes failed; the first:\n{failures[0]}')
    return [a['result'] for a in answers]
