# SPDX-License-Identifier: Apache-2.0
"""The index stays within its size while more revisions come and go than fit: jobs notice nothing, and what a mount shows that nobody else has, a
change list over its revision, is not dropped."""
import os
import shutil
import tempfile
import unittest

import repo_maker
from node import Node
from tree_compare import Comparison, git_archive

REVISIONS = 10
FILES = 60
DIRECTORIES = 160


class Index(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-index-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo = repo_maker.Repo(cls.repository)
        for name, change in (('base', {}), ('change', {b'dir/b': b'changed\n'}), ('other', {b'c': b'other\n'}),
                             ('both', {b'dir/b': b'changed\n', b'c': b'other\n'})):
            repo.begin(ref=b'refs/heads/' + name.encode())
            for file, data in ({b'a': b'a\n', b'dir/b': b'b\n'} | change).items():
                repo.add(file, data)
        for number in range(REVISIONS):
            repo.begin(ref=b'refs/heads/r%d' % number)
            for d in range(DIRECTORIES):
                for f in range(FILES):
                    repo.add(b'd%d/a file with a name %d' % (d, f), b'%d %d\n' % (number, (d * FILES + f) % 97))
        repo.begin()
        repo.add(b'README', b'nothing here\n')
        repo.finish()

    def test_more_than_fits(self):
        with Node({'demo': self.repository}, extra='cache: {index: 4MiB}') as node:
            over = node.mount('over', revision='other', change_list={'range': 'base..change'})
            both = git_archive(self.repository, 'both', os.path.join(self.folder, 'both'))
            for number in range(REVISIONS):
                for again in range(2):
                    root = node.mount(f'r{number}-{again}', revision=f'r{number}').root
                    self.assertEqual(sum(len(files) for _, _, files in os.walk(root)), FILES * DIRECTORIES)
                    node.delete(f'r{number}-{again}')
            self.assertEqual(Comparison(both, over.root).differences, [])
            node.assert_logs('event=index_collected')
            self.assertLessEqual(node.client.GetCacheStats().index_bytes, (4 << 20) * 9 / 8 + (1 << 20))
            node.stop()
            node.start()
            node.mount('last', revision='r0')
            self.assertEqual(Comparison(both, over.root).differences, [])


if __name__ == '__main__':
    unittest.main()
