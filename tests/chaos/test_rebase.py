# SPDX-License-Identifier: Apache-2.0
"""The daemon dies right before and after each step that a rebase writes down (dying.c), while a job has all the files open in the kernel's
caches. What follows shows the old or the new whole, and nothing of the plan is left.

It dies again while it goes on with that, too.

  --long: before each step, too, and all of it three times; each second death after each first one
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from coppice_client import CallError
from fire import renew
from folder import files_of, put, read
from killer import answers, daemon_of
from node import SLOW, wait_until
from test_steps import DyingNode
from twin import git

LINES = [f'line {i}' for i in range(30)]
# What a rebase does, in this order: a call of it, when to die, and whether the rebase is then made by the one that comes after; None: either,
# as how many writes a record takes is the database's.
STEPS = (
    ('renameat 1 plan', 'before', False), ('renameat 1 plan', 'after', False),              # what is to be done is written down,
    ('renameat 1 state.next', 'before', False), ('renameat 1 state.next', 'after', False),  # and what HEAD and the index will be;
    ('pwrite 2 state.next', 'before', None), ('pwrite 2 state.next', 'after', None),        # the mount's record says where to;
    ('renameat 1 same1', 'before', True), ('renameat 1 same1', 'after', True),              # what became equal leaves the upper,
    ('renameat 1 state', 'before', True), ('renameat 1 state', 'after', True),              # HEAD and the index are those,
    ('renameat2 1 set1', 'before', True), ('renameat2 1 set1', 'after', True),              # files are set,
    ('unlinkat 1 plan', 'before', True), ('unlinkat 1 plan', 'after', True))                # and the plan is done
# Where the next daemon dies while it goes on with that: what it writes down, in this order, and what it tells the kernel. Those that it does not
# come to are kills of one that has done all of it.
AGAIN = [f'pwrite after {count}' for count in range(1, 7)] + [f'writev before {count}' for count in (1, 2, 4)] + ['unlinkat before 1 plan']
AGAIN_SHORT = ('unlinkat before 1 plan', 'writev before 2')
options = argparse.Namespace(long=False)


def text(**changes):
    """The lines, some of them others: text(l3='x')."""
    return ''.join(changes.get(f'l{i}', line) + '\n' for i, line in enumerate(LINES))


BASE = {'set1': text(), 'd/set2': text(), 'staged': text(), 'keep': 'k\n', 'gone': text()}
THEIRS = {'set1': text(l3='theirs'), 'd/set2': text(l3='theirs'), 'same1': 's\n', 'd/same2': 's\n', 'new': 'n\n', 'gone': None}
COMMITTED = {'set1': text(l20='mine'), 'd/set2': text(l20='mine'), 'd/own': 'o\n'}
UNSTAGED = {'same1': 's\n', 'd/same2': 's\n', 'keep': 'not committed\n', 'untracked': 'u\n'}
OLD = BASE | COMMITTED | {'staged': text(l9='staged')} | UNSTAGED
OLD_STATUS = [' M keep', 'M  staged', '?? d/same2', '?? same1', '?? untracked']
NEW = {path: data for path, data in (OLD | THEIRS).items() if data} | {p: text(l3='theirs', l20='mine') for p in ('set1', 'd/set2')}
NEW_STATUS = [' M keep', 'M  staged', '?? untracked']


class Rebase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-chaos-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo')
        subprocess.run(['git', 'init', '-q', '-b', 'base', cls.repository], check=True)
        for branch, files in (('base', BASE), ('theirs', THEIRS)):
            git(cls.repository, 'checkout', '-q', '-B', branch)
            put(cls.repository, files)
            git(cls.repository, 'add', '-A')
            git(cls.repository, 'commit', '-q', '-m', branch)

    def prepare(self, node, job):
        root = node.mount(job, revision='base').root
        put(root, COMMITTED)
        node.cli('add', job, '-A')
        node.cli('commit', job, '-m', 'mine', '--author', 'A U Thor <author@example.org>')
        put(root, {'staged': OLD['staged']})
        node.cli('add', job, '-A')
        put(root, UNSTAGED)
        self.check(node, job, root, (OLD, OLD_STATUS))
        return root

    def check(self, node, job, root, want):
        by_name = {path: read(root, path) for path in want[0]}  # first: to list a directory brings new what the kernel remembers of it
        status = sorted(node.cli('status', job, '--untracked', 'all').stdout.splitlines())
        self.assertEqual((by_name, files_of(root), status), (want[0], want[0], sorted(want[1])))

    def die(self, node, job):
        """A rebase that the daemon does not survive."""
        pid = daemon_of(node.process.pid)
        call = node.client.future('Rebase', job_id=job, revision='theirs', timeout=60 * SLOW)
        wait_until(lambda: daemon_of(node.process.pid) != pid, 30, 'the daemon dies of the rebase')
        wait_until(lambda: daemon_of(node.process.pid) and answers(node), 30, 'the next daemon answers')
        call.cancel()

    def die_again(self, node):
        """The next one has an order too; one that lived to see the end of its start is killed."""
        if node.ordered():
            raise AssertionError('the first one has not died of its order')
        renew(node)

    def strike(self, node, job, orders, made):
        root = self.prepare(node, job)
        before = node.client.GetMount(job_id=job)
        plan = os.path.join(node.data, 'workspaces', before.mount_id, 'git/plan')
        node.order(orders)
        renew(node)  # what came until here did not count
        self.assertEqual(files_of(root), OLD)
        self.die(node, job)
        if len(orders) > 1:
            self.die_again(node)
        after = node.client.GetMount(job_id=job)
        if made is None:
            made = after.generation != before.generation
        self.assertEqual((node.client.state(after), after.generation), ('READY', before.generation + made))
        if made:
            self.assertFalse(os.path.exists(plan), 'the plan was not ended')
        else:
            self.check(node, job, root, (OLD, OLD_STATUS))
            node.client.Rebase(job_id=job, revision='theirs')
        self.check(node, job, root, (NEW, NEW_STATUS))
        self.assertFalse(os.path.exists(plan))
        node.delete(job)

    def test_every_step(self):
        with DyingNode({'demo': self.repository}, keeper=True) as node:
            for i, (step, stage, made) in enumerate(3 * STEPS if options.long else [s for s in STEPS if s[1] == 'after']):
                with self.subTest(step=step, stage=stage):
                    call, count, name = step.split()
                    self.strike(node, f'job-{i}', [f'{call} {stage} {count} 0 {name}'], made)

    def test_dies_again_while_it_goes_on(self):
        firsts = ('renameat after 1 0 same1', 'renameat after 1 0 state', 'pwrite after 2 0 state.next')
        with DyingNode({'demo': self.repository}, keeper=True) as node:
            pairs = [(first, second) for first in firsts for second in AGAIN] if options.long else list(zip(firsts, AGAIN_SHORT))
            for i, (first, second) in enumerate(pairs):
                call, stage, count, *name = second.split()
                with self.subTest(first=first, second=second):
                    self.strike(node, f'job-{i}', [first, ' '.join([call, stage, count, '0', *name])], None if 'pwrite' in first else True)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('--long', action='store_true')
    known, rest = parser.parse_known_args()
    options.long = known.long
    unittest.main(argv=[sys.argv[0], *rest])
