# SPDX-License-Identifier: Apache-2.0
"""Change lists from every source, compared with what Git itself makes of them in a clone: `git checkout`, `git apply`, `git am`, `tar -x`."""
import base64
import io
import os
import random
import shutil
import subprocess
import tarfile
import tempfile
import unittest

from coppice_client import CallError
from node import Node
from tree_compare import Comparison, git_archive

FOLDER = os.environ.get('COPPICE_TEST_DIR', '/var/tmp')
WHO = {f'GIT_{who}_{what}': value for who in ('AUTHOR', 'COMMITTER')
       for what, value in (('NAME', 'T'), ('EMAIL', 't@example.org'), ('DATE', '1700000000 +0000'))}


def text(rng, lines):
    return b''.join(b'line %d %d\n' % (i, rng.randrange(5)) for i in range(lines))


class Clone:
    """A working tree with a repository; its branch main is the base of all that follows."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder)
        self.git('init', '-q', '-b', 'main')

    def run(self, *args, stdin=None, check=True):
        return subprocess.run(['git', '-c', 'protocol.file.allow=always', '-C', self.folder, *args], input=stdin, capture_output=True,
                              check=check, timeout=60, env={**os.environ, **WHO})

    def git(self, *args, stdin=None):
        return self.run(*args, stdin=stdin).stdout

    def id(self, revision):
        return self.git('rev-parse', revision).decode().strip()

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, data, mode=0o644):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), 'wb') as f:
            f.write(data)
        os.chmod(self.path(name), mode)

    def read(self, name):
        with open(self.path(name), 'rb') as f:
            return f.read()

    def commit(self, message='change'):
        self.git('add', '-A')
        self.git('commit', '-q', '--allow-empty', '-m', message)
        return self.id('HEAD')

    def files(self):
        return sorted(n for n in self.git('ls-files', '-z').decode().split('\0') if n)

    def fill(self, rng):
        for i in range(40):
            self.write(f'd{i % 5}/s{i % 3}/f{i}.txt', text(rng, rng.randrange(60)))
        self.write('odd/name with blank', b'x\n')
        self.write('odd/tab\there \u00e4"', text(rng, 9))
        self.write('bin/data', rng.randbytes(4000))
        self.write('tool', b'#!/bin/sh\n', 0o755)
        os.symlink('tool', self.path('link'))
        self.commit('base')

    def edit(self, rng):
        """Some random changes of what is there."""
        for _ in range(rng.randrange(3, 9)):
            name = rng.choice(self.files())
            kind = rng.choice(('line', 'line', 'line', 'remove', 'move', 'copy', 'mode', 'link', 'binary', 'new', 'directory', 'empty'))
            if os.path.islink(self.path(name)):
                os.unlink(self.path(name))
                os.symlink(rng.choice(('tool', 'elsewhere')), self.path(name))
            elif kind == 'line':
                lines = self.read(name).split(b'\n')
                for _ in range(rng.randrange(1, 4)):
                    lines[rng.randrange(len(lines)):rng.randrange(len(lines)) + 1] = [b'edited %d' % rng.randrange(1000)]
                self.write(name, b'\n'.join(lines))
            elif kind == 'remove':
                os.unlink(self.path(name))
            elif kind == 'move':
                os.makedirs(self.path('moved'), exist_ok=True)
                os.rename(self.path(name), self.path(f'moved/{rng.randrange(1000)}'))
            elif kind == 'copy':
                shutil.copy(self.path(name), self.path(f'copy{rng.randrange(1000)}'))
            elif kind == 'mode':
                os.chmod(self.path(name), 0o755 ^ (os.stat(self.path(name)).st_mode & 0o777) ^ 0o644)
            elif kind == 'link':
                os.unlink(self.path(name))
                os.symlink('d0', self.path(name))
            elif kind == 'binary':
                self.write(name, self.read(name) + rng.randbytes(200))
            elif kind == 'directory':
                os.unlink(self.path(name))
                self.write(name + '/inside', b'a file was here\n')
            else:
                self.write(f'new/{rng.randrange(1000)}', b'' if kind == 'empty' else text(rng, 5))
            self.git('add', '-A')
        return self.commit()


def coded(data):
    return base64.b64encode(data).decode()


class Sources(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-cls-', dir=FOLDER)
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.rng = random.Random(7)
        cls.clone = Clone(cls.folder + '/clone')
        cls.clone.fill(cls.rng)
        cls.node = Node({'demo': cls.clone.path('.git')})
        cls.node.start()
        cls.addClassCleanup(cls.node.close)
        cls.jobs = 0

    def setUp(self):
        self.clone.git('checkout', '-q', '-f', 'main')
        self.clone.git('clean', '-qfdx')

    def mount(self, change, revision='main', **more):
        type(self).jobs += 1
        return self.node.mount(f'job{self.jobs}', revision=revision, change_list=change, **more)

    def assert_shows(self, mount, tree):
        """The mount has exactly what a tree of the clone has, and its id."""
        want = git_archive(self.clone.folder, tree, tempfile.mkdtemp(dir=self.folder) + '/tree')
        self.assertEqual(Comparison(want, mount.root).differences, [])
        self.assertEqual(mount.root_tree, self.clone.id(tree + '^{tree}'))

    def refused(self, change, revision='main', reason='CHANGE_LIST_DOES_NOT_APPLY'):
        before = sorted(os.listdir(self.node.data + '/workspaces'))
        with self.assertRaises(CallError) as caught:
            self.mount(change, revision)
        self.assertEqual(caught.exception.reason, reason)
        self.assertEqual(sorted(os.listdir(self.node.data + '/workspaces')), before)
        return caught.exception

    def test_random_patches(self):
        for seed in range(12):
            with self.subTest(seed=seed):
                rng = random.Random(seed)
                self.setUp()
                self.clone.git('checkout', '-q', '-B', f'topic{seed}')
                for _ in range(rng.randrange(1, 4)):
                    self.clone.edit(rng)
                how = rng.choice((('-M',), ('-M', '-C', '--find-copies-harder'), ('--no-renames',), ('--full-index', '-U1'), ('-B', '-M')))
                diff = self.clone.git('diff', '--binary', *how, 'main', 'HEAD')
                self.assert_shows(self.mount({'patch': coded(diff)}), 'HEAD')
                mails = self.clone.git('format-patch', '--stdout', '--binary', *how, 'main..HEAD')
                self.assert_shows(self.mount({'patch': coded(mails)}), 'HEAD')
                self.assert_shows(self.mount({'ref': f'topic{seed}'}), 'HEAD')
                self.assert_shows(self.mount({'range': f'main..topic{seed}'}), 'HEAD')

    def test_random_patches_over_what_has_moved(self):
        """What git apply takes gives the same; what it does not take is refused."""
        taken = 0
        for seed in range(12):
            with self.subTest(seed=seed):
                rng = random.Random(100 + seed)
                self.setUp()
                self.clone.git('checkout', '-q', '-B', f'topic{seed}')
                self.clone.edit(rng)
                diff = self.clone.git('diff', '--binary', '-M', 'main', 'HEAD')
                self.clone.git('checkout', '-q', '-B', f'moved{seed}', 'main')
                self.clone.edit(rng)
                applied = self.clone.run('apply', '--index', '-', stdin=diff, check=False)
                if applied.returncode == 0:
                    taken += 1
                    tree = self.clone.git('write-tree').decode().strip()
                    mount = self.mount({'patch': coded(diff)}, revision=f'moved{seed}')
                    self.assert_shows(mount, self.clone.git('commit-tree', '-m', 'x', tree).decode().strip())
                else:
                    self.assertTrue(self.refused({'patch': coded(diff)}, f'moved{seed}').violations)
        self.assertGreater(taken, 1)

    def test_a_ref_beside_the_revision(self):
        """Its changes since the merge base, over a revision that went on."""
        self.clone.git('checkout', '-q', '-B', 'feature')
        self.clone.write('d0/feature', b'new\n')
        feature = self.clone.commit()
        self.clone.git('checkout', '-q', '-B', 'ahead', 'main')
        self.clone.write('d1/ahead', b'new\n')
        self.clone.commit()
        mount = self.mount({'ref': 'feature'}, revision='ahead')
        self.clone.git('cherry-pick', feature)
        self.assert_shows(mount, 'HEAD')
        self.assertEqual((mount.change_list.ref, mount.change_list_commit, mount.change_list_paths), ('feature', feature, 1))
        self.clone.git('checkout', '-q', '--orphan', 'stranger')
        self.clone.commit()
        self.assertEqual(self.refused({'ref': 'stranger'}, reason='NO_MERGE_BASE').code, 'FAILED_PRECONDITION')

    def test_a_zero_byte_in_a_mail_hides_nothing_behind_it(self):
        self.clone.git('checkout', '-q', '-B', 'zero')
        self.clone.write('d0/s0/f0.txt', b'changed\n')
        self.clone.commit()
        mail = self.clone.git('format-patch', '--stdout', 'main..HEAD').replace(b'\n\n', b'\n\na zero \0 byte\n', 1)
        self.assert_shows(self.mount({'patch': coded(mail)}), 'HEAD')

    def test_two_files_change_names(self):
        self.clone.git('checkout', '-q', '-B', 'swap')
        a, b = self.clone.path('d0/s0/f0.txt'), self.clone.path('bin/data')
        os.rename(a, a + '.tmp')
        os.rename(b, a)
        os.rename(a + '.tmp', b)
        self.clone.commit()
        diff = self.clone.git('diff', '--binary', '-B', '-M', 'main', 'HEAD')
        self.assertEqual(diff.count(b'rename from'), 2)
        self.assert_shows(self.mount({'patch': coded(diff)}), 'HEAD')

    def test_diff_u(self):
        """What diff -ruN writes: no modes, dates behind names, new and removed files by their date."""
        other = tempfile.mkdtemp(dir=self.folder)
        shutil.copytree(self.clone.folder, other + '/b', symlinks=True, ignore=shutil.ignore_patterns('.git'))
        shutil.copytree(other + '/b', other + '/a', symlinks=True)
        for name, data in (('d0/s0/f0.txt', b'changed\n'), ('d0/new', b'new\n')):
            with open(f'{other}/b/{name}', 'wb') as f:
                f.write(data)
        os.unlink(other + '/b/tool')
        diff = subprocess.run(['diff', '-ruN', '--no-dereference', 'a', 'b'], cwd=other, capture_output=True, check=False, timeout=60).stdout
        mount = self.mount({'patch': coded(diff)})
        self.assertEqual(Comparison(other + '/b', mount.root).differences, [])

    def test_a_submodule_moves(self):
        self.clone.git('checkout', '-q', '-B', 'modules')
        for name, commit in (('one', '1' * 40), ('two', '2' * 40)):
            self.clone.git('update-index', '--add', '--cacheinfo', f'160000,{commit},sub/{name}')
        self.clone.git('commit', '-q', '-m', 'modules')
        base = self.clone.id('HEAD')
        self.clone.git('update-index', '--cacheinfo', f'160000,{"3" * 40},sub/one')
        self.clone.git('update-index', '--force-remove', 'sub/two')
        self.clone.git('update-index', '--add', '--cacheinfo', f'160000,{"4" * 40},sub/three')
        self.clone.git('commit', '-q', '-m', 'bump')
        diff = self.clone.git('diff', base, 'HEAD')
        mount = self.mount({'patch': coded(diff)}, revision=base)
        self.assertEqual(sorted(os.listdir(mount.root + '/sub')), ['one', 'three'])
        self.assertEqual(mount.change_list_paths, 3)

    def test_below_a_path(self):
        self.clone.git('checkout', '-q', '-B', 'topic')
        self.clone.write('d0/s0/f0.txt', b'inside\n')
        self.clone.write('d1/s1/f1.txt', b'outside\n')
        self.clone.commit()
        diff = self.clone.git('diff', 'main', 'HEAD')
        mount = self.mount({'patch': coded(diff)}, path='d0')
        self.assertEqual(mount.change_list_paths, 1)
        with open(mount.root + '/s0/f0.txt', 'rb') as f:
            self.assertEqual(f.read(), b'inside\n')

    # ---- archives ----

    def tar(self, files, kind=tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode='w', format=kind) as tar:
            for member, data in files:
                member = tarfile.TarInfo(member) if isinstance(member, str) else member
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        return out.getvalue()

    def member(self, name, **values):
        member = tarfile.TarInfo(name)
        for key, value in values.items():
            setattr(member, key, value)
        return member

    def test_an_archive(self):
        for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
            with self.subTest(kind=kind):
                self.setUp()
                files = [('./d0/s0/f0.txt', b'over\n'), ('new/deep/' + 'n' * 80 + '/file', b'new\n'), (self.member('run', mode=0o755), b'#!\n'),
                         (self.member('to', type=tarfile.SYMTYPE, linkname='../any'), b''),
                         (self.member('again', type=tarfile.LNKTYPE, linkname='run'), b''), ('d2', b'a directory was here\n'),
                         ('tool/inside', b'a file was here\n'), (self.member('empty', type=tarfile.DIRTYPE), b'')]
                archive, deleted = self.tar(files, kind), ['d1', 'd2', 'tool', 'bin/data']
                mount = self.mount({'tar': {'tar': coded(archive), 'deleted': [coded(d.encode()) for d in deleted]}})
                self.clone.git('rm', '-rqf', *deleted)
                subprocess.run(['tar', '-x', '-C', self.clone.folder], input=archive, check=True, timeout=60)
                self.clone.git('add', '-A')
                tree = self.clone.git('write-tree').decode().strip()
                self.assert_shows(mount, self.clone.git('commit-tree', '-m', 'x', tree).decode().strip())
                self.assertEqual(len(mount.change_list.digest), 64)

    def test_an_archive_that_does_not_apply(self):
        e = self.refused({'tar': {'tar': coded(self.tar([('tool/inside', b'x'), ('d0', b'x')])), 'deleted': [coded(b'absent')]}})
        self.assertIn(('absent', 'is not there, and cannot be removed'), e.violations)
        e = self.refused({'tar': {'tar': coded(self.tar([('tool/inside', b'x'), ('d0', b'x')]))}})
        self.assertEqual(sorted(path for path, _ in e.violations), ['d0', 'tool/inside'])

    def test_hostile_archives(self):
        for member in ('/etc/x', '../x', 'a/../../x', self.member('dev', type=tarfile.CHRTYPE), self.member('fifo', type=tarfile.FIFOTYPE),
                       self.member('hard', type=tarfile.LNKTYPE, linkname='../../etc/passwd'), self.member('.git/config')):
            with self.subTest(member=str(member)):
                with self.assertRaises(CallError) as caught:
                    self.mount({'tar': {'tar': coded(self.tar([(member, b'')]))}})
                self.assertIn(caught.exception.code, ('INVALID_ARGUMENT', 'FAILED_PRECONDITION'))
        whole = self.tar([('a', b'x' * 2000)])
        for bad in (whole[:1000], whole[:700], b'\x1f\x8b' + b'\0' * 600, b'PK' * 300):
            self.assertEqual(self.refused({'tar': {'tar': coded(bad)}}, reason='INVALID_FIELD').code, 'INVALID_ARGUMENT')

    def test_a_link_inside_an_archive_leads_nowhere_else(self):
        """A symlink is a symlink: what is "behind" it is a conflict, not a file elsewhere."""
        e = self.refused({'tar': {'tar': coded(self.tar([(self.member('out', type=tarfile.SYMTYPE, linkname='/tmp'), b''), ('out/x', b'x')]))}})
        self.assertEqual([path for path, _ in e.violations], ['out/x'])

    # ---- what is kept ----

    def test_what_is_kept_outlives_restarts_and_caches(self):
        archive = self.tar([('kept', b'only here\n' * 1000), ('d0/s0/f0.txt', b'mine\n')])
        with Node({'demo': self.clone.path('.git')}) as node:
            root = node.mount('job', revision='main', change_list={'tar': {'tar': coded(archive)}}).root
            used = node.client.GetMount(job_id='job').usage.bytes
            self.assertGreaterEqual(used, len(archive))
            for lost in ((), ('blobs',), ('index', 'blobs')):
                node.kill()
                for name in lost:
                    shutil.rmtree(f'{node.data}/{name}')
                node.start()
                with open(root + '/kept', 'rb') as f:
                    self.assertEqual(f.read(), b'only here\n' * 1000)
                with open(root + '/d0/s0/f0.txt', 'rb') as f:
                    self.assertEqual(f.read(), b'mine\n')
                self.assertEqual(node.client.GetMount(job_id='job').usage.bytes, used)
            node.client.DeleteMount(job_id='job')
            self.assertEqual(os.listdir(node.data + '/workspaces'), [])

    def test_the_quota_holds_for_what_is_kept(self):
        archive = self.tar([('large', b'x' * 300000)])
        change = {'tar': {'tar': coded(archive)}}
        with self.assertRaises(CallError) as caught:
            self.mount(change, quota={'bytes': 200000})
        self.assertEqual((caught.exception.code, caught.exception.reason), ('RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED'))
        mount = self.mount(change, quota={'bytes': 700000})
        self.assertGreater(mount.usage.bytes, 600000)
        with self.assertRaises(OSError):
            with open(mount.root + '/more', 'wb') as f:
                f.write(b'y' * 200000)

    def test_the_command_line(self):
        self.clone.git('checkout', '-q', '-B', 'cli')
        self.clone.write('d0/cli', b'x\n')
        self.clone.commit()
        patch = self.folder + '/patch'
        with open(patch, 'wb') as f:
            f.write(self.clone.git('diff', 'main', 'HEAD'))
        with open(self.folder + '/tar', 'wb') as f:
            f.write(self.tar([('d0/cli', b'x\n')]))
        for i, words in enumerate((('--patch', patch), ('--tar', self.folder + '/tar'), ('--change-list', 'cli'))):
            root = self.node.cli('mount', '--job-id', f'cli{i}', '--revision', 'main', *words).stdout.strip()
            self.assertTrue(os.path.isfile(root + '/d0/cli'))
            self.assertIn('change list', self.node.cli('show', f'cli{i}').stdout)
        done = self.node.cli('mount', '--job-id', 'gone', '--revision', 'main', '--tar', self.folder + '/tar', '--deleted', 'd1', '--deleted', 'tool')
        self.assertFalse(os.path.exists(done.stdout.strip() + '/d1'))
        self.assertNotEqual(self.node.cli('mount', '--job-id', 'two', '--patch', patch, '--cl', 'ABCD1234', check=False).returncode, 0)


if __name__ == '__main__':
    unittest.main()
