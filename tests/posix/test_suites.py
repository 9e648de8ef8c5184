#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Suites that others wrote, in a workspace: stress-ng (fifty ways to use a filesystem, each checking what it gets back, all at once), fio (every
block that is read is the one that was written, through each kind of I/O), dbench (the calls of a file server's clients and the answers
that they want). What fails on the local filesystem too is no finding; COPPICE_TEST_LONG=1: minutes of each."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from node import SLOW, Node
from tree import IN_LAYERS, make_repository

LONG = os.environ.get('COPPICE_TEST_LONG') == '1'
SECONDS = 60 if LONG else 4
# Those that use files, and nothing of the machine around them: io and iomix sync every filesystem that is mounted, fanotify watches
# all. Not fiemap: docs/posix.md.
STRESSORS = ('access aio aiol chdir chmod chown copy-file dentry dir dirdeep dirmany dnotify dup fallocate fcntl file-ioctl filename flock fpunch '
             'fsize fstat getdent handle hdd inode-flags inotify lease link locka lockf lockofd mknod mmap mmapfixed msync open readahead rename '
             'revio seek sendfile splice symlink sync-file touch utime xattr').split()
# name: how fio does it
WAYS = {
    'psync': ['--ioengine=psync', '--bs=4k'],
    'append': ['--ioengine=psync', '--bs=1k', '--rw=write', '--file_append=1'],
    'aio-direct': ['--ioengine=libaio', '--iodepth=16', '--direct=1', '--bs=16k'],
    'mmap': ['--ioengine=mmap', '--bs=4k'],
    'threads': ['--ioengine=pvsync2', '--bs=4k', '--thread', '--numjobs=3'],
}


class Suites(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-posix-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        os.chmod(cls.folder, 0o755)
        make_repository(cls.folder + '/repo.git')
        cls.node = Node({'demo': cls.folder + '/repo.git'}, limit=3000 if LONG else 280)
        cls.node.start()
        cls.addClassCleanup(cls.node.close)

    def setUp(self):
        self.root = self.node.mount(self.id().rsplit('.', 1)[1], **IN_LAYERS).root

    def run_in(self, folder, *command):
        """(exit status, what it says)"""
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace',
                              timeout=(SECONDS * 3 + 60) * SLOW, check=False)
        return done.returncode, done.stdout

    def stress(self, folder):
        command = ['stress-ng', '--verify', '--timeout', str(SECONDS), '--temp-path', folder, '--seed', '1', '--mmap-file', '--mmap-bytes', '4m',
                   '--hdd-bytes', '4m', '--dirdeep-inodes', '2000']
        for name in STRESSORS:
            command += [f'--{name}', '1']
        return self.run_in(folder, *command)

    def test_stress_ng(self):
        status, text = self.stress(self.root)
        failures = set(re.findall(r'fail: +\[\d+\] ([\w-]+):', text))
        if failures or status != 0:
            local = os.path.join(self.folder, 'stress')
            os.mkdir(local)
            there, said = self.stress(local)
            self.assertLessEqual(failures, set(re.findall(r'fail: +\[\d+\] ([\w-]+):', said)), text)
            self.assertEqual(status, there, text)
        self.assertIn('successful run completed' if status == 0 else 'unsuccessful', text)
        self.assertEqual([n for n in os.listdir(self.root) if n.startswith('tmp-stress')], [])

    def test_fio_verifies_every_block(self):
        for way, options in WAYS.items():
            with self.subTest(way):
                if way == 'psync':  # a file of the sources is what is written over
                    os.rename(self.root + '/f3', f'{self.root}/{way}.0.0')
                status, text = self.run_in(self.root, 'fio', f'--name={way}', '--rw=randrw', '--size=16m', '--filesize=16m',
                                           '--overwrite=0', '--verify=crc32c', '--verify_fatal=1', '--do_verify=1', '--randseed=7',
                                           '--group_reporting', *options, *(['--loops=20'] if LONG else []))
                self.assertEqual(status, 0, text)
                self.assertNotIn('verify:', text)

    def test_dbench(self):
        status, text = self.run_in(self.root, 'dbench', '--timelimit', str(SECONDS), '--clients-per-process', '1', '-D', self.root, '4')
        self.assertEqual(status, 0, text)
        self.assertIn('Throughput', text)
        self.assertNotIn('ERROR', text)


if __name__ == '__main__':
    unittest.main()
