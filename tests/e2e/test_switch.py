# SPDX-License-Identifier: Apache-2.0
"""Another change list, or none, over a mount that is in use: readers see the old view or the new one, what is open goes on, what the job wrote stays
on top, the kernel forgets what is not true any more, and a kill in the middle leaves one of the two."""
import ctypes
import mmap
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import repo_maker
from coppice_client import CallError
from node import SLOW, Node, program, release_build, wait_until
from tree_compare import Comparison, git_archive

_libc = ctypes.CDLL(None, use_errno=True)
IN_DELETE_SELF = 0x400


def git(repository, *args):
    return subprocess.run(['git', '-C', repository, *args], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def read(*path):
    with open(os.path.join(*path), 'rb') as f:
        return f.read()


class Watch:
    """inotify, as much of it as is needed: which of the paths have gone. (Who watches a directory is not told by the kernel of names that go on the
    word of a filesystem; who watches the thing itself is.)"""

    def __init__(self, *paths):
        self.fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.paths = {_libc.inotify_add_watch(self.fd, os.fsencode(path), IN_DELETE_SELF): path for path in paths}
        assert min(self.paths) >= 0 and len(self.paths) == len(paths)

    def gone(self, count, seconds=10):
        found, end = set(), time.monotonic() + seconds * SLOW
        while len(found) < count and select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
            data, at = os.read(self.fd, 65536), 0
            while at < len(data):
                watch, mask, _, length = struct.unpack_from('iIII', data, at)
                if mask & IN_DELETE_SELF:
                    found.add(self.paths[watch])
                at += 16 + length
        os.close(self.fd)
        return found


class Loop(threading.Thread):
    """Calls `step` until the end; the first failure is raised there."""

    def __init__(self, step):
        super().__init__(daemon=True)
        self.step, self.over, self.failure, self.rounds = step, False, None, 0
        self.start()

    def run(self):
        while not self.over and not self.failure:
            try:
                self.step()
                self.rounds += 1
            except Exception as e:  # pylint: disable=broad-except
                self.failure = e

    def end(self):
        self.over = True
        self.join(60 * SLOW)
        if self.failure:
            raise self.failure
        return self.rounds


class Switch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-switch-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        cls.commits(cls.repository)
        cls.node = Node({'demo': cls.repository}, keeper=True)
        cls.node.start()
        cls.addClassCleanup(cls.node.close)

    @classmethod
    def commits(cls, path):
        repo = repo_maker.Repo(path)
        base = {b'README': b'read me\n', b'src/a.c': b'int a;\n', b'src/deep/b.c': b'int b;\n', b'src/deep/same.c': b'same\n', b'gone/x': b'x\n',
                b'gone/y/z': b'z\n', b'becomes/dir': b'file\n', b'tool': b'#!\n'}
        base |= {b'many/%03d' % i: b'old %d\n' % i for i in range(200)}
        change = base | {b'src/deep/b.c': b'int b = 1;\n', b'src/new.c': b'int n;\n', b'becomes': b'a file\n', b'fresh/one/two': b'2\n'}
        for name in (b'gone/x', b'gone/y/z', b'becomes/dir'):
            del change[name]
        for i in range(0, 200, 2):
            del change[b'many/%03d' % i]
            change[b'many/n%03d' % i] = b'new\n'
        for name, files in (('base', base), ('main', base), ('change', change)):
            repo.begin(ref=b'refs/heads/' + name.encode())
            for file, data in files.items():
                repo.add(file, data, b'100755' if file == b'tool' and name == 'change' else b'100644')
        repo.finish()
        cls.old_many = {os.fsdecode(n[5:]) for n in base if n.startswith(b'many/')}
        cls.new_many = {os.fsdecode(n[5:]) for n in change if n.startswith(b'many/')}

    def outside(self, branch):
        return git_archive(self.repository, branch, tempfile.mkdtemp(dir=self.folder) + '/tree')

    def mount(self, job, **fields):
        mount = self.node.mount(job, revision='base', **fields)
        self.addCleanup(self.node.client.DeleteMount, job_id=job)
        return mount

    def set(self, job, **fields):
        return self.node.client.SetChangeList(job_id=job, change_list={'range': 'base..change'}, **fields)

    def clear(self, job, **fields):
        return self.node.client.ClearChangeList(job_id=job, **fields)

    def assert_shows(self, root, branch):
        self.assertEqual(Comparison(self.outside(branch), root).differences, [])

    def walk(self, root):
        return sum(len(files) for _, _, files in os.walk(root))

    def test_it_is_shown_and_taken_away(self):
        mount = self.mount('shown')
        self.walk(mount.root)
        self.assertFalse(os.path.exists(mount.root + '/src/new.c'))  # the kernel remembers
        after = self.set('shown')
        self.assert_shows(mount.root, 'change')
        self.assertEqual(after.generation, mount.generation + 1)
        self.assertEqual(after.change_list_commit, git(self.repository, 'rev-parse', 'change'))
        self.assertEqual(after.root_tree, git(self.repository, 'rev-parse', 'change^{tree}'))
        self.assertEqual(self.node.client.state(after), 'READY')
        self.assertEqual(self.set('shown').generation, after.generation)  # the same again
        after = self.clear('shown')
        self.assertEqual((after.change_list_commit, after.change_list_paths, after.generation), ('', 0, mount.generation + 2))
        self.assert_shows(mount.root, 'base')
        self.assertEqual(self.clear('shown').generation, mount.generation + 2)

    def test_a_mount_that_nobody_looked_into(self):
        root = self.mount('untouched').root
        self.set('untouched')
        self.assert_shows(root, 'change')

    def test_open_and_mapped_files_and_standing_in_a_directory(self):
        root = self.mount('open').root
        with open(root + '/src/deep/b.c', 'rb') as changed, open(root + '/gone/y/z', 'rb') as gone, open(root + '/many/000', 'r+b') as many:
            mapped = mmap.mmap(many.fileno(), 0, prot=mmap.PROT_READ)
            folder = os.open(root + '/gone/y', os.O_RDONLY | os.O_DIRECTORY)
            self.set('open')
            self.assertEqual(changed.read(), b'int b;\n')
            self.assertEqual(gone.read(), b'z\n')
            self.assertEqual(mapped[:], b'old 0\n')
            self.assertEqual([os.fstat(f.fileno()).st_nlink for f in (changed, gone, many)], [0, 0, 0])
            many.write(b'mine')  # to a file that is no more
            many.flush()
            with self.assertRaises(FileNotFoundError):
                os.open('new', os.O_CREAT | os.O_WRONLY, dir_fd=folder)
            os.close(folder)
            mapped.close()
        self.assertEqual(read(root, 'src/deep/b.c'), b'int b = 1;\n')
        self.assert_shows(root, 'change')

    def test_inode_numbers_and_times(self):
        root = self.mount('numbers').root
        stay = ['README', 'src', 'src/a.c', 'src/deep', 'src/deep/same.c', 'many', 'many/001']
        before = [os.stat(os.path.join(root, p)) for p in stay]
        edited = os.stat(root + '/src/deep/b.c')
        cwd = os.open(root + '/src/deep', os.O_PATH)
        self.set('numbers')
        after = [os.stat(os.path.join(root, p)) for p in stay]
        self.assertEqual([s.st_ino for s in after], [s.st_ino for s in before])
        for path, a, b in zip(stay, before, after):
            if os.path.isfile(os.path.join(root, path)):
                self.assertEqual(a.st_mtime_ns, b.st_mtime_ns, path)
        now = os.stat(root + '/src/deep/b.c')
        self.assertNotEqual(now.st_ino, edited.st_ino)
        self.assertGreater(now.st_mtime_ns, edited.st_mtime_ns)
        self.assertEqual(os.readlink(f'/proc/self/fd/{cwd}'), root + '/src/deep')  # still attached
        os.close(cwd)
        self.clear('numbers')
        self.assertGreater(os.stat(root + '/src/deep/b.c').st_mtime_ns, now.st_mtime_ns)

    def test_what_the_job_wrote_stays_on_top(self):
        root = self.mount('upper').root
        os.mkdir(root + '/fresh')
        for path, text in (('src/deep/b.c', b'mine\n'), ('src/new.c', b'mine too\n'), ('gone/mine', b'm\n'), ('fresh/mine', b'f\n')):
            with open(os.path.join(root, path), 'wb') as f:
                f.write(text)
        os.unlink(root + '/many/000')
        os.rename(root + '/many/001', root + '/moved')
        self.set('upper')
        self.assertEqual([read(root, p) for p in ('src/deep/b.c', 'src/new.c', 'gone/mine', 'fresh/mine', 'fresh/one/two', 'moved')],
                         [b'mine\n', b'mine too\n', b'm\n', b'f\n', b'2\n', b'old 1\n'])
        self.assertEqual(os.listdir(root + '/gone'), ['mine'])
        self.clear('upper')
        self.assertEqual(sorted(os.listdir(root + '/gone')), ['mine', 'x', 'y'])
        self.assertEqual(os.listdir(root + '/fresh'), ['mine'])
        self.assertFalse(os.path.exists(root + '/many/000') or os.path.exists(root + '/many/001'))

    def test_watchers_are_told(self):
        root = self.mount('watched').root
        self.walk(root)
        going = [root + p for p in ('/src/deep/b.c', '/many/000', '/gone/y', '/gone', '/gone/x')]
        watch = Watch(root + '/src/a.c', root + '/src', *going)
        self.set('watched')
        self.assertEqual(watch.gone(len(going)), set(going))

    def test_expected_generation(self):
        mount = self.mount('stale')
        with self.assertRaises(CallError) as caught:
            self.set('stale', expected_generation=mount.generation + 7)
        self.assertEqual((caught.exception.code, caught.exception.reason), ('ABORTED', 'GENERATION_CHANGED'))
        self.assertEqual(caught.exception.metadata['generation'], str(mount.generation))
        self.assertEqual(self.set('stale', expected_generation=mount.generation).generation, mount.generation + 1)
        with self.assertRaises(CallError) as caught:
            self.clear('stale', expected_generation=mount.generation)
        self.assertEqual(caught.exception.code, 'ABORTED')

    def test_bad_requests_change_nothing(self):
        mount = self.mount('bad')
        for fields, code, reason in (({}, 'INVALID_ARGUMENT', None), ({'change_list': {'range': 'base'}}, 'INVALID_ARGUMENT', None),
                                     ({'change_list': {'range': 'base..nowhere'}}, 'NOT_FOUND', 'REVISION_NOT_FOUND')):
            with self.assertRaises(CallError) as caught:
                self.node.client.SetChangeList(job_id='bad', **fields)
            self.assertEqual(caught.exception.code, code)
            self.assertIn(reason, (None, caught.exception.reason))
        with self.assertRaises(CallError) as caught:
            self.node.client.ClearChangeList(job_id='nobody')
        self.assertEqual(caught.exception.reason, 'MOUNT_NOT_FOUND')
        self.assertEqual(self.node.client.GetMount(job_id='bad').generation, mount.generation)
        self.assert_shows(mount.root, 'base')

    def test_staged_changes_stay(self):
        root = self.mount('staged').root
        with open(root + '/src/a.c', 'ab') as f:
            f.write(b'// staged\n')
        self.node.client.Add(workspace={'job_id': 'staged'}, all=True)
        for _ in range(2):
            self.set('staged')
            self.assertEqual(read(root, 'src/deep/b.c'), b'int b = 1;\n')
            self.clear('staged')
            entries = [f for a in self.node.client.stream('Status', workspace={'job_id': 'staged'}) for f in a.entries]
            self.assertEqual([(f.path, f.staged) for f in entries], [(b'src/a.c', True)])

    def test_a_copy_that_is_as_it_was_hides_nothing(self):
        root = self.mount('copy').root
        with open(root + '/src/deep/b.c', 'r+b') as f:
            text = f.read()
            f.seek(0)
            f.write(text)
        self.set('copy')
        self.assertEqual(read(root, 'src/deep/b.c'), b'int b = 1;\n')
        self.clear('copy')
        self.assert_shows(root, 'base')

    def test_watch_tells_and_quiescing_is_seen(self):
        self.mount('events')
        seen, ready = [], threading.Event()

        def follow():
            for event in self.node.client.stream('WatchMounts', timeout=60):
                ready.set()
                if event.mount and event.mount.job_id == 'events':
                    seen.append((self.node.client.state(event.mount), event.mount.generation))
                    if event.mount.generation > 1:
                        return

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        ready.wait(10)
        self.set('events')
        thread.join(30 * SLOW)
        self.assertEqual(seen[-2:], [('QUIESCING', 1), ('READY', 2)])

    def test_listings_are_old_or_new_and_never_a_mixture(self):
        root = self.mount('listed').root
        wanted = (self.old_many, self.new_many)

        def slowly():
            """One getdents of a few entries at a time, so that most listings go on over a switch."""
            fd = os.open(root + '/many', os.O_RDONLY | os.O_DIRECTORY)
            try:
                names, buf = set(), ctypes.create_string_buffer(256)
                while (n := _libc.syscall(217, fd, buf, 256)) > 0:
                    at = 0
                    while at < n:
                        length, = struct.unpack_from('H', buf.raw, at + 16)
                        name = buf.raw[at + 19:at + length].split(b'\0')[0].decode()
                        assert name not in names, f'{name} twice'
                        names.add(name)
                        at += length
                    time.sleep(0.0005)
                assert n == 0, os.strerror(ctypes.get_errno())
                assert names - {'.', '..'} in wanted, sorted(names)[:20]
            finally:
                os.close(fd)

        def plain():
            assert set(os.listdir(root + '/many')) in wanted

        def contents():
            assert read(root, 'src/deep/b.c') in (b'int b;\n', b'int b = 1;\n')
            assert read(root, 'src/deep/same.c') == b'same\n'
            assert os.stat(root + '/many').st_nlink == 2

        loops = [Loop(slowly), Loop(slowly), Loop(plain), Loop(contents)]
        for i in range(30 if release_build() else 8):
            (self.clear if i % 2 else self.set)('listed')
            time.sleep(0.03)
            if any(loop.failure for loop in loops):
                break
        self.assertTrue(all(loop.end() > 3 for loop in loops))

    def test_a_write_in_the_middle_is_never_lost(self):
        root, count = self.mount('written').root, [0]

        def write():
            path = f'{root}/many/mine{count[0] % 50}'
            text = str(count[0]).encode()
            with open(path, 'wb') as f:
                f.write(text)
            assert read(path) == text
            if count[0] % 3 == 0:
                os.unlink(path)
                assert not os.path.exists(path)
            count[0] += 1

        loop = Loop(write)
        for i in range(20):
            (self.clear if i % 2 else self.set)('written')
        loop.end()
        mine = {n for n in os.listdir(root + '/many') if n.startswith('mine')}
        self.assertEqual(set(os.listdir(root + '/many')) - mine, self.old_many)

    def kill_soon(self, job, delay):
        """Kills the daemon `delay` after a switch was asked for; what the call says then does not matter."""
        call = self.node.client.future('SetChangeList', job_id=job, change_list={'range': 'base..change'})
        time.sleep(delay)
        with open(f'/proc/{self.node.process.pid}/task/{self.node.process.pid}/children', encoding='ascii') as f:
            daemon = int(f.read().split()[0])
        os.kill(daemon, signal.SIGKILL)  # the keeper starts the next one
        wait_until(lambda: not os.path.exists(f'/proc/{daemon}'), 10, 'the daemon has gone')
        wait_until(self.answers, 30, 'the next daemon answers')
        call.cancel()

    def answers(self):
        try:
            return self.node.client.GetNode(timeout=5, wait_for_ready=True)
        except CallError:
            return None

    def test_a_kill_in_the_middle_leaves_one_of_the_two(self):
        mount, rng, ended = self.mount('killed'), random.Random(5), set()
        with open(mount.root + '/src/deep/mine', 'wb') as f:
            f.write(b'mine')
        for _ in range(8 if release_build() else 3):
            before = self.node.client.GetMount(job_id='killed')
            with open(mount.root + '/src/deep/b.c', 'rb') as held:
                self.walk(mount.root)
                self.kill_soon('killed', rng.random() * 0.006)
                self.assertEqual(held.read(), b'int b;\n')
            after = self.node.client.GetMount(job_id='killed')
            self.assertEqual(self.node.client.state(after), 'READY')
            moved = after.change_list_commit != ''
            ended.add(moved)
            self.assertEqual(after.generation, before.generation + moved)
            os.rename(mount.root + '/src/deep/mine', mount.root + '/mine')
            self.assert_other_names_equal(mount.root, 'change' if moved else 'base', {'mine'})
            os.rename(mount.root + '/mine', mount.root + '/src/deep/mine')
            self.clear('killed')
        print('ended:', ended)

    def assert_other_names_equal(self, root, branch, mine):
        found = [d for d in Comparison(self.outside(branch), root).differences if not any(m in str(d) for m in mine)]
        self.assertEqual(found, [])

    def test_after_a_restart_it_is_as_it_was(self):
        root = self.mount('restarted').root
        self.walk(root)
        self.set('restarted')
        numbers = {p: os.stat(os.path.join(root, p)).st_ino for p in ('src/new.c', 'src/deep/b.c', 'src/a.c', 'many')}
        self.node.stop()
        self.node.start()
        self.assert_shows(root, 'change')
        self.assertEqual(numbers, {p: os.stat(os.path.join(root, p)).st_ino for p in numbers})
        self.clear('restarted')
        self.assert_shows(root, 'base')

    def test_the_command(self):
        root = self.mount('command').root
        coppice = [program('coppice'), '--address', self.node.address, 'cl']
        done = subprocess.run([*coppice, 'set', 'command', '--change-list', 'base..change'], capture_output=True, text=True, check=True, timeout=60)
        self.assertIn('generation 2', done.stdout)
        self.assertTrue(os.path.exists(root + '/src/new.c'))
        done = subprocess.run([*coppice, 'show', 'command'], capture_output=True, text=True, check=True, timeout=60)
        want = git(self.repository, 'diff', '--name-status', '--no-renames', 'base', 'change')
        self.assertEqual(sorted(done.stdout.splitlines()), sorted(want.splitlines()))
        done = subprocess.run([*coppice, 'clear', 'command'], capture_output=True, text=True, check=True, timeout=60)
        self.assertIn('no change list, generation 3', done.stdout)
        self.assertEqual(subprocess.run([*coppice, 'show', 'command'], capture_output=True, check=True, timeout=60).stdout, b'')
        self.assertNotEqual(subprocess.run([*coppice, 'set', 'command'], capture_output=True, check=False, timeout=60).returncode, 0)


if __name__ == '__main__':
    unittest.main(verbosity=2)
