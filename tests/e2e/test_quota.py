# SPDX-License-Identifier: Apache-2.0
"""Quotas of bytes and inodes: EDQUOT in time, df that tells the truth, everything given back, and tenants' accounts above."""
import errno
import os
import shutil
import tempfile
import unittest

import repo_maker
from node import Node, wait_until

MIB = 1 << 20
TENANTS = '''
  - name: limited
    admin: true
    quota: {bytes: 8MiB, inodes: 100, mounts: 3}
    mount_quota: {bytes: 6MiB, inodes: 60}
    identities: [{unix_uid: 0}]
'''


def write(path, size, offset=0):
    """Writes size bytes, or raises what write() or close() raised."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        done = 0
        while done < size:
            done += os.pwrite(fd, b'\xa5' * min(size - done, 1 << 17), offset + done)
    finally:
        os.close(fd)


class Quota(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-quota-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo_maker.make(cls.repository, files=20, large_mb=3)

    def assert_over_quota(self, call, *args, **options):
        with self.assertRaises(OSError) as caught:
            call(*args, **options)
        self.assertEqual(errno.errorcode[caught.exception.errno], 'EDQUOT')

    def usage(self, node, job_id='job'):
        usage = node.client.GetMount(job_id=job_id).usage
        return usage.bytes, usage.inodes

    def test_bytes(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('job', quota={'bytes': 4 * MIB, 'inodes': 100}).root
            fs = os.statvfs(root)
            self.assertEqual(fs.f_blocks * fs.f_frsize, 4 * MIB)
            self.assertEqual(fs.f_bavail * fs.f_frsize, 4 * MIB)
            write(root + '/a', 3 * MIB)
            fs = os.statvfs(root)
            self.assertLessEqual(fs.f_bavail * fs.f_frsize, MIB)
            self.assertGreaterEqual(fs.f_bavail * fs.f_frsize, MIB - 65536)
            self.assert_over_quota(write, root + '/b', 2 * MIB)
            self.assertLessEqual(self.usage(node)[0], 4 * MIB)
            self.assert_over_quota(os.posix_fallocate, os.open(root + '/c', os.O_CREAT | os.O_RDWR), 0, 3 * MIB)
            with open(root + '/a', 'rb') as f:
                self.assertEqual(f.read(), b'\xa5' * (3 * MIB), 'what was accepted is there')
            with self.subTest('copying up what does not fit'):
                self.assert_over_quota(write, root + '/large/file.bin', 1)
                with open(root + '/large/file.bin', 'rb') as f:
                    self.assertEqual(len(f.read()), 3 * MIB, 'and the file of the sources is as it was')
            with self.subTest('given back'):
                os.truncate(root + '/a', MIB)
                os.unlink(root + '/b')
                os.unlink(root + '/c')
                wait_until(lambda: self.usage(node)[0] <= MIB + 65536, 10, 'what was removed is given back')
                write(root + '/d', 2 * MIB)
                os.unlink(root + '/d')
                os.unlink(root + '/a')
                wait_until(lambda: self.usage(node)[0] <= 65536, 10, 'what was removed is given back')
            with self.subTest('an open file that has no name is still charged'):
                fd = os.open(root + '/e', os.O_CREAT | os.O_RDWR)
                os.pwrite(fd, b'e' * (2 * MIB), 0)
                os.unlink(root + '/e')
                self.assertGreaterEqual(self.usage(node)[0], 2 * MIB)
                os.close(fd)
                wait_until(lambda: self.usage(node)[0] <= 65536, 10, 'the last close gives it back')
            with self.subTest('a sparse file costs what it holds'):
                with open(root + '/sparse', 'wb') as f:
                    f.truncate(1 << 30)
                self.assertLessEqual(self.usage(node)[0], 131072)

    def test_inodes(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('job', quota={'inodes': 10}).root
            fs = os.statvfs(root)
            self.assertEqual((fs.f_files, fs.f_favail), (10, 10))
            os.mkdir(root + '/d')
            os.symlink('x', root + '/d/s')
            os.mkfifo(root + '/d/p')
            for i in range(7):
                write(f'{root}/d/{i}', 1)
            self.assertEqual(self.usage(node)[1], 10)
            self.assertEqual(os.statvfs(root).f_favail, 0)
            self.assert_over_quota(write, root + '/d/one more', 1)
            self.assert_over_quota(os.mkdir, root + '/e')
            self.assert_over_quota(os.symlink, 'x', root + '/t')
            self.assert_over_quota(os.mknod, root + '/n', 0o644)
            os.link(root + '/d/1', root + '/d/linked')  # one file, two names
            os.unlink(root + '/d/0')
            wait_until(lambda: self.usage(node)[1] == 9, 10, 'a removed file is given back when the kernel has forgotten it')
            write(root + '/d/instead', 1)
            shutil.rmtree(root + '/d')
            wait_until(lambda: self.usage(node)[1] == 0, 10, 'everything is given back')

    def test_update(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('job', quota={'bytes': MIB, 'inodes': 10}).root
            self.assert_over_quota(write, root + '/a', 2 * MIB)
            changed = node.client.UpdateMount(job_id='job', update_mask=['quota.bytes'], quota={'bytes': 4 * MIB})
            self.assertEqual((changed.quota.bytes, changed.quota.inodes), (4 * MIB, 10))
            fs = os.statvfs(root)
            self.assertEqual(fs.f_blocks * fs.f_frsize, 4 * MIB)
            write(root + '/a', 2 * MIB)
            with self.subTest('one of the two cannot be given back to the default'):
                changed = node.client.UpdateMount(job_id='job', update_mask=['quota.inodes'], quota={'inodes': 0})
                self.assertEqual((changed.quota.bytes, changed.quota.inodes), (4 * MIB, 0), 'the tenant has no limit')
            with self.subTest('below what is used'):
                node.client.UpdateMount(job_id='job', update_mask=['quota'], quota={'bytes': MIB, 'inodes': 1})
                self.assert_over_quota(write, root + '/a', 8192, 2 * MIB)
                fs = os.statvfs(root)
                self.assertEqual((fs.f_bavail, fs.f_favail), (0, 0))
                os.unlink(root + '/a')
                wait_until(lambda: self.usage(node)[1] == 0, 10, 'what was removed is given back')
                write(root + '/a', MIB // 2)
            with self.subTest('kept over a restart'):
                node.stop()
                node.start()
                quota = node.client.GetMount(job_id='job').quota
                self.assertEqual((quota.bytes, quota.inodes), (MIB, 1))
                self.assert_over_quota(write, root + '/b', 1)
                self.assert_over_quota(write, root + '/a', 2 * MIB)

    def test_of_the_tenant(self):
        with Node({'demo': self.repository}, tenants=TENANTS) as node:
            one, two = node.mount('one'), node.mount('two')
            self.assertEqual((one.quota.bytes, one.quota.inodes), (6 * MIB, 60), 'the default of a mount')
            write(one.root + '/a', 5 * MIB)
            self.assert_over_quota(write, two.root + '/a', 4 * MIB)
            fs = os.statvfs(two.root)
            self.assertLess(fs.f_bavail * fs.f_frsize, 2 * MIB, 'df shows the tighter of the two')
            for i in range(50):
                write(f'{one.root}/f{i}', 0)
            with self.assertRaises(OSError) as caught:
                for i in range(60):
                    write(f'{two.root}/f{i}', 0)
            self.assertEqual(caught.exception.errno, errno.EDQUOT)
            tenant = node.client.GetNode().tenants[0]
            self.assertEqual((tenant.mounts, tenant.mounts_limit, tenant.bytes_limit, tenant.inodes_limit), (2, 3, 8 * MIB, 100))
            self.assertEqual(tenant.inodes, 100)
            node.delete('one')
            os.unlink(two.root + '/a')
            wait_until(lambda: self.usage(node, 'two')[0] < MIB, 10, 'what was removed is given back')
            write(two.root + '/f1', 5 * MIB)
            tenant = node.client.GetNode().tenants[0]
            self.assertEqual((tenant.mounts, tenant.bytes, tenant.inodes), (1, *self.usage(node, 'two')))
            node.kill()
            node.start()
            tenant = node.client.GetNode().tenants[0]
            self.assertEqual((tenant.mounts, tenant.bytes, tenant.inodes), (1, *self.usage(node, 'two')))


if __name__ == '__main__':
    unittest.main()
