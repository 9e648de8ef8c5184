# SPDX-License-Identifier: Apache-2.0
"""Commits and pushes that a kill of the daemon cuts off: asked for again they find what happened, and nothing happens twice."""
import concurrent.futures
import os
import shutil
import signal
import tempfile
import time
import unittest

import repo_maker
from coppice_client import CallError
from node import SLOW, Node, wait_until
from twin import git

FILES = 400


class CutOff(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='cop-cut-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.repository = os.path.join(self.folder, 'repo.git')
        repo_maker.make(self.repository, files=20)
        self.node = Node({'demo': {'url': self.repository}}, keeper=True,
                         tenants='  - {name: ops, admin: true, identities: [{unix_uid: 0}], origins: [{name: demo, push: true}]}\n')
        self.node.__enter__()
        self.addCleanup(self.node.close)
        self.root = self.node.mount('job').root

    def kill(self):
        pid = self.node.below_keeper()
        os.kill(pid, signal.SIGKILL)

        def answers():
            try:
                return self.node.below_keeper() != pid and self.node.client.GetNode(timeout=20 * SLOW, wait_for_ready=True)
            except (CallError, IndexError):
                return False
        wait_until(answers, 30, 'the next daemon answers')

    def head(self):
        return [m.head.head_commit for m in self.node.client.Status(workspace={'job_id': 'job'}) if m.HasField('head')][-1]

    def stage(self, name):
        os.mkdir(f'{self.root}/{name}')
        for i in range(FILES):
            with open(f'{self.root}/{name}/f{i}', 'w', encoding='ascii') as f:
                f.write(f'{name} {i}\n')
        self.node.cli('add', 'job', '-A')

    def commit(self, message, before):
        return self.node.client.future('Commit', workspace={'job_id': 'job', 'expected_head': before}, message=message,
                                       author={'name': 'A', 'email': 'a@example.org'})

    def push(self):
        return list(self.node.client.Push(workspace={'job_id': 'job'}, ref='result'))[-1].result

    def test_commit(self):
        before = self.head()
        for number in range(5):
            self.stage(f'n{number}')
            call = self.commit(f'number {number}', before)
            time.sleep(0.015 * number)  # before, in the middle, after
            self.kill()
            cut = call.exception(timeout=30 * SLOW) is not None
            try:
                self.node.client.result(self.commit(f'number {number}', before))
            except CallError as e:
                self.assertIn(e.reason, ('HEAD_CHANGED',) if cut else ('HEAD_CHANGED', 'NOTHING_TO_COMMIT'), e)
            self.assertNotEqual(self.head(), before)
            before = self.head()
        self.node.cli('push', 'job', '--ref', 'result')
        subjects = git(self.repository, 'log', '--format=%s', 'main..result').decode().split('\n')
        self.assertEqual([s for s in subjects if s], [f'number {n}' for n in (4, 3, 2, 1, 0)])
        for n in range(5):
            self.assertEqual(len(git(self.repository, 'ls-tree', '--name-only', f'result:n{n}').decode().split()), FILES)
        self.assertEqual(git(self.repository, 'fsck', '--strict', '--no-dangling'), b'')

    def test_push(self):
        self.stage('pushed')
        self.node.client.result(self.commit('pushed', self.head()))
        commit, hook = self.head(), self.repository + '/hooks/pre-receive'
        with open(hook, 'w', encoding='ascii') as f:
            f.write(f'#!/bin/sh\n: >{self.folder}/began\nwhile [ ! -e {self.folder}/go ]; do sleep 0.05; done\n')
        os.chmod(hook, 0o755)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            cut = pool.submit(self.push)
            wait_until(lambda: os.path.exists(self.folder + '/began'), 20, 'the server looks at it')
            self.kill()
            with self.assertRaises(CallError):
                cut.result(30 * SLOW)
        with open(self.folder + '/go', 'wb'):
            pass
        result = self.push()  # which meets the one that was cut off
        self.assertEqual(result.new, commit)
        self.assertEqual(git(self.repository, 'rev-parse', 'result').decode().strip(), commit)
        self.assertTrue(self.push().up_to_date)


if __name__ == '__main__':
    unittest.main()
