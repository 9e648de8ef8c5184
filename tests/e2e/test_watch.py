# SPDX-License-Identifier: Apache-2.0
"""WatchMounts: the present state first, then every change in order; resumable, also over a restart."""
import os
import shutil
import tempfile
import unittest

import repo_maker
from node import Node

PRESENT, SYNCED, CHANGED, REMOVED = 1, 2, 3, 4


class Watch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-watch-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo_maker.make(cls.repository, files=5)

    def until(self, events, condition):
        """Events up to the one that meets the condition; their sequence must grow."""
        seen = []
        for event in events:
            seen.append(event)
            if condition(event):
                return seen
        self.fail(f'the stream ended after {seen}')

    def changes(self, node, events):
        return [(e.kind, e.mount.job_id, node.client.state(e.mount)) for e in events]

    def test_state_then_changes(self):
        with Node({'demo': self.repository}) as node:
            for job in ('a', 'b'):
                node.mount(job)
            events = node.client.WatchMounts()
            first = self.until(events, lambda e: e.kind == SYNCED)
            self.assertEqual([(e.kind, e.mount.job_id) for e in first[:-1]], [(PRESENT, 'a'), (PRESENT, 'b')])
            self.assertFalse(first[-1].HasField('mount'))

            node.mount('c', labels=[{'key': 'k', 'value': 'v'}])
            node.client.UpdateMount(job_id='a', update_mask=['quota'], quota={'bytes': 1 << 20, 'inodes': 5})
            node.delete('b')
            later = self.until(events, lambda e: e.kind == REMOVED)
            self.assertEqual(self.changes(node, later), [
                (CHANGED, 'c', 'PROVISIONING'), (CHANGED, 'c', 'READY'), (CHANGED, 'a', 'READY'), (CHANGED, 'b', 'DELETING'),
                (REMOVED, 'b', 'DELETED')])
            self.assertEqual(later[2].mount.quota.inodes, 5)
            self.assertEqual(later[1].mount.labels[0].value, 'v')
            numbers = [e.sequence for e in later]
            self.assertEqual(numbers, sorted(set(numbers)))
            self.assertGreater(later[0].time.seconds, 1_600_000_000)
            events.close()

            with self.subTest('resumed'):
                events = node.client.WatchMounts(since_sequence=later[1].sequence)
                rest = self.until(events, lambda e: e.kind == REMOVED)
                self.assertEqual([e.sequence for e in rest], numbers[2:])
                events.close()
            with self.subTest('one mount only'):
                events = node.client.WatchMounts(mount_id=node.client.GetMount(job_id='a').mount_id)
                only = self.until(events, lambda e: e.kind == SYNCED)
                self.assertEqual([e.mount.job_id for e in only[:-1]], ['a'])
                node.mount('noise')
                node.delete('a')
                self.assertEqual({e.mount.job_id for e in self.until(events, lambda e: e.kind == REMOVED)}, {'a'})
                events.close()

    def test_resumed_over_a_restart(self):
        with Node({'demo': self.repository}) as node:
            node.mount('a')
            events = node.client.WatchMounts()
            last = self.until(events, lambda e: e.kind == SYNCED)[-1].sequence
            events.close()
            node.stop()
            node.start()
            node.mount('b')
            events = node.client.WatchMounts(since_sequence=last)
            seen = self.until(events, lambda e: e.kind == CHANGED and e.mount.job_id == 'b' and node.client.state(e.mount) == 'READY'
                              or e.kind == SYNCED)
            self.assertIn('b', {e.mount.job_id for e in seen})
            self.assertGreater(max(e.sequence for e in seen), last, 'numbers go on over a restart')
            events.close()

    def test_many_watchers(self):
        with Node({'demo': self.repository}) as node:
            streams = [node.client.WatchMounts() for _ in range(50)]
            for events in streams:
                self.until(events, lambda e: e.kind == SYNCED)
            node.mount('job')
            for events in streams:
                seen = self.until(events, lambda e: node.client.state(e.mount) == 'READY')
                self.assertEqual(self.changes(node, seen), [(CHANGED, 'job', 'PROVISIONING'), (CHANGED, 'job', 'READY')])
                events.close()


if __name__ == '__main__':
    unittest.main()
