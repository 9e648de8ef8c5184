# SPDX-License-Identifier: Apache-2.0
"""A node that drains makes no new mounts, says so, keeps those that are there, and stops when they have ended or when its patience
ends, naming the processes that still use them."""
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import repo_maker
from coppice_client import CallError
from node import SLOW, Node, wait_until

TENANTS = '''
  - {name: one, admin: true, identities: [{unix_uid: 0}], origins: [{name: demo}]}
  - {name: two, identities: [{unix_uid: 1002}], origins: [{name: demo}]}
'''
SERVING, NOT_SERVING = 1, 2


class Drain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-drain-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo_maker.make(cls.repository, files=5)

    def node(self, **options):
        return Node({'demo': self.repository}, tenants=TENANTS, **options)

    def refused(self, node):
        with self.assertRaises(CallError) as caught:
            node.client.CreateMount(job_id='new', origin='demo')
        self.assertEqual((caught.exception.code, caught.exception.reason), ('UNAVAILABLE', 'DRAINING'))

    def test_a_repeated_creation_is_refused_while_it_drains(self):
        with self.node() as node:
            made = node.mount('made')
            node.client.Drain()
            self.refused(node)
            self.assertEqual(node.mount('made').mount_id, made.mount_id, 'its answer may have been lost')
            node.client.Drain(undo=True)

    def sleeper(self, *arguments, **options):
        process = subprocess.Popen(['sleep', '1000', *arguments], **options)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_drain_and_undo(self):
        with self.node(http='127.0.0.1:0') as node:
            port = node.log_text().split('protocol="http" port=')[1].split()[0]

            def ready():
                try:
                    with urllib.request.urlopen(f'http://127.0.0.1:{port}/readyz', timeout=10) as answer:
                        return answer.status
                except urllib.error.HTTPError as e:
                    return e.code

            mount = node.mount('job')
            health = node.client.Watch(service='coppice.v1.MountService')
            self.assertEqual((next(health).status, ready()), (SERVING, 200))
            status = node.client.Drain()
            self.assertEqual((status.draining, status.stopping, status.mounts), (True, False, 1))
            self.assertEqual((next(health).status, ready()), (NOT_SERVING, 503))
            self.assertTrue(node.client.GetNode().draining)
            self.refused(node)
            with open(mount.root + '/written', 'wb') as f:  # what is there goes on
                f.write(b'x')
            node.client.RenewLease(job_id='job', lease_seconds=60)
            self.assertEqual(node.call_as(1002, 'Drain')['error']['code'], 'PERMISSION_DENIED')
            node.client.Drain(undo=True)
            self.assertEqual((next(health).status, ready()), (SERVING, 200))
            node.mount('new')
            health.close()

    def test_who_holds_it(self):
        with self.node() as node:
            mount, other = node.mount('job'), node.call_as(1002, 'CreateMount', job_id='job', origin='demo')
            with open(mount.root + '/file', 'wb') as f:
                f.write(b'x' * 4096)
            inside = self.sleeper(cwd=mount.root)
            with open(mount.root + '/file', 'rb') as f:
                reader = self.sleeper(stdin=f)
            contained = subprocess.Popen(  # in a mount namespace of its own, at another path
                ['unshare', '--mount', 'sh', '-c', f'mount --bind {mount.root} /mnt && cd /mnt && exec sleep 1000'])
            self.addCleanup(contained.wait)
            self.addCleanup(contained.kill)
            elsewhere = self.sleeper(cwd=other['root'])
            wait_until(lambda: os.readlink(f'/proc/{contained.pid}/cwd') == '/mnt', 10, 'the third one is in place')
            holders = node.client.Drain(report_holders=True).holders
            mine = {h.pid: (h.how, h.command) for h in holders if h.mount_id == mount.mount_id}
            self.assertEqual(mine, {inside.pid: ('directory', 'sleep'), reader.pid: ('open', 'sleep'), contained.pid: ('directory', 'sleep')})
            self.assertEqual([(h.pid, h.tenant) for h in holders if h.mount_id == other['mount_id']], [(elsewhere.pid, 'two')])
            done = node.cli('umount', 'job')
            for process in (inside, reader, contained):
                self.assertIn(f'process {process.pid} (sleep', done.stderr)
            self.assertNotIn(str(elsewhere.pid), done.stderr)

    def test_stop_waits_for_the_mounts(self):
        with self.node(extra='drain: {timeout: 60s}') as node:
            node.mount('job')
            node.mount('leased', lease_seconds=5)
            node.process.send_signal(signal.SIGTERM)
            wait_until(lambda: node.client.Drain().stopping, 10, 'it stops')
            self.refused(node)
            with self.assertRaises(CallError) as caught:
                node.client.Drain(undo=True)
            self.assertEqual(caught.exception.reason, 'STOPPING')
            wait_until(lambda: node.client.Drain().mounts == 1, 20, 'the lease runs out')
            self.assertIsNone(node.process.poll())
            node.delete('job')
            self.assertEqual(node.wait(10), 0)

    def test_patience_ends(self):
        with self.node(extra='drain: {timeout: 700ms}') as node:
            holder = self.sleeper(cwd=node.mount('job').root)
            begin = time.monotonic()
            node.stop()
            self.assertGreater(time.monotonic() - begin, 0.7)
            self.assertLess(time.monotonic() - begin, 3 * SLOW)
            self.assertRegex(node.log_text(), f'event=mount_in_use .*job_id="job" pid={holder.pid} command="sleep" how="directory"')
            node.start()
            self.assertEqual(node.client.state(node.client.GetMount(job_id='job')), 'READY')

    def test_a_second_signal_ends_the_wait(self):
        with self.node(extra='drain: {timeout: 60s}') as node:
            node.mount('job')
            node.process.send_signal(signal.SIGTERM)
            wait_until(lambda: node.client.Drain().stopping, 10, 'it stops')
            node.process.send_signal(signal.SIGTERM)
            self.assertEqual(node.wait(5), 0)

    def test_cli(self):
        with self.node(extra='drain: {timeout: 60s}') as node:
            node.mount('job')
            self.assertEqual(node.cli('node', 'drain').stdout, 'draining, 1 mounts left\n')
            self.assertEqual(node.cli('node', 'undrain').stdout, 'takes new mounts, 1 mounts left\n')
            self.assertEqual(node.cli('node', 'undrain', '--wait', check=False).returncode, 2)
            waits = subprocess.Popen([*self.coppice(node), 'node', 'drain', '--wait', '--stop'], stdout=subprocess.DEVNULL)
            wait_until(lambda: node.client.Drain().stopping, 10, 'it stops')
            node.delete('job')
            self.assertEqual(waits.wait(20 * SLOW), 0)
            self.assertEqual(node.wait(10), 0)

    def coppice(self, node):
        return [os.path.join(os.environ['COPPICE_BIN'], 'coppice'), '--address', node.address]


if __name__ == '__main__':
    unittest.main()
