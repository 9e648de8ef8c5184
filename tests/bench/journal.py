#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the journal costs a storm of creations, renames and removals: the share of samples of CPU time that are inside its functions, the
kernel's work for them included (page faults of the mapped file, its growth, and the rewriting on a thread of its own). No build or switch
without a journal is needed. The whole is the daemon and, in the second number, the program that makes the storm too.

  COPPICE_BIN=$PWD/build/release/bin PYTHONPATH=tests/lib tests/bench/journal.py [FILES]
"""
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import repo_maker
from node import Node

JOURNAL = re.compile(r'\b(ovl_journal_\w+|ovl_record_\w+)\b')


def storm(root, files):
    for start in range(0, files, 1000):
        folder = f'{root}/s{start}'
        os.mkdir(folder)
        for i in range(1000):
            os.close(os.open(f'{folder}/new-{i}', os.O_CREAT | os.O_WRONLY | os.O_EXCL))
        for i in range(1000):
            os.rename(f'{folder}/new-{i}', f'{folder}/{i}')
        for i in range(1000):
            os.unlink(f'{folder}/{i}')
        os.rmdir(folder)


def shares(samples):
    """(all samples, those inside the journal), from `perf script`: a header line, its frames, an empty line."""
    stacks = [s for s in samples.split('\n\n') if s.strip()]
    return len(stacks), sum(bool(JOURNAL.search(s)) for s in stacks)


def own_ms():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1000


def measure(node, folder, files):
    data = folder + '/perf.data'
    recorder = subprocess.Popen(['perf', 'record', '-q', '-e', 'cpu-clock', '-F', '499', '--call-graph', 'dwarf,16384', '-o', data, '-p',
                                 str(node.process.pid)], stderr=subprocess.DEVNULL)
    root, before = node.mount('storm').root, own_ms()
    storm(root, files)
    client_ms = own_ms() - before
    recorder.send_signal(signal.SIGINT)
    recorder.wait(120)
    text = subprocess.run(['perf', 'script', '-i', data, '--no-inline', '-F', 'comm,ip,sym'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout.decode(
        errors='replace')
    total, inside = shares(text)
    daemon_ms = total * 1000 / 499
    print(f'{3 * files} changes: {inside} of {total} samples in the journal: {100 * inside / total:.1f}% of the daemon, '
          f'{100 * inside * 1000 / 499 / (daemon_ms + client_ms):.1f}% of daemon and client; '
          f'{(daemon_ms + client_ms) * 1000 / (3 * files):.1f} us of CPU for a change, of them {inside * 1e6 / 499 / (3 * files):.2f} us for the journal')


def main():
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 30000
    folder = tempfile.mkdtemp(prefix='cop-journal-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
    try:
        repo_maker.make(folder + '/repo.git', files=20)
        with Node({'demo': folder + '/repo.git'}, limit=600) as node:
            measure(node, folder, files)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    main()
