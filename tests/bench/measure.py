# SPDX-License-Identifier: Apache-2.0
"""Runs rows on columns and keeps the samples. In a round, all columns run a row before any runs the next, in an order that rotates
from round to round, so that what else the machine does hits them alike."""
import os
import statistics
import subprocess
import sys
import time

ROW_TIMEOUT = 900


class RowFailed(Exception):
    pass


def run(argv):
    """(wall, CPU) seconds of a command with its children; its output is dropped, its errors are shown."""
    start = time.perf_counter()
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    watchdog = subprocess.Popen(['sh', '-c', f'sleep {ROW_TIMEOUT}; kill -KILL {process.pid}'], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()  # interrupted: it would keep the place busy
        process.wait()
        raise
    finally:
        wall = time.perf_counter() - start
        os.killpg(watchdog.pid, 9)
        watchdog.wait()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RowFailed(f'{argv[:3]} ended with {process.returncode}')
    return wall, usage.ru_utime + usage.ru_stime


def cache_drops():
    """How often anyone on this machine has dropped the kernel's caches, which makes every warm row cold."""
    with open('/proc/vmstat', encoding='ascii') as f:
        return sum(int(line.split()[1]) for line in f if line.startswith(('drop_pagecache ', 'drop_slab ')))


class Results(dict):
    """row name → column name → samples: dicts of wall, client, server (seconds), messages, and whether caches were dropped while the
    sample's group ran. Such samples count only where there is no other."""

    def add(self, row, column, sample):
        self.setdefault(row, {}).setdefault(column, []).append(sample)

    def undisturbed(self, row, column):
        return [s for s in self.get(row, {}).get(column, []) if not s['disturbed']]

    def counted(self, row, column):
        return self.undisturbed(row, column) or self.get(row, {}).get(column, [])

    def summary(self, row, column):
        """Minima and medians of a cell, None if it did not run."""
        samples = self.counted(row, column)
        if not samples:
            return None
        cpu = [s['client'] + s['server'] for s in samples]
        wall = [s['wall'] for s in samples]
        best = min(samples, key=lambda s: s['client'] + s['server'])
        return {'cpu': min(cpu), 'cpu_median': statistics.median(cpu), 'wall': min(wall), 'wall_median': statistics.median(wall),
                'server': best['server'], 'messages': self.messages(row, column)}

    def messages(self, row, column):
        """The fewest of each operation over all rounds: a round may see what an earlier one left, such as FORGETs."""
        samples = [s['messages'] for s in self.counted(row, column)]
        names = {name for s in samples for name in s}
        fewest = {name: min(s.get(name, 0) for s in samples) for name in names}
        return {name: count for name, count in sorted(fewest.items(), key=lambda item: -item[1]) if count}


class Bench:
    def __init__(self, corpus, workload, columns, groups):
        self.corpus, self.workload, self.columns, self.groups = corpus, workload, columns, groups
        self.results = Results()

    def rows(self):
        return [row for group in self.groups for row in group.rows]

    def quietly(self, argv):
        run(argv)

    def sample(self, row, column, place):
        if row.prepare:
            row.prepare(self, column, place)
        argv = row.command(self, column, place)
        messages, server = column.messages(), column.server_cpu()
        wall, client = run(argv)
        server = column.server_cpu() - server
        counts = {name: count - messages.get(name, 0) for name, count in column.messages().items()}
        return {'wall': wall, 'client': client, 'server': server, 'messages': {n: c for n, c in counts.items() if c}}

    def round(self, number, groups):
        shift = number % len(self.columns)
        order = self.columns[shift:] + self.columns[:shift]
        for group in groups:
            tree = self.corpus[group.tree]
            places, samples, drops = {}, [], cache_drops()
            try:
                for column in order:
                    places[column.name] = column.open(tree, group.changes)
                for row in group.rows:
                    for column in order:
                        sample = self.sample(row, column, places[column.name])
                        samples.append(sample)
                        self.results.add(row.name, column.name, sample)
                        print(f'{number} {row.name:14} {column.name:15} wall {sample["wall"]:7.3f}  client {sample["client"]:7.3f}  '
                              f'server {sample["server"]:7.3f}', file=sys.stderr, flush=True)
            finally:
                for place in places.values():
                    place.close()
                # The kernel counts a drop when it is complete: it may have begun in any of them.
                dropped = cache_drops() != drops
                for sample in samples:
                    sample['disturbed'] = dropped
                if dropped:
                    print(f'{number} {group.name}: someone dropped the caches meanwhile', file=sys.stderr, flush=True)
