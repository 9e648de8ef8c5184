# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of a module side by side: for those that mostly wait, and have servers, daemons and folders of their own.

  if __name__ == '__main__':
      side_by_side.main()          # instead of unittest.main(); names as arguments run those alone, one after the other
"""
import concurrent.futures
import sys
import time
import unittest

WORKERS = 4


def flatten(suite):
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from flatten(part)
        else:
            yield part


def run_one(test):
    if 'setUpClass' in vars(type(test)) or 'tearDownClass' in vars(type(test)):
        raise TypeError(f'{test.id()}: what a class sets up is for tests that run one after the other')
    result, begin = unittest.TestResult(), time.monotonic()
    test.run(result)
    return test, result, time.monotonic() - begin


def main():
    if any(not word.startswith('-') for word in sys.argv[1:]):
        unittest.main()
    tests = list(flatten(unittest.defaultTestLoader.loadTestsFromModule(sys.modules['__main__'])))
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        for test, result, seconds in pool.map(run_one, tests):
            good = result.wasSuccessful() and result.testsRun == 1 and not result.skipped
            bad += not good
            print(f'{"ok" if good else "FAILED"} {test.id()} {seconds:.1f} s', flush=True)
            for _, text in result.failures + result.errors + result.skipped:
                print(text)
    print(f'{len(tests)} tests, {bad} failed')
    sys.exit(1 if bad or not tests else 0)
