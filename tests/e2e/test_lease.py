# SPDX-License-Identifier: Apache-2.0
"""Leases: a mount that nobody renews is removed, one that is renewed stays, and downtime of the daemon takes nothing away."""
import os
import shutil
import tempfile
import time
import unittest

import repo_maker
from coppice_client import CallError
from node import Node, wait_until

SHORTEST = 5


class Lease(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-lease-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo_maker.make(cls.repository, files=5)

    def gone(self, node, job_id):
        """Is it no longer among the mounts?"""
        return job_id not in [m.job_id for m in node.client.ListMounts().mounts]

    def test_expiry_and_renewal(self):
        with Node({'demo': self.repository}) as node:
            start = time.time()
            left = node.mount('left', lease_seconds=SHORTEST, mountpoint=node.path('bound'))
            made = time.time()
            kept = node.mount('kept', lease_seconds=SHORTEST)
            free = node.mount('free')
            self.assertGreater(left.lease_expires_at.seconds, start + SHORTEST - 2)
            self.assertLess(left.lease_expires_at.seconds, made + SHORTEST + 1)
            self.assertFalse(free.HasField('lease_expires_at'))
            with open(left.root + '/file', 'w', encoding='ascii') as f:
                f.write('x')
            while not self.gone(node, 'left'):
                renewed = node.client.RenewLease(job_id='kept')
                self.assertEqual(renewed.lease_seconds, SHORTEST)
                self.assertGreater(renewed.lease_expires_at.ToNanoseconds(), time.time_ns())
                self.assertLess(time.time(), start + 60, 'the lease of 5 s must have ended')
                time.sleep(0.5)
            self.assertGreater(time.time(), start + SHORTEST - 1, 'not before its time')
            self.assertFalse(os.path.exists(left.root))
            self.assertFalse(os.path.exists(node.path('bound')))
            wait_until(lambda: len(os.listdir(node.data + '/workspaces')) == 2, 10, 'its files are removed')
            self.assertIn('README', os.listdir(kept.root))
            self.assertIn('README', os.listdir(free.root))
            with self.assertRaises(CallError) as caught:
                node.client.RenewLease(job_id='left')
            self.assertIn((caught.exception.code, caught.exception.reason),
                          (('NOT_FOUND', 'MOUNT_NOT_FOUND'), ('FAILED_PRECONDITION', 'NOT_READY')))
            self.assertNotEqual(node.mount('left').mount_id, left.mount_id, 'the job_id is free again')

    def test_length(self):
        with Node({'demo': self.repository}) as node:
            node.mount('job', lease_seconds=1000)
            renewed = node.client.RenewLease(job_id='job', lease_seconds=5000)
            self.assertEqual(renewed.lease_seconds, 5000)
            self.assertAlmostEqual(renewed.lease_expires_at.seconds, time.time() + 5000, delta=30)
            changed = node.client.UpdateMount(job_id='job', update_mask=['lease_seconds'], lease_seconds=100)
            self.assertAlmostEqual(changed.lease_expires_at.seconds, time.time() + 100, delta=30)
            none = node.client.UpdateMount(job_id='job', update_mask=['lease_seconds'])
            self.assertFalse(none.HasField('lease_expires_at'))

    def test_downtime_takes_nothing_away(self):
        """A daemon that was away gives the whole lease again, up to 30 s: the scheduler could not renew meanwhile."""
        with Node({'demo': self.repository}) as node:
            mount = node.mount('job', lease_seconds=SHORTEST)
            node.kill()
            time.sleep(max(0, mount.lease_expires_at.ToNanoseconds() / 1e9 + 0.5 - time.time()))
            node.start()
            back = node.client.GetMount(job_id='job')
            self.assertEqual(node.client.state(back), 'READY')
            self.assertGreater(back.lease_expires_at.ToNanoseconds() / 1e9, time.time() + SHORTEST - 3)
            self.assertIn('README', os.listdir(back.root))


if __name__ == '__main__':
    unittest.main()
