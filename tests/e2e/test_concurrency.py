# SPDX-License-Identifier: Apache-2.0
"""Many processes in one workspace: the result is that of some order of the calls, on every path and after a crash too; and a copy-up
that fails leaves the old file, as one that succeeds leaves the new one."""
import ctypes
import errno
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import repo_maker
from crowd import crowd, seed
from node import SLOW, Node, detach, wait_until

MIB = 1 << 20
WORKERS = 8
LARGE = 24 * MIB
NOREPLACE, EXCHANGE = 1, 2
_libc = ctypes.CDLL(None, use_errno=True)


def rename(old, new, flags=0):
    if _libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), old, None, new)


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def write(path, data):
    with open(path, 'wb') as f:
        f.write(data)


def everything(root):
    """All names, for comparing before and after."""
    return sorted(os.path.join(folder, name) for folder, folders, names in os.walk(root) for name in folders + names)


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-conc-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo = repo_maker.Repo(cls.repository, pack=False)
        repo.begin()
        for d in range(8):
            for i in range(12):
                repo.add(b'dirs/d%d/file%d' % (d, i), b'content of %d/%d\n' % (d, i))
        for i in range(60):
            repo.add(b'one/file%d' % i, b'lower %d\n' % i)
        repo.add(b'large', random.Random(5).randbytes(MIB) * (LARGE // MIB))
        repo.finish()

    def setUp(self):
        self.seed = seed(self.id())

    def assert_unchanged_by_a_crash(self, node, root):
        before = everything(root)
        content = {p: read(p) for p in before if os.path.isfile(p) and not p.endswith('large')}
        inodes = {p: os.lstat(p).st_ino for p in before}
        usage = self.usage(node)
        node.kill()
        node.start()
        self.assertEqual(everything(root), before)
        self.assertEqual({p: os.lstat(p).st_ino for p in before}, inodes)
        self.assertEqual({p: read(p) for p in content}, content)
        self.assertEqual(self.usage(node), usage)

    def usage(self, node):
        """Settled: what was removed is given back when the kernel has forgotten it."""
        got = []

        def same():
            usage = node.client.GetMount(job_id='job').usage
            got.append((usage.bytes, usage.inodes))
            return len(got) > 2 and got[-1] == got[-2] == got[-3]
        wait_until(same, 20, 'the usage stays the same', pause=0.1)
        return got[-1]


class Crowd(Base):
    def test_create_in_one_lower_directory(self):
        """Who makes a name is the only one who does; the directory is the sum."""
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            folder = root + '/one'
            lower = set(os.listdir(folder))

            def work(number):
                rng = random.Random(self.seed + number)
                made = []
                names = [f'new{i}' for i in range(150)] + sorted(lower)
                rng.shuffle(names)
                for name in names:
                    try:
                        kind = rng.randrange(4)
                        if kind == 0:
                            os.mkdir(f'{folder}/{name}')
                        elif kind == 1:
                            os.symlink(str(number), f'{folder}/{name}')
                        else:
                            os.close(os.open(f'{folder}/{name}', os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                        made.append(name)
                    except FileExistsError:
                        pass
                return made
            made = crowd(WORKERS, work, 60 * SLOW)
            names = [name for one in made for name in one]
            self.assertEqual(sorted(names), sorted(f'new{i}' for i in range(150)), 'each name was made once, no lower one again')
            self.assertEqual(set(os.listdir(folder)), lower | set(names))
            folders = sum(os.path.isdir(f'{folder}/{name}') and not os.path.islink(f'{folder}/{name}') for name in names)
            self.assertEqual(os.stat(folder).st_nlink, 2 + folders)
            self.assert_unchanged_by_a_crash(node, root)

    def test_one_copy_up(self):
        """All write to one large lower file at once: it is copied once, keeps its inode, and nobody's bytes are lost."""
        with Node({'demo': self.repository}) as node:
            path = node.mount('job').root + '/large'
            before = os.stat(path)
            want = bytearray(read(path))
            reader = os.open(path, os.O_RDONLY)

            def work(number):
                fd = os.open(path, os.O_RDWR)
                for i in range(40):
                    os.pwrite(fd, b'%d:%02d' % (number, i), (number * 40 + i) * 70001)
                ino = os.fstat(fd).st_ino
                os.close(fd)
                return ino
            self.assertEqual(crowd(WORKERS, work, 60 * SLOW), [before.st_ino] * WORKERS)
            for number in range(WORKERS):
                for i in range(40):
                    at = (number * 40 + i) * 70001
                    want[at:at + 4] = b'%d:%02d' % (number, i)
            self.assertEqual(read(path), want)
            self.assertEqual(os.pread(reader, len(want), 0), want, 'who had it open before sees it too')
            os.close(reader)
            self.assertEqual(os.stat(path).st_ino, before.st_ino)
            # one upper file, and nothing half-copied beside it
            self.assertEqual(self.usage(node), (LARGE, 1))
            self.assertEqual(self.leftovers(node), [])

    def leftovers(self, node):
        """What lies in the private work directories and should not."""
        return [os.path.join(folder, name) for folder, _, names in os.walk(node.data) for name in names
                if os.path.basename(folder) in ('tmp', 'orphan')]

    def test_renames_across(self):
        """Files wander between lower directories by exchange and no-replace renames: none is lost, none doubled."""
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            folders = [f'{root}/dirs/d{d}' for d in range(8)]
            contents = sorted(read(f'{f}/file{i}') for f in folders for i in range(12))

            def work(number):
                rng = random.Random(self.seed + number)
                moves = 0
                for _ in range(250):
                    a, b = (f'{rng.choice(folders)}/file{rng.randrange(16)}' for _ in range(2))
                    try:
                        rename(a, b, rng.choice((NOREPLACE, EXCHANGE)))
                        moves += 1
                    except (FileNotFoundError, FileExistsError):
                        pass
                return moves
            self.assertGreater(sum(crowd(WORKERS, work, 60 * SLOW)), 100)
            left = sorted(read(p) for f in folders for p in everything(f))
            self.assertEqual(left, contents)
            self.assert_unchanged_by_a_crash(node, root)

    def small_files(self, root):
        """What the files hold, wherever they are."""
        return sorted(read(p) for p in everything(root) if os.path.isfile(p) and os.path.getsize(p) < LARGE)

    def test_renames_of_directories_into_each_other(self):
        """No directory is ever below itself, and none falls off the tree."""
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            top = root + '/dirs'
            files = self.small_files(root)

            def work(number):
                rng = random.Random(self.seed + number)
                for _ in range(120):
                    paths = [folder for folder, _, _ in os.walk(top)]
                    a, b = rng.choice(paths), rng.choice(paths)
                    try:
                        if rng.random() < 0.3:
                            rename(a, b, EXCHANGE)
                        else:
                            os.rename(a, f'{b}/{os.path.basename(a)}')
                    except OSError as e:  # what a local disk says, too
                        if e.errno not in (errno.EINVAL, errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.EBUSY):
                            raise
            crowd(4, work, 100 * SLOW)
            left = everything(root)
            self.assertEqual(self.small_files(root), files)
            names = sorted(os.path.basename(p) for p in left if os.path.isdir(p) and not os.path.islink(p))
            self.assertEqual(names, ['d%d' % i for i in range(8)] + ['dirs', 'one'])
            for folder, folders, _ in os.walk(root):
                self.assertEqual(os.stat(folder).st_nlink, 2 + len(folders), folder)
            self.assert_unchanged_by_a_crash(node, root)

    def test_locks_made_of_names(self):
        """Counters under locks that are made by O_EXCL, mkdir, link and symlink: none loses a count."""
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            each = 60

            def take(kind, lock, mine):
                if kind == 'file':
                    os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                elif kind == 'dir':
                    os.mkdir(lock)
                elif kind == 'link':
                    os.link(mine, lock)
                else:
                    os.symlink('x', lock)
            for kind in ('file', 'dir', 'link', 'symlink'):
                counter, lock = f'{root}/one/counter', f'{root}/one/lock'
                write(counter, b'0')

                def work(number):
                    mine = f'{root}/one/mine{number}'
                    write(mine, b'')
                    for _ in range(each):
                        while True:
                            try:
                                take(kind, lock, mine)
                                break
                            except FileExistsError:
                                time.sleep(0.0005)
                        value = int(read(counter))
                        write(counter + str(number), b'%d' % (value + 1))
                        os.rename(counter + str(number), counter)
                        (os.rmdir if kind == 'dir' else os.unlink)(lock)
                crowd(4, work, 60 * SLOW)
                self.assertEqual(int(read(counter)), 4 * each, kind)

    def test_appends(self):
        """O_APPEND from many processes to one lower file: every record whole, in each writer's order."""
        with Node({'demo': self.repository}) as node:
            path = node.mount('job').root + '/one/file3'
            start = read(path)

            def work(number):
                fd = os.open(path, os.O_WRONLY | os.O_APPEND)
                for i in range(300):
                    os.write(fd, b'%d %d %s\n' % (number, i, b'x' * (i % 90)))
                os.close(fd)
            crowd(WORKERS, work, 60 * SLOW)
            data = read(path)
            self.assertTrue(data.startswith(start))
            seen = {number: [] for number in range(WORKERS)}
            for line in data[len(start):].decode().splitlines():
                number, i, rest = line.split(' ')
                self.assertEqual(rest, 'x' * (int(i) % 90))
                seen[int(number)].append(int(i))
            self.assertEqual(seen, {number: list(range(300)) for number in range(WORKERS)})

    def test_make_and_remove_a_tree(self):
        """mkdir -p against rm -rf of the same tree: errors are those of a disk, and what is left can be removed."""
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root

            def work(number):
                rng = random.Random(self.seed + number)
                for _ in range(40):
                    if number % 2:
                        shutil.rmtree(root + '/dirs', ignore_errors=True)
                        continue
                    for _ in range(6):
                        folder = f'{root}/dirs/d{rng.randrange(8)}/sub{rng.randrange(2)}'
                        try:
                            os.makedirs(folder, exist_ok=True)
                            write(f'{folder}/f{rng.randrange(3)}', b'x')
                        except (FileNotFoundError, FileExistsError):
                            pass
            crowd(6, work, 90 * SLOW)
            shutil.rmtree(root + '/dirs', ignore_errors=True)
            self.assertFalse(os.path.lexists(root + '/dirs'))
            os.mkdir(root + '/dirs')
            self.assertEqual(os.listdir(root + '/dirs'), [], 'nothing of the lower comes back')
            self.assert_unchanged_by_a_crash(node, root)


class FailedCopyUp(Base):
    def assert_old(self, node, path, before, usage=(0, 0)):
        self.assertEqual(os.stat(path).st_size, before.st_size)
        self.assertEqual(os.stat(path).st_ino, before.st_ino)
        self.assertEqual(read(path), random.Random(5).randbytes(MIB) * (LARGE // MIB))
        self.assertEqual(self.usage(node), usage)

    def fails(self, path, *names):
        fd = os.open(path, os.O_WRONLY)
        try:
            with self.assertRaises(OSError) as caught:
                os.pwrite(fd, b'new', 7)
            self.assertIn(errno.errorcode[caught.exception.errno], names)
        finally:
            os.close(fd)

    def succeeds(self, path):
        fd = os.open(path, os.O_WRONLY)
        os.pwrite(fd, b'new', 7)
        os.close(fd)
        data = read(path)
        self.assertEqual((len(data), data[7:10]), (LARGE, b'new'))

    def test_quota(self):
        with Node({'demo': self.repository}) as node:
            path = node.mount('job', quota={'bytes': LARGE - MIB, 'inodes': 100}).root + '/large'
            before = os.stat(path)
            for _ in range(3):
                self.fails(path, 'EDQUOT')
                self.assert_old(node, path, before)
            node.client.UpdateMount(job_id='job', quota={'bytes': LARGE + MIB, 'inodes': 100}, update_mask=['quota'])
            self.succeeds(path)
            self.assertEqual(os.stat(path).st_ino, before.st_ino)

    def test_full_disk(self):
        """The disk of the data directory has room for the cached blob, but not for its copy."""
        image, disk = os.path.join(self.folder, 'disk.img'), os.path.join(self.folder, 'disk')
        os.mkdir(disk)
        with open(image, 'wb') as f:
            f.truncate(LARGE * 2)
        subprocess.run(['mkfs.ext4', '-q', '-m', '0', '-O', '^has_journal', image], check=True, timeout=60)
        subprocess.run(['mount', '-o', 'loop', image, disk], check=True, timeout=60)
        self.addCleanup(detach, disk)
        previous = os.environ.get('COPPICE_TEST_DIR')
        os.environ['COPPICE_TEST_DIR'] = disk
        try:
            with Node({'demo': self.repository}) as node:
                path = node.mount('job').root + '/large'
                before = os.stat(path)
                read(path)  # the blob is local
                filler = os.path.join(disk, 'filler')
                fs = os.statvfs(disk)
                with open(filler, 'wb') as f:
                    os.posix_fallocate(f.fileno(), 0, max(fs.f_bavail * fs.f_frsize - 8 * MIB, 4096))
                for _ in range(3):
                    self.fails(path, 'ENOSPC')
                    self.assert_old(node, path, before)
                os.unlink(filler)
                if os.statvfs(disk).f_bavail * fs.f_frsize > LARGE:
                    self.succeeds(path)
                    self.assertEqual(os.stat(path).st_ino, before.st_ino)
                else:
                    self.fails(path, 'ENOSPC')
        finally:
            os.environ.pop('COPPICE_TEST_DIR')
            if previous is not None:
                os.environ['COPPICE_TEST_DIR'] = previous

    def test_origin_fails(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            path = root + '/large'
            before = os.stat(path)
            os.listdir(root + '/one')
            os.rename(self.repository + '/objects', self.repository + '/objects.away')
            try:
                for _ in range(2):
                    self.fails(path, 'EIO', 'EHOSTUNREACH', 'ETIMEDOUT')
                    self.assertEqual(os.stat(path).st_ino, before.st_ino)
                    self.assertEqual(self.usage(node), (0, 0))
                # What needs nothing of the old content goes on.
                with open(root + '/one/file7', 'wb') as f:
                    f.write(b'all new')
                self.assertEqual(read(root + '/one/file7'), b'all new')
                os.unlink(root + '/one/file7')
            finally:
                os.rename(self.repository + '/objects.away', self.repository + '/objects')
            wait_until(lambda: self.is_readable(path), 30, 'the origin is back', pause=0.2)
            self.assert_old(node, path, before, usage=(0, 1))  # the directory "one" has an upper now
            self.succeeds(path)

    def is_readable(self, path):
        try:
            return len(read(path)) == LARGE
        except OSError:
            return False

    def test_killed_in_the_middle(self):
        """kill -9 at some moment of a copy-up: the file is the old one or the new one, and the usage is exact."""
        rng = random.Random(self.seed)
        old = random.Random(5).randbytes(MIB) * (LARGE // MIB)
        new = old[:7] + b'new' + old[10:]
        with Node({'demo': self.repository}) as node:
            path = node.mount('job').root + '/large'
            before = os.stat(path)
            read(path)
            outcomes = []
            for _ in range(6):
                child = os.fork()
                if child == 0:
                    try:
                        fd = os.open(path, os.O_WRONLY)
                        os.pwrite(fd, b'new', 7)
                    except OSError:
                        pass
                    os._exit(0)
                time.sleep(rng.random() * 0.03 * SLOW)
                node.kill()
                os.waitpid(child, 0)
                node.start()
                data = read(path)
                self.assertIn(data, (old, new))
                outcomes.append(data == new)
                self.assertEqual(os.stat(path).st_ino, before.st_ino)
                bytes_used, inodes = self.usage(node)
                self.assertEqual((bytes_used, inodes), (LARGE, 1) if inodes else (0, 0))
                self.assertTrue(inodes or data == old)
                os.unlink(path)  # begin again with a fresh one
                node.delete('job')
                path = node.mount('job').root + '/large'
                before = os.stat(path)
            print('new after:', outcomes)


HANGING = '''
  - {name: ops, admin: true, identities: [{unix_uid: 0}]}
  - {name: unlucky, origins: [{name: hanging}], identities: [{unix_uid: 61001}]}
  - {name: lucky, origins: [{name: demo}], identities: [{unix_uid: 61002}]}
'''


class HangingOrigin(Base):
    """The repository of one tenant lies on a FUSE filesystem whose process is stopped: every access to it hangs."""

    def setUp(self):
        super().setUp()
        self.slow_disk = tempfile.mkdtemp(dir=self.folder)
        self.repository_there = os.path.join(self.slow_disk, 'repo.git')
        self.server = subprocess.Popen(['fuse-overlayfs', '-f', '-o', f'lowerdir={self.folder}', self.slow_disk],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(self.end_server)
        wait_until(lambda: os.path.ismount(self.slow_disk), 10, 'the filesystem of the origin is mounted')

    def end_server(self):
        self.server.send_signal(signal.SIGCONT)
        detach(self.slow_disk)
        self.server.kill()
        self.server.wait(30)

    def pace(self, root, rounds):
        """Seconds for what a build does: cold and warm reads, writes, listings."""
        start = time.monotonic()
        for i in range(rounds):
            folder = f'{root}/dirs/d{i % 8}'
            for name in os.listdir(folder):
                os.stat(f'{folder}/{name}')
            read(f'{folder}/file{i % 12}')
            write(f'{folder}/out{i}', b'x' * 3000)
            os.rename(f'{folder}/out{i}', f'{folder}/done{i}')
            self.assertFalse(os.path.exists(f'{folder}/absent{i}'))
        return time.monotonic() - start

    def test_hurts_nobody_else(self):
        with Node({'hanging': self.repository_there, 'demo': self.repository}, tenants=HANGING) as node:
            unlucky = node.mount('job', tenant='unlucky', origin='hanging').root
            lucky = node.mount('job', tenant='lucky', origin='demo').root
            quiet = node.mount('quiet', tenant='lucky', origin='demo').root
            self.assertEqual(len(os.listdir(unlucky + '/one')), 60)
            for root in (lucky, quiet):
                for d in range(8):
                    os.listdir(f'{root}/dirs/d{d}')
            alone = self.pace(quiet, 300)
            self.server.send_signal(signal.SIGSTOP)
            readers = [subprocess.Popen(['cat', f'{unlucky}/one/file{i}'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                       for i in range(40)]
            try:
                wait_until(lambda: node.client.GetNode(timeout=10), 10, 'the node answers')
                time.sleep(0.3)
                self.assertTrue(all(r.poll() is None for r in readers), 'they wait for their origin')
                beside = self.pace(lucky, 300)
                self.assertTrue(all(r.poll() is None for r in readers), 'they still wait')
                print(f'alone {alone:.3f} s, beside a hanging origin {beside:.3f} s')
                self.assertLess(beside, 3 * alone + 1 * SLOW)
                # Cold content of the other origin, a new workspace, and the hanging tenant's own local work go on as well.
                fresh = node.mount('another', tenant='lucky', origin='demo').root
                self.assertEqual(len(read(fresh + '/large')), LARGE)
                write(unlucky + '/one/mine', b'local')
                self.assertEqual(read(unlucky + '/one/mine'), b'local')
            finally:
                self.server.send_signal(signal.SIGCONT)
            for i, r in enumerate(readers):
                out, _ = r.communicate(timeout=60 * SLOW)
                self.assertEqual((r.returncode, out), (0, b'lower %d\n' % i), 'it came in the end')

    def test_a_waiting_program_can_be_killed(self):
        with Node({'hanging': self.repository_there, 'demo': self.repository}, tenants=HANGING) as node:
            unlucky = node.mount('job', tenant='unlucky', origin='hanging').root
            os.listdir(unlucky + '/one')
            self.server.send_signal(signal.SIGSTOP)
            try:
                reader = subprocess.Popen(['cat', unlucky + '/one/file1'], stdout=subprocess.DEVNULL)
                time.sleep(0.3)
                self.assertIsNone(reader.poll())
                reader.kill()
                self.assertEqual(reader.wait(20), -signal.SIGKILL)
            finally:
                self.server.send_signal(signal.SIGCONT)
            self.assertEqual(read(unlucky + '/one/file1'), b'lower 1\n')


if __name__ == '__main__':
    unittest.main()
