# SPDX-License-Identifier: Apache-2.0
"""What stat(2) says of inodes: numbers that never change, link counts, times."""
import contextlib
import os
import shutil
import tempfile
import time
import unittest

import repo_maker
from node import Node, wait_until

CLOCK_REALTIME_COARSE = 5  # what filesystems take, in <time.h>
COMMIT_TIME_NS = 1700000000 * 10**9  # of repo_maker's commits


def drop_caches(what=3):
    """2: dentries and inodes, so the kernel sends FORGET; 3: pages too."""
    with open('/proc/sys/vm/drop_caches', 'w', encoding='ascii') as f:
        f.write(str(what))


def write(path, data, mode='w'):
    with open(path, mode, encoding='ascii') as f:
        f.write(data)


def subdirs(path):
    with os.scandir(path) as entries:
        return sum(e.is_dir(follow_symlinks=False) for e in entries)


class Inodes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-ino-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo = repo_maker.Repo(cls.repository)
        repo.begin()
        for a in range(4):
            for b in range(a + 1):
                for c in range(3):
                    repo.add(b'wide/a%d/b%d/c%d/file' % (a, b, c), b'%d' % c)
        for name in (b'one', b'two', b'three', b'four', b'five', b'six', b'seven'):
            repo.add(b'keep/' + name, b'content of ' + name)
        repo.add(b'moved/sub/file', b'in a directory that is renamed')
        repo.finish()

    @contextlib.contextmanager
    def workspace(self):
        with Node({'demo': self.repository}) as node:
            yield node, node.mount('ino').root
            node.delete('ino')

    # ---- numbers ----

    def changed_tree(self, root):
        """Changes of every kind; {path: inode number} as it was the moment before each path's object was changed."""
        keep = root + '/keep/'
        names = ('one', 'two', 'three', 'four', 'five', 'six')
        before = {n: os.stat(keep + n).st_ino for n in names}
        write(keep + 'one', 'more', 'a')                           # copy-up by a write
        os.chmod(keep + 'two', 0o600)                              # by a change of attributes
        os.rename(keep + 'three', keep + 'renamed')                # an untouched file
        os.link(keep + 'four', keep + 'linked')                    # a second name
        os.setxattr(keep + 'five', 'user.note', b'x')
        want = {'keep/one': before['one'], 'keep/two': before['two'], 'keep/renamed': before['three'], 'keep/four': before['four'],
                'keep/linked': before['four'], 'keep/five': before['five'], 'keep/six': before['six']}
        for path in ('moved', 'moved/sub', 'moved/sub/file', 'wide/a3', 'wide/a3/b3/c2/file', 'keep'):
            want[path] = os.stat(os.path.join(root, path)).st_ino
        os.rename(root + '/moved', root + '/elsewhere')            # a directory of the sources, with what is below
        for path in ('moved', 'moved/sub', 'moved/sub/file'):
            want[path.replace('moved', 'elsewhere', 1)] = want.pop(path)
        os.makedirs(root + '/new/deep')
        write(root + '/new/deep/file', 'new')
        os.link(root + '/new/deep/file', root + '/new/other')
        os.symlink('file', root + '/new/deep/symlink')
        for path in ('new', 'new/deep', 'new/deep/file', 'new/other', 'new/deep/symlink'):
            want[path] = os.lstat(os.path.join(root, path)).st_ino
        self.assertEqual(want['new/other'], want['new/deep/file'])
        self.assertEqual(len(set(want.values())), len(want) - 2, 'two objects share a number')
        return want

    def numbers(self, root, paths):
        return {path: os.lstat(os.path.join(root, path)).st_ino for path in paths}

    def test_numbers_stay(self):
        """Across copy-up, rename and link; then FORGET, kill -9, an orderly restart, each alone and after the others."""
        with self.workspace() as (node, root):
            want = self.changed_tree(root)
            self.assertEqual(self.numbers(root, want), want)
            for what in (2, 3):
                with self.subTest('FORGET', drop_caches=what):
                    drop_caches(what)
                    self.assertEqual(self.numbers(root, want), want)
            for end in (node.kill, node.stop):
                with self.subTest('restart', after=end.__name__):
                    end()
                    node.start()
                    self.assertEqual(self.numbers(root, want), want)
                    drop_caches()
                    self.assertEqual(self.numbers(root, want), want)
            with self.subTest('listings have the same numbers'):
                for folder in ('keep', 'elsewhere', 'new/deep'):
                    with os.scandir(os.path.join(root, folder)) as entries:
                        for entry in entries:
                            path = os.path.join(folder, entry.name)
                            self.assertEqual(entry.inode(), os.lstat(entry.path).st_ino, path)
                            self.assertEqual(entry.inode(), want.get(path, entry.inode()), path)

    def test_a_number_is_not_given_twice(self):
        """To a new file instead of a removed one: make and rsync would take them for one."""
        with self.workspace() as (node, root):
            seen = set()
            for restart in (False, False, True):
                if restart:
                    node.kill()
                    node.start()
                for i in range(50):
                    write(root + '/again', str(i))
                    seen.add(os.stat(root + '/again').st_ino)
                    os.unlink(root + '/again')
            self.assertEqual(len(seen), 150)

    # ---- link counts ----

    def check_counts(self, root):
        for folder, folders, _ in os.walk(root):
            self.assertEqual(os.stat(folder).st_nlink, 2 + len(folders), os.path.relpath(folder, root))

    def test_nlink_of_directories_of_a_fresh_mount(self):
        """From the outside in: nothing below was listed when the count is asked for."""
        for how in ('stat', 'listing'):
            with self.subTest(how), self.workspace() as (_, root):
                if how == 'listing':
                    for folder in (root, root + '/wide'):
                        os.listdir(folder)
                got = {path: os.stat(os.path.join(root, path)).st_nlink for path in ('wide', 'wide/a3', 'wide/a2/b1', 'wide/a1/b0/c0')}
                self.assertEqual(got, {'wide': 6, 'wide/a3': 6, 'wide/a2/b1': 5, 'wide/a1/b0/c0': 2})
                self.check_counts(root)

    def test_nlink_of_directories_under_change(self):
        with self.workspace() as (node, root):
            lower, merged, upper = root + '/wide/a3', root + '/wide/a2', root + '/upper'
            os.mkdir(upper)
            write(merged + '/file', 'makes it merged')
            for folder in (lower, merged, upper):
                with self.subTest(folder=os.path.basename(folder)):
                    n = os.stat(folder).st_nlink
                    self.assertEqual(n, 2 + subdirs(folder))
                    os.mkdir(folder + '/made')
                    self.assertEqual(os.stat(folder).st_nlink, n + 1)
                    self.assertEqual(os.stat(folder + '/made').st_nlink, 2)
                    os.rename(folder + '/made', folder + '/renamed')
                    self.assertEqual(os.stat(folder).st_nlink, n + 1)
                    root_links = os.stat(root).st_nlink
                    os.rename(folder + '/renamed', root + '/out')
                    self.assertEqual((os.stat(folder).st_nlink, os.stat(root).st_nlink), (n, root_links + 1))
                    os.rename(root + '/out', folder + '/in')
                    self.assertEqual((os.stat(folder).st_nlink, os.stat(root).st_nlink), (n + 1, root_links))
                    os.rmdir(folder + '/in')
                    self.assertEqual(os.stat(folder).st_nlink, n)
                    write(folder + '/a file', 'does not count')
                    self.assertEqual(os.stat(folder).st_nlink, n)
            with self.subTest('a directory of the sources goes'):
                shutil.rmtree(lower + '/b0')
                self.assertEqual(os.stat(lower).st_nlink, 5)
                os.mkdir(lower + '/b0')
                self.assertEqual(os.stat(lower).st_nlink, 6)
                os.rename(lower + '/b1', merged + '/from lower')
                self.assertEqual((os.stat(lower).st_nlink, os.stat(merged).st_nlink), (5, 6))
                self.assertEqual(os.stat(merged + '/from lower').st_nlink, 5)
            with self.subTest('a directory is replaced'):
                os.mkdir(upper + '/a')
                os.mkdir(upper + '/b')
                n = os.stat(upper).st_nlink
                os.rename(upper + '/a', upper + '/b')
                self.assertEqual(os.stat(upper).st_nlink, n - 1)
            for again in (drop_caches, node.kill):
                again()
                if node.process is None:
                    node.start()
                self.check_counts(root)

    def test_nlink_of_files(self):
        with self.workspace() as (_, root):
            for name in ('keep/one', 'new'):
                path = os.path.join(root, name)
                if name == 'new':
                    write(path, 'new')
                counts = [os.stat(path).st_nlink]
                os.link(path, root + '/second')
                os.link(root + '/second', root + '/keep/third')
                counts.append(os.stat(path).st_nlink)
                drop_caches(2)
                counts.append(os.stat(root + '/keep/third').st_nlink)
                os.unlink(path)
                counts.append(os.stat(root + '/second').st_nlink)
                os.unlink(root + '/keep/third')
                with open(root + '/second', 'rb') as f:
                    counts.append(os.fstat(f.fileno()).st_nlink)
                    os.unlink(root + '/second')
                    counts.append(os.fstat(f.fileno()).st_nlink)
                self.assertEqual(counts, [1, 3, 3, 2, 1, 0], name)

    # ---- times ----

    def times(self, path):
        st = os.lstat(path)
        return st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns

    def check_ctime(self, path, what, change, moves=True, also=()):
        """`change` moves ctime to now (or not at all), of `path` and of its other names."""
        before = self.times(path)[2]
        wait_until(lambda: time.clock_gettime_ns(CLOCK_REALTIME_COARSE) > before, 5, 'the clock ticks', pause=0.001)
        start = time.clock_gettime_ns(CLOCK_REALTIME_COARSE)
        change()
        for name in (path, *also):
            after = self.times(name)[2]
            if not moves:
                self.assertEqual(after, before, f'{what} moved the ctime of {name}')
                continue
            self.assertGreaterEqual(after, start, f'{what} did not move the ctime of {name}')
            self.assertLessEqual(after, time.time_ns(), what)

    def test_ctime_moves_honestly(self):
        with self.workspace() as (_, root):
            os.mkdir(root + '/new')
            write(root + '/new/file', 'new')
            for path, other in ((root + '/keep/one', root + '/keep/other'), (root + '/new/file', root + '/new/other')):
                changes = {
                    'write': lambda p=path: write(p, 'more', 'a'),
                    'chmod': lambda p=path: os.chmod(p, 0o640),
                    'chown': lambda p=path: os.chown(p, 12, 34),
                    'utimensat': lambda p=path: os.utime(p, ns=(1, 2)),
                    'truncate': lambda p=path: os.truncate(p, 2),
                    'setxattr': lambda p=path: os.setxattr(p, 'user.x', b'1'),
                    'removexattr': lambda p=path: os.removexattr(p, 'user.x'),
                    'link': lambda p=path, q=other: os.link(p, q),
                }
                for what, change in changes.items():
                    with self.subTest(what, path=os.path.relpath(path, root)):
                        self.check_ctime(path, what, change)
                with self.subTest('chmod is seen under the other name'):
                    self.check_ctime(path, 'chmod', lambda p=path: os.chmod(p, 0o600), also=(other,))
                with self.subTest('unlink of the other name'):
                    self.check_ctime(path, 'unlink', lambda q=other: os.unlink(q))
                with self.subTest('rename'):
                    before = self.times(path)[2]
                    os.rename(path, other)
                    self.assertGreater(self.times(other)[2], before)
                    os.rename(other, path)
                with self.subTest('nothing that only reads'):
                    def read(p=path):
                        with open(p, 'rb') as f:
                            f.read()
                        os.listdir(os.path.dirname(p))
                        os.stat(p)
                        os.listxattr(p)
                        drop_caches()
                    self.check_ctime(path, 'reading', read, moves=False)
            with self.subTest('a directory'):
                for folder in ('new', 'wide/a2'):
                    path = os.path.join(root, folder)
                    self.check_ctime(path, 'a new name', lambda p=path: write(p + '/x', ''))
                    self.check_ctime(path, 'a lost name', lambda p=path: os.unlink(p + '/x'))
                    self.check_ctime(path, 'a write below', lambda p=path: None, moves=False)

    def test_times_have_nanoseconds(self):
        with self.workspace() as (node, root):
            lower, path = root + '/keep/seven', root + '/new'
            self.assertEqual(self.times(lower)[1:], (COMMIT_TIME_NS, COMMIT_TIME_NS))
            write(path, 'new')
            odd = (1_234_567_890_123_456_789, 987_654_321_987_654_321)
            for name in (path, lower):
                os.utime(name, ns=odd)
                self.assertEqual(self.times(name)[:2], odd)
                drop_caches()
                self.assertEqual(self.times(name)[:2], odd)
            now = []
            for i in range(20):
                write(f'{path}-{i}', 'x')
                now.append(self.times(f'{path}-{i}')[1])
            self.assertTrue(any(t % 1000 for t in now), 'mtime of a new file has no nanoseconds')
            self.assertEqual(now, sorted(now))
            node.kill()
            node.start()
            self.assertEqual([self.times(n)[:2] for n in (path, lower)], [odd, odd])
            self.assertEqual([self.times(f'{path}-{i}')[1] for i in range(20)], now)


if __name__ == '__main__':
    unittest.main()
