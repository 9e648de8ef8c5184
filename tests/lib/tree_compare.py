# SPDX-License-Identifier: Apache-2.0
"""Compares two directory trees: names, types, modes, sizes, link targets, contents, and what readdir says against what lstat says."""
import os
import stat
import subprocess

CHUNK = 1 << 20
MAX_DIFFERENCES = 20


def git_archive(repository, revision, out):
    """What the mount must look like: `git archive REV | tar x`, with Git's own modes."""
    os.makedirs(out)
    git = ['git', '-c', 'safe.directory=*', '-c', 'tar.umask=0022', '-C', repository, 'archive', revision]
    with subprocess.Popen(git, stdout=subprocess.PIPE) as archive:
        subprocess.run(['tar', '-x', '-p', '-f', '-', '-C', out], stdin=archive.stdout, check=True, timeout=600)
        archive.stdout.close()
        if archive.wait(60) != 0:
            raise RuntimeError('git archive failed')
    return out


def same_content(a, b):
    with open(a, 'rb', buffering=0) as x, open(b, 'rb', buffering=0) as y:
        while True:
            p, q = x.read(CHUNK), y.read(CHUNK)
            if p != q:
                return False
            if not p:
                return True


class Comparison:
    """differences: lines of text, at most MAX_DIFFERENCES; entries: how many were compared."""

    def __init__(self, want, got, times=None, root_mode=False):
        """times: seconds that every mtime in `got` must have, or None."""
        self.differences, self.entries, self.times = [], 0, times
        want, got = os.fsencode(want), os.fsencode(got)
        if root_mode:
            self.compare_entry(b'', os.lstat(want), os.lstat(got))
        self.compare_directory(want, got, b'')

    def say(self, where, what):
        if len(self.differences) < MAX_DIFFERENCES:
            self.differences.append(f'{os.fsdecode(where)!r}: {what}')

    def compare_directory(self, want, got, where):
        with os.scandir(want) as entries:
            expected = {e.name: e for e in entries}
        with os.scandir(got) as entries:
            listed = list(entries)
        found = {e.name: e for e in listed}
        if len(found) != len(listed):
            self.say(where, 'a name is listed twice')
        for name in sorted(expected.keys() - found.keys()):
            self.say(where + b'/' + name, 'is missing')
        for name in sorted(found.keys() - expected.keys()):
            self.say(where + b'/' + name, 'should not be there')
        for name in sorted(expected.keys() & found.keys()):
            path = where + b'/' + name
            a, b = os.lstat(want + b'/' + name), os.lstat(got + b'/' + name)
            self.compare_entry(path, a, b)
            if found[name].inode() != b.st_ino:
                self.say(path, f'readdir says inode {found[name].inode()}, lstat {b.st_ino}')
            if found[name].is_dir(follow_symlinks=False) != stat.S_ISDIR(b.st_mode):
                self.say(path, 'readdir and lstat disagree on its type')
            if stat.S_IFMT(a.st_mode) != stat.S_IFMT(b.st_mode):
                continue
            if stat.S_ISDIR(a.st_mode):
                self.compare_directory(want + b'/' + name, got + b'/' + name, path)
            elif stat.S_ISLNK(a.st_mode):
                targets = os.readlink(want + b'/' + name), os.readlink(got + b'/' + name)
                if targets[0] != targets[1]:
                    self.say(path, f'points to {targets[1]!r}, not {targets[0]!r}')
            elif stat.S_ISREG(a.st_mode) and not same_content(want + b'/' + name, got + b'/' + name):
                self.say(path, 'has another content')

    def compare_entry(self, where, a, b):
        self.entries += 1
        if a.st_mode != b.st_mode:
            self.say(where, f'has mode {b.st_mode:o}, not {a.st_mode:o}')
        if not stat.S_ISDIR(a.st_mode) and a.st_size != b.st_size:
            self.say(where, f'has size {b.st_size}, not {a.st_size}')
        if self.times is not None and int(b.st_mtime) != self.times:
            self.say(where, f'has mtime {b.st_mtime}, not {self.times}')
