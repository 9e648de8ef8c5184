# SPDX-License-Identifier: Apache-2.0
"""Many processes in one workspace, many workspaces at a time: the result is that of some order, and the thread sanitizer has nothing to
say (label tsan). Each worker is a process of its own, so that the kernel's locks are the only ones above the daemon's."""
import collections
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import repo_maker
from node import SLOW, Node

WORKERS = 6
SCRIPT = """
import os, random, sys, time
root, kind, me, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rng = random.Random(me)

def write(path, data, mode='wb'):
    with open(path, mode) as f:
        f.write(data)

def create(i):                      # in a directory that only the sources have, all at once
    write(f'{root}/d{i % 20}/made-{me}-{i}', b'%d' % me)

def same(i):                        # one winner per name
    try:
        os.close(os.open(f'{root}/d{i % 20}/same-{i}', os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        print('won', i)
    except FileExistsError:
        pass

def copyup(i):                      # of the same file, by an append each
    fd = os.open(f'{root}/d{i % 20}/f{i}', os.O_WRONLY | os.O_APPEND)
    os.write(fd, b'+%d' % me)
    os.close(fd)

def rename(i):                      # one token per directory wanders; only one of them can take it
    a, b = rng.sample(range(20), 2)
    try:
        os.rename(f'{root}/d{a}/token-{i % 7}', f'{root}/d{b}/token-{i % 7}')
    except FileNotFoundError:
        pass

def churn(i):                       # whole directories come, move and go
    path = f'{root}/churn-{me}'
    os.makedirs(path + '/a/b')
    write(path + '/a/b/file', b'x' * rng.randrange(9000))
    os.link(path + '/a/b/file', path + '/link')
    os.rename(path, path + '-moved')
    os.symlink('link', path + '-moved/symlink')
    os.setxattr(path + '-moved/link', 'user.x', b'1')
    os.truncate(path + '-moved/link', rng.randrange(9000))
    for folder, folders, files in os.walk(path + '-moved', topdown=False):
        for n in files:
            os.unlink(os.path.join(folder, n))
        os.rmdir(folder)

def read(i):                        # everything, while it changes
    for folder, folders, files in os.walk(root):
        for n in files:
            try:
                with open(os.path.join(folder, n), 'rb') as f:
                    f.read()
                os.listxattr(os.path.join(folder, n))
            except FileNotFoundError:
                pass
    if me == 0:
        with open('/proc/sys/vm/drop_caches', 'w') as f:
            f.write('3')

for i in range(rounds):
    globals()[kind](i)
"""


def work(root, jobs):
    """Runs jobs (kind, rounds), each in WORKERS processes, all at once; what they printed, by kind."""
    children = [(kind, subprocess.Popen([sys.executable, '-c', SCRIPT, root, kind, str(me), str(rounds)], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True))
                for kind, rounds in jobs for me in range(WORKERS if kind != 'read' else 2)]
    printed = collections.defaultdict(list)
    for kind, child in children:
        out, errors = child.communicate(timeout=200 * SLOW)
        if child.returncode != 0:
            raise AssertionError(f'{kind} ended with {child.returncode}: {errors}')
        printed[kind] += out.splitlines()
    return printed


class Races(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-races-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo = repo_maker.Repo(cls.repository)
        repo.begin()
        for i in range(100):
            repo.add(b'd%d/f%d' % (i % 20, i), b'%d' % i)
        for i in range(7):
            repo.add(b'd%d/token-%d' % (i, i), b'token')
        repo.finish()

    def test_one_workspace(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('race', quota={'bytes': 1 << 30, 'inodes': 100000}).root
            printed = work(root, [('create', 40), ('same', 40), ('copyup', 100), ('rename', 60), ('churn', 15), ('read', 3)])
            won = [int(line.split()[1]) for line in printed['same']]
            self.assertEqual(sorted(won), list(range(40)), 'each name has one creator')
            for i in range(100):
                with open(f'{root}/d{i % 20}/f{i}', encoding='ascii') as f:
                    head, *tail = f.read().split('+')
                self.assertEqual((head, sorted(tail)), (str(i), [str(w) for w in range(WORKERS)]), 'copied up once, no append lost')
            for i in range(7):
                self.assertEqual(sum(os.path.exists(f'{root}/d{d}/token-{i}') for d in range(20)), 1)
            self.assertEqual(sorted(os.listdir(root)), sorted(f'd{i}' for i in range(20)))
            made = sum(n.startswith('made-') for i in range(20) for n in os.listdir(f'{root}/d{i}'))
            self.assertEqual(made, WORKERS * 40)
            tree = self.contents(root)
            usage = node.client.GetMount(job_id='race').usage.inodes
            node.kill()
            node.start()
            self.assertEqual(self.contents(root), tree, 'after a crash')
            self.assertEqual(node.client.GetMount(job_id='race').usage.inodes, usage)
            node.delete('race')

    def contents(self, root):
        seen = {}
        for folder, _, files in os.walk(root):
            seen[os.path.relpath(folder, root)] = None
            for name in files:
                path = os.path.join(folder, name)
                with open(path, 'rb') as f:
                    seen[os.path.relpath(path, root)] = (f.read(), os.lstat(path).st_ino)
        return seen

    def test_workspaces_come_and_go(self):
        """Creation, work, watching, leases and deletion in threads of their own, with twins that ask for the same job."""
        with Node({'demo': self.repository}) as node:
            failed, seen = [], collections.Counter()
            end = time.monotonic() + 4 * min(SLOW, 3)

            def job(n):
                rng = random.Random(n)
                while time.monotonic() < end:
                    name = f'job-{rng.randrange(8)}'
                    mount = node.client.CreateMount(job_id=name, origin='demo')
                    root = mount.root
                    try:
                        with open(f'{root}/d{n}/f{n}', 'ab') as f:
                            f.write(b'x')
                        os.listdir(root + '/d3')
                        os.rename(root + '/d4', root + f'/moved-{n}')
                    except OSError:
                        pass  # another thread deletes it meanwhile
                    node.client.ListMounts()
                    node.client.DeleteMount(job_id=name)
                    seen[n] += 1

            def watch():
                for event in node.client.WatchMounts(timeout=60 * SLOW):
                    seen[event.kind + 1000] += 1
                    if time.monotonic() > end:
                        return

            def guarded(target, *args):
                try:
                    target(*args)
                except Exception as e:  # whatever it is, the main thread reports it
                    failed.append(repr(e))

            threads = [threading.Thread(target=guarded, args=(job, n)) for n in range(4)]
            watcher = threading.Thread(target=guarded, args=(watch,))
            for t in (watcher, *threads):
                t.start()
            for t in threads:
                t.join()
            node.mount('last')  # an event that ends the watcher
            watcher.join()
            self.assertEqual([f for f in failed if not any(word in f for word in ('NOT_FOUND', 'ABORTED', 'FAILED_PRECONDITION'))], [])
            self.assertGreater(min(seen[n] for n in range(4)), 0, f'{failed}')
            self.assertGreater(seen[1003], 4, 'events of change')
            for mount in node.client.ListMounts().mounts:
                node.delete(mount.job_id)
            self.assertEqual(os.listdir(node.run + '/mnt/default'), [])


if __name__ == '__main__':
    unittest.main()
