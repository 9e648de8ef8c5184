# SPDX-License-Identifier: Apache-2.0
"""The frame of every test here: a node under a keeper, a load on it, something that strikes the daemon, and a look at what is left.

  under_fire(load, kills=8, seed='1')       # a Load of loads.py; raises at the first error of the load, and for anything that is left

What must be as it was before the load: mounts, workspaces, the trash, processes, descriptors of keeper and daemon, the usage that the quota
counts. While the load's files are still there, the usage that the daemon kept up over all strikes must be what its successor counts
from the disk. COPPICE_CHAOS_REPORT names a file for one JSON line per run.
"""
import collections
import json
import os
import signal
import stat
import time

from killer import Killer, answers, daemon_of
from node import SLOW, Node, mounts_below, wait_until

DESCRIPTORS_MORE = 8  # connections of clients that come and go
LONGEST_PAUSE_MS = 8000  # on a machine that others use too


def arguments(pid):
    try:
        with open(f'/proc/{pid}/cmdline', 'rb') as f:
            return f.read().split(b'\0')[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def processes_of(node):
    """Programs that work for this node: the keeper's descendants, and whoever has the node's folder among its arguments."""
    mine, here = {os.getpid(), os.getppid()}, os.fsencode(node.base)
    pids = [int(name) for name in os.listdir('/proc') if name.isdigit() and int(name) not in mine]
    return sorted(os.path.basename(args[0]).decode() for args in map(arguments, pids) if any(here in arg for arg in args))


def usage(node):
    """[(mounts, bytes, inodes)] by tenant, as the quota has them."""
    return [(t.tenant, t.mounts, t.bytes, t.inodes) for t in node.client.GetNode(timeout=30 * SLOW, wait_for_ready=True).tenants]


def renew(node):
    """Another daemon, which has done nothing yet but take over."""
    pid = daemon_of(node.process.pid)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: daemon_of(node.process.pid) not in (0, pid) and answers(node), 30, 'the next daemon answers')


def descriptors(pid):
    """What a process has open, by what it is: {'socket': 12, '/dev/fuse': 1}. Without the segments of the cache, which come with its size."""
    found = collections.Counter()
    for fd in os.listdir(f'/proc/{pid}/fd'):
        try:
            found[os.readlink(f'/proc/{pid}/fd/{fd}').split(':')[0]] += 1
        except FileNotFoundError:
            pass  # it was the one that lists
    return collections.Counter({what: count for what, count in found.items() if '/blobs/segments/' not in what})


class Traces:
    """What there is of a node that does nothing."""

    def __init__(self, node):
        self.exact = {
            'mounts': sorted(mounts_below(node.base)),
            'workspaces': sorted(os.listdir(node.data + '/workspaces')),
            'trash': os.listdir(node.data + '/trash'),
            'files of the service': sorted(os.listdir(node.data)),
            'sessions': sorted(os.listdir(node.run + '/sessions')),
            'processes': processes_of(node),
            'usage': usage(node),
            'descriptors of the keeper': descriptors(node.process.pid).total(),
        }
        self.descriptors = descriptors(daemon_of(node.process.pid))

    def left(self, before):
        """What is there and was not, as text; '' if nothing."""
        found = [f'{what}: {then} became {self.exact[what]}' for what, then in before.exact.items() if self.exact[what] != then]
        more = self.descriptors - before.descriptors
        if more.total() > DESCRIPTORS_MORE:
            found.append(f'descriptors of the daemon: {more}')
        return '; '.join(found)


def assert_nothing_left(node, before, seconds=30):
    """Deletion goes on in the background, so there is patience."""
    end = time.monotonic() + seconds * SLOW
    while True:
        left = Traces(node).left(before)
        if not left:
            return
        if time.monotonic() > end:
            raise AssertionError('left behind: ' + left)
        time.sleep(0.1)


def charge(st):
    """What an object costs its quota, as fuse/overlay/ovl_charge.c says."""
    if not stat.S_ISREG(st.st_mode):
        return 0
    size, used = ((n + 4095) // 4096 for n in (st.st_size, st.st_blocks * 512))
    maps = size // 340 + 2 if size > 4 else 0
    return 4096 * (min(used, size) if used - size <= maps + 1 else used)


def staged_bytes(workspace):
    """What the objects of its Git workflow cost: the workflow keeps the number with its state."""
    try:
        with open(workspace + '/git/state', encoding='utf-8', errors='replace') as f:
            return sum(int(line.split()[1]) for line in f if line.startswith('bytes '))
    except FileNotFoundError:
        return 0


def usage_of_disk(node):
    """(bytes, inodes) of all workspaces, each inode once and no whiteouts."""
    objects, staged = {}, 0
    for mount_id in os.listdir(node.data + '/workspaces'):
        staged += staged_bytes(os.path.join(node.data, 'workspaces', mount_id))
        for part in ('upper', 'work/orphan', 'work/links'):
            for at, folders, files in os.walk(os.path.join(node.data, 'workspaces', mount_id, part)):
                found = [os.lstat(os.path.join(at, name)) for name in folders + files]
                objects.update({st.st_ino: st for st in found if not stat.S_ISCHR(st.st_mode) or st.st_rdev})
    return staged + sum(map(charge, objects.values())), len(objects)


def assert_usage_exact(node):
    """What the quota has is what is on the disk. A takeover charges what its predecessor had charged, and counts soon after."""
    def is_exact():
        tenants = usage(node)
        return (sum(t[2] for t in tenants), sum(t[3] for t in tenants)) == usage_of_disk(node)
    for step in (lambda: None, lambda: renew(node)):
        step()
        wait_until(is_exact, 60, f'the quota has {usage(node)}, the disk {usage_of_disk(node)}')


def assert_no_orphans(node):
    """Removed files that nobody has open are gone; nothing half made is left."""
    for mount_id in os.listdir(node.data + '/workspaces'):
        work = os.path.join(node.data, 'workspaces', mount_id, 'work')
        wait_until(lambda at=work: os.listdir(at + '/orphan') == [], 20, f'the orphans go: {os.listdir(work + "/orphan")}')
        if os.listdir(work + '/tmp'):
            raise AssertionError(f'half made: {os.listdir(work + "/tmp")}')


def keeper_lines(node):
    """What the keeper said of each death, and the next daemon of its takeover."""
    return [line[:200] for line in node.log_text().splitlines() if line.startswith('keeper ') or 'event=taken_over' in line or 'level=warn' in line]


def report(title, strikes, pauses_ms, **more):
    """Pauses of the probe, one per strike."""
    pauses = sorted(pauses_ms) or [0]
    facts = {'test': title, 'strikes': strikes, 'p50_ms': round(pauses[len(pauses) // 2]), 'p99_ms': round(pauses[-1 - len(pauses) // 100]),
             'longest_ms': round(pauses[-1]), **more}
    print(', '.join(f'{k} {v}' for k, v in facts.items()), flush=True)
    if os.environ.get('COPPICE_CHAOS_REPORT'):
        with open(os.environ['COPPICE_CHAOS_REPORT'], 'a', encoding='utf-8') as f:
            f.write(json.dumps(facts) + '\n')


def under_fire(load, kills, seed, striker=Killer, node_class=Node):
    """Strikes while the load runs, then looks for what is left."""
    with load, node_class(load.origins, keeper=True, limit=240 + 4 * kills, extra=load.extra, **load.node_options) as node:
        kept = node.mount('kept')  # keeps the session, and has the probe
        renew(node)
        before = Traces(node)
        strikes = striker(node, kept.root + '/.probe', kills, f'{load.title}/{seed}')
        load.begin(node)
        try:
            strikes.run(load.check)
        finally:
            load.stop()
        wait_until(lambda: answers(node), 30, 'a daemon answers')
        if 'event=session_not_adopted' in node.log_text():
            raise AssertionError('a session was given up')
        assert_no_orphans(node)
        assert_usage_exact(node)
        load.leave(node)
        os.unlink(kept.root + '/.probe')
        renew(node)
        assert_nothing_left(node, before)
        pauses = strikes.pauses_ms()
        report(load.title, len(strikes.struck_at), pauses, **load.done())
        if pauses and pauses[-1] > LONGEST_PAUSE_MS * SLOW:
            raise AssertionError(f'a write stood still for {pauses[-1] / 1000:.1f} s:\n' + '\n'.join(keeper_lines(node)))
        node.delete('kept')
