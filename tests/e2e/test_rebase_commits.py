#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Moving a workspace with commits and staged changes: what `git rebase` makes of them in a clone, with the same ids; files follow; what does not fit
is listed and nothing happens; a kill in the middle is ended by the next daemon."""
import base64
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from coppice_client import CallError
from folder import put, read
from node import SLOW, Node, wait_until
from twin import WHO, git

LINES = [f'line {i}\n' for i in range(30)]
WHEN = 1700000000
COMMITTER = {'name': 'R E Baser', 'email': 'rebaser@example.org', 'time': WHEN, 'offset_minutes': 120}
AS_GIT = {'GIT_COMMITTER_NAME': 'R E Baser', 'GIT_COMMITTER_EMAIL': 'rebaser@example.org', 'GIT_COMMITTER_DATE': f'{WHEN} +0200'}


def text(**changes):
    """The lines, some of them others: text(l3='x')."""
    return ''.join(changes.get(f'l{i}', line.strip()) + '\n' for i, line in enumerate(LINES))


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-rebasec-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        cls.origin = os.path.join(cls.folder, 'origin')
        subprocess.run(['git', 'init', '-q', '-b', 'main', cls.origin], check=True)
        put(cls.origin, {'f': text(), 'g': text(), 'dir/a': 'a\n' + text(), 'dir/b': 'b\n' + text(), 'dir/sub/c': 'c\n', 'keep': 'k\n'})
        git(cls.origin, 'add', '-A')
        git(cls.origin, 'commit', '-q', '-m', 'base')
        git(cls.origin, 'branch', 'base')
        subprocess.run(['git', 'clone', '-q', '--bare', cls.origin, cls.repository], check=True)
        cls.node = Node({'demo': cls.repository}, keeper=True)
        cls.node.start()
        cls.addClassCleanup(cls.node.close)

    def upstream(self, name, *commits):
        """A branch over base, a commit for each of the dicts of files."""
        git(self.origin, 'checkout', '-q', '-B', name, 'base')
        for files in commits:
            moved = files.pop('mv', None)
            if moved:
                git(self.origin, 'mv', *moved)
            put(self.origin, files)
            git(self.origin, 'add', '-A')
            git(self.origin, 'commit', '-q', '--allow-empty', '-m', f'upstream {name}')
        git(self.origin, 'push', '-q', '-f', self.repository, name)
        return git(self.origin, 'rev-parse', name).decode().strip()

    def mount(self, job, **fields):
        fields.setdefault('revision', 'base')
        root = self.node.mount(job, **fields).root
        self.addCleanup(self.node.client.DeleteMount, job_id=job)
        clone = os.path.join(self.folder, job)
        subprocess.run(['git', 'clone', '-q', '-b', 'base', self.repository, clone], check=True)
        return root, clone

    def commit(self, job, clone, message, **options):
        who = ['--author', 'A U Thor <author@example.org>', '--date', f'{WHEN} +0000']
        self.node.cli('add', job, '-A')
        self.node.cli('commit', job, '-m', message, *who, *options.get('more', ()))
        git(clone, 'add', '-A')
        date = {'GIT_AUTHOR_DATE': f'{WHEN} +0000', 'GIT_COMMITTER_DATE': f'{WHEN} +0000', 'GIT_COMMITTER_NAME': 'A U Thor',
                'GIT_COMMITTER_EMAIL': 'author@example.org'}
        subprocess.run(['git', 'commit', '-q', '-m', message, *options.get('more', ())], cwd=clone, check=True, env={**os.environ, **WHO, **date})
        self.assertEqual(self.head(job), git(clone, 'rev-parse', 'HEAD').decode().strip())

    def head(self, job):
        return list(self.node.client.Status(workspace={'job_id': job}))[-1].head.head_commit

    def status(self, job):
        return self.node.cli('status', job).stdout.splitlines()

    def rebase(self, job, revision, **fields):
        return self.node.client.Rebase(job_id=job, revision=revision, committer=COMMITTER, **fields)

    def git_rebase(self, clone, revision):
        git(clone, 'fetch', '-q', 'origin')
        subprocess.run(['git', 'rebase', '-q', '--reapply-cherry-picks', '--onto', revision, 'origin/base'], cwd=clone, check=True,
                       capture_output=True, env={**os.environ, **WHO, **AS_GIT})

    def both(self, root, clone, files):
        put(root, files)
        put(clone, files)

    def files(self, root):
        found = {}
        for at, folders, names in os.walk(root):
            if '.git' in folders:
                folders.remove('.git')
            for name in names:
                found[os.path.relpath(os.path.join(at, name), root)] = read(at, name)
        return found

    def as_git(self, job, root, clone, revision, **fields):
        answer = self.rebase(job, revision, **fields)
        self.git_rebase(clone, revision)
        self.assertEqual(self.head(job), git(clone, 'rev-parse', 'HEAD').decode().strip())
        self.assertEqual(self.files(root), self.files(clone))
        self.assertEqual(self.status(job), git(clone, 'status', '--short').decode().splitlines())
        return answer

    def conflict(self, job, revision, *subjects, **fields):
        root = self.node.client.GetMount(job_id=job).root
        before = self.files(root), self.head(job), self.status(job), self.node.client.GetMount(job_id=job).generation
        with self.assertRaises(CallError) as caught:
            self.rebase(job, revision, **fields)
        self.assertEqual(caught.exception.reason, 'REBASE_CONFLICT', caught.exception)
        self.assertEqual([s for s, _ in caught.exception.violations], list(subjects))
        self.assertEqual((self.files(root), self.head(job), self.status(job), self.node.client.GetMount(job_id=job).generation), before)
        return caught.exception


class RebaseCommits(Base):
    def test_commits_get_the_ids_of_git(self):
        root, clone = self.mount('ids')
        new = self.upstream('ids', {'g': text(l3='theirs'), 'n': 'new\n'}, {'keep': None})
        self.both(root, clone, {'f': text(l5='mine'), 'own': 'o\n'})
        self.commit('ids', clone, 'one')
        self.both(root, clone, {'dir/b': None, 'f': text(l5='mine', l9='too')})
        self.commit('ids', clone, 'two\n\nwith a body')
        before = self.node.client.GetMount(job_id='ids')
        answer = self.as_git('ids', root, clone, new)
        self.assertEqual((answer.commit, answer.generation), (new, before.generation + 1))
        self.assertEqual([r.commit for r in answer.rebased], git(clone, 'rev-list', '--reverse', f'{new}..HEAD').decode().split())
        self.assertEqual(list(self.node.client.GetMount(job_id='ids').rebased), [])

    def test_lines_of_both_sides_are_kept_where_gitattributes_say_union(self):
        root, clone = self.mount('union')
        new = self.upstream('union', {'f': text(l3='theirs'), 'dir/a': 'a\n' + text(l3='theirs'), '.gitattributes': 'f merge=union\n',
                                      'dir/.gitattributes': 'a merge=union\n'})
        self.both(root, clone, {'f': text(l3='mine'), 'dir/a': 'a\n' + text(l3='mine')})
        self.commit('union', clone, 'one')
        self.as_git('union', root, clone, new)
        self.assertEqual(read(root, 'f'), text(l3='theirs\nmine'))

    def test_uncommitted_lines_of_both_sides_are_kept_where_gitattributes_say_union(self):
        root, clone = self.mount('union-files')
        new = self.upstream('union-files', {'f': text(l3='theirs'), 'dir/a': 'a\n' + text(l3='theirs'), 'dir/.gitattributes': 'a merge=union\n'})
        self.both(root, clone, {'f': text(l3='mine'), 'dir/a': 'a\n' + text(l3='mine'), '.gitattributes': 'f merge=union\n'})
        self.rebase('union-files', new, on_conflict='MERGE_LINES')
        git(clone, 'config', 'rebase.autoStash', 'true')
        self.git_rebase(clone, new)
        self.assertEqual(self.files(root), self.files(clone))
        self.assertEqual(read(root, 'dir/a'), 'a\n' + text(l3='theirs\nmine'))

    def test_rules_of_merges_count_that_are_not_tracked(self):
        root, clone = self.mount('untracked')
        new = self.upstream('untracked', {'f': text(l3='theirs')})
        self.both(root, clone, {'f': text(l3='mine')})
        self.commit('untracked', clone, 'one')
        self.both(root, clone, {'.gitattributes': 'f merge=union\n'})
        self.as_git('untracked', root, clone, new)

    def test_texts_that_gitattributes_do_not_let_be_merged_are_a_conflict(self):
        rules = {'-merge': 'g -merge\n', 'binary': 'g binary\n', 'macro': '[attr]mine merge=binary\n* mine\n'}
        for name, lines in rules.items():
            with self.subTest(name=name):
                root, clone = self.mount(f'no{name}')
                new = self.upstream(f'no{name}', {'g': text(l3='theirs'), '.gitattributes': lines})
                self.both(root, clone, {'g': text(l20='mine')})
                self.conflict(f'no{name}', new, 'g', on_conflict='MERGE_LINES')  # not committed
                self.commit(f'no{name}', clone, 'one')
                self.conflict(f'no{name}', new, 'g')
                with self.assertRaises(subprocess.CalledProcessError):
                    self.git_rebase(clone, new)

    def test_rules_of_merges_are_those_of_the_side_that_is_merged_into(self):
        root, clone = self.mount('side')
        new = self.upstream('side', {'g': text(l3='theirs')})
        self.both(root, clone, {'.gitattributes': 'g -merge\n', 'g': text(l20='mine')})
        self.commit('side', clone, 'rules and a change')
        self.as_git('side', root, clone, new)
        newer = self.upstream('side', {'g': text(l3='theirs'), 'keep': '2\n'}, {'g': text(l3='again')})
        root, clone = self.mount('side2')
        self.both(root, clone, {'.gitattributes': 'g -merge\n'})
        self.commit('side2', clone, 'rules first')
        self.both(root, clone, {'g': text(l20='mine')})
        self.commit('side2', clone, 'then a change')
        self.conflict('side2', newer, 'g')
        with self.assertRaises(subprocess.CalledProcessError):
            self.git_rebase(clone, newer)

    def test_a_file_that_was_removed_on_both_sides_comes_back_with_a_change_list(self):
        root, clone = self.mount('again')
        again = self.upstream('again', {'keep': None}, {'keep': 'again\n'})
        gone = git(self.origin, 'rev-parse', 'again~1').decode().strip()
        self.both(root, clone, {'keep': None, 'own': 'o\n'})
        self.commit('again', clone, 'removed here too')
        self.as_git('again', root, clone, gone)
        self.node.client.SetChangeList(job_id='again', change_list={'ref': 'again'})
        git(clone, 'rebase', '-q', '--onto', again, gone)
        self.assertEqual(self.files(root), self.files(clone))
        self.assertEqual(self.status('again'), [])

    def test_the_same_file_in_different_places(self):
        root, clone = self.mount('places')
        new = self.upstream('places', {'f': text(l3='theirs')})
        self.both(root, clone, {'f': text(l20='mine')})
        self.commit('places', clone, 'mine')
        with open(root + '/f', encoding='ascii') as held:
            self.as_git('places', root, clone, new)
            self.assertEqual(held.read(), text(l20='mine'))
        self.assertEqual(read(root, 'f'), text(l3='theirs', l20='mine'))

    def test_along_renames(self):
        root, clone = self.mount('renames')
        new = self.upstream('renames', {'mv': ('f', 'moved-f'), 'dir/a': 'a\n' + text(l1='theirs')})
        self.both(root, clone, {'f': text(l20='mine')})
        for top in (root, clone):
            os.rename(top + '/dir/a', top + '/dir/moved-a')
        self.commit('renames', clone, 'mine')
        self.as_git('renames', root, clone, new)
        self.assertEqual(read(root, 'moved-f'), text(l20='mine'))
        self.assertEqual(read(root, 'dir/moved-a'), 'a\n' + text(l1='theirs'))

    def test_a_directory_that_was_moved_and_one_that_got_more(self):
        root, clone = self.mount('moved')
        new = self.upstream('moved', {'dir/a': 'a\n' + text(l1='theirs')})
        for top in (root, clone):
            os.rename(top + '/dir', top + '/other')
        self.commit('moved', clone, 'mine')
        self.as_git('moved', root, clone, new)
        self.assertEqual(read(root, 'other/a'), 'a\n' + text(l1='theirs'))
        more = self.upstream('more', {'dir/new': 'n\n'})
        self.conflict('moved', more, 'other/new')  # where Git would put it; it asks

    def test_a_directory_that_was_removed_comes_back_with_what_is_new(self):
        root, clone = self.mount('comes')
        new = self.upstream('comes', {'dir/new': 'n\n'})
        for top in (root, clone):
            shutil.rmtree(top + '/dir')
        self.commit('comes', clone, 'mine')
        self.as_git('comes', root, clone, new)
        self.assertEqual(os.listdir(root + '/dir'), ['new'])

    def test_what_the_base_has_already_is_left_out(self):
        root, clone = self.mount('equal')
        new = self.upstream('equal', {'f': text(l3='same'), 'n': 'new\n'})
        self.both(root, clone, {'f': text(l3='same')})
        self.commit('equal', clone, 'same')
        self.commit('equal', clone, 'was empty from the start', more=['--allow-empty'])
        self.both(root, clone, {'g': text(l3='mine')})
        self.commit('equal', clone, 'mine')
        used = self.node.client.GetMount(job_id='equal').usage.inodes
        answer = self.as_git('equal', root, clone, new)
        self.assertEqual([bool(r.commit) for r in answer.rebased], [False, True, True])
        # the copy of f has gone, when the kernel has forgotten it
        wait_until(lambda: self.node.client.GetMount(job_id='equal').usage.inodes == used - 1, 20 * SLOW, 'the copy is charged no more')

    def test_what_was_pushed_is_not_made_again(self):
        root, clone = self.mount('pushed')
        self.both(root, clone, {'f': text(l3='one')})
        self.commit('pushed', clone, 'one')
        one = self.head('pushed')
        self.both(root, clone, {'f': text(l3='two')})
        self.commit('pushed', clone, 'two')
        two = self.head('pushed')
        git(clone, 'push', '-q', 'origin', f'{one}:refs/heads/pushed')
        answer = self.rebase('pushed', 'pushed')
        self.assertEqual([(r.old, r.commit) for r in answer.rebased], [(one, one), (two, two)])
        self.assertEqual((answer.commit, self.head('pushed')), (one, two))
        git(clone, 'commit', '-q', '--allow-empty', '-m', 'after')
        put(clone, {'f': text(l3='three')})
        git(clone, 'commit', '-q', '-a', '-m', 'three')
        git(clone, 'push', '-q', 'origin', 'HEAD:refs/heads/pushed')
        answer = self.rebase('pushed', 'pushed')
        self.assertEqual((answer.commit, self.head('pushed')), (git(clone, 'rev-parse', 'HEAD').decode().strip(),) * 2)
        self.assertEqual((read(root, 'f'), self.status('pushed')), (text(l3='three'), []))

    def test_conflicts_are_listed_and_nothing_changes(self):
        root, clone = self.mount('conflict')
        new = self.upstream('conflict', {'f': text(l3='theirs'), 'g': None})
        self.both(root, clone, {'f': text(l3='mine'), 'g': text(l1='mine'), 'own': 'o\n'})
        self.commit('conflict', clone, 'mine')
        put(root, {'keep': 'not committed\n'})
        error = self.conflict('conflict', new, 'f', 'g')
        self.assertIn('was changed here and removed there (commit ', dict(error.violations)['g'])
        self.assertEqual(error.metadata['paths'], '2')
        self.rebase('conflict', new, on_conflict='TAKE_THEIRS')
        self.assertEqual((read(root, 'f'), os.path.exists(root + '/g'), read(root, 'own')), (text(l3='theirs'), False, 'o\n'))
        self.assertEqual(self.status('conflict'), [' M keep'])

    def test_mine_may_be_chosen(self):
        root, clone = self.mount('choose')
        new = self.upstream('choose', {'f': text(l3='theirs', l20='theirs'), 'g': None, 'n': 'n\n'})
        self.both(root, clone, {'f': text(l3='mine'), 'g': text(l1='mine')})
        self.commit('choose', clone, 'mine')
        self.rebase('choose', new, on_conflict='KEEP_MINE')
        self.assertEqual((read(root, 'f'), read(root, 'g'), read(root, 'n')), (text(l3='mine'), text(l1='mine'), 'n\n'))
        self.assertEqual(self.status('choose'), [])

    def test_what_is_staged_stays_staged(self):
        root, clone = self.mount('staged')
        new = self.upstream('staged', {'g': text(l3='theirs')})
        self.both(root, clone, {'f': text(l5='committed')})
        self.commit('staged', clone, 'one')
        put(root, {'f': text(l5='committed', l6='staged'), 'added': 'a\n'})
        os.unlink(root + '/keep')
        self.node.cli('add', 'staged', '-A')
        put(root, {'f': text(l5='committed', l6='staged', l7='not yet'), 'added': 'more\n'})
        self.rebase('staged', new)
        self.assertEqual(self.status('staged'), ['AM added', 'MM f', 'D  keep'])
        self.assertEqual((read(root, 'g'), read(root, 'f')), (text(l3='theirs'), text(l5='committed', l6='staged', l7='not yet')))

    def test_staged_and_changed_there(self):
        root, _ = self.mount('stagedc')
        new = self.upstream('stagedc', {'f': text(l3='theirs'), 'g': text(l3='theirs')})
        put(root, {'f': text(l20='staged')})
        self.node.cli('add', 'stagedc', '-A')
        put(root, {'g': text(l20='mine')})
        error = self.conflict('stagedc', new, 'f')
        self.assertIn('(staged)', dict(error.violations)['f'])
        self.rebase('stagedc', new, on_conflict='MERGE_LINES')
        self.assertEqual((read(root, 'f'), read(root, 'g')), (text(l3='theirs', l20='staged'), text(l3='theirs', l20='mine')))
        self.assertEqual(self.status('stagedc'), ['M  f', ' M g'])
        self.assertEqual(self.node.cli('diff', 'stagedc', '--staged').stdout.count('\n+'), 2)  # the header, and one line

    def test_back_to_where_it_was(self):
        root, clone = self.mount('back')
        new = self.upstream('back', {'f': text(l3='theirs'), 'dir/a': None, 'x/y': 'z\n'})
        self.both(root, clone, {'f': text(l20='mine')})
        self.commit('back', clone, 'mine')
        before = self.files(root)
        self.rebase('back', new)
        self.rebase('back', 'base')
        self.assertEqual((self.files(root), self.status('back')), (before, []))

    def test_below_a_directory_of_the_repository(self):
        root, clone = self.mount('below', path='dir')
        new = self.upstream('below', {'dir/a': 'a\n' + text(l1='theirs'), 'f': text(l1='theirs')})
        put(root, {'a': 'a\n' + text(l20='mine')})
        put(clone, {'dir/a': 'a\n' + text(l20='mine')})
        self.commit('below', clone, 'mine')
        self.rebase('below', new)
        self.git_rebase(clone, new)
        self.assertEqual(self.head('below'), git(clone, 'rev-parse', 'HEAD').decode().strip())
        self.assertEqual(read(root, 'a'), 'a\n' + text(l1='theirs', l20='mine'))

    def test_who_commits(self):
        root, clone = self.mount('who')
        new = self.upstream('who', {'n': 'n\n'})
        self.both(root, clone, {'f': text(l20='mine')})
        self.commit('who', clone, 'mine')
        with self.assertRaises(CallError) as caught:
            self.node.client.Rebase(job_id='who', revision=new, committer={'name': 'a<b', 'email': 'c'})
        self.assertEqual((caught.exception.reason, caught.exception.metadata['field']), ('INVALID_FIELD', 'committer.name'))
        self.node.client.Rebase(job_id='who', revision=new)
        entry, = list(self.node.client.Log(workspace={'job_id': 'who'}))[0].entries
        self.assertEqual((entry.author.email, entry.author.time, entry.committer.email), ('author@example.org', WHEN, 'author@example.org'))
        self.assertGreater(entry.committer.time, WHEN)

    def test_the_command(self):
        root, clone = self.mount('command')
        new = self.upstream('command', {'n': 'n\n', 'g': text(l3='same')})
        self.both(root, clone, {'g': text(l3='same')})
        self.commit('command', clone, 'same')
        old = [self.head('command')]
        self.both(root, clone, {'f': text(l20='mine')})
        self.commit('command', clone, 'mine')
        old.append(self.head('command'))
        done = self.node.cli('rebase', 'command', '--revision', new, '--committer', 'R E Baser <rebaser@example.org>', '--committer-date',
                             f'{WHEN} +0200')
        self.git_rebase(clone, new)
        head = git(clone, 'rev-parse', 'HEAD').decode().strip()
        self.assertEqual(done.stdout.splitlines()[:2], [f'{old[0][:12]} is in the new base already', f'{old[1][:12]} is now {head[:12]}'])


class Killed(Base):
    """A kill while files are being set, of which the next daemon does the rest. Each step of its own: tests/chaos/test_rebase.py."""

    def kill(self):
        with open(f'/proc/{self.node.process.pid}/task/{self.node.process.pid}/children', encoding='ascii') as f:
            daemon = int(f.read().split()[0])
        os.kill(daemon, signal.SIGKILL)  # the keeper starts the next one
        wait_until(lambda: not os.path.exists(f'/proc/{daemon}'), 10, 'the daemon has gone')
        wait_until(self.answers, 30, 'the next daemon answers')

    def answers(self):
        try:
            return self.node.client.GetNode(timeout=5, wait_for_ready=True)
        except CallError:
            return None

    def test_a_file_that_was_set_and_not_told_shows_what_it_was(self):
        """A rebase with many files to set and to leave."""
        job, count = 'setting', 150
        root, clone = self.mount(job)
        new = self.upstream(job, {f'many/{i}': text(l3='theirs') for i in range(count)} | {f'same/{i}': f'{i}\n' for i in range(count)})
        put(root, {f'many/{i}': text() for i in range(count)})
        put(clone, {f'many/{i}': text() for i in range(count)})
        self.commit(job, clone, 'as it will be there, but for a line')
        self.upstream(job + '-start', {f'many/{i}': text() for i in range(count)})
        self.rebase(job, job + '-start')  # the same files, now of the base
        put(root, {f'many/{i}': text(l20='mine') for i in range(count)})
        self.node.cli('add', job, '-A')
        self.node.cli('commit', job, '-m', 'mine', '--author', 'A U Thor <author@example.org>')
        put(root, {f'same/{i}': f'{i}\n' for i in range(count)})
        before, head = self.node.client.GetMount(job_id=job), self.head(job)
        onto = self.onto(job, count)
        call = self.node.client.future('Rebase', job_id=job, revision=onto)
        workspace = os.path.join(self.node.data, 'workspaces', before.mount_id)
        wait_until(lambda: read(root, 'many/1') == text(l3='theirs', l20='mine'), 30, 'some files are set')
        self.kill()
        call.cancel()
        after = self.node.client.GetMount(job_id=job)
        self.assertEqual(self.node.client.state(after), 'READY')
        self.assertEqual(after.commit, onto)
        self.assertFalse(os.path.exists(workspace + '/git/plan'))
        self.assertEqual({read(root, f'many/{i}') for i in range(count)}, {text(l3='theirs', l20='mine')})
        self.assertEqual({read(root, f'same/{i}') for i in range(count)} - {f'{i}\n' for i in range(count)}, set())
        self.assertEqual([line for line in self.status(job) if line != '?? same/'], [])
        self.assertNotEqual(self.head(job), head)
        self.assertEqual(os.listdir(workspace + '/upper/same'), [])  # what became equal has left

    def onto(self, job, count):
        git(self.origin, 'checkout', '-q', job + '-start')
        put(self.origin, {f'many/{i}': text(l3='theirs') for i in range(count)} | {f'same/{i}': f'{i}\n' for i in range(count)})
        git(self.origin, 'add', '-A')
        git(self.origin, 'commit', '-q', '-m', 'onto')
        git(self.origin, 'push', '-q', self.repository, f'HEAD:refs/heads/{job}-onto')
        return git(self.origin, 'rev-parse', 'HEAD').decode().strip()


class ListsUnderCommits(Base):
    """Change lists that come and go below commits."""

    def test_commits_stay_on_the_revision(self):
        root, clone = self.mount('patch')
        topic = self.upstream('patch-topic', {'g': text(l3='list'), 'listed': 'l\n'})
        diff = git(self.origin, 'diff', 'base', topic)
        self.both(root, clone, {'f': text(l20='mine')})
        self.commit('patch', clone, 'mine')
        head = self.head('patch')
        self.node.client.SetChangeList(job_id='patch', change_list={'patch': base64.b64encode(diff).decode()})
        subprocess.run(['git', 'apply', '--index'], cwd=clone, input=diff, check=True)
        self.assertEqual((self.head('patch'), self.files(root)), (head, self.files(clone)))
        self.assertEqual(self.status('patch'), git(clone, 'status', '--short').decode().splitlines())
        self.node.client.ClearChangeList(job_id='patch')
        git(clone, 'reset', '-q', '--hard')
        self.assertEqual((self.head('patch'), self.files(root), self.status('patch')), (head, self.files(clone), []))

    def test_what_was_committed_of_a_list_stays(self):
        root, _ = self.mount('committed', change_list={'patch': self.patch('cl-committed', {'g': text(l3='list')})})
        self.node.cli('commit', 'committed', '-m', 'the list', '--author', 'T <t@example.org>')
        head = self.head('committed')
        self.node.client.ClearChangeList(job_id='committed')
        self.assertEqual((self.head('committed'), read(root, 'g'), self.status('committed')), (head, text(l3='list'), []))

    def patch(self, name, files):
        topic = self.upstream(name, files)
        return base64.b64encode(git(self.origin, 'diff', 'base', topic)).decode()

    def test_a_list_that_changes_what_was_staged_is_refused(self):
        root, _ = self.mount('refused')
        patch = self.patch('cl-refused', {'f': text(l3='list')})
        put(root, {'f': text(l3='mine')})
        self.node.cli('add', 'refused', '-A')
        with self.assertRaises(CallError) as caught:
            self.node.client.SetChangeList(job_id='refused', change_list={'patch': patch})
        self.assertEqual(caught.exception.reason, 'REBASE_CONFLICT')
        self.assertEqual((read(root, 'f'), self.status('refused')), (text(l3='mine'), ['M  f']))

    def test_commits_move_with_a_topic(self):
        """A change list that is shown as its commits: ours go on from the last one, and back."""
        root, clone = self.mount('topic')
        topic = self.upstream('topic', {'f': text(l3='topic')})
        self.both(root, clone, {'f': text(l20='mine')})
        self.commit('topic', clone, 'mine')
        self.node.client.SetChangeList(job_id='topic', change_list={'ref': 'topic'})
        self.git_rebase(clone, topic)
        self.assertEqual(read(root, 'f'), text(l3='topic', l20='mine'))
        self.assertEqual((self.files(root), self.status('topic')), (self.files(clone), []))
        self.node.client.ClearChangeList(job_id='topic')
        self.assertEqual((read(root, 'f'), self.status('topic')), (text(l20='mine'), []))

    def test_a_rebase_below_a_list_that_is_staged(self):
        root, _ = self.mount('both', change_list={'patch': self.patch('cl-both', {'g': text(l3='list')})})
        new = self.upstream('both', {'f': text(l3='theirs')})
        put(root, {'own': 'o\n'})
        self.node.cli('add', 'both', '-A')
        self.rebase('both', new)
        self.assertEqual((read(root, 'f'), read(root, 'g'), self.status('both')), (text(l3='theirs'), text(l3='list'), ['M  g', 'A  own']))


if __name__ == '__main__':
    unittest.main(verbosity=2)
