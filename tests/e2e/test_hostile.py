# SPDX-License-Identifier: Apache-2.0
"""Hostile programs in a workspace, as the job's user and as root: they gain nothing, crash nothing, and use up only what is their own."""
import ctypes
import errno
import os
import resource
import shutil
import stat
import subprocess
import tempfile
import time
import unittest

import repo_maker
from crowd import crowd
from node import SLOW, Node, release_build, wait_until

MIB = 1 << 20
USER = 61001
QUOTA = {'bytes': 64 * MIB, 'inodes': 30000}
EXCHANGE = 2
FDS_MAX = 3000      # the overlay keeps up to 2048, the rest of the daemon some dozens
THREADS_MAX = 80
GROWTH_MAX_KIB = (96 if release_build() else 768) << 10  # a sanitizer keeps freed memory for a while
_libc = ctypes.CDLL(None, use_errno=True)


def call(name, *args):
    if getattr(_libc, name)(*args) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)


def exchange(a, b):
    call('renameat2', -100, os.fsencode(a), -100, os.fsencode(b), EXCHANGE)


def error_of(function, *args, **options):
    """The name of the error, '' for success."""
    try:
        function(*args, **options)
        return ''
    except OSError as e:
        return errno.errorcode[e.errno]


def touch(path):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def read(path):
    with open(path, 'rb') as f:
        return f.read()


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-hostile-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo = repo_maker.Repo(cls.repository)
        repo.begin()
        for i in range(20):
            repo.add(b'dir/file%d' % i, b'lower %d\n' % i)
        repo.add(b'x', b'x is here\n')
        repo.finish()
        cls.node = Node({'demo': cls.repository}, limit=580)
        cls.node.__enter__()
        cls.addClassCleanup(cls.node.close)
        # one that nothing may happen to, and what the daemon needs when it is warm
        cls.bystander = cls.node.mount('bystander', quota=QUOTA).root
        touch(cls.bystander + '/mine')
        os.listdir(cls.bystander + '/dir')
        cls.rss = cls.node.rss_kib()

    def setUp(self):
        self.root = self.node.mount('job', quota=QUOTA, owner={'uid': USER, 'gid': USER}).root

    def tearDown(self):
        self.assertIsNone(self.node.process.poll(), 'the daemon lives')
        self.assertEqual(sorted(os.listdir(self.bystander)), ['dir', 'mine', 'x'])
        self.assertEqual(read(self.bystander + '/x'), b'x is here\n')
        self.assert_bounded()
        self.node.delete('job')
        usage = self.node.client.GetMount(job_id='bystander').usage
        self.assertEqual((usage.bytes, usage.inodes), (0, 1), 'others pay nothing')
        wait_until(lambda: self.count('journal') == 1, 60, 'only the bystander is left on disk')

    def count(self, name):
        return sum(name in names for _, _, names in os.walk(self.node.data))

    def assert_bounded(self):
        self.assertLess(self.node.descriptors(), FDS_MAX)
        self.assertLess(self.node.threads(), THREADS_MAX)
        self.assertLess(self.node.rss_kib() - self.rss, GROWTH_MAX_KIB)

    def as_user(self, work, files=1024, seconds=150):
        """work() in a process of the job's user; what it returns."""
        def run(_):
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
            os.setgroups([])
            os.setresgid(USER, USER, USER)
            os.setresuid(USER, USER, USER)
            os.chdir(self.root)
            return work()
        return crowd(1, run, seconds * SLOW)[0]

    def usage(self):
        usage = self.node.client.GetMount(job_id='job').usage
        return usage.bytes, usage.inodes

    def assert_usage(self, count_bytes, inodes):
        wait_until(lambda: self.usage() == (count_bytes, inodes), 20, f'the usage is {count_bytes} bytes and {inodes} inodes')

    def test_open_directories(self):
        """10,000 of them at once, on files that are removed under their owner."""
        def work():
            held = []
            for i in range(10000):
                os.mkdir(f'd{i}')
                held.append(os.open(f'd{i}', os.O_RDONLY | os.O_DIRECTORY))
            for i in range(0, 10000, 2):
                os.rmdir(f'd{i}')
            found = sum(len(os.listdir(fd)) for fd in held[1::100])
            late = {error_of(os.mkdir, 'late', dir_fd=held[i]) for i in (0, 5000, 9998)}
            return found, sorted(late), os.fstat(held[9998]).st_nlink
        self.assertEqual(self.as_user(work, files=11000), [0, ['ENOENT'], 0])
        self.assert_usage(0, 5000)
        self.assert_bounded()

    def test_deep(self):
        """3,000 levels, deeper than any path is long; a crash and the removal of all of it."""
        depth = 3000

        def work():
            for _ in range(depth):
                os.mkdir('deep')
                os.chdir('deep')
            touch('bottom')
            os.rename('bottom', 'still here')
            os.setxattr('.', 'user.a', b'b')
            return os.listdir('.')
        self.assertEqual(self.as_user(work), ['still here'])
        self.assert_usage(0, depth + 1)
        self.node.kill()
        self.node.start()
        self.assert_usage(0, depth + 1)
        levels, fd = 0, os.open(self.root, os.O_RDONLY)
        while 'deep' in os.listdir(fd):
            below = os.open('deep', os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd, levels = below, levels + 1
        self.assertEqual((levels, os.listdir(fd)), (depth, ['still here']))
        os.close(fd)
        os.rename(self.root + '/deep', self.root + '/dir/moved')
        # tearDown deletes the workspace with all this in it

    def test_rename_loops(self):
        def work():
            os.makedirs('a/b/c')
            os.makedirs('p/q')
            errors = [error_of(os.rename, 'a', 'a/b/c/d'), error_of(os.rename, 'a', 'a/b/c'), error_of(exchange, 'a', 'a/b'),
                      error_of(exchange, 'a/b/c', 'a'), error_of(os.rename, 'dir', 'dir/x'), error_of(os.rename, '.', 'y'),
                      error_of(os.rename, 'a/b', '..')]
            for i in range(4000):  # round and round: no record of it may grow for ever
                os.rename('a', 'r')
                os.rename('r', 'a')
                os.rename('a/b', 'p/b')
                os.rename('p/b', 'a/b')
                exchange('a/b/c', 'p/q')
            os.rename('dir', 'a/dir')
            exchange('a/dir', 'p')
            return errors
        errors = self.as_user(work)
        self.assertEqual(errors[:2] + errors[4:5], ['EINVAL', 'EINVAL', 'EINVAL'])
        self.assertNotIn('', errors)
        self.assertEqual(sorted(os.listdir(self.root + '/p')), sorted(f'file{i}' for i in range(20)))
        journals = [os.path.join(f, n) for f, _, names in os.walk(self.node.data) for n in names if n == 'journal']
        self.assertTrue(journals)
        self.assertLess(sum(os.stat(j).st_blocks * 512 for j in journals), 64 * MIB)

    def test_attributes(self):
        """Attempts at a gigabyte of attributes: refused by size, and never more than a block for each inode that is paid for."""
        def work():
            errors = {}
            touch('f')
            for size in (65536, 65537, 1 << 20, 1 << 30):
                value = bytes(size) if size <= 1 << 20 else b''
                name = error_of(call, 'setxattr', b'f', b'user.huge', value, ctypes.c_size_t(size), 0)
                errors[size] = name
            names = 0
            while not (last := error_of(os.setxattr, 'f', f'user.{names:0200d}', b'v' * 1000)) and names < 100000:
                names += 1
            for i in range(2000):
                touch(f'f{i}')
                error_of(os.setxattr, f'f{i}', 'user.a', b'v' * 60000)
                error_of(os.setxattr, f'f{i}', 'user.b', b'v' * 3000)
            return errors[65537], errors[1 << 20], errors[1 << 30], names, last, error_of(os.setxattr, 'f', 'user.' + 'n' * 256, b'')
        too_big, mib, gib, names, last, name = self.as_user(work)
        self.assertEqual((too_big, mib, gib), ('E2BIG', 'E2BIG', 'E2BIG'))
        self.assertLess(names, 1000)
        self.assertIn(last, ('ENOSPC', 'EDQUOT', 'E2BIG'))
        self.assertIn(name, ('ERANGE', 'E2BIG'))
        upper = subprocess.run(['du', '-sk', self.node.data], check=True, capture_output=True, timeout=60).stdout
        self.assertLess(int(upper.split()[0]), 96 << 10)
        self.assert_usage(0, 2001)

    def test_names_like_whiteouts(self):
        """No name has a meaning: those of other overlay formats are names like any other."""
        names = ['.wh.x', '.wh..wh..opq', '.wh..opq', '.wh.', '.wh.dir', '#0', 'work', 'upper', 'index', '.orphan', 'n' * 255,
                 bytes(range(1, 47)) + bytes(range(48, 256))]
        names = [os.fsencode(n) for n in names]
        for name in names:
            with open(os.path.join(os.fsencode(self.root), name), 'wb') as f:
                f.write(name)
            touch(os.path.join(os.fsencode(self.root), b'dir', name))
        want = sorted(names + [b'x', b'dir'])
        for _ in range(2):
            self.assertEqual(sorted(os.listdir(os.fsencode(self.root))), want)
            self.assertEqual(len(os.listdir(self.root + '/dir')), 20 + len(names))
            self.assertEqual(read(self.root + '/x'), b'x is here\n')
            for name in names:
                self.assertEqual(read(os.path.join(os.fsencode(self.root), name)), name)
            self.node.kill()
            self.node.start()
        self.assertEqual(error_of(touch, self.root + '/' + 'n' * 256), 'ENAMETOOLONG')
        self.assertEqual(error_of(os.mkdir, self.root + '/' + 'n' * 256), 'ENAMETOOLONG')
        self.assertEqual(error_of(os.rename, self.root + '/x', self.root + '/' + 'n' * 256), 'ENAMETOOLONG')
        for name in names:
            os.unlink(os.path.join(os.fsencode(self.root), name))
        self.assertEqual(sorted(os.listdir(self.root)), ['dir', 'x'])

    def test_device_nodes(self):
        """The overlay's own whiteout cannot be made, by root either; no other device can be used."""
        for kind in (stat.S_IFCHR, stat.S_IFBLK):
            self.assertEqual(self.as_user(lambda: error_of(os.mknod, 'dev', kind | 0o666, os.makedev(1, 3))), 'EPERM')
        self.assertEqual(error_of(os.mknod, self.root + '/x2', stat.S_IFCHR | 0o666, os.makedev(0, 0)), 'EPERM')
        self.assertEqual(error_of(os.mknod, self.root + '/dir/file1', stat.S_IFCHR | 0o666, os.makedev(0, 0)), 'EEXIST')
        self.assertEqual(error_of(call, 'renameat2', -100, os.fsencode(self.root + '/x'), -100, os.fsencode(self.root + '/y'), 4),
                         'EINVAL', 'RENAME_WHITEOUT')
        self.assertEqual(sorted(os.listdir(self.root)), ['dir', 'x'])
        if error_of(os.mknod, self.root + '/null', stat.S_IFCHR | 0o666, os.makedev(1, 3)) == '':
            self.assertEqual(error_of(os.open, self.root + '/null', os.O_RDWR), 'EACCES', 'nodev')
            os.unlink(self.root + '/null')
        os.mkfifo(self.root + '/fifo', 0o666)
        self.assertTrue(stat.S_ISFIFO(os.stat(self.root + '/fifo').st_mode))

    def test_set_id_bits(self):
        """A program that root made set-user-id gives nobody root, and bits go when a stranger writes."""
        shutil.copyfile('/usr/bin/id', self.root + '/id')
        os.chmod(self.root + '/id', 0o6755)
        who = self.as_user(lambda: subprocess.run([self.root + '/id', '-u'], capture_output=True, text=True, timeout=60).stdout)
        self.assertEqual(who.strip(), str(USER))

        def work():
            touch('own')
            os.chmod('own', 0o4755)
            first = os.stat('own').st_mode & 0o7777
            with open('own', 'wb') as f:
                f.write(b'x')
            return [first, os.stat('own').st_mode & 0o7777, error_of(os.chown, 'own', 0, 0), error_of(os.chmod, 'id', 0o777),
                    error_of(os.chown, 'id', USER, USER)]
        self.assertEqual(self.as_user(work), [0o4755, 0o755, 'EPERM', 'EPERM', 'EPERM'])

    def test_symlinks_pointing_out(self):
        """The daemon follows none: a directory that is exchanged for a link while others work in it lets nothing out."""
        outside = tempfile.mkdtemp(dir=self.folder)  # root's own; the user cannot even enter
        os.chmod(outside, 0o700)
        victim = os.path.join(outside, 'victim')
        with open(victim, 'w', encoding='ascii') as f:
            f.write('precious')

        def prepare():
            os.mkdir('a')
            os.symlink(outside, 'b')
        self.as_user(prepare)
        end = time.monotonic() + 4

        def run(number):
            os.setgroups([])
            os.setresgid(USER, USER, USER)
            os.setresuid(USER, USER, USER)
            os.chdir(self.root)
            if number == 0:
                while time.monotonic() < end:
                    exchange('a', 'b')
                return 0
            done, i = 0, 0
            while time.monotonic() < end:
                i = (i + 1) % 10
                for path in (f'a/f{i}', f'b/f{i}', 'a/victim', 'b/victim'):
                    done += not error_of(touch, path)
                    done += not error_of(os.truncate, path, i)
                    done += not error_of(os.chmod, path, 0o666)
                    done += not error_of(os.setxattr, path, 'user.a', b'b')
                    done += not error_of(os.unlink, path)
                    done += not error_of(os.mkdir, path)
                    done += not error_of(os.rmdir, path)
            return done
        done = crowd(4, run, 60 * SLOW)
        self.assertGreater(sum(done), 100, 'something was done')
        self.assertEqual(os.listdir(outside), ['victim'])
        self.assertEqual(read(victim), b'precious')
        self.assertEqual(stat.S_IMODE(os.stat(victim).st_mode), 0o644)
        self.assertEqual(os.listxattr(victim), [])
        os.symlink('/', self.root + '/slash')
        self.assertEqual(os.readlink(self.root + '/slash'), '/')
        os.chown(self.root + '/slash', USER, USER, follow_symlinks=False)
        self.assertEqual(os.stat('/').st_uid, 0)

    def test_marks_of_the_overlay(self):
        """trusted.overlay.* and the overlay's own are neither seen nor set, by root either."""
        os.rename(self.root + '/dir', self.root + '/renamed')  # has a redirect now
        os.mkdir(self.root + '/dir')  # is opaque
        for path in (self.root + '/renamed', self.root + '/dir', self.root + '/x'):
            for name in ('opaque', 'redirect', 'origin', 'metacopy', 'impure', 'whiteout', 'nlink', 'upper', 'x'):
                self.assertEqual(error_of(os.getxattr, path, 'trusted.overlay.' + name), 'ENODATA')
                self.assertEqual(error_of(os.setxattr, path, 'trusted.overlay.' + name, b'y'), 'EPERM')
                self.assertEqual(error_of(os.removexattr, path, 'trusted.overlay.' + name), 'EPERM')
            self.assertEqual(error_of(os.setxattr, path, 'trusted.coppice.node', b'\1' * 8), 'EPERM')
            self.assertEqual(error_of(os.getxattr, path, 'trusted.coppice.node'), 'ENODATA')
            self.assertEqual(os.listxattr(path), [])
            os.setxattr(path, 'user.overlay.opaque', b'y')  # means nothing here
        self.assertEqual(len(os.listdir(self.root + '/renamed')), 20)
        self.assertEqual(os.listdir(self.root + '/dir'), [])
        self.assertEqual(self.as_user(lambda: error_of(os.setxattr, 'renamed', 'trusted.x', b'y')), 'EPERM')

    def test_hard_links(self):
        """As many as the disk below allows, one inode to pay for, and all gone in the end."""

        def work():
            os.mkdir('links')
            with open('file', 'wb') as f:
                f.write(b'z' * 5000)
            made = 1
            while made < 70000 and not (last := error_of(os.link, 'file', f'links/l{made}')):
                made += 1
            return [made, last, os.stat('file').st_nlink]
        made, last, links = self.as_user(work)
        self.assertEqual(made, links)
        if last:  # ext4's limit is 65,000; other filesystems have more
            self.assertEqual(last, 'EMLINK')
            self.assertGreater(made, 64000)
        self.assertEqual(len(os.listdir(self.root + '/links')), made - 1)
        self.assert_usage(8192, 2)
        self.assertEqual(read(f'{self.root}/links/l{made // 2}'), b'z' * 5000)
        shutil.rmtree(self.root + '/links')
        os.unlink(self.root + '/file')
        self.assert_usage(0, 0)

    def test_sizes_beyond_everything(self):
        def work():
            fd = os.open('f', os.O_RDWR | os.O_CREAT, 0o600)
            big = (1 << 63) - 4096
            errors = [error_of(os.ftruncate, fd, big), error_of(os.pwrite, fd, b'x', big), error_of(os.posix_fallocate, fd, 0, big),
                      error_of(os.posix_fallocate, fd, 0, QUOTA['bytes'] * 2), error_of(os.pwrite, fd, b'x', -5 & 0x7fffffffffffffff)]
            os.ftruncate(fd, 1 << 40)  # a hole costs nothing
            os.pwrite(fd, b'end', (1 << 40) - 3)
            found = os.lseek(fd, 0, os.SEEK_DATA) >= (1 << 40) - 4096
            return [errors, found, os.pread(fd, 10, 1 << 39).hex()]
        errors, found, hole = self.as_user(work)
        self.assertTrue(all(e in ('EFBIG', 'EINVAL', 'ENOSPC', 'EDQUOT') for e in errors), errors)
        self.assertEqual((found, hole), (True, '00' * 10))
        self.assert_usage(4096, 1)

    def test_the_own_quota_is_the_limit(self):
        """Filling up: EDQUOT at the job's own limit of inodes and bytes, while the neighbour writes on."""
        self.node.client.UpdateMount(job_id='job', quota={'bytes': 8 * MIB, 'inodes': 500}, update_mask=['quota'])

        def work():
            made = 0
            while not (last := error_of(touch, f'f{made}')) and made < 2000:
                made += 1
            fd = os.open('f0', os.O_WRONLY)
            written = 0
            try:
                while written < 64 * MIB:
                    written += os.write(fd, bytes(MIB))
                full = ''
            except OSError as e:
                full = errno.errorcode[e.errno]
            others = [error_of(os.mkdir, 'd'), error_of(os.symlink, 'x', 's'), error_of(os.mkfifo, 'p'),
                      error_of(os.open, '.', os.O_TMPFILE | os.O_RDWR)]
            return [made, last, written, full, others]
        made, last, written, full, others = self.as_user(work)
        self.assertEqual((made, last), (500, 'EDQUOT'))
        self.assertEqual((written, full), (8 * MIB, 'EDQUOT'))
        self.assertEqual(others, ['EDQUOT'] * 4)
        with open(self.bystander + '/mine', 'wb') as f:
            f.write(bytes(16 * MIB))
        os.truncate(self.bystander + '/mine', 0)

    def test_out_of_the_workspace(self):
        """The session's root and other workspaces: nothing can be made, moved or linked there."""
        above = os.path.dirname(self.root)
        self.assertEqual(set(os.listdir(above)) & {'job', 'bystander'}, {'job', 'bystander'})
        for target in (above, self.bystander):
            for function in (os.rename, os.link):
                self.assertIn(error_of(function, self.root + '/x', target + '/stolen'), ('EXDEV', 'EPERM', 'EACCES', 'EROFS'))
        for function in (touch, os.mkdir):
            self.assertIn(error_of(function, above + '/new'), ('EPERM', 'EACCES', 'EROFS'))
        self.assertIn(error_of(os.rmdir, self.root), ('EPERM', 'EACCES', 'EBUSY', 'ENOTEMPTY', 'EROFS'))
        self.assertIn(error_of(os.rename, self.root, above + '/other'), ('EPERM', 'EACCES', 'EBUSY', 'EXDEV', 'EROFS'))
        self.assertIn(error_of(os.chmod, above, 0o777), ('EPERM', 'EACCES', 'EROFS'))
        self.assertIn(error_of(os.setxattr, above, 'user.a', b'b'), ('EPERM', 'EACCES', 'EROFS', 'EOPNOTSUPP'))
        self.assertEqual(self.as_user(lambda: error_of(touch, self.bystander + '/new')), 'EACCES')


if __name__ == '__main__':
    unittest.main()
