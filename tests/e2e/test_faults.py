# SPDX-License-Identifier: Apache-2.0
"""The faults that broke other filesystems under build farms. Each test is named after its symptom."""
import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import repo_maker
from node import SANITIZE, SLOW, Node, wait_until

MANY = 5000 if SANITIZE else 50000


def drop_caches(what=2):
    """2: dentries and inodes; 3: pages too."""
    with open('/proc/sys/vm/drop_caches', 'w', encoding='ascii') as f:
        f.write(str(what))


def write(path, data, mode='wb'):
    with open(path, mode) as f:
        f.write(data)


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def run(*args, **options):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100 * SLOW, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f'{args} ended with {done.returncode}:\n{done.stdout[-3000:]}')
    return done.stdout


@contextlib.contextmanager
def memory_pressure():
    """The kernel's caches are dropped all the time, while a child takes and gives back memory."""
    stop = threading.Event()
    script = ('import mmap\n'
              'while True:\n'
              '    m = mmap.mmap(-1, 256 << 20)\n'
              '    for at in range(0, len(m), 4096): m[at] = 1\n'
              '    m.close()\n')

    def drop():
        while not stop.wait(0.05):
            with open('/proc/sys/vm/drop_caches', 'w', encoding='ascii') as f:
                f.write('3')

    eater = subprocess.Popen([sys.executable, '-c', script])
    dropper = threading.Thread(target=drop)
    dropper.start()
    try:
        yield
    finally:
        stop.set()
        dropper.join()
        eater.kill()
        eater.wait()


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-faults-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo = repo_maker.Repo(cls.repository)
        repo.begin()
        repo.add(b'run/script', b'#!/bin/sh\necho of the sources\n', b'100644')
        repo.add(b'run/log', b'line of the sources\n')
        repo.add(b'include/once.h', b'#pragma once\nstruct once { int x; };\n')
        repo.add(b'include/main.c', b'#include "once.h"\n#include "other/once.h"\n#include "../include/once.h"\n'
                                    b'int main(void) { struct once o = {0}; return o.x; }\n')
        repo.add(b'include/other/keep', b'')
        for i in range(2000):
            repo.add(b'many/d%02d/f%d' % (i % 40, i), b'%d' % i)
        repo.finish()

    @contextlib.contextmanager
    def workspace(self, **fields):
        with Node({'demo': self.repository}) as node:
            self.node = node
            yield node.mount('faults', **fields).root
            node.delete('faults')

    # ---- a file that was written a while ago ----

    def test_script_that_was_written_is_not_there_when_it_is_run(self):
        """Scorpio: ENOENT or an empty file 40 minutes after it was written."""
        with self.workspace() as root:
            for folder in ('new', 'run'):
                os.makedirs(f'{root}/{folder}', exist_ok=True)
                path = f'{root}/{folder}/script-made'
                self.assertFalse(os.path.exists(path), 'the kernel and the daemon know that it is absent')
                write(path, b'#!/bin/sh\necho ran $1\n')
                for what in (2, 3, 1):
                    drop_caches(what)
                    os.chmod(path, 0o755)
                    self.assertEqual(run(path, str(what)), f'ran {what}\n')
                # and by a process that was not there when it was written, with a name looked up from the top
                drop_caches(3)
                self.assertEqual(run('sh', '-c', f'cd / && exec {path} x'), 'ran x\n')
            path = root + '/run/script'
            drop_caches(3)
            os.chmod(path, 0o755)
            self.assertEqual(run(path), 'of the sources\n')
            write(path, b'#!/bin/sh\necho rewritten\n')
            drop_caches(3)
            self.assertEqual(run(path), 'rewritten\n')

    def test_text_file_busy_after_it_was_written(self):
        """exec right after the last close of the writer. (One at a time: a sibling's fork would hold the descriptor on any filesystem.)"""
        with self.workspace() as root:
            for i in range(100):
                path = f'{root}/tool-{i % 7}'
                write(path, b'#!/bin/sh\nexit %d\n' % (i % 50))
                os.chmod(path, 0o755)
                self.assertEqual(os.spawnv(os.P_WAIT, path, [path]), i % 50)
                if i % 3 == 0:
                    os.unlink(path)

    def test_append_goes_to_the_wrong_place_under_memory_pressure(self):
        """O_APPEND reopened again and again while inodes and pages are being dropped: a stale size would overwrite."""
        with self.workspace() as root:
            logs = [root + '/run/log', root + '/new.log']
            rounds = 150 if SANITIZE else 400
            with memory_pressure():
                for i in range(rounds):
                    for log in logs:
                        fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
                        os.write(fd, b'%06d\n' % i)
                        self.assertEqual(os.lseek(fd, 0, os.SEEK_CUR), os.fstat(fd).st_size)
                        os.close(fd)
            want = b''.join(b'%06d\n' % i for i in range(rounds))
            self.assertEqual(read(logs[0]), b'line of the sources\n' + want)
            self.assertEqual(read(logs[1]), want)

    def test_append_of_two_processes_loses_lines(self):
        with self.workspace() as root:
            log = root + '/run/log'
            script = ('import os, sys\n'
                      'for i in range(int(sys.argv[3])):\n'
                      '    fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)\n'
                      '    os.write(fd, b"%s %06d\\n" % (sys.argv[2].encode(), i))\n'
                      '    os.close(fd)\n')
            count = 500 if SANITIZE else 2000
            with memory_pressure():
                children = [subprocess.Popen([sys.executable, '-c', script, log, name, str(count)]) for name in 'ab']
                self.assertEqual([c.wait(100 * SLOW) for c in children], [0, 0])
            lines = read(log).splitlines()
            self.assertEqual(lines[0], b'line of the sources')
            for name in (b'a', b'b'):
                self.assertEqual([line for line in lines if line.startswith(name + b' ')], [b'%s %06d' % (name, i) for i in range(count)])
            self.assertEqual(len(lines), 2 * count + 1)

    def test_mapped_file_is_empty_after_pages_were_dropped(self):
        with self.workspace() as root:
            import mmap
            path = root + '/mapped'
            with open(path, 'w+b') as f:
                f.truncate(4 << 20)
                with mmap.mmap(f.fileno(), 0) as m:
                    for at in range(0, len(m), 4096):
                        m[at:at + 4] = at.to_bytes(4, 'big')
            os.truncate(root + '/run/log', 3)
            drop_caches(3)
            data = read(path)
            self.assertEqual([data[at:at + 4] for at in range(0, len(data), 4096)],
                             [at.to_bytes(4, 'big') for at in range(0, len(data), 4096)])
            self.assertEqual(read(root + '/run/log'), b'lin')

    # ---- many files ----

    def test_many_small_files_cannot_be_removed(self):
        """Descriptors or inodes run out, rm -rf finds ENOTEMPTY, or the quota does not come back."""
        with self.workspace(quota={'bytes': 4 << 30, 'inodes': MANY + 1000}) as root:
            os.mkdir(root + '/out')
            for i in range(MANY // 500):
                folder = f'{root}/out/d{i}'
                os.mkdir(folder)
                fd = os.open(folder, os.O_RDONLY)
                for k in range(500):
                    with open(os.open(f'f{k}', os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=fd), 'wb', buffering=0) as f:
                        f.write(b'x' * (k % 200))
                os.close(fd)
            usage = self.node.client.GetMount(job_id='faults').usage
            self.assertEqual(usage.inodes, 1 + MANY // 500 + MANY)
            self.assertLess(self.node.descriptors(), 4096, 'a descriptor per file')
            self.assertEqual(sum(len(files) for _, _, files in os.walk(root + '/out')), MANY)
            run('rm', '-rf', root + '/out', root + '/many')
            self.assertEqual(sorted(os.listdir(root)), ['README', 'include', 'run'] if os.path.exists(root + '/README')
                             else ['include', 'run'])
            drop_caches()
            wait_until(lambda: self.node.client.GetMount(job_id='faults').usage.bytes == 0, 30, 'the quota is given back')
            self.assertEqual(self.node.client.GetMount(job_id='faults').usage.inodes, 0)
            self.assertFalse(os.path.exists(root + '/many'))
            os.mkdir(root + '/many')
            self.assertEqual(os.listdir(root + '/many'), [], 'what was removed shows through')

    def test_removal_while_listing_skips_names(self):
        """rm -rf and git clean remove what getdents just gave them and go on with the next batch."""
        with self.workspace() as root:
            shutil.copytree(root + '/many', root + '/copy')
            for folder in ('copy', 'many'):
                with os.scandir(f'{root}/{folder}') as outer:
                    for sub in outer:
                        with os.scandir(sub.path) as inner:
                            for entry in inner:
                                os.unlink(entry.path)
                        os.rmdir(sub.path)
                os.rmdir(f'{root}/{folder}')

    # ---- hard links and #pragma once ----

    def test_pragma_once_includes_a_hard_link_twice(self):
        """gcc takes files of equal size, time and content for one; the others by inode number."""
        with self.workspace() as root:
            os.link(root + '/include/once.h', root + '/include/other/once.h')
            drop_caches()
            run('gcc', '-c', '-o', root + '/main.o', root + '/include/main.c')
            write(root + '/include/once.h', b'\nstruct more { int y; };\n', 'ab')
            drop_caches()
            self.assertEqual(read(root + '/include/other/once.h'), read(root + '/include/once.h'))
            run('gcc', '-c', '-o', root + '/main.o', root + '/include/main.c')
            deps = run('gcc', '-MM', root + '/include/main.c')
            self.assertIn('once.h', deps)
            # two files of the same content that are no links must not be taken for one by their numbers
            numbers = {os.stat(root + '/include/' + n).st_ino for n in ('once.h', 'other/once.h', 'main.c')}
            self.assertEqual(len(numbers), 2)

    def test_hard_link_differs_after_one_name_was_forgotten(self):
        with self.workspace() as root:
            os.link(root + '/run/log', root + '/linked')
            for i in range(3):
                drop_caches(3)
                write(root + '/run/log', b'a%d\n' % i, 'ab')
                drop_caches(2)
                write(root + '/linked', b'b%d\n' % i, 'ab')
            self.assertEqual(read(root + '/run/log'), b'line of the sources\na0\nb0\na1\nb1\na2\nb2\n')
            self.assertEqual(read(root + '/linked'), read(root + '/run/log'))
            self.assertTrue(os.path.samefile(root + '/linked', root + '/run/log'))

    # ---- stale handles ----

    def test_stale_file_handle_after_the_kernel_forgot(self):
        """A working directory, a descriptor and a name below them, kept over FORGET, rename and removal."""
        with self.workspace() as root:
            os.makedirs(root + '/a/b')
            write(root + '/a/b/file', b'one')
            directory = os.open(root + '/a/b', os.O_RDONLY | os.O_DIRECTORY)
            lower = os.open(root + '/many/d01', os.O_RDONLY | os.O_DIRECTORY)
            file = os.open(root + '/a/b/file', os.O_RDWR)
            os.rename(root + '/a', root + '/moved')
            os.rename(root + '/many', root + '/moved/many')
            drop_caches(3)
            self.assertEqual(os.listdir(directory), ['file'])
            self.assertEqual(len(os.listdir(lower)), 50)
            self.assertEqual(os.stat('f41', dir_fd=lower).st_size, 2)
            os.close(os.open('new', os.O_WRONLY | os.O_CREAT, dir_fd=lower))
            self.assertTrue(os.path.exists(root + '/moved/many/d01/new'))
            os.unlink(root + '/moved/b/file')
            drop_caches(3)
            self.assertEqual(os.pread(file, 10, 0), b'one')
            os.pwrite(file, b'two', 3)
            self.assertEqual(os.pread(file, 10, 0), b'onetwo')
            shutil.rmtree(root + '/moved')
            drop_caches(3)
            self.assertEqual(os.fstat(directory).st_nlink, 0)
            with self.assertRaises(FileNotFoundError):
                os.open('x', os.O_WRONLY | os.O_CREAT, dir_fd=directory)
            for fd in (directory, lower, file):
                os.close(fd)

    def test_false_enoent_while_another_creates(self):
        """A name that one process waits for is seen as soon as the other has made it."""
        with self.workspace() as root:
            script = ('import os, sys\n'
                      'for i in range(int(sys.argv[2])):\n'
                      '    fd = os.open(f"{sys.argv[1]}/n{i}", os.O_WRONLY | os.O_CREAT)\n'
                      '    os.close(fd)\n'
                      '    os.write(1, b"x")\n'
                      '    os.read(0, 1)\n')
            count = 300
            for folder in (root, root + '/run', root + '/many/d05'):
                child = subprocess.Popen([sys.executable, '-c', script, folder, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                for i in range(count):
                    self.assertFalse(os.path.exists(f'{folder}/n{i + 1}'), 'a negative entry for the next round')
                    self.assertEqual(child.stdout.read(1), b'x')
                    os.stat(f'{folder}/n{i}')
                    if i < count - 1:
                        os.unlink(f'{folder}/n{i}')
                    with contextlib.suppress(BrokenPipeError):
                        child.stdin.write(b'y')
                        child.stdin.flush()
                child.stdin.close()
                child.stdout.close()
                self.assertEqual(child.wait(60), 0)

    def test_interrupted_call_fails_or_hangs(self):
        """make and Go programs take many signals: no EINTR from a local file, nothing lost."""
        with self.workspace() as root:
            signal.signal(signal.SIGALRM, lambda *_: None)
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            try:
                end = time.monotonic() + 2
                i = 0
                while time.monotonic() < end:
                    path = f'{root}/signal-{i % 10}'
                    write(path, b'%d' % i)
                    self.assertEqual(read(path), b'%d' % i)
                    os.rename(path, path + 'r')
                    os.unlink(path + 'r')
                    i += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
            self.assertGreater(i, 10)
            self.assertEqual([n for n in os.listdir(root) if n.startswith('signal')], [])

    def test_removed_directory_comes_back(self):
        """Of the sources, with another of its name made in its place; also after FORGET and a restart."""
        with self.workspace() as root:
            shutil.rmtree(root + '/many/d07')
            os.mkdir(root + '/many/d07')
            write(root + '/many/d07/only', b'x')
            os.rename(root + '/many/d08', root + '/many/d09-new')
            os.mkdir(root + '/many/d08')
            for again in (lambda: None, drop_caches, self.node.kill):
                again()
                if self.node.process is None:
                    self.node.start()
                self.assertEqual(os.listdir(root + '/many/d07'), ['only'])
                self.assertEqual(os.listdir(root + '/many/d08'), [])
                self.assertEqual(len(os.listdir(root + '/many/d09-new')), 50)
                with self.assertRaises(OSError) as caught:
                    os.stat(root + '/many/d07/f7')
                self.assertEqual(caught.exception.errno, errno.ENOENT)


if __name__ == '__main__':
    unittest.main()
