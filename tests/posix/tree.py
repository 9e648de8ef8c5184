# SPDX-License-Identifier: Apache-2.0
"""The repository that the behaviour suite starts from, and the same tree on the local filesystem.

Names are those of gen.c, so that most paths of a random step exist.
"""
import ctypes
import os
import random
import subprocess

import repo_maker

TIME = 1700000000  # the commit's time, which lower entries have
_libc = ctypes.CDLL(None, use_errno=True)
MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_NOATIME, MS_BIND = 2, 4, 32, 1024, 4096
MNT_DETACH = 2


# How a workspace is made so that it shows `main`: a third of the files is in the revision, a third is changed and a third added by the layer
# between it and the job's writes, which also removes some.
IN_LAYERS = {'revision': 'under', 'change_list': {'range': 'before..after'}}
# Configuration with which directories of the sources are given up as soon as nobody uses them (fuse/overlay/ovl_shrink.c).
FEW_NODES = 'cache: {nodes: 10}'


def fill(files, rng, here, depth):
    """{path: (bytes, mode)}"""
    sizes = (0, 1, 100, 4096, 5000, 65536, 70000, 700)
    for i in range(4):
        files[here + b'f%d' % i] = (repo_maker.text(rng, rng.choice(sizes)) if i else b'', b'100755' if i == 2 else b'100644')
    files[here + b'l0'] = (rng.choice((b'd1', b'f1', b'../d0', b'absent')), b'120000')
    if depth < 3:
        for i in range(3):
            fill(files, rng, here + b'd%d/' % i, depth + 1)


def split(files):
    """The trees of the branches under, before and after."""
    under, before, after = {}, {}, {}
    for number, (path, file) in enumerate(sorted(files.items())):
        if number % 3 == 0:
            under[path] = file
            continue
        after[path] = file
        if number % 3 == 1:
            under[path] = before[path] = (b'of the revision', b'100644')
        if number % 7 == 1:
            under[path + b'-gone/x'] = before[path + b'-gone/x'] = (b'to be removed', b'100644')
    return {b'under': under, b'before': before, b'after': after}


def make_repository(path):
    """A bare repository; returns the commit of main."""
    repo, files = repo_maker.Repo(path), {}
    fill(files, random.Random(7), b'', 0)
    for branch, tree in {b'main': files, **split(files)}.items():
        repo.begin(ref=b'refs/heads/' + branch)
        for name, (data, mode) in tree.items():
            repo.add(name, data, mode)
    return repo.finish()


def mount_call(source, target, flags):
    if _libc.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flags), None) != 0:
        raise OSError(ctypes.get_errno(), f'mount {target}')


class LocalTree:
    """The tree of the repository on the local filesystem, behind a mount with the flags of a workspace."""

    def __init__(self, repository, path):
        self.path = path
        os.makedirs(path, mode=0o755)
        archive = subprocess.Popen(['git', '-C', repository, '-c', 'tar.umask=022', 'archive', 'main'], stdout=subprocess.PIPE)
        subprocess.run(['tar', '-x', '-p', '-C', path], stdin=archive.stdout, check=True)
        if archive.wait() != 0:
            raise RuntimeError('git archive failed')
        os.chmod(path, 0o755)
        for folder, dirs, files in os.walk(path, topdown=False):
            for name in files + dirs:
                os.utime(os.path.join(folder, name), (TIME, TIME), follow_symlinks=False)
        os.utime(path, (TIME, TIME))
        mount_call(path, path, MS_BIND)
        mount_call('none', path, MS_REMOUNT | MS_BIND | MS_NOATIME | MS_NODEV | MS_NOSUID)

    def close(self):
        _libc.umount2(os.fsencode(self.path), MNT_DETACH)
        subprocess.run(['rm', '-rf', self.path], check=True)
