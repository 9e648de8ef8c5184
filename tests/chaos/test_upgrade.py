# SPDX-License-Identifier: Apache-2.0
"""The daemon is replaced in the middle of work: every request is answered once, by the old one or by the new one, and none is sent
again but those whose origin takes too long to be waited for; a new one that cannot run does not get that far, and one that dies before it
serves is followed by the old one.

  --long: fifty upgrades, 20,000 files, and the other loads too; --seed N: the same changes again. COPPICE_OTHER_BUILD names another build of coppiced, which then
  takes turns with ours; without it they differ in their last bytes only.
"""
import argparse
import concurrent.futures
import hashlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import unittest
import urllib.request

import repo_maker
from coppice_client import CallError
from delay_proxy import DelayProxy
from fire import keeper_lines, under_fire
from git_server import HttpServer
from killer import Probe, Striker, answers, daemon_of
from loads import LOADS, World
from node import SLOW, Node, program, wait_until
from tree_compare import git_archive

HAND_OVER_S = 5  # how long requests are waited for

options = argparse.Namespace(upgrades=4, seed='1', world={})


def digest(path):
    with open(path, 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest()


class Upgrading(Node):
    """A node whose program can be replaced, as by a package."""

    def __init__(self, *args, **keywords):
        super().__init__(*args, **{'keeper': True, 'http': '127.0.0.1:0', **keywords})
        self.program = self.path('bin', 'coppiced')
        os.mkdir(self.path('bin'))
        self.builds = 0
        self.install()

    def install(self, script=None):
        """Another build of the program under the same name, or a script that behaves as one."""
        self.builds += 1
        new = self.program + '.new'
        other = os.environ.get('COPPICE_OTHER_BUILD') if self.builds % 2 else None
        if script:
            with open(new, 'w', encoding='ascii') as f:
                f.write('#!/bin/sh\n' + script)
        else:
            shutil.copyfile(other or program('coppiced'), new)
            with open(new, 'ab') as f:
                f.write(b'build %d' % self.builds)
        os.chmod(new, 0o755)
        os.rename(new, self.program)
        return os.stat(self.program).st_ino

    def command(self, *args):
        keeper, _, *rest = super().command(*args)
        return [keeper, self.program, *rest]

    def running(self):
        """The file that the daemon runs; 0: none does."""
        try:
            return os.stat(f'/proc/{daemon_of(self.process.pid)}/exe').st_ino
        except FileNotFoundError:
            return 0

    def count(self, name):
        port = re.findall(r'protocol="http" port=(\d+)', self.log_text())[-1]
        with urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics', timeout=20 * SLOW) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


class Upgrader(Striker):
    """Each strike is an upgrade: no request is sent again, nothing was half done, nobody died."""

    fetches_may_be_left = False

    def wait(self):
        time.sleep(self.random.uniform(0.02, 0.6))

    def run(self, alive):
        deaths = self.node.log_text().count('child_died')
        super().run(alive)
        if self.node.log_text().count('child_died') != deaths:
            raise AssertionError('a daemon died:\n' + '\n'.join(keeper_lines(self.node)))

    def strike(self):
        before, ino, said = self.node.running(), self.node.install(), len(self.node.log_text())
        if 'has taken over' not in self.node.cli('node', 'upgrade').stdout or before == ino or self.node.running() != ino:
            raise AssertionError(f'{before} still runs instead of {ino}')
        left = [int(n) for n in re.findall(r'event=handed_over_unfinished requests=(\d+)', self.node.log_text()[said:])]
        if left and not self.fetches_may_be_left:
            raise AssertionError(f'it has left {left} requests to be sent again')
        counts = {name: self.node.count('coppice_takeover_' + name) for name in ('sessions_total', 'requests_total', 'intents_total')}
        if counts['requests_total'] > sum(left) or (counts['sessions_total'], counts['intents_total']) != (1, 0):
            raise AssertionError(f'sent again or half done: {counts}, of which {left} were left on purpose')
        return True


class UpgraderOfFetches(Upgrader):
    """On a busy machine a fetch can take longer than a hand-over waits for it. The daemon says so, and how many are left."""
    fetches_may_be_left = True


class Upgrade(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-upgrade-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo_maker.make(cls.repository, files=300)
        cls.outside = git_archive(cls.repository, 'main', os.path.join(cls.folder, 'outside'))

    def job(self, node):
        """An open file in a workspace: what must survive."""
        root = node.mount('job').root
        fd = os.open(root + '/open', os.O_RDWR | os.O_CREAT, 0o600)
        os.write(fd, b'before')
        return fd

    def check_job(self, fd):
        os.lseek(fd, 0, os.SEEK_END)
        os.write(fd, b' and after')
        self.assertEqual(os.pread(fd, 100, 0), b'before and after')
        os.close(fd)

    def upgrades_under(self, name, upgrader=Upgrader):
        with World(seed=options.seed, **options.world) as world:
            under_fire(LOADS[name](world), options.upgrades, options.seed, upgrader, Upgrading)

    def test_storm(self):
        self.upgrades_under('storm')

    def test_sqlite(self):
        self.upgrades_under('sqlite')

    def test_workflow(self):
        self.upgrades_under('workflow')

    def test_remote(self):
        self.upgrades_under('remote', UpgraderOfFetches)

    def test_a_fetch_that_hangs_is_made_again(self):
        """It holds nobody up for long: neither the upgrade, nor those who need nothing of that origin."""
        with HttpServer(self.folder, {'repo.git': self.repository}) as server, DelayProxy(('127.0.0.1', server.port)) as proxy:
            url = server.url('repo.git').replace(str(server.port), str(proxy.port))
            with Upgrading({'demo': self.repository, 'far': url}) as node, concurrent.futures.ThreadPoolExecutor() as pool:
                fd, path = self.job(node), node.mount('waits', origin='far').root + '/README'
                proxy.set(hang=True)
                read = pool.submit(digest, path)
                wait_until(lambda: node.count('coppice_fuse_parked{') == 1, 20, 'it is waited for')
                ino, probe = node.install(), Probe(node.mount('probe').root + '/probe')
                probe.start()
                node.client.Upgrade()
                wait_until(lambda: node.running() == ino and answers(node), 30, 'the new one runs')
                probe.stop()
                node.assert_logs('event=handed_over_unfinished requests=1')
                self.assertLess(max(end - begin for begin, end in probe.spans), HAND_OVER_S + 3 * SLOW)
                self.assertFalse(read.done())
                wait_until(lambda: node.count('coppice_takeover_requests_total{kind="resent"') == 1, 20, 'it is sent again')
                proxy.set(hang=False)
                self.assertEqual(read.result(60 * SLOW), digest(os.path.join(self.outside, 'README')))
                self.check_job(fd)

    def test_signal(self):
        with Upgrading({'demo': self.repository}) as node:
            fd, ino = self.job(node), node.install()
            node.process.send_signal(signal.SIGUSR2)
            wait_until(lambda: node.running() == ino, 20, 'the new one runs')
            self.check_job(fd)
            wait_until(lambda: answers(node), 20, 'the new one answers')

    def refused(self, node, reason):
        with self.assertRaises(CallError) as caught:
            node.client.Upgrade()
        self.assertEqual((caught.exception.code, caught.exception.reason), ('FAILED_PRECONDITION', reason))
        return caught.exception.message

    def test_one_that_cannot_run_is_not_tried(self):
        with Upgrading({'demo': self.repository}) as node:
            fd, old, pid = self.job(node), node.running(), daemon_of(node.process.pid)
            node.install('echo "a library is missing" >&2; exit 4')
            self.assertIn('a library is missing', self.refused(node, 'SELF_CHECK_FAILED'))
            node.process.send_signal(signal.SIGUSR2)
            wait_until(lambda: 'event=upgrade_refused' in node.log_text(), 20, 'it says so')
            self.assertEqual((node.running(), daemon_of(node.process.pid)), (old, pid))
            node.install()
            with open(node.data + '/formats', 'a', encoding='ascii') as f:
                f.write('overlay 99\n')
            self.assertIn('overlay of format 99', self.refused(node, 'SELF_CHECK_FAILED'))
            self.assertEqual(daemon_of(node.process.pid), pid)
            self.check_job(fd)

    def test_one_that_dies_is_followed_by_the_old_one(self):
        with Upgrading({'demo': self.repository}) as node:
            fd, old, pid = self.job(node), node.running(), daemon_of(node.process.pid)
            node.install('case "$*" in *--self-check*) exit 0;; esac; exit 3')
            node.client.Upgrade()
            wait_until(lambda: 'keeper going_back' in node.log_text(), 20, 'the keeper goes back')
            self.check_job(fd)  # waits for the one that comes back
            wait_until(lambda: answers(node), 20, 'it answers')
            self.assertEqual(node.running(), old)
            self.assertNotEqual(daemon_of(node.process.pid), pid)

    def test_the_other_build_comes_after_all_have_died(self):
        """No hand-over, nobody keeps anything: what one build left on the disk and mounted the other brings back, and the other way round."""
        with Upgrading({'demo': self.repository}) as node:
            point = node.path('bound')
            root = node.mount('job', mountpoint=point).root
            for i in range(3):  # ours is the last
                with open(f'{root}/made{i}', 'x', encoding='ascii'):
                    daemon = daemon_of(node.process.pid)
                node.kill()
                os.kill(daemon, signal.SIGKILL)
                wait_until(lambda pid=daemon: not os.path.exists(f'/proc/{pid}'), 20, 'the daemon has ended')
                node.install()
                node.start()
                self.assertEqual([name for name in sorted(os.listdir(point)) if name.startswith('made')], [f'made{k}' for k in range(i + 1)])
                node.mount(f'more{i}')
            node.delete('job')
            self.assertFalse(os.path.exists(point))

    def test_nobody_keeps_the_sessions(self):
        with Node({'demo': self.repository}) as node:
            self.refused(node, 'NOT_KEPT')


class OtherLoads:
    """With --long only."""

    def test_checksums(self):
        self.upgrades_under('checksums')

    def test_make(self):
        self.upgrades_under('make')

    def test_git(self):
        self.upgrades_under('git')

    def test_calls(self):
        self.upgrades_under('calls')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('--long', action='store_true')
    parser.add_argument('--seed', default=options.seed)
    known, rest = parser.parse_known_args()
    options.seed = known.seed
    if known.long:
        Upgrade = type('Upgrade', (Upgrade, OtherLoads), {})
        options.upgrades, options.world = 50, {'files': 20_000, 'revisions': 60}
    unittest.main(argv=[sys.argv[0], *rest])
