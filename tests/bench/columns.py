# SPDX-License-Identifier: Apache-2.0
"""The filesystems that are compared. Each makes a fresh writable directory over a lower tree, and knows the CPU time of whatever
process serves it.

  column.open(tree, copy) -> Place     copy: the native column must not share the tree, because the rows change it
  column.server_cpu(), column.messages()
"""
import contextlib
import ctypes
import os
import shutil
import subprocess
import tempfile
import time

from node import Node, detach, mounts_below, program, wait_until

_libc = ctypes.CDLL(None, use_errno=True)


def process_cpu(pid):
    """Seconds of user and system time of a process, all threads, ended ones too, in nanosecond steps (its CPU clock)."""
    return time.clock_gettime((~pid << 3) | 2)


def spread(folder):
    """As coppiced does for its workspaces: on ext4, places side by side would make each other's creations slow (service/mount/dir_spread.h)."""
    subprocess.run(['chattr', '+T', folder], check=False, stderr=subprocess.DEVNULL)


class Place:
    """A directory to work in."""

    def __init__(self, root, close):
        self.root, self.close = root, close


class Column:
    name, title = '', ''

    def server_cpu(self):
        return 0.0

    def messages(self):
        return {}

    def stop(self):
        """Ends what serves all places."""


class Native(Column):
    name, title = 'native', 'native ext4'

    def __init__(self, folder):
        self.folder = folder

    def open(self, tree, copy):
        if not copy:  # one component less than the others; a link to it would cost more
            return Place(tree.lower, lambda: None)
        root = os.path.join(tempfile.mkdtemp(prefix='native-', dir=self.folder), 'mnt')
        os.mkdir(root)
        subprocess.run(['cp', '-a', tree.lower + '/.', root], check=True, timeout=600)
        return Place(root, lambda: shutil.rmtree(os.path.dirname(root)))


class Layers:
    """Upper, work and mount point of an overlay over `lower`."""

    def __init__(self, folder, name, lower):
        self.base = tempfile.mkdtemp(prefix=name + '-', dir=folder)
        self.root = os.path.join(self.base, 'mnt')
        for part in ('upper', 'work', 'mnt'):
            os.mkdir(os.path.join(self.base, part))
        self.options = f'lowerdir={lower},upperdir={self.base}/upper,workdir={self.base}/work'

    def close(self):
        detach(self.root)
        shutil.rmtree(self.base)


class KernelOverlay(Column):
    name, title = 'kernel', 'kernel overlayfs'

    def __init__(self, folder):
        self.folder = folder

    def open(self, tree, copy):
        del copy
        layers = Layers(self.folder, self.name, tree.lower)
        if _libc.mount(b'overlay', os.fsencode(layers.root), b'overlay', 0, layers.options.encode()) != 0:
            error = os.strerror(ctypes.get_errno())
            layers.close()
            raise RuntimeError('mount of a kernel overlayfs: ' + error)
        return Place(layers.root, layers.close)


class FuseOverlayfs(Column):
    name, title = 'fuse-overlayfs', 'fuse-overlayfs'

    def __init__(self, folder):
        self.folder, self.ended, self.running = folder, 0.0, []

    def open(self, tree, copy):
        del copy
        layers = Layers(self.folder, self.name, tree.lower)
        process = subprocess.Popen(['fuse-overlayfs', '-f', '-o', layers.options, layers.root], stdin=subprocess.DEVNULL)
        wait_until(lambda: layers.root in mounts_below(layers.root), 20, 'fuse-overlayfs has mounted')
        self.running.append(process)
        return Place(layers.root, lambda: self.close(process, layers))

    def close(self, process, layers):
        self.ended += process_cpu(process.pid)
        self.running.remove(process)
        subprocess.run(['umount', layers.root], check=False, timeout=120)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()
        process.wait()
        layers.close()

    def server_cpu(self):
        return self.ended + sum(process_cpu(p.pid) for p in self.running)


class Coppice(Column):
    """One daemon; a place is a fresh workspace. Its memory cache is tiny, so that what is cold in the kernel comes from the disk
    tier; fill() has put all blobs there."""

    name, title = 'coppice', 'Coppice'

    def __init__(self, folder, trees):
        self.folder, self.serial = folder, 0
        self.node = Node({tree.name: tree.repository for tree in trees}, limit=86400, extra='cache: {memory: 1MiB, disk: 20GiB}')
        self.node.start()
        for tree in trees:
            self.fill(tree)

    def fill(self, tree):
        place = self.open(tree, False)
        subprocess.run([program('bench_workload'), 'read', place.root, '1'], check=True, timeout=1200, stdout=subprocess.DEVNULL)
        place.close()

    def open(self, tree, copy):
        """Bound to a directory as deep as those of the other columns: each component of a path costs."""
        del copy
        self.serial += 1
        job = f'bench-{self.serial}'
        base = tempfile.mkdtemp(prefix='coppice-', dir=self.folder)
        root = os.path.join(base, 'mnt')
        os.mkdir(root)
        self.node.mount(job, origin=tree.name, mountpoint=root)
        return Place(root, lambda: self.close(job, base))

    def close(self, job, base):
        self.node.delete(job)
        shutil.rmtree(base)

    def server_cpu(self):
        return process_cpu(self.node.process.pid)

    def messages(self):
        return {o.operation: o.count for o in self.node.client.GetNode().fuse_operations}

    def stop(self):
        self.node.close()


KINDS = (Native, KernelOverlay, FuseOverlayfs, Coppice)
