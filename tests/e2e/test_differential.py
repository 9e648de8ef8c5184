#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A workspace and a plain Git clone through the same random sequence of edits, adds, commits, resets, rebases and change lists. After each step the
trees, the status, the diff and the id of HEAD are those that Git has.

  --long: many seeds, more steps; --seeds A-B: these; --steps N
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import repo_maker
from coppice_client import CallError
from node import SLOW, Node
from twin import WHO, Twin, git

SEEDS, STEPS, SECONDS = (1, 2, 3), 30, 20 * SLOW
COMMITTER = 'R E Baser <rebaser@example.org>'


def words(text):
    return ' '.join(text.split())


class Upstream(Twin):
    """A clone in which others work; what they commit is pushed to the repository."""

    def __init__(self, repository, folder, seed):  # pylint: disable=super-init-not-called
        import random
        self.random, self.count, self.log = random.Random(-1 - seed), 100000, []
        self.clone = os.path.join(folder, f'upstream-{seed}')
        subprocess.run(['git', 'clone', '-q', repository, self.clone], check=True, timeout=120)
        self.commits_made = [git(self.clone, 'rev-parse', 'HEAD').decode().strip()]

    def both(self, change):
        change(self.clone)

    def work(self):
        """One to three commits on main; sometimes a topic beside it."""
        for _ in range(self.random.randrange(1, 4)):
            for _ in range(self.random.randrange(1, 4)):
                self.step()
            self.commit()
        git(self.clone, 'push', '-q', 'origin', 'main')

    def commit(self):
        self.count += 1
        git(self.clone, 'add', '-A')
        date = f'{1600000000 + self.count} +0000'
        subprocess.run(['git', 'commit', '-q', '--allow-empty', '-m', f'upstream {self.count}'], cwd=self.clone, check=True, timeout=120,
                       env=dict(os.environ, **WHO, GIT_AUTHOR_DATE=date, GIT_COMMITTER_DATE=date))
        self.commits_made.append(git(self.clone, 'rev-parse', 'HEAD').decode().strip())

    def topic(self, base, name):
        """A branch of one or two commits from `base`."""
        git(self.clone, 'checkout', '-q', '-B', name, base)
        for _ in range(self.random.randrange(1, 3)):
            self.step()
            self.commit()
            self.commits_made.pop()
        git(self.clone, 'push', '-q', '-f', 'origin', name)
        git(self.clone, 'checkout', '-q', 'main')


class Differ(Twin):
    def __init__(self, node, job, repository, folder, seed):
        super().__init__(node, job, repository, folder, seed=seed, revision='main')
        self.upstream = Upstream(repository, folder, seed)
        self.main, self.list, self.done = self.base, None, {}

    def note(self, what):
        self.done[what] = self.done.get(what, 0) + 1

    def git_ends(self, *args, **options):
        return subprocess.run(['git', *args], cwd=self.clone, capture_output=True, timeout=120, check=False,
                              env={**os.environ, **WHO, **options}, text=True)

    def fetch(self):
        git(self.clone, 'fetch', '-q', 'origin')

    def drop_empty(self):
        """Git knows no directories: which empty ones stay after a checkout is chance. So are ignored files: one in a folder that was a
        file in a commit on Git's way is lost to it."""
        for path in sorted(set(self.listing(self.root)) - set(self.listing(self.clone))):
            if os.path.isfile(f'{self.root}/{path}') and self.git_ends('check-ignore', '-q', '--', path).returncode == 0:
                os.unlink(f'{self.root}/{path}')

        def change(root):
            for at, names, _ in os.walk(root, topdown=False):
                if '.git' not in os.path.relpath(at, root).split('/') and at != root and not os.listdir(at):
                    os.rmdir(at)
        self.both(change)

    # ---- rebases ----

    def clean(self):
        """Everything is committed, or thrown away."""
        if self.random.random() < 0.7:
            self.git_add('-A')
            self.op_commit()
        if git(self.clone, 'status', '--porcelain', '-uno'):
            self.reset('--hard')
        return not git(self.clone, 'status', '--porcelain', '-uno')

    def op_rebase(self, *_):
        if self.list:
            return
        if self.random.random() < 0.8:
            self.upstream.work()
        self.fetch()
        made = self.upstream.commits_made
        to = made[-1] if self.random.random() < 0.8 else self.random.choice(made)
        dirty = self.random.random() < 0.3
        if not dirty and not self.clean():
            return
        self.count += 1
        saved = self.clone + '-saved'
        shutil.copytree(self.clone, saved, symlinks=True)
        when = f'{1700000000 + self.count} -0330'
        gits = self.git_ends('-c', 'rebase.autoStash=true', 'rebase', '-q', '--reapply-cherry-picks', '--onto', to, self.main,
                             GIT_COMMITTER_NAME='R E Baser', GIT_COMMITTER_EMAIL='rebaser@example.org', GIT_COMMITTER_DATE=when)
        if gits.returncode and 'untracked' in gits.stderr:  # Git does not even begin
            shutil.rmtree(self.clone)
            os.rename(saved, self.clone)
            return
        mine = self.node.cli('rebase', self.job, '--revision', to, '--committer', COMMITTER, '--committer-date', when,
                             *(['--merge'] if dirty else []), check=False)
        git_failed = gits.returncode != 0 or 'autostash resulted in conflicts' in gits.stderr + gits.stdout
        if mine.returncode != 0 and 'REBASE_CONFLICT' not in mine.stderr:
            raise AssertionError(f'rebase to {to} after {self.log[-20:]}: {mine}')
        if (mine.returncode != 0) != git_failed and not (dirty and mine.returncode != 0):
            raise AssertionError(f'rebase to {to} after {self.log[-20:]}: {mine}\ngit: {gits}')
        self.note(('dirty ' if dirty else 'clean ') + ('conflict' if mine.returncode else 'rebase'))
        if mine.returncode != 0:
            shutil.rmtree(self.clone)
            os.rename(saved, self.clone)
            return
        shutil.rmtree(saved, ignore_errors=True)
        self.main = self.base = to
        self.drop_empty()
        if dirty:  # a stash forgets what was staged
            self.reset()

    def first(self):
        """A commit that nothing of the others' can be in conflict with, and a rebase: so each run has one."""
        def change(root):
            with open(os.path.join(root, 'own-from-the-start'), 'w', encoding='ascii') as f:
                f.write(f'{self.job}\n')
        self.both(change)
        self.git_add('-A')
        self.op_commit()
        self.op_rebase()

    # ---- change lists ----

    def op_list(self, *_):
        """A topic over the revision, or none: with commits on top they move along."""
        if not self.clean():
            return
        self.count += 1
        before = self.list
        if self.list:
            to, fields, call = self.main, {}, self.node.client.ClearChangeList
            self.list = None
        else:
            name = f'topic-{self.job}-{self.count}'
            self.upstream.topic(self.main, name)
            self.fetch()
            to, call = git(self.clone, 'rev-parse', f'origin/{name}').decode().strip(), self.node.client.SetChangeList
            fields, self.list = {'change_list': {'ref': name}}, name
        gits = self.git_ends('rebase', '-q', '--reapply-cherry-picks', '--onto', to, self.base)
        if gits.returncode and 'untracked' in gits.stderr:  # Git does not even begin
            self.list = before
            return
        try:
            call(job_id=self.job, timeout=60 * SLOW, **fields)
            failed = None
        except CallError as e:
            failed = e
            if e.reason != 'REBASE_CONFLICT':
                raise
        if (failed is not None) != (gits.returncode != 0):
            raise AssertionError(f'list {fields} after {self.log[-20:]}: {failed}\ngit: {gits}')
        self.note('list ' + ('conflict' if failed else 'set' if self.list else 'cleared'))
        if failed:
            self.git_ends('rebase', '--abort')
            self.list = before
            self.drop_empty()  # that of the clone: Git has been in them and has gone
            return
        self.base = to
        self.drop_empty()
        self.adopt()

    def adopt(self):
        """The call does not say who commits: what was made must be Git's but for the committer, and is the clone's from now on."""
        head = self.head()
        shown = '--format=%T %an %ae %at %B'
        if os.path.isdir(self.objects()):
            shutil.copytree(self.objects(), os.path.join(self.clone, '.git/objects'), dirs_exist_ok=True)
        self.same(git(self.clone, 'log', shown, f'{self.base}..{head}'), git(self.clone, 'log', shown, f'{self.base}..HEAD'), 'commits')
        git(self.clone, 'reset', '-q', '--soft', head)

    # ---- comparing ----

    def head(self):
        return list(self.node.client.Status(workspace={'job_id': self.job}))[-1].head.head_commit

    def check(self):
        self.compare_files()
        head, gits = self.head(), git(self.clone, 'rev-parse', 'HEAD').decode().strip()
        if head != gits:
            raise AssertionError(f'HEAD {head}, git {gits}, after {self.log[-20:]}\n' +
                                 git(self.clone, 'log', '--format=%H %T %an %at %cn %ct %s', '-5').decode() +
                                 self.own_git('log', '--format=%H %T %an %at %cn %ct %s', '-5', head).decode())
        self.compare_status('-uall')
        self.check_diff()

    def any_step(self):
        choice = self.random.random()
        if choice < 0.65:
            self.step_git()
        elif choice < 0.9 and not self.list:
            self.log.append('rebase')
            self.op_rebase()
        else:
            self.log.append('list')
            self.op_list()


class Differential(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='cop-diff-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def repository(self, seed):
        path = os.path.join(self.folder, f'repo-{seed}.git')
        repo = repo_maker.Repo(path)
        repo.begin()
        for d in ('src', 'src/deep/er', 'lib', 'lib-x', 'doc'):
            for i in range(5):
                text = ''.join(f'{d} {i} line {n}\n' for n in range(20 + i))
                repo.add(f'{d}/file{i}.c'.encode(), text.encode(), b'100755' if i == 3 else b'100644')
        repo.add(b'README', b'read me\n')
        repo.add(b'link', b'README', b'120000')
        repo.add(b'empty', b'')
        repo.add(b'.gitattributes', b'src/*.c diff=cpp\ndoc/file1.c -merge\n')
        repo.add(b'lib-x/.gitattributes', b'*.c merge=union\n')
        repo.finish()
        return path

    def run_seed(self, seed, until):
        repository = self.repository(seed)
        with Node({'demo': repository}) as node:
            differ = Differ(node, f'job{seed}', repository, self.folder, seed)
            try:
                for at in range(STEPS):
                    if at and time.monotonic() > until:
                        break
                    if at:
                        differ.any_step()
                    else:
                        differ.first()
                    differ.check()
            except BaseException:
                print(f'seed {seed}, step {at}: {differ.log}')
                raise
            print(f'seed {seed}: {at + 1} steps, {differ.done}', flush=True)
            return differ.done

    def test_as_git(self):
        until, done = time.monotonic() + SECONDS, {}
        for seed in SEEDS:
            if done and time.monotonic() > until:
                break
            for what, count in self.run_seed(seed, until).items():
                done[what] = done.get(what, 0) + count
        print('all:', done)
        self.assertTrue(any('rebase' in what for what in done), done)


def main():
    global SEEDS, STEPS, SECONDS  # pylint: disable=global-statement
    arguments = sys.argv[1:]
    if '--long' in arguments:
        arguments.remove('--long')
        SEEDS, STEPS, SECONDS = range(100, 160), 80, 3600 * SLOW
    for name in ('--seeds', '--steps'):
        if name in arguments:
            at = arguments.index(name)
            value = arguments[at + 1]
            del arguments[at:at + 2]
            if name == '--steps':
                STEPS = int(value)
            else:
                first, _, last = value.partition('-')
                SEEDS, SECONDS = range(int(first), int(last or first) + 1), 3600 * SLOW
    unittest.main(argv=sys.argv[:1] + arguments, verbosity=2)


if __name__ == '__main__':
    main()
