# SPDX-License-Identifier: Apache-2.0
"""Memory has budgets that hold: a crawl of a large tree, what is left after the kernel forgot it, many workspaces on one tree, files that
are rewritten for hours. With COPPICE_TEST_LONG=1 the tree has 1,000,000 files."""
import os
import random
import shutil
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request

import repo_maker
from node import SANITIZE, SLOW, Node, release_build, wait_until
from ports import free_port

LONG = bool(os.environ.get('COPPICE_TEST_LONG'))
FILES = 1_000_000 if LONG else 12_000 if SANITIZE else 60_000
PER_DIRECTORY = 50
CACHE_MIB = 64
# What a directory that was entered may cost beside the caches, all its files included: a node and a block of ids. Measured: see
# fuse/overlay/README.md.
DIRECTORY_BYTES = 1024
NODE_BYTES = 700  # a file of the workspace's own that the kernel knows: a node, its name in its directory, its place in the table
BASE_KIB = 96 << 10  # the process by itself: code, threads' stacks, request buffers, gRPC
WORKSPACES = 40 if SANITIZE else 200


def drop_caches():
    for _ in range(2):  # inodes go once their pages are gone
        with open('/proc/sys/vm/drop_caches', 'w', encoding='ascii') as f:
            f.write('3')


class MeasuredNode(Node):
    """Serves its metrics too."""

    def __init__(self, *args, nodes=100_000, **options):
        self.port = free_port()
        super().__init__(*args, extra=f'cache: {{memory: {CACHE_MIB}MiB, nodes: {nodes}}}', **options)

    def command(self, *args):
        return super().command('--set', f'http.listen=127.0.0.1:{self.port}', *args)

    def metric(self, name):
        with urllib.request.urlopen(f'http://127.0.0.1:{self.port}/metrics', timeout=20 * SLOW) as answer:
            text = answer.read().decode()
        values = [float(line.rsplit(' ', 1)[1]) for line in text.splitlines() if line.startswith((name + '{', name + ' '))]
        if not values:
            raise AssertionError(f'no metric {name}')
        return int(sum(values))

    def anonymous_kib(self):
        """Memory of its own: RSS without the pages of mapped files, which are the kernel's cache."""
        return self.status('RssAnon')


class Peak(threading.Thread):
    """The largest value of a metric while the block runs."""

    def __init__(self, node, name):
        super().__init__(daemon=True)
        self.node, self.name, self.most, self.done = node, name, 0, threading.Event()

    def run(self):
        while not self.done.wait(0.05):
            self.most = max(self.most, self.node.metric(self.name))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join()
        self.most = max(self.most, self.node.metric(self.name))


def make_repository(path):
    """Small files, PER_DIRECTORY in each directory, three levels. The number of directories."""
    repo = repo_maker.Repo(path)
    repo.begin()
    directories = {''}
    for i in range(FILES):
        d = i // PER_DIRECTORY
        folder = f'a{d // 1000}/b{d // 30 % 100}/d{d}'
        if i % PER_DIRECTORY == 0:
            directories |= {folder, os.path.dirname(folder), folder.split('/', 1)[0]}
        repo.add(f'{folder}/file-{i}.c'.encode(), b'%d\n' % i)
    repo.finish()
    return len(directories)


class Scale(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-scale-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        cls.directories = make_repository(cls.repository)

    def crawl(self, root):
        """Sizes of all files as find sees them; how many, and their sum."""
        done = subprocess.run(['find', root, '-type', 'f', '-printf', '%s\n'], stdout=subprocess.PIPE, check=True, timeout=1500 * SLOW)
        sizes = done.stdout.split()
        return len(sizes), sum(map(int, sizes))

    def test_crawl_of_a_large_tree(self):
        want = (FILES, sum(len(b'%d\n' % i) for i in range(FILES)))
        limit = 2400 if LONG else 280
        with MeasuredNode({'demo': self.repository}, limit=limit) as node:
            root = node.mount('crawl').root
            before, start = node.anonymous_kib(), time.monotonic()
            self.assertEqual(self.crawl(root), want)
            took = time.monotonic() - start
            after, nodes = node.anonymous_kib(), node.metric('coppice_overlay_nodes')
            directories = self.directories
            per_directory = (after - before) * 1024 / directories
            print(f'\n{FILES} files in {directories} directories in {took:.1f} s: RssAnon {before >> 10} -> {after >> 10} MiB, '
                  f'{per_directory:.0f} bytes per directory, {per_directory / PER_DIRECTORY:.1f} per file; {nodes} nodes; '
                  f'journal {node.metric("coppice_overlay_journal_bytes") >> 10} KiB')
            self.assertLessEqual(nodes, directories, 'a file that nobody touched has a node')
            if not SANITIZE:
                self.assertLess(after, BASE_KIB + (CACHE_MIB << 10) + directories * DIRECTORY_BYTES // 1024)
            with self.subTest('FORGET'):
                drop_caches()
                wait_until(lambda: node.metric('coppice_overlay_nodes') < max(64, directories // 20), 60, 'nodes follow FORGET')
            with self.subTest('again, no more than before'):
                for _ in range(2):
                    self.assertEqual(self.crawl(root), want)
                    drop_caches()
                wait_until(lambda: node.metric('coppice_overlay_nodes') < max(64, directories // 20), 60, 'nodes follow FORGET')
                if release_build():
                    self.assertLess(node.anonymous_kib(), after + after // 4)
            with self.subTest('journal and refs'):
                work = self.only_work(node)
                self.assertLess(os.stat(work + '/journal').st_blocks * 512, (1 << 20) + directories * 256)
                # 4 bytes for each id, which is each entry that was listed
                self.assertLess(os.stat(work + '/refs').st_blocks * 512, (1 << 20) + 8 * (FILES + directories))
            node.delete('crawl')

    def test_a_crawl_stays_within_the_budget_for_nodes(self):
        """The kernel knows all directories, we a quarter of them; and none of it can be told."""
        want = (FILES, sum(len(b'%d\n' % i) for i in range(FILES)))
        budget = max(100, self.directories // 4)
        most = budget + budget // 8 + 128  # what a crawl is ahead of who gives up
        with MeasuredNode({'demo': self.repository}, nodes=budget, limit=2400 if LONG else 280) as node:
            root, before = node.mount('budget').root, node.anonymous_kib()
            first = os.open(root + '/a0/b0/d0', os.O_RDONLY | os.O_DIRECTORY)
            try:
                known, names = os.fstat(first), sorted(os.listdir(first))
                peak = Peak(node, 'coppice_overlay_nodes')
                with peak:
                    for _ in range(10):  # others make the kernel forget, too: then there is nothing to be given up
                        self.assertEqual(self.crawl(root), want)
                        if node.metric('coppice_overlay_nodes_given_up_total') > 0:
                            break
                after = node.anonymous_kib()
                self.assertLessEqual(peak.most, most)
                self.assertGreater(node.metric('coppice_overlay_nodes_given_up_total'), 0)
                self.assertEqual(os.fstat(first), known)
                self.assertEqual(sorted(os.listdir(first)), names)
                self.assertEqual(os.stat(root + '/a0/b0/d0').st_ino, known.st_ino)
                os.close(os.open('made', os.O_CREAT | os.O_WRONLY, dir_fd=first))
                self.assertEqual(os.listdir(root + '/a0/b0/d0').count('made'), 1)
            finally:
                os.close(first)
            self.assertEqual(self.crawl(root), (want[0] + 1, want[1]))
            self.assertLessEqual(node.metric('coppice_overlay_nodes'), most)
            drop_caches()
            wait_until(lambda: node.metric('coppice_overlay_nodes') < max(64, budget // 4), 60, 'nodes follow FORGET')
            print(f'\n{FILES} files in {self.directories} directories, {budget} nodes allowed: {peak.most} at most, '
                  f'{node.metric("coppice_overlay_nodes_given_up_total")} given up; '
                  f'RssAnon {before >> 10} -> {after >> 10} MiB, {node.anonymous_kib() >> 10} MiB when the kernel has forgotten all')
            node.delete('budget')

    def test_files_of_the_workspace_cost_little_and_are_given_back(self):
        """A file that was made here has a node while the kernel knows it; then the memory goes back to the system, not only to the allocator."""
        count = 6000 if SANITIZE else 30_000
        with MeasuredNode({'demo': self.repository}) as node:
            root = node.mount('maker').root
            before = node.anonymous_kib()
            for d in range(count // 100):
                os.mkdir(f'{root}/made{d}')
                for i in range(100):
                    os.close(os.open(f'{root}/made{d}/file-{i}', os.O_CREAT | os.O_WRONLY))
            peak, nodes = node.anonymous_kib(), node.metric('coppice_overlay_nodes')
            each = (peak - before) * 1024 / count
            drop_caches()
            wait_until(lambda: node.metric('coppice_overlay_nodes') < count // 20, 60, 'nodes follow FORGET')
            if release_build():
                self.assertLess(each, NODE_BYTES)
                wait_until(lambda: node.anonymous_kib() - before < (peak - before) // 2, 60, 'memory goes back to the system', 0.5)
            print(f'\n{count} files made, {nodes} nodes: {each:.0f} bytes each; RssAnon {before >> 10} -> {peak >> 10} -> '
                  f'{node.anonymous_kib() >> 10} MiB')
            self.assertEqual(self.crawl(root + '/made7'), (100, 0))
            node.delete('maker')

    def only_work(self, node):
        folders = os.listdir(node.data + '/workspaces')
        self.assertEqual(len(folders), 1)
        return os.path.join(node.data, 'workspaces', folders[0], 'work')

    def test_files_that_are_rewritten_for_hours(self):
        """Made, written, renamed, removed: the journal is rewritten, nodes and orphans go, the quota comes back."""
        rounds = 300 if SANITIZE else 3000
        with MeasuredNode({'demo': self.repository}) as node:
            root = node.mount('churn').root
            rng = random.Random(5)
            peak = 0
            for i in range(rounds):
                for k in range(6):
                    with open(f'{root}/tmp-{k}', 'wb') as f:
                        f.write(b'x' * rng.randrange(5000))
                    os.rename(f'{root}/tmp-{k}', f'{root}/kept-{k}')
                os.mkdir(root + '/folder')
                os.rename(root + '/kept-5', root + '/folder/file')
                shutil.rmtree(root + '/folder')
                if i % 50 == 0:
                    peak = max(peak, node.metric('coppice_overlay_journal_bytes'))
            peak = max(peak, node.metric('coppice_overlay_journal_bytes'))
            # it keeps the last 65536 DONE of 24 bytes, and is rewritten at twice what it keeps and 1 MiB
            self.assertLess(peak, 2 * 65536 * 24 + (2 << 20), 'the journal grows with the work that was done')
            wait_until(lambda: node.metric('coppice_overlay_nodes') < 200, 20, 'nodes of removed files go')
            wait_until(lambda: node.metric('coppice_overlay_orphans') == 0, 20, 'orphans go')
            self.assertEqual(sorted(n for n in os.listdir(root) if not n.startswith('a')), [f'kept-{k}' for k in range(5)])
            self.assertEqual(node.client.GetMount(job_id='churn').usage.inodes, 5)
            work = self.only_work(node)
            disk = {n: os.stat(os.path.join(work, n)).st_blocks * 512 for n in ('journal', 'refs')}
            print(f'\n{rounds * 26} changes: journal at most {peak >> 10} KiB; on disk {disk}')
            self.assertLess(disk['journal'], 8 << 20)
            self.assertLess(disk['refs'], (1 << 20) + 8 * 10 * rounds + 8 * FILES)
            node.delete('churn')

    def test_workspaces_share_one_copy(self):
        """The tree and what is read of it are fetched once, however many workspaces show it."""
        with MeasuredNode({'demo': self.repository}) as node:
            first = node.mount('first').root
            part = os.path.join(first, 'a0')
            count = self.crawl(part)
            contents = {}
            for folder, _, files in os.walk(part):
                for name in files[:4]:
                    with open(os.path.join(folder, name), 'rb') as f:
                        contents[os.path.relpath(os.path.join(folder, name), first)] = f.read()
            stored, calls = node.metric('coppice_index_stored_total'), node.metric('coppice_origin_calls_total')
            before = node.anonymous_kib()
            sample = sorted(contents)[:20]
            for i in range(WORKSPACES):
                root = node.mount(f'job-{i}').root
                os.listdir(root + '/a0')
                for path in sample:
                    with open(os.path.join(root, path), 'rb') as f:
                        self.assertEqual(f.read(), contents[path])
            self.assertEqual(self.crawl(os.path.join(root, 'a0')), count)
            grown = node.anonymous_kib() - before
            print(f'\n{WORKSPACES} workspaces: {grown / WORKSPACES:.1f} KiB each')
            self.assertEqual(node.metric('coppice_index_stored_total'), stored, 'a directory was fetched twice')
            # each creation may ask the origin for the revision; nothing else
            self.assertLessEqual(node.metric('coppice_origin_calls_total') - calls, 4 * WORKSPACES)
            if not SANITIZE:
                self.assertLess(grown / WORKSPACES, 200)
            for i in range(WORKSPACES):
                node.delete(f'job-{i}')
            node.delete('first')


if __name__ == '__main__':
    unittest.main()
