# SPDX-License-Identifier: Apache-2.0
"""The daemon is killed (SIGKILL) at random moments under load and followed by another: no job may notice, and nothing is left.

  --long: a hundred kills of each kind, 20,000 files; --seed N: the same moments again
"""
import argparse
import sys
import unittest

from fire import under_fire
from loads import LOADS, World

options = argparse.Namespace(kills=8, seed='1', world={})


class Takeover(unittest.TestCase):
    def kills_under(self, name):
        with World(seed=options.seed, **options.world) as world:
            under_fire(LOADS[name](world), options.kills, options.seed)

    def test_checksums(self):
        self.kills_under('checksums')

    def test_make(self):
        self.kills_under('make')

    def test_storm(self):
        self.kills_under('storm')

    def test_sqlite(self):
        self.kills_under('sqlite')

    def test_git(self):
        self.kills_under('git')

    def test_workflow(self):
        self.kills_under('workflow')

    def test_calls(self):
        self.kills_under('calls')

    def test_remote(self):
        self.kills_under('remote')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('--long', action='store_true')
    parser.add_argument('--seed', default=options.seed)
    known, rest = parser.parse_known_args()
    options.seed = known.seed
    if known.long:
        options.kills, options.world = 100, {'files': 20_000, 'c_files': 200, 'revisions': 60}
    unittest.main(argv=[sys.argv[0], *rest])
