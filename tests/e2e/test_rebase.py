# SPDX-License-Identifier: Apache-2.0
"""Moving a workspace to another revision while it is used: what the job changed stays, what became equal leaves, what changed on both sides is a
conflict that changes nothing unless a side is chosen. A random run is compared with what Git says the merge of each path is."""
import os
import random
import shutil
import subprocess
import tempfile
import time
import unittest

import repo_maker
from coppice_client import CallError
from node import Node, release_build, wait_until
from tree_compare import Comparison, git_archive


def git(repository, *args):
    return subprocess.run(['git', '-C', repository, *args], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def read(*path):
    with open(os.path.join(*path), 'rb') as f:
        return f.read()


def write(data, *path):
    os.makedirs(os.path.dirname(os.path.join(*path)), exist_ok=True)
    with open(os.path.join(*path), 'wb') as f:
        f.write(data)


def files_of(root):
    found = {}
    for at, _, names in os.walk(root):
        for name in names:
            path = os.path.join(at, name)
            found[os.path.relpath(path, root)] = read(path)
    return found


class Rebase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-rebase-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo = repo_maker.Repo(cls.repository)
        base = {b'a': b'a1\n', b'b': b'b1\n', b'dir/x': b'x1\n', b'dir/y': b'y1\n', b'gone/z': b'z1\n', b'keep/k': b'k\n'}
        new = base | {b'b': b'b2\n', b'dir/y': b'y2\n', b'dir/new': b'n\n', b'fresh/f': b'f\n'}
        del new[b'gone/z']
        for name, files in (('base', base), ('main', base), ('new', new)):
            repo.begin(ref=b'refs/heads/' + name.encode())
            for file, data in files.items():
                repo.add(file, data)
        repo.finish()
        cls.node = Node({'demo': cls.repository})
        cls.node.start()
        cls.addClassCleanup(cls.node.close)

    def mount(self, job, **fields):
        fields.setdefault('revision', 'base')
        mount = self.node.mount(job, **fields)
        self.addCleanup(self.node.client.DeleteMount, job_id=job)
        files_of(mount.root)
        return mount

    def rebase(self, job, revision='new', **fields):
        return self.node.client.Rebase(job_id=job, revision=revision, **fields)

    def usage(self, job):
        return self.node.client.GetMount(job_id=job).usage

    def conflicts(self, job, **fields):
        before = self.node.client.GetMount(job_id=job)
        shown = files_of(before.root)
        with self.assertRaises(CallError) as caught:
            self.rebase(job, **fields)
        self.assertEqual((caught.exception.code, caught.exception.reason), ('FAILED_PRECONDITION', 'REBASE_CONFLICT'))
        after = self.node.client.GetMount(job_id=job)
        self.assertEqual((after.commit, after.generation), (before.commit, before.generation))
        self.assertEqual(files_of(before.root), shown)
        return caught.exception

    def test_untouched(self):
        mount = self.mount('untouched')
        after = self.rebase('untouched')
        self.assertEqual(after.commit, git(self.repository, 'rev-parse', 'new'))
        self.assertEqual((after.revision, after.generation), ('new', mount.generation + 1))
        self.assertEqual(Comparison(git_archive(self.repository, 'new', self.folder + '/untouched'), mount.root).differences, [])
        self.assertEqual(self.rebase('untouched').generation, after.generation)

    def test_what_only_the_job_changed_stays(self):
        root = self.mount('mine').root
        write(b'mine\n', root, 'a')
        write(b'own\n', root, 'own/file')
        os.unlink(root + '/keep/k')
        self.rebase('mine')
        self.assertEqual(files_of(root), {'a': b'mine\n', 'own/file': b'own\n', 'b': b'b2\n', 'dir/x': b'x1\n', 'dir/y': b'y2\n', 'dir/new': b'n\n',
                                          'fresh/f': b'f\n'})

    def test_what_became_equal_leaves_and_gives_its_quota_back(self):
        root = self.mount('equal').root
        before = self.usage('equal')
        write(b'b2\n', root, 'b')
        write(b'y2\n', root, 'dir/y')
        os.unlink(root + '/gone/z')
        os.rmdir(root + '/gone')
        with open(root + '/b', 'rb') as held:
            self.rebase('equal')
            self.assertEqual(held.read(), b'b2\n')
        self.assertEqual(files_of(root), {'a': b'a1\n', 'b': b'b2\n', 'dir/x': b'x1\n', 'dir/y': b'y2\n', 'dir/new': b'n\n', 'fresh/f': b'f\n',
                                          'keep/k': b'k\n'})
        wait_until(lambda: self.usage('equal').bytes == before.bytes, 10, 'the kernel has forgotten what was held open')
        self.assertFalse(os.path.exists(root + '/gone'))

    def test_conflicts_are_listed_and_nothing_changes(self):
        root = self.mount('both').root
        write(b'mine\n', root, 'b')
        write(b'mine\n', root, 'dir/new')
        write(b'mine\n', root, 'gone/z')
        os.unlink(root + '/dir/y')
        error = self.conflicts('both')
        self.assertEqual(error.metadata['paths'], '4')
        for path in ('"b" was changed on both sides', '"dir/new" was added on both sides', '"dir/y" was removed here and changed there'):
            self.assertIn(path, str(error))

    def test_one_side_may_be_chosen(self):
        for choice, shown in (('KEEP_MINE', {'b': b'mine\n', 'dir/new': b'mine\n', 'gone/z': b'mine\n'}),
                              ('TAKE_THEIRS', {'b': b'b2\n', 'dir/new': b'n\n', 'dir/y': b'y2\n'})):
            root = self.mount(choice).root
            write(b'mine\n', root, 'b')
            write(b'mine\n', root, 'dir/new')
            write(b'mine\n', root, 'gone/z')
            write(b'stays\n', root, 'own')
            os.unlink(root + '/dir/y')
            self.rebase(choice, on_conflict=choice)
            self.assertEqual(files_of(root), {'a': b'a1\n', 'dir/x': b'x1\n', 'fresh/f': b'f\n', 'keep/k': b'k\n', 'own': b'stays\n'} | shown)

    def test_a_directory_on_one_side_is_always_a_conflict(self):
        root = self.mount('shapes').root
        write(b'a file\n', root, 'fresh')
        self.assertIn('fresh', str(self.conflicts('shapes', on_conflict='TAKE_THEIRS')))
        os.unlink(root + '/fresh')
        shutil.rmtree(root + '/dir')
        self.assertIn('dir/', str(self.conflicts('shapes', on_conflict='KEEP_MINE')))

    def test_status_and_commit_after(self):
        root = self.mount('after').root
        write(b'mine\n', root, 'a')
        self.node.client.Add(workspace={'job_id': 'after'}, all=True)
        self.node.client.Reset(workspace={'job_id': 'after'})
        self.rebase('after')
        entries = [e for m in self.node.client.stream('Status', workspace={'job_id': 'after'}) for e in m.entries]
        self.assertEqual([e.path for e in entries], [b'a'])
        self.node.client.Add(workspace={'job_id': 'after'}, all=True)
        made = self.node.client.Commit(workspace={'job_id': 'after'}, message='m', author={'name': 'n', 'email': 'e'})
        self.assertEqual(list(made.parents), [git(self.repository, 'rev-parse', 'new')])

    def test_fetch_tells_what_the_origin_has_by_now(self):
        git(self.repository, 'branch', '-f', 'moving', 'base')
        mount = self.mount('moving', revision='moving')
        told = self.node.client.Fetch(workspace={'job_id': 'moving'})
        self.assertEqual((told.commit, told.moved), (mount.commit, False))
        git(self.repository, 'branch', '-f', 'moving', 'new')
        told = self.node.client.Fetch(workspace={'job_id': 'moving'})
        self.assertEqual((told.commit, told.moved), (git(self.repository, 'rev-parse', 'new'), True))
        self.assertEqual(self.node.client.GetMount(job_id='moving').commit, mount.commit)
        self.assertEqual(self.node.client.Rebase(job_id='moving').commit, told.commit)
        with self.assertRaises(CallError) as caught:
            self.node.client.Fetch(workspace={'job_id': 'moving'}, revision='nowhere')
        self.assertEqual(caught.exception.reason, 'REVISION_NOT_FOUND')

    def test_with_a_change_list(self):
        root = self.mount('listed', change_list={'range': 'base..new'}).root
        self.assertEqual(read(root, 'b'), b'b2\n')
        after = self.rebase('listed', revision='new')  # it has what the change list wants
        self.assertEqual(read(root, 'b'), b'b2\n')
        after = self.node.client.ClearChangeList(job_id='listed', expected_generation=after.generation)
        self.assertEqual(Comparison(git_archive(self.repository, 'new', self.folder + '/listed'), root).differences, [])

    def test_expected_generation(self):
        mount = self.mount('stale')
        with self.assertRaises(CallError) as caught:
            self.rebase('stale', expected_generation=mount.generation + 1)
        self.assertEqual((caught.exception.code, caught.exception.reason), ('ABORTED', 'GENERATION_CHANGED'))

    def test_random_changes_merge_as_git_says(self):
        """Each path of the job, of the old and of the new revision: the result is the three-way choice by path."""
        seed = int(os.environ.get('COPPICE_SEED', '7'))
        print('seed', seed)
        rng = random.Random(seed)
        names = [f'd{i}/e{j}/f{k}' for i in range(3) for j in range(3) for k in range(4)]
        repository = os.path.join(self.folder, 'random.git')
        repo = repo_maker.Repo(repository)
        versions = []
        for i in range(12):
            versions.append({n: b'%d\n' % rng.randrange(3) for n in names if rng.random() < 0.7})
            repo.begin(ref=b'refs/heads/v%d' % i if i else b'refs/heads/main')
            for name, data in versions[i].items():
                repo.add(name.encode(), data)
        repo.finish()
        with Node({'demo': repository}) as node:
            root, at = node.mount('random', revision='main').root, 0
            for step in range(40 if release_build() else 8):
                for name in rng.sample(names, 4):
                    path = os.path.join(root, name)
                    if rng.random() < 0.3:
                        if os.path.exists(path):
                            os.unlink(path)
                    else:
                        write(b'%d\n' % rng.randrange(3), path)
                to = rng.randrange(len(versions))
                old, new, mine = versions[at], versions[to], files_of(root)
                both = [n for n in names if mine.get(n) != old.get(n) and new.get(n) != old.get(n) and mine.get(n) != new.get(n)]
                choice = rng.choice(['FAIL', 'KEEP_MINE', 'TAKE_THEIRS'])
                want = {n: (mine if mine.get(n) != old.get(n) and not (n in both and choice == 'TAKE_THEIRS') else new).get(n) for n in names}
                try:
                    node.client.Rebase(job_id='random', revision=f'v{to}' if to else 'main', on_conflict=choice)
                    self.assertFalse(both and choice == 'FAIL', (step, both))
                    at = to
                except CallError as e:
                    self.assertEqual(e.reason, 'REBASE_CONFLICT', (step, str(e)))
                    self.assertEqual(choice, 'FAIL', (step, str(e)))
                    self.assertEqual(e.metadata['paths'], str(len(both)))
                    want = mine
                got = files_of(root)
                wrong = {n: (old.get(n), new.get(n), mine.get(n), got.get(n)) for n in names if got.get(n) != want.get(n)}
                self.assertEqual(wrong, {}, (step, at, to, choice))
                changed = {m.path.decode() for a in node.client.stream('Status', workspace={'job_id': 'random'}, untracked='ALL', no_renames=True)
                           for m in a.entries}
                found = files_of(root)
                self.assertEqual(changed, {n for n in names if found.get(n) != versions[at].get(n)}, (step, at, to, choice))

    def test_the_cost_follows_the_change(self):
        count, changed = (100000, 10) if release_build() else (3000, 10)
        repository = os.path.join(self.folder, 'large.git')
        repo = repo_maker.Repo(repository)
        files = {b'd%03d/e%02d/f%03d' % (i // 1000, i // 100 % 10, i % 100): b'%d\n' % (i % 50) for i in range(count)}
        for name in (b'main', b'two'):
            repo.begin(ref=b'refs/heads/' + name)
            for path, data in files.items():
                repo.add(path, data)
            for path in list(files)[::count // changed]:
                files[path] = b'changed\n'
        repo.finish()
        with Node({'demo': repository}) as node:
            root = node.mount('large', revision='main').root
            seen = sum(1 for at, _, names in os.walk(root) for n in names if os.lstat(os.path.join(at, n)))
            self.assertEqual(seen, count)
            moved = [os.fsdecode(path) for path in list(files)[::count // changed]]
            self.assertNotIn(b'changed\n', [read(root, path) for path in moved])
            begun = time.monotonic()
            node.client.Rebase(job_id='large', revision='two')
            took = time.monotonic() - begun
            line = [x for x in node.log_text().splitlines() if 'mount_switched' in x][-1]
            told = {k: int(v) for k, v in (w.split('=') for w in line.split() if w.split('=')[0] in ('directories', 'notices', 'closed_us'))}
            print(f'{changed} of {count} files: {took * 1000:.1f} ms, {told}')
            self.assertLessEqual(told['notices'], 4 * changed + 3)
            self.assertLessEqual(told['directories'], 2 * changed + 2)
            if release_build():
                self.assertLess(took, 5)
            self.assertEqual([read(root, path) for path in moved], [b'changed\n'] * changed)


if __name__ == '__main__':
    unittest.main(verbosity=2)
