#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Git workflow of a workspace against a plain clone: the same changes, then the same answers."""
import base64
import os
import shutil
import tempfile
import threading
import unittest

import repo_maker
from coppice_client import CallError
from node import Node
from twin import Twin, git

SEEDS = [int(s) for s in os.environ.get('COPPICE_WORKFLOW_SEEDS', '1 2').split()]
STEPS = int(os.environ.get('COPPICE_WORKFLOW_STEPS', '25'))


def make_repository(path):
    """Some directories, an executable, symlinks, names that sort oddly, a submodule, rules of what to ignore."""
    repo = repo_maker.Repo(path)
    repo.begin()
    for d in ('src', 'src/deep/er', 'lib', 'lib-x', 'doc'):
        for i in range(8):
            text = ''.join(f'{d} {i} line {n}\n' for n in range(20 + i))
            repo.add(f'{d}/file{i}.c'.encode(), text.encode(), b'100755' if i == 3 else b'100644')
    repo.add(b'lib.c', b'between lib-x and lib/\n')
    repo.add(b'README', b'read me\n')
    repo.add(b'link', b'README', b'120000')
    repo.add(b'empty', b'')
    repo.add(b'src/.gitignore', b'*.tmp\n/build/\n')
    repo.add(b'tracked.tmp', b'tracked\n')
    repo.submodule(b'module', b'1' * 40)
    return repo.finish()


class Workflow(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-wf-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        cls.base = make_repository(cls.repository)
        cls.node = Node({'demo': cls.repository}, tenants='''
  - {name: ops, admin: true, quota: {mounts: 50}, identities: [{unix_uid: 0}]}
  - {name: other, identities: [{unix_uid: 61000}]}
''')
        cls.node.__enter__()
        cls.addClassCleanup(cls.node.close)

    def tearDown(self):
        for m in self.node.client.ListMounts().mounts:
            self.node.client.DeleteMount(mount_id=m.mount_id)

    def twin(self, job, **options):
        return Twin(self.node, job, self.repository, self.folder, **options)

    def status(self, job, *args):
        return self.node.cli('status', job, *args).stdout.splitlines()

    def test_random_changes(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                twin = self.twin(f'random{seed}', seed=seed)
                for _ in range(STEPS):
                    twin.step()
                    twin.check_status()

    def test_random_workflow(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                twin = self.twin(f'workflow{seed}', seed=seed)
                for _ in range(2 * STEPS):
                    twin.step_git()
                    twin.check_status()
                    twin.check_diff()
                head = self.head(twin.job)
                self.assertEqual(head, git(twin.clone, 'rev-parse', 'HEAD').decode().strip())
                self.assertEqual(twin.own_git('fsck', '--strict', '--no-dangling', head), b'')

    def head(self, job):
        return list(self.node.client.Status(workspace={'job_id': job}))[-1].head.head_commit

    def test_status_of_an_untouched_workspace(self):
        root = self.node.mount('clean').root
        self.assertEqual(self.status('clean'), [])
        with open(root + '/README', 'r+', encoding='ascii') as f:  # copied up, and the same
            text = f.read()
            f.seek(0)
            f.write(text)
        self.assertEqual(self.status('clean'), [])

    def test_status_ignores(self):
        twin = self.twin('ignores')
        for path in ('src/a.tmp', 'src/build/x', 'build/x', 'b.tmp', 'src/deep/c.tmp'):
            twin.both(lambda root, path=path: os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True))
            twin.write(path, 'x\n')
        twin.check_status()
        for args in (['--ignored'], ['--ignored', '-uall'], ['-uno']):
            twin.compare_status(*args)

    def test_status_by_path(self):
        twin = self.twin('paths')
        for path in ('src/file1.c', 'lib/file2.c', 'lib-x/file3.c', 'lib/new'):
            twin.write(path, 'changed\n')
        for spec in (['lib'], ['lib/'], ['*.c'], ['lib', ':!lib/file2.c'], [':(glob)l*/*.c'], ['./lib'], ['.'], [':(literal)*.c'],
                     ['nothing-of-this-name']):
            twin.compare_status('--', *spec)

    def test_special_files_are_nothing(self):
        root = self.node.mount('special').root
        os.mkfifo(root + '/fifo')
        os.mkdir(root + '/empty-folder')
        os.mkdir(root + '/.git')
        with open(root + '/.git/HEAD', 'w', encoding='ascii') as f:
            f.write('x')
        self.assertEqual(self.status('special'), [])

    def test_mount_of_a_directory(self):
        root = self.node.mount('part', path='src').root
        with open(root + '/file1.c', 'a', encoding='ascii') as f:
            f.write('more\n')
        self.assertEqual(self.status('part'), [' M file1.c'])

    def test_diff(self):
        twin = self.twin('diff')
        twin.write('src/file1.c', twin.read('src/file1.c').replace('line 9', 'line nine') + 'no end')
        twin.write('src/file2.c', twin.read('src/file2.c').rstrip('\n'))
        twin.write('empty', 'not any more\n')
        twin.write('README', '')
        twin.write('name with blanks', 'x\n')
        twin.write('tab\tquote"back\\slash', 'x\n')
        twin.write('\u00fcml\u00e4ut', 'x\n')
        twin.both(lambda root: os.chmod(root + '/src/file3.c', 0o644))
        twin.both(lambda root: os.rename(root + '/lib', root + '/moved'))
        twin.both(lambda root: os.unlink(root + '/link'))
        twin.write('link', 'a file now\n')
        twin.both(lambda root: shutil.rmtree(root + '/module'))
        for name in ('binary', 'doc/file4.c'):
            def binary(root, name=name):
                with open(f'{root}/{name}', 'wb') as f:
                    f.write(bytes(range(256)) * 40)
            twin.both(binary)
        twin.check_diff(every=True)
        twin.git_add('-A')
        twin.write('binary', 'text\n')
        twin.both(lambda root: os.unlink(root + '/src/file1.c'))
        twin.check_diff(every=True)
        for args in (['-U0'], ['-U10'], ['--no-renames'], ['--name-only']):
            text = git(twin.clone, '-c', 'core.quotePath=true', '-c', 'core.abbrev=7', 'diff', 'HEAD', *args)
            twin.same(twin.cli('diff', '--from', 'HEAD', *args).stdout, text, args)
        text = git(twin.clone, 'diff', 'HEAD', '--', 'src', ':!src/file2.c')
        twin.same(twin.cli('diff', '--from', 'HEAD', '--', 'src', ':!src/file2.c').stdout, text, 'paths')
        commit = self.commit('diff', 'all of it')
        patch = twin.cli('diff', '--from', 'BASE', '--to', commit).stdout
        twin.same(patch, twin.own_git('-c', 'core.quotePath=true', '-c', 'core.abbrev=7', 'diff', self.base, commit), 'commit')

    def test_of_sources_that_are_alike_a_renamed_file_has_the_one_that_git_takes(self):
        """One that is nothing like it was in the last one's place before."""
        twin = self.twin('alike')
        text = [f'line {n} of a text that is long enough\n' for n in range(20)]
        shared = {'0/none.c': 0, '1/file.c': 15, '2/b.c': 13, '3/c.c': 12, '4/file.c': 15}
        for name, same in shared.items():
            twin.both(lambda root, name=name: os.makedirs(os.path.dirname(f'{root}/alike/{name}')))
            twin.write('alike/' + name, ''.join(text[:same] + [f'something else entirely, number {n}\n' for n in range(same, 20)]))
        twin.git_add('-A')
        self.commit('alike', 'sources', '--date', '1700000000 +0000')
        git(twin.clone, 'commit', '-q', '-m', 'sources')
        twin.both(lambda root: shutil.rmtree(root + '/alike'))
        twin.both(lambda root: os.mkdir(root + '/alike'))
        twin.write('alike/file.c', ''.join(text))
        twin.git_add('-A')
        theirs = git(twin.clone, 'diff', 'HEAD', '--name-status')
        self.assertIn(b'\talike/4/file.c\talike/file.c', theirs)
        twin.same(twin.cli('diff', '--from', 'HEAD', '--name-status').stdout, theirs, 'alike')

    def test_attributes(self):
        """Ends of lines are cleaned, and a diff is one of text or not, as .gitattributes have it."""
        twin = self.twin('attributes')
        twin.write('.gitattributes', '[attr]raw -text -diff\n*.txt text\n*.win eol=crlf\n*.guess text=auto\n*.raw raw\n*.dat binary\n'
                                     '"odd name.c" -diff\nforced diff\n')
        twin.write('doc/.gitattributes', '*.txt -text\nfile1.c -diff\n/sub/x.c text\n')
        crlf = 'one\r\ntwo\r\nlone\rcr\r\n'
        twin.both(lambda root: os.makedirs(root + '/doc/sub'))
        for path in ('a.txt', 'a.win', 'a.guess', 'a.raw', 'a.none', 'doc/a.txt', 'doc/sub/x.c', 'doc/sub/y.c', 'odd name.c', 'x.dat'):
            twin.write(path, crlf)
        twin.write('b.guess', 'one\r\ntwo\r\n')
        twin.write('forced', 'text\0with a zero\n')
        twin.git_add('-A')
        twin.check_status()
        twin.check_diff()
        self.commit('attributes', 'first', '--date', '1700000000 +0000')
        git(twin.clone, 'commit', '-q', '-m', 'first')
        self.assertEqual(twin.own_git('rev-parse', self.head('attributes') + '^{tree}'), git(twin.clone, 'rev-parse', 'HEAD^{tree}'))
        for path in ('a.txt', 'a.win', 'a.guess', 'a.raw', 'doc/a.txt', 'odd name.c', 'x.dat', 'b.guess', 'doc/file1.c'):
            twin.write(path, twin.read(path) + 'more\r\n')
        twin.write('forced', 'text\0with two zeros\0\n')
        twin.check_status()
        twin.check_diff(every=True)
        twin.write('.gitattributes', '*.raw text\n')  # what was known of a file is not any more
        twin.both(lambda root: os.utime(root + '/a.raw'))
        twin.check_status()
        twin.check_diff()
        twin.git_add('-A')
        twin.check_status()
        twin.check_diff()

    def usage(self, job):
        return self.node.client.GetMount(job_id=job).usage.bytes

    def test_commits_of_a_part(self):
        """A commit of a workspace that shows one directory is of the whole repository."""
        twin = self.twin('sub', path='src/deep')
        with open(twin.root + '/er/file1.c', 'a', encoding='ascii') as f:
            f.write('more\n')
        shutil.rmtree(twin.root + '/er')
        os.mkdir(twin.root + '/er')
        with open(twin.root + '/er/other', 'w', encoding='ascii') as f:
            f.write('x\n')
        self.node.cli('add', 'sub', '-A')
        commit = self.commit('sub', 'part')
        changed = twin.own_git('diff', '--name-status', '--no-renames', self.base, commit).decode().splitlines()
        self.assertEqual(changed, [f'D\tsrc/deep/er/file{i}.c' for i in range(8)] + ['A\tsrc/deep/er/other'])
        self.assertEqual(twin.own_git('fsck', '--strict', '--no-dangling', commit), b'')
        for name in ('er/other',):
            os.unlink(f'{twin.root}/{name}')
        self.node.cli('add', 'sub', '-A')  # the directory has nothing any more: it goes, and so may those above
        commit = self.commit('sub', 'nothing left', '--allow-empty')
        self.assertNotIn(b'src/deep/er', twin.own_git('ls-tree', '-r', '--name-only', commit))

    def commit(self, job, message, *args):
        return self.node.cli('commit', job, '-m', message, '--author', 'A U Thor <author@example.org>', *args).stdout.strip()

    def test_a_directory_in_the_place_of_a_file_is_staged_in_part(self):
        """The staged tree had both then, and nobody could read it any more."""
        twin = self.twin('in-place')

        def change(root):
            os.unlink(os.path.join(root, 'src/file1.c'))
            os.mkdir(os.path.join(root, 'src/file1.c'))
            shutil.rmtree(os.path.join(root, 'src/deep'))
        twin.both(change)
        for name in ('src/file1.c/one', 'src/file1.c/two', 'src/deep', 'src/file1.c-'):
            twin.write(name, name + '\n')
        for paths in (['src/file1.c/one'], [':(glob)src/*']):
            twin.git_add('--', *paths)
            twin.check_status()
            twin.check_diff(every=True)
        for path in ('src/deep/er/file0.c', 'src/file1.c'):  # and back, as HEAD has it
            twin.reset('--', path)
            twin.check_status()
        twin.git_add('-A')
        twin.op_commit()
        twin.check_status()
        self.assertEqual(twin.own_git('fsck', '--strict', '--no-dangling', self.head(twin.job)), b'')

    def test_log(self):
        root = self.node.mount('log').root
        made = []
        for i in range(3):
            with open(f'{root}/new{i}', 'w', encoding='ascii') as f:
                f.write('x')
            self.node.cli('add', 'log', '-A')
            made.append(self.commit('log', f'subject {i}\n\nbody', '--date', '1700000000 +0130'))
        entries = [e for m in self.node.client.Log(workspace={'job_id': 'log'}) for e in m.entries]
        self.assertEqual([e.commit for e in entries], made[::-1])
        self.assertEqual(entries[-1].parents, [self.base])
        self.assertEqual((entries[0].author.name, entries[0].author.time, entries[0].author.offset_minutes, entries[0].message),
                         ('A U Thor', 1700000000, 90, b'subject 2\n\nbody\n'))
        text = self.node.cli('log', 'log', '-n', '1').stdout
        self.assertIn(f'commit {made[2]}\nAuthor: A U Thor <author@example.org>\nDate:   Tue Nov 14 23:43:20 2023 +0130\n\n    subject 2', text)

    def test_workflow_survives_a_crash(self):
        root = self.node.mount('crash').root
        with open(root + '/README', 'w', encoding='ascii') as f:
            f.write('changed')
        self.node.cli('add', 'crash', 'README')
        before = self.commit('crash', 'first')
        with open(root + '/new', 'w', encoding='ascii') as f:
            f.write('staged')
        self.node.cli('add', 'crash', 'new')
        used = self.usage('crash')
        self.node.kill()
        self.node.start()
        self.assertEqual(self.head('crash'), before)
        self.assertEqual(self.status('crash'), ['A  new'])
        self.assertEqual(self.usage('crash'), used)

    def test_hard_reset_gives_quota_back(self):
        twin = self.twin('back')
        before = self.usage('back')
        for i in range(8):
            with open(f'{twin.root}/src/file{i}.c', 'a', encoding='ascii') as f:
                f.write('x' * 100000)
        self.assertGreater(self.usage('back'), before + 800000)
        with open(twin.root + '/src/file1.c', 'rb') as held:  # a reader keeps what it has opened
            self.node.cli('reset', 'back', '--hard')
            self.assertEqual(len(held.read()), os.stat(twin.clone + '/src/file1.c').st_size + 100000)
        twin.compare_files()
        self.assertEqual(self.status('back'), [])
        self.assertLess(self.usage('back'), before + 8 * 4096)  # the one that was open is a copy

    def test_hard_reset_brings_directories_back(self):
        twin = self.twin('dirs')
        twin.both(lambda root: shutil.rmtree(root + '/src'))
        twin.both(lambda root: shutil.rmtree(root + '/lib'))
        twin.write('lib', 'a file now')
        git(twin.clone, 'reset', '-q', '--hard')
        used = self.usage('dirs')
        self.node.cli('reset', 'dirs', '--hard')
        twin.compare_files()
        self.assertLess(self.usage('dirs'), used + 4096)
        self.assertEqual(self.status('dirs'), [])

    def test_hard_reset_under_readers(self):
        """Who reads all the time sees whole files only: of before or of after."""
        root = self.node.mount('readers').root
        old = {}
        for p in ('src/file1.c', 'README', 'lib/file2.c'):
            with open(f'{root}/{p}', 'rb') as f:
                old[p] = f.read()
        new = {p: b'new ' * 5000 for p in old}
        for p, text in new.items():
            with open(f'{root}/{p}', 'wb') as f:
                f.write(text)
        stop, bad = threading.Event(), []

        def read(path):
            while not stop.is_set():
                try:
                    with open(f'{root}/{path}', 'rb') as f:
                        text = f.read()
                except FileNotFoundError:
                    continue  # between the removal of the job's file and the return of the base's
                if text not in (old[path], new[path]):
                    bad.append((path, len(text)))
        readers = [threading.Thread(target=read, args=(p,)) for p in old]
        for t in readers:
            t.start()
        self.node.cli('reset', 'readers', '--hard')
        stop.set()
        for t in readers:
            t.join()
        self.assertEqual(bad, [])
        for p, text in old.items():
            with open(f'{root}/{p}', 'rb') as f:
                self.assertEqual(f.read(), text)

    def test_staging_is_charged(self):
        root = self.node.mount('full', quota={'bytes': 300 << 10, 'inodes': 1000}).root
        with open(root + '/large', 'wb') as f:
            f.write(os.urandom(200 << 10))
        before = self.status('full')
        e = self.fails('RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED', 'Add', workspace={'job_id': 'full'}, all=True)
        self.assertIn('large', e.message)
        self.assertEqual(self.status('full'), before)
        self.node.client.UpdateMount(job_id='full', update_mask=['quota.bytes'], quota={'bytes': 1 << 20})
        self.node.cli('add', 'full', '-A')
        self.assertEqual(self.status('full'), ['A  large'])

    def fails(self, code, reason, call, **fields):
        with self.assertRaises(CallError) as caught:
            answer = getattr(self.node.client, call)(**fields)
            if hasattr(answer, '__next__'):
                list(answer)
        self.assertEqual((caught.exception.code, caught.exception.reason), (code, reason), caught.exception)
        return caught.exception

    def test_bad_commits(self):
        root = self.node.mount('bad').root
        where, who = {'job_id': 'bad'}, {'name': 'A', 'email': 'a@b'}
        self.fails('FAILED_PRECONDITION', 'NOTHING_TO_COMMIT', 'Commit', workspace=where, message='x', author=who)
        with open(root + '/new', 'w', encoding='ascii') as f:
            f.write('x')
        self.node.cli('add', 'bad', 'new')
        for field, fields in (('message', {'message': ' \n\n', 'author': who}), ('author', {'message': 'x'}),
                              ('author.name', {'message': 'x', 'author': {'name': ' ', 'email': 'x'}}),
                              ('author.name', {'message': 'x', 'author': {'name': 'a\nb', 'email': 'x'}}),
                              ('author.email', {'message': 'x', 'author': {'name': 'a', 'email': '<x'}}),
                              ('committer.time', {'message': 'x', 'author': who, 'committer': dict(who, time=-5)}),
                              ('author.offset_minutes', {'message': 'x', 'author': dict(who, offset_minutes=100000)})):
            e = self.fails('INVALID_ARGUMENT', 'INVALID_FIELD', 'Commit', workspace=where, **fields)
            self.assertEqual(e.metadata['field'], field, e)
        e = self.fails('INVALID_ARGUMENT', 'INVALID_FIELD', 'Commit', workspace=where, message='a\0b', author=who)
        self.assertEqual(e.metadata['field'], 'message')
        self.fails('ABORTED', 'HEAD_CHANGED', 'Commit', workspace=dict(where, expected_head='2' * 40), message='x', author=who)
        self.assertEqual(self.status('bad'), ['A  new'])
        self.assertEqual(self.head('bad'), self.base)

    def test_bad_paths_and_revisions(self):
        where = {'job_id': 'words'}
        self.node.mount('words')
        e = self.fails('NOT_FOUND', 'PATHSPEC_NO_MATCH', 'Add', workspace=where, paths=['bm9uZQ=='])
        self.assertEqual(e.metadata['pathspec'], 'none')
        self.fails('NOT_FOUND', 'PATHSPEC_NO_MATCH', 'Add', workspace=where, paths=['Ki5ub25l'])  # *.none
        self.fails('NOT_FOUND', 'PATHSPEC_NO_MATCH', 'Reset', workspace=where, paths=['bm9uZQ=='])
        self.fails('INVALID_ARGUMENT', 'INVALID_FIELD', 'Add', workspace=where)
        self.fails('INVALID_ARGUMENT', 'INVALID_FIELD', 'Reset', workspace=where, mode='HARD', paths=['bm9uZQ=='])
        for name in ('main', 'HEAD~1', 'HEAD~', '1234', 'HEAD~x', 'BASE~1', '0' * 40):
            self.fails('NOT_FOUND', 'REVISION_NOT_FOUND', 'Reset', workspace=where, to=name)
        self.node.cli('add', 'words', '*.c', 'README', ':!lib')  # all unchanged
        self.assertEqual(self.status('words'), [])

    def test_ignored_is_not_added(self):
        root = self.node.mount('hidden').root
        with open(root + '/src/x.tmp', 'w', encoding='ascii') as f:
            f.write('x')
        self.node.cli('add', 'hidden', 'src')
        self.assertEqual(self.status('hidden'), [])
        self.fails('FAILED_PRECONDITION', 'PATH_IGNORED', 'Add', workspace={'job_id': 'hidden'}, paths=['c3JjL3gudG1w'])
        self.node.cli('add', 'hidden', '--force', 'src/x.tmp')
        self.assertEqual(self.status('hidden'), ['A  src/x.tmp'])

    def test_directories_are_named_as_to_git(self):
        """One that is ignored is refused as by `git add`; one in which nothing can be added is not an error."""
        root = self.node.mount('named').root
        os.makedirs(root + '/out/deep')
        os.makedirs(root + '/hollow')
        for name, text in (('.gitignore', 'out/\n'), ('out/a', 'a'), ('out/deep/b', 'b')):
            with open(f'{root}/{name}', 'w', encoding='ascii') as f:
                f.write(text)
        for path in (b'out', b'out/deep', b'out/a'):
            self.fails('FAILED_PRECONDITION', 'PATH_IGNORED', 'Add', workspace={'job_id': 'named'}, paths=[base64.b64encode(path).decode()])
        self.node.cli('add', 'named', 'hollow', 'src')
        self.assertEqual([line for line in self.status('named') if not line.startswith('??')], [])
        self.node.cli('add', 'named', '--force', 'out/deep')
        self.assertEqual([line for line in self.status('named') if not line.startswith('??')], ['A  out/deep/b'])

    def test_errors(self):
        client = self.node.client
        self.node.mount('errors')
        fails = self.fails

        fails('NOT_FOUND', 'MOUNT_NOT_FOUND', 'Status', workspace={'job_id': 'nobody'})
        fails('INVALID_ARGUMENT', 'INVALID_FIELD', 'Status')
        fails('INVALID_ARGUMENT', 'INVALID_FIELD', 'Status', workspace={'job_id': 'errors'}, paths=['Li4veA=='])  # ../x
        fails('INVALID_ARGUMENT', 'INVALID_FIELD', 'Status', workspace={'job_id': 'errors', 'expected_head': 'main'})
        e = fails('ABORTED', 'GENERATION_CHANGED', 'Status', workspace={'job_id': 'errors', 'expected_generation': 99})
        self.assertEqual(e.metadata['generation'], str(client.GetMount(job_id='errors').generation))
        e = fails('ABORTED', 'HEAD_CHANGED', 'Status', workspace={'job_id': 'errors', 'expected_head': '1' * 40})
        self.assertEqual(e.metadata['head'], self.base)

    def test_another_tenant_sees_nothing(self):
        self.node.mount('private')
        answer = self.node.call_as(61000, 'Status', workspace={'job_id': 'private'})
        self.assertEqual(answer['error']['reason'], 'MOUNT_NOT_FOUND')


if __name__ == '__main__':
    unittest.main()
