# SPDX-License-Identifier: Apache-2.0
"""Real builds inside a mount give what they give outside."""
import os
import shutil
import subprocess
import tempfile
import unittest

import repo_maker
from node import SLOW, TOP, Node, wait_until
from tree_compare import Comparison, git_archive

FILES = 200


def run(*args, cwd=None):
    done = subprocess.run(args, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=200 * SLOW, check=False)
    if done.returncode != 0:
        raise AssertionError(f'{args} ended with {done.returncode}:\n{done.stdout[-4000:]}')
    return done.stdout


class Build(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='cop-build-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def test_c_project(self):
        repository = self.path('project.git')
        commit = repo_maker.make(repository, c_project=FILES)
        outside = git_archive(repository, commit, self.path('outside'))
        run('make', '-s', '-j2', cwd=outside)
        expected = run(outside + '/prog')
        with Node({'demo': repository}) as node:
            mount = node.mount('build')
            run('make', '-s', '-j2', cwd=mount.root)
            self.assertEqual(run(mount.root + '/prog'), expected)
            comparison = Comparison(outside, mount.root)
            self.assertEqual(comparison.differences, [])
            self.assertGreater(comparison.entries, 3 * FILES)  # source, object and dependencies

            with self.subTest('nothing to do'):
                self.assertIn('up to date', run('make', '-j2', cwd=mount.root))
            with self.subTest('one file changed'):
                for root in (outside, mount.root):
                    with open(root + '/src/unit7.c', 'a', encoding='ascii') as f:
                        f.write('int more;\n')
                    rebuilt = run('make', '-j2', cwd=root)
                    self.assertEqual(rebuilt.count('-c -o'), 1, rebuilt)
                self.assertEqual(Comparison(outside, mount.root).differences, [])
            with self.subTest('a header changed'):
                for root in (outside, mount.root):
                    os.utime(root + '/include/h3.h')
                counts = [run('make', '-j2', cwd=root).count('-c -o') for root in (outside, mount.root)]
                self.assertEqual(counts[0], counts[1])
                self.assertGreater(counts[0], 10)
            with self.subTest('clean'):
                run('make', 'clean', cwd=mount.root)
                self.assertFalse(os.path.exists(mount.root + '/obj'))
                # the two changed files and their directories, once the kernel has forgotten the others
                wait_until(lambda: node.client.GetMount(job_id='build').usage.inodes <= 4, 20, 'what was removed is given back')
                run('make', '-s', '-j2', cwd=mount.root)
            node.delete('build')

    def test_this_project(self):
        """Configure and build the lowest floor; run one of its tests."""
        with Node({'demo': TOP}) as node:
            source = node.mount('self').root
            build = source + '/build/inside'
            run('cmake', '-S', source, '-B', build, '-G', 'Ninja', '-DCMAKE_BUILD_TYPE=Debug', '-DCOPPICE_TEST_SUITES=')
            run('ninja', '-C', build, '-j2', 'coppice_base', 'base_test_hashmap')
            self.assertIn('no work to do', run('ninja', '-C', build, '-j2', 'coppice_base', 'base_test_hashmap'))
            tests = [os.path.join(folder, name) for folder, _, names in os.walk(build) for name in names if name == 'base_test_hashmap']
            self.assertEqual(len(tests), 1)
            run(tests[0])
            symbols = run('nm', '--defined-only', build + '/base/libcoppice_base.a')
            self.assertIn(' T hashmap_find', symbols)
            run('ninja', '-C', build, 'clean')
            self.assertFalse(os.path.exists(tests[0]))


if __name__ == '__main__':
    unittest.main()
