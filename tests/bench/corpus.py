# SPDX-License-Identifier: Apache-2.0
"""What the workloads run on: repositories of a given scale, and the same trees as plain directories on ext4. They are kept between
runs (same arguments, same bytes) in COPPICE_BENCH_DIR, /var/tmp/coppice-bench by default.

  corpus = Corpus(scale=1.0)
  tree = corpus['tree']        .repository .lower .files .directories .file_list .directory_list .tar
"""
import os
import shutil
import subprocess

import repo_maker
from tree_compare import git_archive

SEED = 7
# name: files, files of a C project, megabytes of one large file (at scale 1)
TREES = {
    'tree': (50000, 0, 0),
    'small': (8000, 0, 0),
    'project': (0, 200, 0),
    'untar': (20000, 0, 0),
    'large': (0, 0, 100),
}


class Tree:
    def __init__(self, folder, name, scale):
        self.name = name
        self.base = os.path.join(folder, f'{name}-{scale:g}')
        self.repository, self.lower = self.base + '.git', self.base
        self.file_list, self.directory_list, self.tar = self.base + '.files', self.base + '.dirs', self.base + '.tar'
        if not os.path.isdir(self.repository):
            self.make_repository(scale)
        if not os.path.exists(self.directory_list):
            self.make_lower()
        with open(self.file_list, 'rb') as f:
            self.files = f.read().count(b'\n')
        with open(self.directory_list, 'rb') as f:
            self.directories = f.read().count(b'\n')

    def make_repository(self, scale):
        files, project, megabytes = (max(int(n * scale), 1) if n else 0 for n in TREES[self.name])
        shutil.rmtree(self.base + '.new', ignore_errors=True)
        repo_maker.make(self.base + '.new', files=files, c_project=project, large_mb=megabytes, seed=SEED)
        os.rename(self.base + '.new', self.repository)

    def make_lower(self):
        shutil.rmtree(self.lower, ignore_errors=True)
        git_archive(self.repository, 'main', self.lower)
        subprocess.run(['tar', '-c', '-f', self.tar, '-C', self.lower, '.'], check=True, timeout=600)
        for kind, out in (('f', self.file_list), ('d', self.directory_list)):
            with open(out + '.new', 'wb') as f:
                subprocess.run(['find', '.', '-type', kind], cwd=self.lower, stdout=f, check=True, timeout=600)
            os.rename(out + '.new', out)


class Corpus(dict):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.folder = os.environ.get('COPPICE_BENCH_DIR', '/var/tmp/coppice-bench')
        os.makedirs(self.folder, exist_ok=True)

    def __missing__(self, name):
        self[name] = Tree(self.folder, name, self.scale)
        return self[name]
