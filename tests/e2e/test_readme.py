# SPDX-License-Identifier: Apache-2.0
"""The README is true: its tour runs as it is printed, and what it links to is there."""
import glob
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

from node import SLOW, TOP, detach, mounts_below

README = os.path.join(TOP, 'README.md')
BUILT = '$PWD/build/release/bin'


def readme():
    with open(README, encoding='utf-8') as f:
        return f.read()


def tour():
    """The sh blocks as one script. Only the folder of the programs is that of the build under test."""
    blocks = re.findall(r'^```sh\n(.*?)^```$', readme(), re.MULTILINE | re.DOTALL)
    script = '\n'.join(blocks)
    if 'COPPICE_BIN' in os.environ:
        script = script.replace(BUILT, os.environ['COPPICE_BIN'])
    return 'set -eux -o pipefail\n' + script


class Readme(unittest.TestCase):
    def end(self, process):
        """Whatever the script left when it failed: its processes, then their mounts."""
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        for folder in glob.glob(self.folders):
            for point in reversed(mounts_below(folder)):
                detach(point)
            shutil.rmtree(folder, ignore_errors=True)

    def test_tour(self):
        base = os.environ.get('COPPICE_TEST_DIR', '/var/tmp')
        self.assertEqual(tour().count('/var/tmp/coppice-tour.XXXXXX'), 1)
        folder = tempfile.mkdtemp(prefix='cop-readme-', dir=base)
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.folders = folder + '/coppice-tour.*'
        script = tour().replace('/var/tmp/coppice-tour.XXXXXX', folder + '/coppice-tour.XXXXXX')
        log = os.path.join(folder, 'output')
        with open(log, 'wb') as out:
            process = subprocess.Popen(['bash', '-c', script], cwd=TOP, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                       start_new_session=True)
        try:
            process.wait(120 * SLOW)
        finally:
            left = mounts_below(folder)
            daemon_logs = ''.join(open(name, encoding='utf-8').read()[-2000:] for name in glob.glob(self.folders + '/log'))
            self.end(process)
        with open(log, encoding='utf-8', errors='replace') as f:
            output = f.read()
        self.assertEqual(process.returncode, 0, output[-6000:] + daemon_logs)
        self.assertIn('\nonly in a\n', output)
        self.assertEqual(left, [])
        self.assertEqual(os.listdir(folder), ['output'])

    def test_links(self):
        links = re.findall(r'\]\(([^)#:]+)(?:#[^)]*)?\)', readme())
        self.assertGreater(len(links), 10)
        for link in links:
            self.assertTrue(os.path.exists(os.path.join(TOP, link)), link)

    def test_programs_it_names(self):
        for name in re.findall(r'`((?:deploy|tests)/[a-z_]+\.sh)', readme()):
            self.assertTrue(os.access(os.path.join(TOP, name), os.X_OK), name)


if __name__ == '__main__':
    unittest.main()
