# SPDX-License-Identifier: Apache-2.0
"""The daemon is killed (SIGKILL) at random moments under load and followed by another: no job may notice.

  --long: a hundred kills of each kind; --seed N: the same moments again
"""
import argparse
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import unittest

import repo_maker
from killer import Killer, Work, answers
from node import SLOW, Node, wait_until
from tree_compare import Comparison, git_archive

FILES, C_FILES = 2000, 60
options = argparse.Namespace(kills=8, seed='1')


class Takeover(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-chaos-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'files.git')
        cls.outside = git_archive(cls.repository, repo_maker.make(cls.repository, files=FILES, c_project=C_FILES),
                                  os.path.join(cls.folder, 'outside'))

    def under_fire(self, title, work):
        """`work(root)` starts and returns a Work. Kills, then looks for what was left."""
        with Node({'demo': self.repository}, keeper=True, limit=240 + 4 * options.kills) as node:
            mount = node.mount('job')
            running = work(mount.root)
            killer = Killer(node, mount.root + '/.probe', options.kills, f'{title}/{options.seed}')
            try:
                killer.run(running.check)
            finally:
                running.stop()
            killer.report(title)
            self.assertGreater(running.rounds, 0)
            self.assertEqual(node.log_text().count('event=session_not_adopted'), 0)
            self.assertGreater(node.log_text().count('event=taken_over'), 0)
            self.check_nothing_is_left(node, mount)

    def check_nothing_is_left(self, node, mount):
        work = os.path.join(node.data, 'workspaces', mount.mount_id, 'work')
        wait_until(lambda: os.listdir(work + '/orphan') == [], 20, f'the orphans go: {os.listdir(work + "/orphan")}')
        self.assertEqual(os.listdir(work + '/tmp'), [])
        wait_until(lambda: answers(node), 20, 'a daemon answers')
        node.delete('job')
        wait_until(lambda: os.listdir(node.data + '/workspaces') == [], 20, 'the workspace is removed')
        tenant = node.client.GetNode().tenants[0]
        self.assertEqual((tenant.mounts, tenant.bytes, tenant.inodes), (0, 0, 0))

    def test_checksums(self):
        expected = {}
        for folder, _, files in os.walk(self.outside):
            for name in files:
                path = os.path.join(folder, name)
                if not os.path.islink(path):
                    with open(path, 'rb') as f:
                        expected[os.path.relpath(path, self.outside)] = hashlib.sha256(f.read()).digest()
        self.assertGreater(len(expected), FILES)

        def work(root):
            def sums():
                for path, digest in expected.items():
                    with open(os.path.join(root, path), 'rb') as f:
                        if hashlib.sha256(f.read()).digest() != digest:
                            raise AssertionError(f'{path} has wrong bytes')
                        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # so that the next round asks again
            running = Work()
            running.start(sums, sums)
            return running

        self.under_fire('checksums', work)

    def test_make(self):
        subprocess.run(['make', '-s', '-j2'], cwd=self.outside, check=True, timeout=200 * SLOW)
        expected = subprocess.run([self.outside + '/prog'], check=True, capture_output=True, timeout=60).stdout

        def work(root):
            def build():
                done = subprocess.run(['make', '-s', '-j2'], cwd=root, capture_output=True, text=True, timeout=200 * SLOW, check=False)
                if done.returncode != 0:
                    raise AssertionError(f'make ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}')
                if subprocess.run([root + '/prog'], check=True, capture_output=True, timeout=60).stdout != expected:
                    raise AssertionError('the program says something else')
                differences = [d for d in Comparison(self.outside, root).differences if '.probe' not in str(d)]
                if differences:
                    raise AssertionError(f'the outputs differ: {differences[:5]}')
                subprocess.run(['make', '-s', 'clean'], cwd=root, check=True, capture_output=True, timeout=60 * SLOW)
            running = Work()
            running.start(build)
            return running

        self.under_fire('make', work)

    def test_storm(self):
        processes = []

        def work(root):
            program = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'storm.py')
            for number in range(3):
                processes.append(subprocess.Popen([sys.executable, '-B', program, root, str(number), options.seed], text=True,
                                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
            running = Work()

            def watch():
                for p in processes:
                    try:
                        p.wait(0.1)
                    except subprocess.TimeoutExpired:
                        continue
                    raise AssertionError(f'the storm has ended: {p.stderr.read()}')
            running.start(watch)
            stop = running.stop

            def stop_all():
                stop()
                counts = [p.communicate('stop\n', timeout=60 * SLOW) for p in processes]
                for p, (_, error) in zip(processes, counts):
                    if p.returncode != 0:
                        raise AssertionError(f'a storm ended with {p.returncode}: {error}')
                locked = sum(int(out.split()[1]) for out, _ in counts)
                with open(root + '/counter', encoding='ascii') as f:
                    self.assertEqual(int(f.read()), locked, 'the lock was held by two')
                print(f'storm: {sum(int(out.split()[0]) for out, _ in counts)} changes, {locked} times locked')
            running.stop = stop_all
            return running

        try:
            self.under_fire('storm', work)
        finally:
            for p in processes:
                p.kill()
                p.wait()

    def test_sqlite(self):
        def work(root):
            path = root + '/data.db'
            connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            if connection.execute('pragma journal_mode=wal').fetchone()[0] != 'wal':
                raise AssertionError('no WAL here')
            connection.execute('create table t (k integer primary key, v text, sum text)')
            number = [0]

            def transactions():
                number[0] += 1
                text = f'{number[0]}-' * 40
                connection.execute('begin immediate')
                connection.execute('insert into t values (?, ?, ?)', (number[0], text, hashlib.sha256(text.encode()).hexdigest()))
                connection.execute('commit')
                if number[0] % 200 == 0:
                    connection.execute('pragma wal_checkpoint(truncate)')

            def reads():
                other = sqlite3.connect(path, timeout=60)
                rows = other.execute('select k, v, sum from t').fetchall()
                other.close()
                if any(hashlib.sha256(v.encode()).hexdigest() != s for _, v, s in rows):
                    raise AssertionError('wrong bytes in a row')
                if [k for k, _, _ in rows] != list(range(1, len(rows) + 1)):
                    raise AssertionError('rows are missing')
            running = Work()
            running.start(transactions, reads)
            stop = running.stop

            def stop_all():
                stop()
                if connection.execute('pragma integrity_check').fetchone()[0] != 'ok':
                    raise AssertionError('the database is damaged')
                count = connection.execute('select count(*) from t').fetchone()[0]
                self.assertEqual(count, number[0], 'a committed row is lost')
                connection.close()
                print(f'sqlite: {count} transactions')
            running.stop = stop_all
            return running

        self.under_fire('sqlite', work)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('--long', action='store_true')
    parser.add_argument('--seed', default=options.seed)
    known, rest = parser.parse_known_args()
    options.seed, options.kills = known.seed, 100 if known.long else options.kills
    unittest.main(argv=[sys.argv[0], *rest])
