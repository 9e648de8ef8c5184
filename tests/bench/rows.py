# SPDX-License-Identifier: Apache-2.0
"""The rows of the benchmark. Rows of a group run one after the other in one place per column; a group starts with fresh places, so
its first row is cold for the kernel. (Native is always warm: it is the floor that everything is compared with.)

A row gives the command for a place, what one operation is, and its targets; see Target.
"""
import os
from dataclasses import dataclass, field
from typing import Callable, Optional

PASSES = 3  # of warm rows, in one process


@dataclass
class Target:
    """A promise about Coppice: its figure is at most `limit`, a rate at least.

    kind: native    CPU as a multiple of native's
          kernel    CPU as a multiple of kernel overlayfs'
          fuse      CPU as a multiple of fuse-overlayfs'
          rate      operations per second of wall time
          each      microseconds of CPU per operation
          silent    no FUSE messages but at most `limit` GETATTRs per file and directory, once, however many passes: after a READ
                    or READDIR the kernel doubts the access time of that inode
    """
    kind: str
    limit: float = 0


@dataclass
class Row:
    name: str
    title: str
    command: Callable  # (bench, column, place) -> argv
    operations: Callable  # corpus -> how many
    targets: list = field(default_factory=list)
    prepare: Optional[Callable] = None  # (bench, column, place), untimed
    columns: Optional[tuple] = None  # names; None: all


@dataclass
class Group:
    name: str
    tree: str
    changes: bool  # do the rows change the tree?
    rows: list


def workload(name, *args):
    """A row of bench_workload on the place's directory; callables among the arguments get the bench."""
    def command(bench, column, place):
        del column
        return [bench.workload, name, place.root, *(str(a(bench) if callable(a) else a) for a in args)]
    return command


def on_file(name, file, *args):
    """A row of bench_workload on one file of the place."""
    def command(bench, column, place):
        del column
        return [bench.workload, name, os.path.join(place.root, file), *(str(a(bench) if callable(a) else a) for a in args)]
    return command


def scaled(count):
    return lambda bench: max(int(count * bench.corpus.scale), 8)


def entries(tree):
    return lambda bench: bench.corpus[tree].files + bench.corpus[tree].directories


def files(tree):
    return lambda bench: bench.corpus[tree].files


def listed(tree):
    return lambda bench: bench.corpus[tree].file_list


def directories(tree):
    return lambda bench: bench.corpus[tree].directory_list


def times(count, factor):
    return lambda bench: count(bench) * factor


def walk_once(bench, column, place):
    bench.quietly(workload('lstat', listed('tree'), 1)(bench, column, place))


def read_once(bench, column, place):
    bench.quietly(workload('read', 1)(bench, column, place))


def untar(bench, column, place):
    del column
    return ['tar', '-x', '-f', bench.corpus['untar'].tar, '-C', make_folder(place)]


def make_folder(place):
    out = os.path.join(place.root, 'unpacked')
    os.makedirs(out, exist_ok=True)
    return out


def remove_lower(bench, column, place):
    del bench, column
    return ['rm', '-rf', *(os.path.join(place.root, name) for name in sorted(os.listdir(place.root)))]


def first_append(bench, column, place):
    """Native has no lower: a raw copy of the file stands for it."""
    file = os.path.join(place.root, 'large/file.bin')
    if column.name == 'native':
        return [bench.workload, 'copy', file, os.path.join(place.root, 'copy')]
    return [bench.workload, 'append', file, '300', '1']


GROUPS = [
    Group('walk', 'tree', False, [
        Row('cold-find', 'cold find', workload('find', 1), entries('tree'), [Target('fuse', 0.5), Target('native', 2.8)]),
        Row('second-find', 'second find', workload('find', 1), entries('tree'), [Target('silent', 1)]),
        Row('warm-find', 'warm find', workload('find', PASSES), times(entries('tree'), PASSES),
            [Target('native', 1.05), Target('silent', 0)]),
    ]),
    Group('stat', 'tree', False, [
        Row('cold-lstat', 'lstat of all, fresh mount', workload('lstat', listed('tree'), 1), files('tree'), [Target('native', 8)]),
        Row('warm-lstat', 'warm lstat of all', workload('lstat', listed('tree'), PASSES), times(files('tree'), PASSES),
            [Target('native', 1.3), Target('silent', 0)]),
        Row('cold-negative', 'negative lookups, first', workload('negative', directories('tree'), scaled(20000), 1), scaled(20000),
            [Target('each', 12)]),
        Row('warm-negative', 'warm negative lookups', workload('negative', directories('tree'), scaled(20000), 4 * PASSES),
            times(scaled(20000), 4 * PASSES), [Target('native', 1.3), Target('silent', 0)]),
    ]),
    Group('read', 'tree', False, [
        Row('cold-read', 'cold read of all', workload('read', 1), files('tree'), [Target('fuse', 0.5), Target('native', 3.5)]),
        Row('second-read', 'second read of all', workload('read', 1), files('tree'), [Target('silent', 1)]),
        Row('warm-read', 'warm read of all', workload('read', PASSES), times(files('tree'), PASSES),
            [Target('native', 1.08), Target('silent', 0)]),
    ]),
    Group('opens', 'tree', False, [
        Row('opens', '8 threads open, read, close at random', workload('opens', listed('tree'), 8, scaled(60000)), scaled(60000),
            [Target('rate', 75000)], prepare=walk_once),
        Row('warm-opens', 'warm open, read, close, 2 threads', workload('opens', listed('tree'), 2, scaled(200000)), scaled(200000),
            [Target('native', 1.3), Target('silent', 0)], prepare=read_once),
    ]),
    Group('build', 'project', True, [
        Row('build', 'build of 200 C files, make -j2', lambda bench, column, place: ['make', '-s', '-j2', '-C', place.root],
            files('project'), [Target('native', 1.03)]),
    ]),
    Group('untar', 'small', True, [
        Row('untar', 'untar of 20,000 files', untar, files('untar'), [Target('fuse', 1), Target('kernel', 1.3)]),
        Row('rm-upper', 'rm -rf of them', lambda bench, column, place: ['rm', '-rf', make_folder(place)], files('untar'),
            [Target('fuse', 1), Target('each', 55)]),
        Row('rm-lower', 'rm -rf of 8,000 lower files', remove_lower, files('small'), [Target('fuse', 0.1), Target('each', 45)]),
    ]),
    Group('files', 'large', True, [
        Row('write', 'sequential write, 1 GB', on_file('write', 'big', 1 << 20, scaled(1000)), scaled(1000), [Target('native', 1.6)]),
        Row('read-back', 'read it back, its cache dropped', on_file('readfile', 'big', 1), scaled(1000), [Target('native', 2)]),
        Row('write-4k', '50,000 writes of 4 KiB', on_file('write', 'blocks', 4096, scaled(50000)), scaled(50000), [Target('native', 3)]),
        Row('append', '100,000 appends of 300 B', on_file('append', 'log', 300, scaled(100000)), scaled(100000), [Target('each', 8)]),
        Row('first-append', 'first append to a 100 MB lower file', first_append, lambda bench: 1, [Target('native', 1.1)]),
    ]),
]
