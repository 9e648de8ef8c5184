# SPDX-License-Identifier: Apache-2.0
"""What a request costs when the filesystem behind it does nothing: what the kernel takes for it on this machine, which no filesystem in
userspace can save. See workload_nullfs.c."""
import resource
import subprocess

COUNT, TIMES = 20000, 3
# what bench_workload calls it, what the client does, the requests of that
KINDS = (('negative', 'lstat of a name that does not exist', 'LOOKUP'), ('lookup', 'lstat of a file, for the first time', 'LOOKUP'),
         ('read', 'read of a file of 4 KiB, for the first time', 'LOOKUP, READ'),
         ('setattr', 'chmod', 'SETATTR'), ('append', 'append of 300 B', 'WRITE'), ('write', 'write of 4 KiB', 'WRITE'),
         ('create', 'creation of a file', 'LOOKUP, CREATE'), ('unlink', 'removal of a file that was not looked at before', 'LOOKUP, UNLINK, FORGET'))


def cpu_of(argv):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, check=True, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(workload):
    """{kind: µs of CPU, client and server together}: the least of some."""
    return {kind: min(cpu_of([workload, 'nullfs', kind, str(COUNT)]) for _ in range(TIMES)) / COUNT * 1e6 for kind, _, _ in KINDS}


def table(figures):
    lines = ['| the client does | requests | µs of CPU |', '|---|---|---|']
    return lines + [f'| {title} | {requests} | {figures[kind]:.1f} |' for kind, title, requests in KINDS]
