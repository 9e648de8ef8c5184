# SPDX-License-Identifier: Apache-2.0
"""A daemon that is killed or stopped comes back with every workspace as it was; what a dead one left is cleaned up."""
import errno
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest

import repo_maker
from coppice_client import CallError
from node import SLOW, Node, detach, mounts_below, program, wait_until


def snapshot(root):
    """Everything a program can see of a tree: {path: facts}."""
    seen = {}
    links = {}
    for folder, folders, files in os.walk(root):
        for name in [''] + files + [n for n in folders if os.path.islink(os.path.join(folder, n))]:
            path = os.path.join(folder, name) if name else folder
            st = os.lstat(path)
            facts = {'mode': st.st_mode, 'owner': (st.st_uid, st.st_gid), 'ino': st.st_ino, 'mtime': st.st_mtime_ns}
            if not stat.S_ISDIR(st.st_mode):
                facts.update(size=st.st_size, nlink=st.st_nlink, rdev=st.st_rdev)
                links.setdefault(st.st_ino, []).append(os.path.relpath(path, root))
            if stat.S_ISLNK(st.st_mode):
                facts['target'] = os.readlink(path)
            elif stat.S_ISREG(st.st_mode):
                with open(path, 'rb') as f:
                    facts['content'] = f.read()
            if not stat.S_ISLNK(st.st_mode):
                facts['xattrs'] = {x: os.getxattr(path, x) for x in os.listxattr(path) if not x.startswith('user.coppice.')}
            seen[os.path.relpath(path, root)] = facts
    return seen


def set_another_boot(folder):
    """As if the machine had been started again since these files were written: how many remembered the boot."""
    with open('/proc/sys/kernel/random/boot_id', 'rb') as f:
        boot, changed = f.read().strip(), 0
    for at, _, files in os.walk(folder):
        for path in (os.path.join(at, name) for name in files):
            if not stat.S_ISREG(os.lstat(path).st_mode):
                continue
            with open(path, 'r+b') as f:
                data = f.read()
                if boot in data:
                    f.seek(0)
                    f.write(data.replace(boot, b'0' * len(boot)))
                    changed += 1
    return changed


def job(root):
    """Writes as a build does: every kind of change, above the sources and among them."""
    def write(name, data, mode='wb'):
        with open(os.path.join(root, name), mode) as f:
            f.write(data)

    os.makedirs(root + '/out/deep/er')
    write('out/new', b'n' * 10000)
    write('out/deep/er/file', b'x')
    write('README', b'appended\n', 'ab')
    write('keep/one', b'changed')
    os.unlink(root + '/keep/two')
    os.unlink(root + '/out/new')
    write('out/new', b'again')
    os.rename(root + '/keep/three', root + '/out/moved')
    os.rename(root + '/tree', root + '/renamed tree')
    write('renamed tree/a', b'in a renamed directory')
    shutil.rmtree(root + '/gone')
    os.mkdir(root + '/gone')
    write('gone/other', b'a new directory of an old name')
    os.link(root + '/out/moved', root + '/out/linked')
    os.symlink('some/where', root + '/out/symlink')
    os.mkfifo(root + '/out/fifo')
    os.chmod(root + '/keep/one', 0o4751)
    os.chown(root + '/keep/four', 1234, 4321)
    os.utime(root + '/keep/four', ns=(1_000_000_007, 2_000_000_009))
    os.setxattr(root + '/out/new', 'user.note', b'\x00remember\xff')
    os.setxattr(root + '/keep/five', 'user.lower', b'on a file of the sources')
    os.truncate(root + '/keep/six', 3)
    write('sparse', b'end')
    with open(root + '/sparse', 'r+b') as f:
        f.seek(1 << 20)
        f.write(b'far')


class Restart(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-re-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo = repo_maker.Repo(cls.repository)
        repo.begin()
        repo.add(b'README', b'read me\n')
        for name in (b'one', b'two', b'three', b'four', b'five', b'six'):
            repo.add(b'keep/' + name, b'content of ' + name)
        for i in range(50):
            repo.add(b'tree/sub%d/file' % (i % 5) + b'%d' % i, b'%d\n' % i)
            repo.add(b'gone/g%d' % i, b'g')
        repo.add(b'tree/a', b'a')
        repo.finish()

    def check_comes_back(self, end, **options):
        with Node({'demo': self.repository}, **options) as node:
            one = node.mount('one', labels=[{'key': 'k', 'value': 'v'}], quota={'bytes': 1 << 30, 'inodes': 1000})
            two = node.mount('two', path='keep')
            job(one.root)
            with open(two.root + '/one', 'a', encoding='ascii') as f:
                f.write('other')
            before = {m.job_id: snapshot(m.root) for m in (one, two)}
            mounts = {m.job_id: m for m in node.client.ListMounts().mounts}
            self.assertGreater(mounts['one'].usage.inodes, 10)
            end(node)
            after = {m.job_id: m for m in node.client.ListMounts().mounts}
            self.assertEqual(sorted(after), sorted(mounts))
            for job_id, old in mounts.items():
                new = after[job_id]
                for field in ('mount_id', 'root', 'commit', 'root_tree', 'path', 'quota', 'labels', 'created_at', 'owner', 'usage',
                              'state', 'generation'):
                    self.assertEqual(getattr(new, field), getattr(old, field), f'{job_id}: {field}')
                self.assert_same(before[job_id], snapshot(new.root))
            # and goes on: the same workspace, writable, with the same accounts
            with open(one.root + '/after', 'wb') as f:
                f.write(b'after')
            self.assertEqual(node.client.GetMount(job_id='one').usage.inodes, mounts['one'].usage.inodes + 1)
            again = node.mount('one', labels=[{'key': 'k', 'value': 'v'}], quota={'bytes': 1 << 30, 'inodes': 1000})
            self.assertEqual(again.mount_id, one.mount_id, 'the same request is the same mount')
            node.delete('one')
            node.delete('two')
            wait_until(lambda: os.listdir(node.data + '/workspaces') == [], 20, 'workspaces are removed')
            tenant = node.client.GetNode().tenants[0]
            self.assertEqual((tenant.mounts, tenant.bytes, tenant.inodes), (0, 0, 0))

    def assert_same(self, before, after):
        self.assertEqual(sorted(before), sorted(after))
        for path, facts in before.items():
            self.assertEqual(facts, after[path], path)

    def started_at(self, node):
        try:
            return node.client.GetNode(timeout=1, wait_for_ready=True).started_at
        except CallError:
            return None

    def test_a_stop_does_not_wait_for_open_files(self):
        with Node({'demo': self.repository}) as node:
            mount = node.mount('open')
            fd = os.open(mount.root + '/new', os.O_RDWR | os.O_CREAT, 0o600)
            begin = time.monotonic()
            node.stop()
            took = time.monotonic() - begin
            with self.assertRaises(OSError):
                os.write(fd, b'x')
            with self.assertRaises(OSError):
                os.close(fd)
            self.assertLess(took, 0.5 * SLOW)
            node.start()
            self.assertTrue(os.path.exists(mount.root + '/new'))

    def test_kill(self):
        def end(node):
            node.kill()
            node.start()
        self.check_comes_back(end)

    def test_orderly(self):
        def end(node):
            node.stop()
            self.assertEqual(mounts_below(node.run), [])
            node.start()
        self.check_comes_back(end)

    def test_twice_killed(self):
        def end(node):
            for _ in range(2):
                node.kill()
                node.start()
        self.check_comes_back(end)

    def test_the_keeper_starts_it_again(self):
        def end(node):
            daemon = node.below_keeper()
            started = node.client.GetNode().started_at
            os.kill(daemon, signal.SIGKILL)
            wait_until(lambda: self.started_at(node) not in (None, started), 30, 'another daemon answers')
        self.check_comes_back(end, keeper=True)

    def test_keeper_and_daemon_are_killed(self):
        """Nobody holds the connections: what is mounted is dead, is recognised as such at the next start, and cleaned up."""
        def end(node):
            daemon = node.below_keeper()
            node.kill()
            os.kill(daemon, signal.SIGKILL)
            wait_until(lambda: not os.path.exists(f'/proc/{daemon}'), 20, 'the daemon has ended')
            dead = mounts_below(node.run, seals=False)
            self.assertEqual(dead, [node.run + '/mnt/default'])
            with self.assertRaises(OSError) as caught:
                os.listdir(dead[0])
            self.assertEqual(caught.exception.errno, errno.ENOTCONN)
            node.start()
            self.assertEqual(mounts_below(node.run, seals=False), dead)
        self.check_comes_back(end, keeper=True)

    def test_reboot(self):
        """Mounts and run_dir are gone, and what the files of the last boot say of live processes is of no meaning."""
        def end(node):
            node.kill()
            for point in reversed(mounts_below(node.base)):
                detach(point)
            shutil.rmtree(node.run)
            self.assertGreater(set_another_boot(node.data), 2)
            node.start()
            self.assertNotIn('event=taken_over', node.log_text())
        self.check_comes_back(end)

    def test_nobody_writes_beneath_a_dead_mount(self):
        """Once the dead mounts are taken away, by an administrator or by the next start, there is nothing beneath that anybody could write to, root
        neither; and that is so again after a start, and over when the mount is deleted."""
        with Node({'demo': self.repository}, keeper=True) as node:
            point, given = node.path('bound'), node.path('given')
            os.mkdir(given)
            os.chown(given, 1002, 1002)
            root = node.mount('job', mountpoint=point).root
            node.mount('other', mountpoint=given)
            session = os.path.dirname(root)
            for _ in range(2):
                self.kill_both(node)
                for path in (root, point, given):
                    self.assertEqual(self.error_of(os.mkdir, path + '/lost'), errno.ENOTCONN)
                for dead in reversed(mounts_below(node.base, seals=False)):
                    detach(dead)
                self.check_nobody_writes(session, point, given)
                self.assertFalse(os.path.lexists(root), 'not even root finds a directory of the job there')
                node.start()
                self.assertEqual(os.listdir(point), os.listdir(root))
            self.assertRegex(node.cli('doctor').stdout, '(?m)^ok +beneath')
            for job in ('job', 'other'):
                node.delete(job)
            self.assertFalse(os.path.exists(point))
            self.assertEqual((os.listdir(given), os.stat(given).st_uid), ([], 1002))
            self.assertEqual(mounts_below(given), [])

    def test_run_dir_behind_a_symbolic_link(self):
        """mountinfo tells other paths than the configuration. What a dead daemon left is found all the same, and a stop leaves nothing."""
        node = Node({'demo': self.repository}, keeper=True)
        os.mkdir(node.path('real'))
        os.symlink('real', node.run)
        with node:
            root = node.mount('job').root
            self.kill_both(node)
            node.start()
            self.assertIn('README', os.listdir(root))
            self.assertEqual(len(mounts_below(node.base)), 2)
            self.assertRegex(node.cli('doctor').stdout, '(?m)^ok +beneath')
            node.stop()
            self.assertEqual(mounts_below(node.base), [])

    def test_nobody_writes_where_a_mount_failed_to_come_back(self):
        with Node({'demo': self.repository}, keeper=True) as node:
            point = node.path('bound')
            mount = node.mount('job', mountpoint=point)
            workspace = os.path.join(node.data, 'workspaces', mount.mount_id)
            self.kill_both(node)
            os.rename(workspace, node.path('aside'))
            node.start()
            self.assertEqual(node.client.state(node.client.GetMount(job_id='job')), 'FAILED')
            self.check_nobody_writes(point)
            node.delete('job')
            self.assertFalse(os.path.exists(point))

    def kill_both(self, node):
        daemon = node.below_keeper()
        node.kill()
        os.kill(daemon, signal.SIGKILL)
        wait_until(lambda: not os.path.exists(f'/proc/{daemon}'), 20, 'the daemon has ended')

    def error_of(self, call, *args):
        with self.assertRaises(OSError) as caught:
            call(*args)
        return caught.exception.errno

    def check_nobody_writes(self, *folders):
        for folder in folders:
            for call in (os.mkdir, os.mkfifo, lambda path: os.symlink('to', path), lambda path: os.open(path, os.O_CREAT | os.O_WRONLY)):
                self.assertEqual(self.error_of(call, folder + '/lost'), errno.ENOSPC, folder)
            done = subprocess.run(['mkdir', folder + '/lost'], user=1002, group=1002, extra_groups=[], capture_output=True, text=True, check=False,
                                  timeout=30)
            self.assertIn('Permission denied', done.stderr)

    def test_bind_mount_comes_back(self):
        with Node({'demo': self.repository}) as node:
            point = node.path('bound')
            mount = node.mount('bound', mountpoint=point)
            self.assertEqual(mount.mountpoint, point)
            with open(point + '/hello', 'w', encoding='ascii') as f:
                f.write('hello')
            node.kill()
            node.start()
            with open(point + '/hello', encoding='ascii') as f:
                self.assertEqual(f.read(), 'hello')
            node.delete('bound')
            self.assertFalse(os.path.exists(point), 'what was made for the mount goes with it')

    def test_leftovers_are_removed(self):
        with Node({'demo': self.repository}) as node:
            node.mount('stays')
            node.kill()
            for folder in ('workspaces', 'trash'):
                os.makedirs(os.path.join(node.data, folder, '00000000-dead-4000-8000-000000000000', 'upper', 'a'), exist_ok=True)
            self.assertNotEqual(mounts_below(node.run), [], 'a dead mount, to be swept')
            with self.assertRaises(OSError):
                os.listdir(node.run + '/mnt/default/stays')
            node.start()
            self.assertIn('README', os.listdir(node.run + '/mnt/default/stays'))
            self.assertEqual(len(mounts_below(node.run, seals=False)), 1)
            wait_until(lambda: len(os.listdir(node.data + '/workspaces')) == 1, 20, 'unknown workspaces are removed')
            wait_until(lambda: os.listdir(node.data + '/trash') == [], 20, 'the trash is emptied')

    def test_killed_while_it_deletes(self):
        """Deletions that were under way are finished; the rest comes back."""
        with Node({'demo': self.repository}) as node:
            for i in range(20):
                node.mount(f'job{i}')
            calls = [node.client.future('DeleteMount', job_id=f'job{i}') for i in range(10)]
            calls[0].result()
            node.kill()
            node.start()
            left = {m.job_id for m in node.client.ListMounts().mounts}
            self.assertTrue({f'job{i}' for i in range(10, 20)} <= left)
            for m in node.client.ListMounts().mounts:
                self.assertIn('README', os.listdir(m.root))
                node.delete(m.job_id)
            wait_until(lambda: os.listdir(node.data + '/workspaces') == [], 20, 'workspaces are removed')

    def test_second_daemon_is_refused(self):
        with Node({'demo': self.repository}) as node:
            node.mount('mine')
            done = subprocess.run([program('coppiced'), '--config', node.config, '--run-dir', node.path('run2'),
                                   '--set', 'grpc.listen=unix:' + node.path('second.sock')],
                                  capture_output=True, text=True, timeout=30 * SLOW, check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(str(node.process.pid), done.stderr)
            self.assertIn(node.data, done.stderr)
            self.assertIn('README', os.listdir(node.run + '/mnt/default/mine'))

    def test_socket_of_a_dead_daemon(self):
        with Node({'demo': self.repository}) as node:
            node.kill()
            self.assertTrue(os.path.exists(node.socket))
            with self.assertRaises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as s:
                s.connect(node.socket)
            node.start()

    def test_damaged_index_is_set_aside(self):
        with Node({'demo': self.repository}) as node:
            root = node.mount('job').root
            with open(root + '/README', 'a', encoding='ascii') as f:
                f.write('mine')
            node.stop()
            index = os.path.join(node.data, 'index', 'data.mdb')
            with open(index, 'r+b') as f:
                f.write(b'\xde' * 65536)
            self.assertTrue(node.start().index_set_aside)
            with open(root + '/README', encoding='ascii') as f:
                self.assertEqual(f.read(), 'read me\nmine')
            with open(root + '/keep/one', 'rb') as f:
                self.assertEqual(f.read(), b'content of one')


if __name__ == '__main__':
    unittest.main()
