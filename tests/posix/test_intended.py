#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The rows of docs/posix.md: what differs from a local filesystem by intent does differ, and exactly so."""
import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import stat
import struct
import subprocess
import tempfile
import unittest

from node import Node
from tree import TIME, make_repository

_libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, RENAME_WHITEOUT = -100, 4
FALLOC_COLLAPSE, FALLOC_INSERT = 8, 32
IN_MODIFY, IN_ATTRIB = 2, 4
FS_IOC_GETFLAGS = 0x80086601
FS_IOC_FIEMAP = 0xc020660b


def errno_of(call, *args, **options):
    try:
        call(*args, **options)
    except OSError as e:
        return e.errno
    return 0


def libc(name, *args):
    return ctypes.get_errno() if getattr(_libc, name)(*args) != 0 else 0


class Intended(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-posix-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        make_repository(cls.folder + '/repo.git')
        cls.node = Node({'demo': cls.folder + '/repo.git'})
        cls.node.start()
        cls.addClassCleanup(cls.node.close)

    def setUp(self):
        self.root = self.node.mount(self.id().rsplit('.', 1)[1]).root

    def path(self, name):
        return os.path.join(self.root, name)

    def write(self, name, data=b'data'):
        with open(self.path(name), 'wb') as f:
            f.write(data)
        return self.path(name)

    def test_atime_stays_when_a_file_is_read(self):
        for path in (self.path('f1'), self.write('made')):
            before = os.stat(path).st_atime_ns
            with open(path, 'rb') as f:
                f.read()
            self.assertEqual(os.stat(path).st_atime_ns, before)

    def test_whiteouts_cannot_be_made(self):
        here, there = os.fsencode(self.path('f1')), os.fsencode(self.path('new'))
        self.assertEqual(libc('renameat2', AT_FDCWD, here, AT_FDCWD, there, RENAME_WHITEOUT), errno.EINVAL)
        self.assertEqual(errno_of(os.mknod, self.path('new'), stat.S_IFCHR | 0o600, os.makedev(0, 0)), errno.EPERM)
        self.assertTrue(os.path.exists(self.path('f1')))
        self.assertFalse(os.path.lexists(self.path('new')))

    def test_ranges_cannot_be_collapsed_or_inserted(self):
        fd = os.open(self.write('made', b'x' * 16384), os.O_RDWR)
        try:
            for mode in (FALLOC_COLLAPSE, FALLOC_INSERT):
                self.assertEqual(libc('fallocate', fd, mode, ctypes.c_long(4096), ctypes.c_long(4096)), errno.EOPNOTSUPP)
            self.assertEqual(os.fstat(fd).st_size, 16384)
        finally:
            os.close(fd)

    def test_no_acls_no_security_attributes_no_flags(self):
        path = self.write('made')
        acl = b'\2\0\0\0' + b''.join(bytes((tag, 0, 6, 0)) + b'\xff' * 4 for tag in (1, 4, 32))
        for name, value in (('security.note', b'x'), ('system.posix_acl_access', acl)):
            self.assertEqual(errno_of(os.setxattr, path, name, value), errno.EOPNOTSUPP)
            self.assertIn(errno_of(os.getxattr, path, name), (errno.ENODATA, errno.EOPNOTSUPP))
        with open(path, 'rb') as f:
            self.assertIn(errno_of(fcntl.ioctl, f, FS_IOC_GETFLAGS, b'\0' * 8), (errno.ENOTTY, errno.ENOSYS, errno.EOPNOTSUPP))
            self.assertEqual(errno_of(fcntl.ioctl, f, FS_IOC_FIEMAP, b'\0' * 32), errno.EOPNOTSUPP)

    def test_facts_about_content_are_read_only_attributes(self):
        for name in ('user.coppice.oid', 'user.sha256'):
            self.assertEqual(errno_of(os.setxattr, self.path('f1'), name, b'x'), errno.EPERM)
        self.assertEqual(len(os.getxattr(self.path('f1'), 'user.coppice.oid')), 40)

    def test_a_write_that_is_too_far_takes_set_id_bits(self):
        path = self.write('made')
        os.chown(path, 1000, 1000)
        os.chmod(path, 0o6755)
        code = 'import os, sys; fd = os.open(sys.argv[1], os.O_WRONLY); os.pwrite(fd, b"x", 1 << 45)'
        done = subprocess.run(['/usr/bin/python3', '-B', '-c', code, path], user=1000, group=1000, extra_groups=[], cwd='/',
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertIn('[Errno 27]', done.stderr)
        self.assertEqual((os.stat(path).st_size, stat.S_IMODE(os.stat(path).st_mode)), (4, 0o755))

    def test_writes_of_another_user_to_a_set_id_file_are_told_of_twice(self):
        path = self.write('made')
        os.chmod(path, 0o6777)
        events = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.assertGreaterEqual(_libc.inotify_add_watch(events, os.fsencode(path), IN_ATTRIB | IN_MODIFY), 0)
        code = 'import os, sys; fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND); [os.write(fd, b"x") for _ in range(4)]'
        subprocess.run(['/usr/bin/python3', '-B', '-c', code, path], user=1000, group=1000, extra_groups=[], cwd='/', timeout=60, check=True)
        masks = [mask for _, mask, _, _ in struct.iter_unpack('iIII', os.read(events, 4096))]
        os.close(events)
        self.assertEqual(masks, [IN_ATTRIB, IN_MODIFY] * 2)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o777)

    def test_a_read_only_workspace_refuses_changes_not_opens(self):
        root = self.node.mount('read-only', read_only=True).root
        fd = os.open(root + '/f1', os.O_RDWR)
        try:
            self.assertEqual(errno_of(os.write, fd, b'x'), errno.EROFS)
            self.assertEqual(errno_of(os.ftruncate, fd, 0), errno.EROFS)
            self.assertEqual(errno_of(os.fchmod, fd, 0o600), errno.EROFS)
            with mmap.mmap(fd, 4096) as mapped:
                mapped[:1] = b'x'
                self.assertEqual(errno_of(mapped.flush), errno.EROFS)
        finally:
            os.close(fd)
        self.assertEqual(errno_of(os.open, root + '/f1', os.O_WRONLY | os.O_TRUNC), errno.EROFS)
        self.assertEqual(errno_of(os.open, root + '/new', os.O_WRONLY | os.O_CREAT), errno.EROFS)
        for call in (os.unlink, os.mkdir):
            self.assertEqual(errno_of(call, root + ('/f1' if call is os.unlink else '/new')), errno.EROFS)

    def test_a_read_only_workspace_at_its_own_mountpoint_refuses_opens_too(self):
        self.node.mount('read-only-here', read_only=True, mountpoint=self.node.path('here'))
        self.refuses_opens(self.node.path('here', 'f1'))
        self.node.kill()
        self.node.start()
        self.refuses_opens(self.node.path('here', 'f1'))
        self.node.delete('read-only-here')
        self.assertFalse(os.path.exists(self.node.path('here')))

    def refuses_opens(self, path):
        for flags in (os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_TRUNC):
            self.assertEqual(errno_of(os.open, path, flags), errno.EROFS)
        self.assertFalse(os.access(path, os.W_OK))
        with open(path, 'rb') as f:
            self.assertGreater(len(f.read()), 0)
        flags = os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV
        self.assertEqual(os.statvfs(path).f_flag & flags, flags)

    def test_a_mapped_store_moves_mtime_when_it_is_written_back(self):
        fd = os.open(self.write('made', b'x' * 4096), os.O_RDWR)
        try:
            os.utime(fd, (1, 1))
            with mmap.mmap(fd, 4096) as mapped:
                mapped[:1] = b'y'
                self.assertEqual(os.fstat(fd).st_mtime, 1)
                mapped.flush()
                self.assertGreater(os.fstat(fd).st_mtime, TIME)
        finally:
            os.close(fd)

    def test_a_removed_directory_has_no_attributes(self):
        os.mkdir(self.path('made'))
        os.setxattr(self.path('made'), 'user.a', b'x')
        fd = os.open(self.path('made'), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.rmdir(self.path('made'))
            self.assertEqual(errno_of(os.getxattr, fd, 'user.a'), errno.ENODATA)
            self.assertEqual(errno_of(os.setxattr, fd, 'user.a', b'x'), errno.ENOENT)
        finally:
            os.close(fd)

    def test_a_change_of_nothing_moves_no_ctime(self):
        for path in (self.path('f1'), self.write('made')):
            before = os.stat(path)
            os.chmod(path, stat.S_IMODE(before.st_mode))
            os.chown(path, before.st_uid, before.st_gid)
            self.assertEqual(os.stat(path).st_ctime_ns, before.st_ctime_ns)

    def test_ctime_of_the_sources_is_the_commits(self):
        self.assertEqual(os.stat(self.path('f1')).st_ctime_ns, TIME * 10**9)

    def test_ctime_of_an_open_source_file_stays_when_its_name_goes(self):
        with open(self.path('f1'), 'rb') as f:
            os.unlink(self.path('f1'))
            after = os.fstat(f.fileno())
        self.assertEqual((after.st_nlink, after.st_ctime_ns), (0, TIME * 10**9))

    def test_size_of_a_directory_says_nothing(self):
        self.assertEqual(os.stat(self.path('d1')).st_size, 4096)

    def test_workspaces_are_filesystems_of_their_own_for_rename_and_link(self):
        other = self.node.mount('other').root
        for call in (os.rename, os.link):
            self.assertEqual(errno_of(call, self.path('f1'), os.path.join(other, 'new')), errno.EXDEV)


if __name__ == '__main__':
    unittest.main()
