# SPDX-License-Identifier: Apache-2.0
"""The private mirror of a Git server has a budget: beyond it the oldest packs go, while commits come and mounts read."""
import os
import shutil
import subprocess
import tempfile
import time
import unittest

import repo_maker
from git_server import HttpServer
from node import Node, wait_until
from tree_compare import Comparison, git_archive

BUDGET = 1 << 20
OLD_S = 7  # packs that are younger than 5 s stay


class GitMirror(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-gitmirror-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.path = os.path.join(cls.folder, 'r.git')
        repo = repo_maker.Repo(cls.path)
        repo.begin()
        for i in range(16):
            repo.add(b'd%02d/file' % i, os.urandom(300000))
        cls.commit = repo.finish()
        cls.want = git_archive(cls.path, cls.commit, os.path.join(cls.folder, 'want'))

    def setUp(self):
        server = HttpServer(self.folder, {'r.git': self.path}, object_info=True)
        self.enterContext(server)
        self.node = self.enterContext(Node({'demo': {'url': server.url('r.git'), 'mirror_size': '1MiB', 'refresh': '1ms'}}))
        self.root = self.node.mount('job').root

    def read_all(self):
        self.assertEqual(Comparison(self.want, self.root).differences, [])
        self.assertGreater(self.packs(), BUDGET)

    def read(self, folder):
        with open(os.path.join(self.root, folder, 'file'), 'rb') as file:
            return file.read()

    def packs(self):
        """Bytes below objects/pack; a file that goes meanwhile is none of them."""
        folder, size = self.node.path('data', 'origins', 'demo', 'mirror.git', 'objects', 'pack'), 0
        for name in os.listdir(folder):
            try:
                size += os.path.getsize(os.path.join(folder, name))
            except FileNotFoundError:
                pass
        return size

    def mount_a_new_commit(self):
        """The same files; one pack comes in."""
        def git(*args):
            return subprocess.run(['git', '-c', 'safe.directory=*', '-C', self.path, '-c', 'user.name=a', '-c', 'user.email=a@b', *args],
                                  check=True, capture_output=True, text=True, timeout=60).stdout.strip()
        text = str(time.monotonic())
        made = git('commit-tree', '-m', text, '-p', self.commit, self.commit + '^{tree}')
        git('update-ref', 'refs/heads/main', made)
        mount = self.node.mount(f'job{text}')
        self.assertEqual(mount.commit, made)
        return mount.root

    def assert_trimmed(self):
        wait_until(lambda: self.packs() < BUDGET, 10, 'the oldest packs go')
        self.node.assert_logs('mirror_trimmed')
        self.assertEqual(Comparison(self.want, self.root).differences, [])

    def test_commit_that_comes_over_the_budget_trims_the_mirror(self):
        """Not while it comes, for the server was told what is here; but then, and not only with the next."""
        self.read_all()
        time.sleep(OLD_S)
        root = self.mount_a_new_commit()
        self.assert_trimmed()
        self.assertEqual(Comparison(self.want, root).differences, [])

    def test_commits_come_while_the_mirror_is_trimmed(self):
        """Each can take away some packs, and with them what it knew of complete commits; all are mounted."""
        begin = time.monotonic()
        for i in range(160):  # files become old one after another: it is over its budget for long, and trims often
            if i % 10 == 0:
                self.assertEqual(len(self.read(f'd{i // 10:02d}')), 300000)
            self.mount_a_new_commit()
            time.sleep(max(0, begin + (i + 1) * OLD_S / 80 - time.monotonic()))
        self.assertGreater(self.node.log_text().count('mirror_trimmed'), 1)
        time.sleep(OLD_S)
        root = self.mount_a_new_commit()
        self.assert_trimmed()
        self.assertEqual(Comparison(self.want, root).differences, [])

    def test_what_was_trimmed_is_fetched_again(self):
        self.read_all()
        time.sleep(OLD_S)
        self.mount_a_new_commit()
        self.assert_trimmed()
        self.node.stop()
        shutil.rmtree(self.node.path('data', 'blobs'))
        shutil.rmtree(self.node.path('data', 'index'))
        self.node.start()  # nothing is left but what the mirror has
        self.assertEqual(Comparison(self.want, self.root).differences, [])


if __name__ == '__main__':
    unittest.main()
