# SPDX-License-Identifier: Apache-2.0
"""Programs that look closely at a filesystem do inside a workspace what they do outside: find, du, rsync, tar, cp, git, SQLite, ccache,
ninja, a daemon that rotates its log."""
import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import unittest

import repo_maker
from node import SLOW, SANITIZE, Node

FILES = 60
ENVIRONMENT = dict(os.environ, LC_ALL='C', HOME='/nonexistent', GIT_CONFIG_NOSYSTEM='1', GIT_AUTHOR_NAME='t', GIT_AUTHOR_EMAIL='t@example.org',
                   GIT_COMMITTER_NAME='t', GIT_COMMITTER_EMAIL='t@example.org', GIT_CONFIG_COUNT='1', GIT_CONFIG_KEY_0='safe.directory',
                   GIT_CONFIG_VALUE_0='*')


def run(*args, cwd=None, **environment):
    done = subprocess.run(args, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='surrogateescape',
                          timeout=150 * SLOW, check=False, env=dict(ENVIRONMENT, **environment))
    if done.returncode != 0:
        raise AssertionError(f'{args} ended with {done.returncode}:\n{done.stdout[-4000:]}')
    return done.stdout


def write(path, data):
    with open(path, 'wb') as f:
        f.write(data)


def make_odd_things(root):
    """What copying programs lose: links, holes, attributes, modes, owners, times, special files."""
    os.makedirs(root + '/made/sub')
    write(root + '/made/plain', b'plain\n')
    os.link(root + '/made/plain', root + '/made/sub/hard link')
    os.link(root + '/made/plain', root + '/src/second hard link')
    os.symlink('../plain', root + '/made/sub/symlink')
    os.symlink('t' * 4000, root + '/made/long symlink')
    os.mkfifo(root + '/made/fifo')
    with open(root + '/made/sparse', 'wb') as f:
        f.truncate(8 << 20)
        f.seek(3 << 20)
        f.write(b'data in the middle')
    write(root + '/made/empty', b'')
    write(root + '/made/set-id', b'#!/bin/sh\n')
    os.chown(root + '/made/set-id', 1234, 4321)
    os.chmod(root + '/made/set-id', 0o6755)
    os.mkdir(root + '/made/sticky')
    os.chmod(root + '/made/sticky', 0o1777)
    for path in ('/made/plain', '/made/sub', '/src/unit1.c'):
        os.setxattr(root + path, 'user.note', b'a \x00 value of ' + path.encode())
    os.setxattr(root + '/made/empty', 'user.large', b'v' * 3000)
    os.setxattr(root + '/made/sparse', 'trusted.note', b'of root alone')
    os.unlink(root + '/src/unit2.c')
    os.chmod(root + '/src/unit3.c', 0o600)
    os.rename(root + '/include', root + '/renamed')
    os.utime(root + '/made/plain', ns=(1_111_111_111_111_111_111, 1_222_222_222_222_222_222))
    os.utime(root + '/made/sub/symlink', ns=(1_000_000_001, 2_000_000_002), follow_symlinks=False)
    os.utime(root + '/made/sub', ns=(3_000_000_003, 4_000_000_004))


def facts(root):
    """Everything a copy must keep: {path: ...}; hard links by the names they share."""
    seen, names = {}, {}
    for folder, folders, files in os.walk(root):
        for name in [''] + files + [n for n in folders if os.path.islink(os.path.join(folder, n))]:
            path = os.path.join(folder, name).rstrip('/')
            st, rel = os.lstat(path), os.path.relpath(path, root)
            kind = stat.S_IFMT(st.st_mode)
            fact = {'mode': st.st_mode, 'owner': (st.st_uid, st.st_gid), 'mtime': st.st_mtime_ns if path != root else None}
            if kind == stat.S_IFREG:
                fact['size'] = st.st_size
                with open(path, 'rb') as f:
                    fact['content'] = f.read()
                if st.st_nlink > 1:
                    names.setdefault(st.st_ino, []).append(rel)
                    fact['names'] = names[st.st_ino]
            if kind == stat.S_IFLNK:
                fact['target'] = os.readlink(path)
            else:
                fact['xattrs'] = {x: os.getxattr(path, x) for x in os.listxattr(path)
                                  if x.startswith(('user.', 'trusted.')) and not x.startswith(('user.coppice.', 'user.sha'))}
            seen[rel] = fact
    for group in names.values():
        group.sort()
    return seen


class Tools(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-tools-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo_maker.make(cls.repository, c_project=FILES, files=300, seed=11)

    def setUp(self):
        self.outside = tempfile.mkdtemp(dir=self.folder)

    @contextlib.contextmanager
    def workspace(self, name='tools'):
        with Node({'demo': self.repository}) as node:
            yield node.mount(name).root
            node.delete(name)

    def assert_same(self, want, got):
        self.assertEqual(sorted(want), sorted(got))
        for path, fact in want.items():
            self.assertEqual(fact, got[path], path)

    # ---- programs that only look ----

    def test_find_and_du(self):
        """Leaf optimisation trusts st_nlink; du trusts st_blocks and counts an inode once."""
        with self.workspace() as root:
            for state in ('fresh', 'changed'):
                if state == 'changed':
                    make_odd_things(root)
                with self.subTest(state):
                    found = sorted(run('find', '.', cwd=root).splitlines())
                    self.assertEqual(found, sorted(run('find', '.', '-noleaf', cwd=root).splitlines()))
                    self.assertEqual(sorted(run('find', '.', '-type', 'd', '-links', '1', cwd=root).splitlines()), [])
                    want = []
                    for folder, folders, files in os.walk(root):
                        want += [os.path.relpath(os.path.join(folder, n), root) for n in folders + files]
                    self.assertEqual(found, sorted(['.'] + ['./' + n for n in want]))
                    copy = os.path.join(self.outside, state)
                    run('cp', '-a', '--sparse=always', root, copy)
                    # sizes of directories and the rounding of small files are the filesystem's own affair
                    for args, kind in (('--apparent-size', 'f'), ('--apparent-size', 'l')):
                        sizes = [run('find', where, '-type', kind, '-printf', '%s\n').split() for where in (root, copy)]
                        self.assertEqual(sorted(sizes[0]), sorted(sizes[1]), args)
                    for args in ([], ['-l']):
                        disk = [int(run('du', '-s', '--block-size=1', *args, where).split()[0]) for where in (root, copy)]
                        self.assertLess(abs(disk[0] - disk[1]), disk[1] / 10, f'du {args}: {disk}')
                    apparent = [int(run('du', '-s', '--apparent-size', '--block-size=1', where).split()[0]) for where in (root, copy)]
                    self.assertLess(abs(apparent[0] - apparent[1]), apparent[1] / 10, f'{apparent}')
            self.assertLess(int(run('du', '--block-size=1', root + '/made/sparse').split()[0]), 64 << 10)

    # ---- programs that copy ----

    def round_trip(self, copy, back):
        """Out of a workspace and into another."""
        with self.workspace() as root:
            make_odd_things(root)
            want = facts(root)
            self.assertEqual(want['made/plain']['names'], ['made/plain', 'made/sub/hard link', 'src/second hard link'])
            out = os.path.join(self.outside, 'out')
            os.mkdir(out)
            copy(root, out)
            self.assert_same(want, facts(out))
            # into the workspace again, below what is there
            inside = root + '/restored'
            os.mkdir(inside)
            back(out, inside)
            self.assert_same({k: v for k, v in want.items() if k != '.'}, {k: v for k, v in facts(inside).items() if k != '.'})
            self.assertLess(os.stat(inside + '/made/sparse').st_blocks * 512, 64 << 10, 'the hole was filled')
            self.assertLess(os.stat(out + '/made/sparse').st_blocks * 512, 64 << 10, 'the hole was filled')

    def test_rsync(self):
        # -1: else rsync takes times of one second for equal
        options = ('--numeric-ids', '--modify-window=-1', '--filter=-x user.coppice.*', '--filter=-x user.sha*', '--exclude=/restored')

        def rsync(source, target):
            run('rsync', '-aHAXS', *options, source + '/', target + '/')
            # a second run finds nothing to do: sizes and times are equal
            again = run('rsync', '-aHAXSi', *options, source + '/', target + '/')
            self.assertEqual([line for line in again.splitlines() if not line.startswith('.d')], [])
        self.round_trip(rsync, rsync)

    def test_tar(self):
        """tar restores user and trusted attributes only if asked to."""
        kept = ('--xattrs', '--xattrs-include=user.note', '--xattrs-include=user.large', '--xattrs-include=trusted.note', '--acls')

        def tar(source, target):
            archive = os.path.join(self.outside, 'archive.tar')
            run('tar', '-C', source, '--format=posix', '-S', *kept, '--exclude=./restored', '-cf', archive, '.')
            run('tar', '-C', target, '-S', '-p', '--same-owner', *kept, '-xf', archive)
        self.round_trip(tar, tar)

    def test_cp(self):
        def cp(source, target):
            names = [os.path.join(source, name) for name in os.listdir(source) if name != 'restored']
            run('cp', '-a', '--sparse=always', *names, target)
        self.round_trip(cp, cp)

    # ---- git ----

    def git(self, root, *args):
        return run('git', '-C', root, *args)

    def test_git_in_a_workspace(self):
        with self.workspace() as root:
            clone = root + '/clone'
            run('git', 'clone', '-q', self.repository, clone)
            self.assertEqual(self.git(clone, 'status', '--porcelain'), '')
            self.git(clone, 'checkout', '-q', '-b', 'work')
            write(clone + '/src/unit0.c', b'int changed;\n')
            os.rename(clone + '/src/unit1.c', clone + '/src/moved.c')
            write(clone + '/new', b'new\n')
            self.assertEqual(sorted(self.git(clone, 'status', '--porcelain').split('\n')),
                             ['', ' D src/unit1.c', ' M src/unit0.c', '?? new', '?? src/moved.c'])
            self.git(clone, 'add', '-A')
            self.git(clone, 'commit', '-q', '-m', 'work')
            self.assertEqual(self.git(clone, 'status', '--porcelain'), '')
            for branch in ('main', 'work', 'main', 'work'):
                self.git(clone, 'checkout', '-q', branch)
                self.assertEqual(os.path.exists(clone + '/new'), branch == 'work')
                self.assertEqual(self.git(clone, 'status', '--porcelain'), '')
            for i in range(20):
                write(clone + '/new', b'%d\n' % i)
                self.git(clone, 'commit', '-q', '-a', '-m', str(i))
            self.git(clone, 'gc', '-q', '--prune=now')
            self.git(clone, 'fsck', '--strict')
            self.assertEqual(self.git(clone, 'count-objects').split()[0], '0')
            with self.subTest('git clone --local makes hard links'):
                run('git', 'clone', '-q', '--local', clone, root + '/local')
                packs = [n for n in os.listdir(clone + '/.git/objects/pack') if n.endswith('.pack')]
                for pack in packs:
                    ones = [os.stat(os.path.join(where, '.git/objects/pack', pack)) for where in (clone, root + '/local')]
                    self.assertEqual((ones[0].st_ino, ones[0].st_nlink), (ones[1].st_ino, 2))
                self.git(root + '/local', 'fsck', '--strict')
                self.assertEqual(self.git(root + '/local', 'rev-parse', 'HEAD^{tree}'), self.git(clone, 'rev-parse', 'HEAD^{tree}'))
            with self.subTest('stash, rebase, worktree'):
                write(clone + '/new', b'stashed\n')
                self.git(clone, 'stash', '-q')
                self.git(clone, 'stash', 'pop', '-q')
                self.assertEqual(self.git(clone, 'status', '--porcelain'), ' M new\n')
                self.git(clone, 'checkout', '-q', '--', 'new')
                self.git(clone, 'worktree', 'add', '-q', root + '/tree', 'main')
                self.assertEqual(self.git(root + '/tree', 'status', '--porcelain'), '')
                self.git(clone, 'rebase', '-q', '--force-rebase', 'main')
                self.assertEqual(self.git(clone, 'status', '--porcelain'), '')

    def test_git_over_the_sources(self):
        """The sources themselves as the work tree of a repository outside: what git sees is what the commit has."""
        with self.workspace() as root:
            bare = os.path.join(self.outside, 'bare.git')
            run('git', 'clone', '-q', '--bare', self.repository, bare)
            git = ('git', '--git-dir=' + bare, '--work-tree=' + root)
            run(*git, 'read-tree', 'HEAD')
            self.assertEqual(run(*git, 'status', '--porcelain'), '')
            self.assertEqual(run(*git, 'status', '--porcelain'), '')  # from its index: sizes, times and inode numbers stay
            write(root + '/src/unit0.c', b'changed')
            os.unlink(root + '/src/unit1.c')
            self.assertEqual(run(*git, 'status', '--porcelain').splitlines(), [' M src/unit0.c', ' D src/unit1.c'])
            run(*git, 'checkout', '-q', '-f', 'HEAD', '--', '.')
            self.assertEqual(run(*git, 'status', '--porcelain'), '')

    # ---- databases ----

    def check_sqlite(self, root, mode):
        path = f'{root}/{mode}.db'
        with contextlib.closing(sqlite3.connect(path)) as db:
            self.assertEqual(db.execute(f'pragma journal_mode={mode}').fetchone()[0], mode)
            db.execute('create table t (writer int, n int, filler blob, primary key (writer, n))')
            db.commit()
        count = 60 if SANITIZE else 200
        script = ('import sqlite3, sys\n'
                  'path, writer, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])\n'
                  'db = sqlite3.connect(path, timeout=120, isolation_level=None)\n'
                  'for n in range(count):\n'
                  '    db.execute("begin immediate")\n'
                  '    total = db.execute("select count(*) from t where writer = ?", (writer,)).fetchone()[0]\n'
                  '    assert total == n, (total, n)\n'
                  '    db.execute("insert into t values (?, ?, randomblob(2000))", (writer, n))\n'
                  '    db.execute("commit")\n')
        writers = [subprocess.Popen([sys.executable, '-c', script, path, str(w), str(count)], stderr=subprocess.PIPE, text=True)
                   for w in range(2)]
        for writer in writers:
            errors = writer.communicate(timeout=120 * SLOW)[1]
            self.assertEqual((writer.returncode, errors), (0, ''))
        with contextlib.closing(sqlite3.connect(path)) as db:
            self.assertEqual(db.execute('pragma integrity_check').fetchone()[0], 'ok')
            self.assertEqual(db.execute('select writer, count(*), sum(length(filler)) from t group by writer').fetchall(),
                             [(w, count, 2000 * count) for w in range(2)])
            db.execute('vacuum')
            self.assertEqual(db.execute('pragma integrity_check').fetchone()[0], 'ok')

    def test_sqlite_with_two_writers(self):
        with self.workspace() as root:
            for mode in ('wal', 'delete', 'truncate', 'persist'):
                with self.subTest(mode):
                    self.check_sqlite(root, mode)

    def test_sqlite_rolls_back_after_a_killed_writer(self):
        with self.workspace() as root:
            for mode in ('delete', 'wal'):
                path = f'{root}/killed-{mode}.db'
                with contextlib.closing(sqlite3.connect(path)) as db:
                    db.execute(f'pragma journal_mode={mode}')
                    db.execute('create table t (x blob)')
                    db.executemany('insert into t values (?)', [(b'x' * 3000,)] * 100)
                    db.commit()
                script = ('import os, sqlite3, sys\n'
                          'db = sqlite3.connect(sys.argv[1], isolation_level=None)\n'
                          'db.execute("pragma cache_size=5")\n'  # so that pages reach the file before the commit
                          'db.execute("begin")\n'
                          'db.execute("update t set x = zeroblob(3000)")\n'
                          'os.kill(os.getpid(), 9)\n')
                self.assertEqual(subprocess.run([sys.executable, '-c', script, path], timeout=60 * SLOW, check=False).returncode, -9)
                with contextlib.closing(sqlite3.connect(path)) as db:
                    self.assertEqual(db.execute('select count(*) from t where x = ?', (b'x' * 3000,)).fetchone()[0], 100, mode)
                    self.assertEqual(db.execute('pragma integrity_check').fetchone()[0], 'ok')

    # ---- builds ----

    def test_ninja_and_ccache(self):
        """ninja trusts mtimes to the nanosecond, ccache links and renames; the second build comes from the cache."""
        with self.workspace() as root:
            cache = root + '/.ccache'
            environment = {'CCACHE_DIR': cache, 'CCACHE_HARDLINK': '1', 'CCACHE_NOCOMPRESS': '1', 'CCACHE_BASEDIR': root,
                           'CCACHE_NODISABLE': '1'}  # whatever the build around us wants
            lines = ['rule cc', '  command = ccache gcc -O0 -fwrapv -Iinclude -MMD -MF $out.d -c -o $out $in', '  depfile = $out.d', '  deps = gcc',
                     'rule ld', '  command = gcc -o $out $in']
            names = [f'unit{i}' for i in range(FILES)] + ['main']
            lines += [f'build out/{n}.o: cc src/{n}.c' for n in names]
            lines += ['build prog: ld ' + ' '.join(f'out/{n}.o' for n in names), '']
            write(root + '/build.ninja', '\n'.join(lines).encode())
            run('ninja', '-j2', cwd=root, **environment)
            first = run(root + '/prog')
            self.assertIn('no work to do', run('ninja', '-j2', cwd=root, **environment))
            with self.subTest('one file'):
                with open(root + '/src/unit3.c', 'a', encoding='ascii') as f:
                    f.write('int more;\n')
                self.assertIn('[2/2]', run('ninja', '-j1', cwd=root, **environment))
            run('ninja', '-t', 'clean', cwd=root)
            run('ccache', '-z', cwd=root, **environment)
            run('ninja', '-j2', cwd=root, **environment)
            self.assertEqual(run(root + '/prog'), first)
            counts = dict(line.split('\t') for line in run('ccache', '--print-stats', cwd=root, **environment).splitlines())
            hits = int(counts['direct_cache_hit']) + int(counts['preprocessed_cache_hit'])
            self.assertEqual((hits, int(counts['cache_miss'])), (FILES + 1, 0))
            self.assertGreater(os.stat(root + '/out/unit0.o').st_nlink, 1, 'ccache made a hard link')

    # ---- a log file ----

    def test_a_log_that_is_rotated_by_rename(self):
        """The daemon keeps its descriptor: what it appends goes to the renamed file, also after that was unlinked; two writers lose nothing."""
        with self.workspace() as root:
            log = root + '/service.log'
            one = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            two = os.open(log, os.O_WRONLY | os.O_APPEND)
            self.addCleanup(os.close, one)
            self.addCleanup(os.close, two)
            for i in range(100):
                os.write(one, b'one %d\n' % i)
                os.write(two, b'two %d\n' % i)
            os.rename(log, log + '.1')
            os.write(one, b'after the rename\n')
            self.assertFalse(os.path.exists(log))
            write(log, b'a new log\n')
            os.write(two, b'still the old one\n')
            with open('/proc/sys/vm/drop_caches', 'w', encoding='ascii') as f:
                f.write('3')
            os.write(one, b'after a while\n')
            with open(log + '.1', encoding='ascii') as f:
                lines = f.read().splitlines()
            self.assertEqual(len(lines), 203)
            self.assertEqual(lines[200:], ['after the rename', 'still the old one', 'after a while'])
            with open(log, encoding='ascii') as f:
                self.assertEqual(f.read(), 'a new log\n')
            inode = os.fstat(one).st_ino
            self.assertEqual(os.stat(log + '.1').st_ino, inode)
            os.rename(log, log + '.1')  # over the open file
            os.write(one, b'nobody reads this\n')
            with open(f'/proc/self/fd/{one}', 'rb') as f:
                self.assertTrue(f.read().endswith(b'after a while\nnobody reads this\n'))
            with open(log + '.1', encoding='ascii') as f:
                self.assertEqual(f.read(), 'a new log\n')


if __name__ == '__main__':
    unittest.main()
