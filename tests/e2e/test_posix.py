# SPDX-License-Identifier: Apache-2.0
"""The operations of a build, each done in a workspace and on the disk beside it: same results, same errors. (tests/posix goes deeper.)"""
import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import tempfile
import threading
import unittest

import repo_maker
from node import SLOW, Node, wait_until
from tree_compare import Comparison, git_archive

_libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = -100, 1, 2, 4
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE = 1, 2, 16
DROP_CACHES = '/proc/sys/vm/drop_caches'
BIG_DIRECTORY = 10000


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def renameat2(old, new, flags):
    check(_libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags))


def fallocate(fd, mode, offset, length):
    check(_libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)))


def write(path, data, mode='wb'):
    with open(path, mode) as f:
        f.write(data)


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def drop_caches():
    os.sync()
    with open(DROP_CACHES, 'w', encoding='ascii') as f:
        f.write('2\n')


class Posix(unittest.TestCase):
    """self.both(f) runs f(root) on the disk and in the workspace and compares what it returns or raises, and the trees."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-posix-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo = repo_maker.Repo(cls.repository)
        repo.begin()
        for i in range(40):
            repo.add(b'src/f%02d' % i, b'%d\n' % i * 100)
            repo.add(b'tree/a/b%d/leaf' % (i % 4) + b'%d' % i, b'leaf')
        repo.add(b'script', b'#!/bin/sh\necho ran\n', b'100755')
        repo.add(b'link', b'src/f00', b'120000')
        repo.add(b'big', bytes(range(256)) * 8192)
        cls.commit = repo.finish()
        cls.node = Node({'demo': cls.repository})
        cls.node.__enter__()
        cls.addClassCleanup(cls.node.close)
        cls.count = 0

    def setUp(self):
        Posix.count += 1
        self.job = f'job{Posix.count}'
        self.root = self.node.mount(self.job).root
        self.disk = git_archive(self.repository, self.commit, os.path.join(self.folder, self.job))

    def tearDown(self):
        self.node.delete(self.job)
        shutil.rmtree(self.disk)

    def outcome(self, f, root):
        try:
            return f(root)
        except OSError as e:
            return errno.errorcode[e.errno]

    def both(self, f):
        expected, got = self.outcome(f, self.disk), self.outcome(f, self.root)
        self.assertEqual(got, expected, 'got in the workspace, expected from the disk')
        self.assertEqual(Comparison(self.disk, self.root).differences, [])
        return got

    def each(self, operations):
        for name, f in operations.items():
            with self.subTest(name):
                self.both(f)

    def test_rename(self):
        self.each({
            'file over file': lambda r: os.rename(r + '/src/f00', r + '/src/f01'),
            'to a new name': lambda r: os.rename(r + '/src/f02', r + '/moved'),
            'directory of the sources': lambda r: os.rename(r + '/tree/a', r + '/src/a'),
            'and back': lambda r: os.rename(r + '/src/a', r + '/tree/a'),
            'directory over one that is not empty': lambda r: os.rename(r + '/tree', r + '/src'),
            'directory into itself': lambda r: os.rename(r + '/tree', r + '/tree/a/x'),
            'file over directory': lambda r: os.rename(r + '/moved', r + '/tree'),
            'directory over file': lambda r: os.rename(r + '/tree', r + '/moved'),
            'missing': lambda r: os.rename(r + '/none', r + '/x'),
            'noreplace onto something': lambda r: renameat2(r + '/src/f03', r + '/src/f04', RENAME_NOREPLACE),
            'noreplace onto nothing': lambda r: renameat2(r + '/src/f03', r + '/src/new', RENAME_NOREPLACE),
            'exchange files': lambda r: renameat2(r + '/src/f05', r + '/src/f06', RENAME_EXCHANGE),
            'exchange file and directory': lambda r: renameat2(r + '/src/f07', r + '/tree/a/b0', RENAME_EXCHANGE),
            'exchange with nothing': lambda r: renameat2(r + '/src/f08', r + '/none', RENAME_EXCHANGE),
            'both flags': lambda r: renameat2(r + '/src/f08', r + '/src/f09', RENAME_EXCHANGE | RENAME_NOREPLACE),
            'a name of 255 bytes': lambda r: os.rename(r + '/src/f10', r + '/' + 'n' * 255),
            'a name of 256 bytes': lambda r: os.rename(r + '/src/f11', r + '/' + 'n' * 256),
            'over a name that was removed': lambda r: (os.unlink(r + '/src/f12'), os.rename(r + '/src/f13', r + '/src/f12'))[0],
            'a link': lambda r: os.rename(r + '/link', r + '/src/link'),
        })

    def test_links_and_special_files(self):
        def identity(root):
            os.link(root + '/src/f00', root + '/hard')
            write(root + '/hard', b'through one name')
            a, b = os.stat(root + '/src/f00'), os.stat(root + '/hard')
            return a.st_ino == b.st_ino, a.st_nlink, read(root + '/src/f00')

        def special(root):
            os.mkfifo(root + '/fifo', 0o640)
            with socket.socket(socket.AF_UNIX) as s:
                here = os.open(root, os.O_RDONLY)
                s.bind(f'/proc/self/fd/{here}/sock')
                os.close(here)
            os.mknod(root + '/dev', stat.S_IFCHR | 0o600, os.makedev(1, 3))
            return [stat.S_IFMT(os.lstat(f'{root}/{n}').st_mode) for n in ('fifo', 'sock', 'dev')]

        self.each({
            'one file, two names': identity,
            'to a directory': lambda r: os.link(r + '/tree', r + '/x'),
            'onto a name': lambda r: os.link(r + '/src/f01', r + '/src/f02'),
            'of a symlink': lambda r: os.link(r + '/link', r + '/link2', follow_symlinks=False),
            'last name gone': lambda r: (os.unlink(r + '/src/f00'), read(r + '/hard'), os.stat(r + '/hard').st_nlink)[1:],
            'symlink': lambda r: (os.symlink('x' * 4095, r + '/long'), len(os.readlink(r + '/long')))[1],
            'symlink onto a name': lambda r: os.symlink('x', r + '/src'),
            'through a link of the sources': lambda r: write(r + '/src/f00', b'made anew') or read(r + '/link'),
            'readlink of a file': lambda r: os.readlink(r + '/big'),
            'special files': special,
        })

    def test_content(self):
        def punch(root):
            with open(root + '/big', 'r+b') as f:
                fallocate(f.fileno(), FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 65536, 131072)
                return read(root + '/big').count(b'\0' * 65536)

        def holes(root):
            with open(root + '/sparse', 'wb') as f:
                f.truncate(1 << 22)
                f.seek(1 << 20)
                f.write(b'data')
            with open(root + '/sparse', 'rb') as f:
                found = [os.lseek(f.fileno(), 0, os.SEEK_DATA), os.lseek(f.fileno(), 1 << 20, os.SEEK_HOLE)]
                try:
                    os.lseek(f.fileno(), 1 << 21, os.SEEK_DATA)
                except OSError as e:
                    found.append(errno.errorcode[e.errno])
            return found

        def copy(root):
            with open(root + '/big', 'rb') as a, open(root + '/copy', 'wb') as b:
                return [os.copy_file_range(a.fileno(), b.fileno(), 100000, offset_src=o) for o in (0, 5, (2 << 20) - 10)]

        def mapped(root):
            with open(root + '/big', 'r+b') as f, mmap.mmap(f.fileno(), 0) as m:
                m[100:110] = b'0123456789'
                m[-3:] = b'end'
                m.flush()
            return read(root + '/big')[95:115], os.stat(root + '/big').st_size

        def unnamed(root):
            with open(os.open(root + '/src', os.O_TMPFILE | os.O_RDWR, 0o640), 'r+b') as f:
                f.write(b'unnamed')
                f.flush()
                os.link(f'/proc/self/fd/{f.fileno()}', root + '/named', follow_symlinks=True)
            return read(root + '/named'), os.stat(root + '/named').st_nlink

        def open_without_name(root):
            with open(root + '/src/f01', 'r+b') as f:
                os.unlink(root + '/src/f01')
                f.write(b'XY')
                f.seek(0)
                return f.read(6), os.fstat(f.fileno()).st_nlink

        def replaced_while_open(root):
            with open(root + '/src/f02', 'rb') as f:
                os.rename(root + '/src/f03', root + '/src/f02')
                return f.read(5), read(root + '/src/f02')[:5]

        def reader_sees_copy_up(root):
            with open(root + '/src/f04', 'rb') as f:
                before = f.read(2)
                write(root + '/src/f04', b'Z' * 50, 'r+b')
                return before, f.read(3)

        self.each({
            'overwrite a part': lambda r: write(r + '/src/f05', b'middle', 'r+b') or read(r + '/src/f05'),
            'append': lambda r: write(r + '/src/f06', b'end', 'ab') or os.stat(r + '/src/f06').st_size,
            'truncate': lambda r: [os.truncate(r + '/src/f07', n) or read(r + '/src/f07') for n in (7, 20, 0)],
            'truncate on open': lambda r: write(r + '/src/f08', b'new'),
            'truncate a directory': lambda r: os.truncate(r + '/src', 0),
            'exclusive': lambda r: os.close(os.open(r + '/src/f09', os.O_CREAT | os.O_EXCL)),
            'punch a hole': punch, 'holes': holes, 'copy_file_range': copy, 'mmap': mapped, 'O_TMPFILE': unnamed,
            'unlinked and open': open_without_name, 'renamed over while open': replaced_while_open,
            'copied up while open': reader_sees_copy_up,
        })

    def test_attributes(self):
        def times(root):
            os.utime(root + '/src/f00', ns=(1_234_567_890, 9_876_543_210_123))
            st = os.stat(root + '/src/f00')
            return st.st_atime_ns, st.st_mtime_ns

        def ctime_moves(root):
            moved = []
            for change in (lambda p: os.chmod(p, 0o600), lambda p: write(p, b'x', 'ab'), lambda p: os.rename(p, p)):
                before = os.stat(root + '/src/f01').st_ctime_ns
                change(root + '/src/f01')
                moved.append(os.stat(root + '/src/f01').st_ctime_ns >= before)
            return moved

        def xattrs(root):
            path = root + '/src/f02'
            os.setxattr(path, 'user.a', b'\0binary\xff')
            os.setxattr(path, 'user.b', b'')
            os.setxattr(path, 'user.big', b'v' * 2000)
            os.removexattr(path, 'user.b')
            names = sorted(n for n in os.listxattr(path) if not n.startswith('user.coppice.'))
            return names, os.getxattr(path, 'user.a'), len(os.getxattr(path, 'user.big'))

        def set_id_bits(root):
            path = root + '/src/f03'
            os.chmod(path, 0o6755)
            before = os.stat(path).st_mode
            subprocess.run(['sh', '-c', f'echo x >> {path}'], user=61000, group=61000, check=False, stderr=subprocess.DEVNULL)
            os.chown(path, 5, 6)
            return before, os.stat(path).st_mode

        self.each({
            'chmod': lambda r: [os.chmod(f'{r}/src/f1{i}', m) or oct(os.stat(f'{r}/src/f1{i}').st_mode)
                                for i, m in enumerate((0o400, 0o777, 0o4755, 0o2755, 0o1644, 0))],
            'chmod of a directory': lambda r: os.chmod(r + '/tree', 0o2770) or oct(os.stat(r + '/tree').st_mode),
            'chown': lambda r: os.chown(r + '/src/f20', 12, 34) or os.stat(r + '/src/f20')[4:6],
            'times': times, 'ctime': ctime_moves, 'xattrs': xattrs, 'set-id bits': set_id_bits,
            'no such xattr': lambda r: os.getxattr(r + '/src/f04', 'user.none'),
            'create only': lambda r: [os.setxattr(r + '/src/f04', 'user.x', b'1', f) for f in (os.XATTR_CREATE, os.XATTR_CREATE)],
            'replace only': lambda r: os.setxattr(r + '/src/f04', 'user.y', b'1', os.XATTR_REPLACE),
        })
        with self.subTest('the marks of the overlay are not to be had'):
            for path in ('/src/f05', '/tree', ''):
                with self.assertRaises(OSError):
                    os.setxattr(self.root + path, 'trusted.overlay.opaque', b'y')
                self.assertEqual([n for n in os.listxattr(self.root + path) if n.startswith('trusted.overlay')], [])
            with self.assertRaises(PermissionError):
                os.mknod(self.root + '/whiteout', stat.S_IFCHR, 0)

    def test_directories(self):
        def deep(root):
            path = root + '/tree/a'
            for i in range(100):
                path += f'/level{i}'
                os.mkdir(path)
            write(path + '/leaf', b'deep')
            found = read(path + '/leaf')
            os.rename(root + '/tree/a/level0', root + '/moved')
            shutil.rmtree(root + '/moved/level1/level2')
            return found

        def big(root):
            os.mkdir(root + '/big dir')
            for i in range(BIG_DIRECTORY):
                os.close(os.open(f'{root}/big dir/{i}', os.O_CREAT | os.O_WRONLY))
            return len(os.listdir(root + '/big dir'))

        def removed_while_listed(root):
            seen = []
            with os.scandir(root + '/big dir') as entries:  # names come in pieces; each is removed as it comes
                for entry in entries:
                    seen.append(entry.name)
                    os.unlink(entry.path)
            return len(set(seen)) == len(seen) == BIG_DIRECTORY, os.listdir(root + '/big dir')

        def emptied(root):
            for name in os.listdir(root + '/src'):
                if name != 'a':
                    os.unlink(f'{root}/src/{name}')
            os.rmdir(root + '/src')
            os.mkdir(root + '/src')
            return os.listdir(root + '/src'), os.stat(root + '/src').st_nlink

        self.each({
            '100 levels': deep, 'many entries': big, 'removed while listed': removed_while_listed,
            'rmdir of what is not empty': lambda r: os.rmdir(r + '/src'), 'rmdir of a file': lambda r: os.rmdir(r + '/big'),
            'unlink of a directory': lambda r: os.unlink(r + '/src'), 'emptied, removed, made again': emptied,
            'rm -rf of sources': lambda r: shutil.rmtree(r + '/tree'), 'made again': lambda r: os.makedirs(r + '/tree/a'),
            'mkdir onto a name': lambda r: os.mkdir(r + '/src'), 'below a file': lambda r: os.mkdir(r + '/big/x'),
            'open of a directory for writing': lambda r: os.open(r + '/src', os.O_WRONLY),
            'a removed working directory': lambda r: subprocess.run(
                ['sh', '-c', 'mkdir w && cd w && rmdir ../w && ! touch x 2>/dev/null'], cwd=r, check=True, timeout=30).returncode,
        })

    def test_append_by_several_processes(self):
        script = 'import os,sys\nf = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)\n' \
                 'for i in range(500): os.write(f, b"%s %04d\\n" % (sys.argv[2].encode(), i))\n'
        for name in ('src/f00', 'log'):
            path = os.path.join(self.root, name)
            start = read(path) if os.path.exists(path) else b''
            write(path, b'', 'ab')
            writers = [subprocess.Popen(['/usr/bin/python3', '-c', script, path, w]) for w in 'abcd']
            self.assertEqual([p.wait(60 * SLOW) for p in writers], [0] * 4)
            text = read(path)
            self.assertTrue(text.startswith(start))
            lines = text[len(start):].splitlines()
            for w in (b'a', b'b', b'c', b'd'):
                self.assertEqual([line for line in lines if line.startswith(w)], [b'%s %04d' % (w, i) for i in range(500)])

    def test_locks(self):
        with open(self.root + '/src/f00', 'r+b') as a, open(self.root + '/src/f00', 'r+b') as b:
            fcntl.flock(a, fcntl.LOCK_EX)
            with self.assertRaises(BlockingIOError):
                fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(a, fcntl.LOCK_UN)
            fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(a, fcntl.LOCK_EX, 10)
            code = 'import fcntl,sys\nf = open(sys.argv[1], "r+b")\nfcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10)\n'
            run = ['/usr/bin/python3', '-c', code, self.root + '/src/f00']
            self.assertEqual(subprocess.run(run, stderr=subprocess.DEVNULL, check=False, timeout=60).returncode, 1)
            fcntl.lockf(a, fcntl.LOCK_UN, 10)
            self.assertEqual(subprocess.run(run, check=False, timeout=60).returncode, 0)

    def test_exec_of_what_was_just_written(self):
        for i in range(10):
            path = f'{self.root}/run{i}'
            write(path, b'#!/bin/sh\necho %d\n' % i)
            os.chmod(path, 0o755)
            drop_caches()
            self.assertEqual(subprocess.run([path], capture_output=True, check=True, timeout=30).stdout, b'%d\n' % i)
        self.assertEqual(subprocess.run([self.root + '/script'], capture_output=True, check=True, timeout=30).stdout, b'ran\n')
        shutil.copy('/bin/true', self.root + '/true')
        drop_caches()
        subprocess.run([self.root + '/true'], check=True, timeout=30)
        with open(self.root + '/true', 'r+b'), self.assertRaises(OSError) as caught:
            subprocess.run([self.root + '/true'], check=False, timeout=30)
        self.assertEqual(caught.exception.errno, errno.ETXTBSY)

    def test_sqlite_with_two_writers(self):
        for mode in ('wal', 'delete'):
            path = f'{self.root}/{mode}.db'
            with sqlite3.connect(path) as db:
                self.assertEqual(db.execute(f'pragma journal_mode={mode}').fetchone()[0], mode)
                db.execute('create table t(who, i)')
            failures = []

            def writer(who):
                try:
                    own = sqlite3.connect(path, timeout=30 * SLOW, isolation_level=None)
                    for i in range(100):
                        own.execute('insert into t values(?, ?)', (who, i))
                    own.close()
                except sqlite3.Error as e:
                    failures.append(e)

            threads = [threading.Thread(target=writer, args=(w,)) for w in 'ab']
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            db.close()
            self.assertEqual(failures, [])
            db = sqlite3.connect(path)
            self.assertEqual(db.execute('pragma integrity_check').fetchone()[0], 'ok')
            self.assertEqual(db.execute('select who, count(*), sum(i) from t group by who').fetchall(), [('a', 100, 4950), ('b', 100, 4950)])
            db.close()

    def test_git_inside(self):
        def git(*args):
            return subprocess.run(['git', '-c', 'safe.directory=*', '-c', 'user.name=t', '-c', 'user.email=t@example.org', *args],
                                  cwd=self.root, capture_output=True, text=True, check=True, timeout=120 * SLOW).stdout
        git('init', '-q', '-b', 'main')
        git('add', '-A')
        git('commit', '-q', '-m', 'all')
        self.assertEqual(git('status', '--porcelain'), '')
        git('checkout', '-q', '-b', 'other')
        shutil.rmtree(self.root + '/tree')
        write(self.root + '/src/f00', b'changed')
        os.rename(self.root + '/src/f01', self.root + '/renamed')
        self.assertIn(' M src/f00', git('status', '--porcelain'))
        git('add', '-A')
        git('commit', '-q', '-m', 'changes')
        git('checkout', '-q', 'main')
        self.assertEqual(read(self.root + '/src/f00'), b'0\n' * 100)
        self.assertEqual(git('status', '--porcelain'), '')
        git('gc', '-q', '--prune=now')
        git('fsck', '--strict')
        git('checkout', '-q', 'other')
        self.assertFalse(os.path.exists(self.root + '/tree'))
        self.assertEqual(git('status', '--porcelain'), '')
        git('worktree', 'add', '-q', 'side', 'main')
        shutil.rmtree(self.root + '/.git')
        shutil.rmtree(self.root + '/side')

    def test_rm_of_everything(self):
        subprocess.run('rm -rf -- * .[!.]*', shell=True, cwd=self.root, check=True, timeout=60)
        self.assertEqual(os.listdir(self.root), [])
        wait_until(lambda: self.node.client.GetMount(job_id=self.job).usage.inodes == 0, 10, 'removed sources cost no inodes')


if __name__ == '__main__':
    unittest.main()
