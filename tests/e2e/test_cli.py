# SPDX-License-Identifier: Apache-2.0
"""The coppice command: every command, its JSON, its exit codes, its completion scripts, and doctor."""
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest

import repo_maker
from node import SLOW, Node, program

OK, FAILED, USAGE, UNREACHABLE, NOT_FOUND, DENIED, PRECONDITION, EXHAUSTED = range(8)
COMMANDS = ('mount', 'umount', 'list', 'show', 'watch', 'status', 'add', 'reset', 'commit', 'log', 'push', 'diff', 'renew', 'update', 'node', 'cache', 'doctor', 'config', 'completion', 'help',
            'version')


class Cli(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-cli-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        cls.commit = repo_maker.make(cls.repository, files=30)
        cls.node = Node({'demo': cls.repository}, tenants='''
  - {name: ops, admin: true, quota: {mounts: 10}, identities: [{unix_uid: 0}]}
  - {name: other, identities: [{unix_uid: 61000}]}
''')
        cls.node.__enter__()
        cls.addClassCleanup(cls.node.close)

    def tearDown(self):
        for m in self.node.client.ListMounts().mounts:
            self.node.client.DeleteMount(mount_id=m.mount_id)

    def cli(self, *args, code=OK, **options):
        done = self.node.cli(*args, check=False, **options)
        self.assertEqual(done.returncode, code, f'{args}: {done.stdout}{done.stderr}')
        if code != OK:
            self.assertEqual(done.stdout, '' if args[0] != 'doctor' else done.stdout)
            self.assertIn('coppice', done.stderr + done.stdout)
        return done.stdout if code == OK else done.stderr

    def json(self, *args):
        return json.loads(self.cli('-o', 'json', *args))

    def json_list(self, *args):
        """One line for each mount."""
        return [json.loads(line) for line in self.cli('list', '-o', 'json', *args).splitlines()]

    def test_life_of_a_mount(self):
        root = self.cli('mount', '--job-id', 'j1', '--quota-bytes', '64MiB', '--quota-inodes', '500', '--lease', '5m', '--label', 'a=b',
                        '--label', 'c=', '--revision', 'main', '--owner', '12:34').rstrip('\n')
        self.assertIn('README', os.listdir(root))
        self.assertEqual(os.stat(root + '/README').st_gid, 34)
        m = self.json('show', 'j1')
        self.assertEqual((m['root'], m['state'], m['commit'], m['revision']), (root, 'READY', self.commit, 'main'))
        self.assertEqual(m['quota'], {'bytes': 64 << 20, 'inodes': 500})
        self.assertEqual(m['labels'], [{'key': 'a', 'value': 'b'}, {'key': 'c', 'value': ''}])
        self.assertEqual(m['owner'], {'uid': 12, 'gid': 34})
        self.assertRegex(m['lease_expires_at'], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d')
        self.assertEqual(self.json('show', m['mount_id'])['job_id'], 'j1')
        text = self.cli('show', 'j1')
        for word in ('j1', root, self.commit, 'READY', '64.0 MiB', 'a=b'):
            self.assertIn(word, text)
        self.assertEqual(self.cli('renew', 'j1', '--lease', '1h'), '')
        self.assertEqual(self.json('show', 'j1')['lease_seconds'], 3600)
        self.cli('update', 'j1', '--quota-inodes', '7', '--label', 'x=y')
        m = self.json('show', 'j1')
        self.assertEqual((m['quota'], m['labels']), ({'bytes': 64 << 20, 'inodes': 7}, [{'key': 'x', 'value': 'y'}]))
        self.assertIn('removed', self.cli('umount', 'j1'))
        self.cli('show', 'j1', code=NOT_FOUND)
        self.assertFalse(os.path.exists(root))

    def test_mount_words(self):
        self.assertEqual(self.cli('mount', 'job2', '--path', 'd0001'), self.node.run + '/mnt/ops/job2\n')
        point = self.node.path('bound')
        self.assertEqual(self.cli('mount', '--job-id=job3', '--mountpoint=' + point, '--read-only'), point + '\n')
        self.assertTrue(self.json('show', 'job3')['read_only'])
        self.assertEqual(self.json('mount', '--job-id', 'job4', '--tenant', 'other')['tenant'], 'other')
        self.assertEqual(self.json('show', 'job4', '--tenant', 'other')['job_id'], 'job4')
        self.assertEqual(len(self.json_list()), 3)
        self.assertEqual([m['job_id'] for m in self.json_list('--tenant', 'other')], ['job4'])
        self.assertEqual(len(self.cli('list').splitlines()), 4)
        self.assertEqual(self.json_list('--state', 'FAILED'), [])

    def test_exit_codes(self):
        self.cli('mount', '--job-id', 'used')
        for code, args, part in (
                (USAGE, ['bogus'], 'no command'), (USAGE, ['mount'], '--job-id'), (USAGE, ['mount', '--job-id', 'a/b'], 'job_id'),
                (USAGE, ['mount', 'x', '--bogus'], 'bogus'), (USAGE, ['mount', 'x', '--since', '1'], '--since'),
                (USAGE, ['mount', 'x', '--quota-bytes', 'lots'], '10GiB'), (USAGE, ['mount', 'x', '--quota-bytes', '0'], 'quota'),
                (USAGE, ['mount', 'x', '--lease', '5x'], '5m'), (USAGE, ['mount', 'x', '--owner', 'me'], 'uid:gid'),
                (USAGE, ['mount', 'x', '--label', 'novalue'], 'key=value'), (USAGE, ['mount', 'x', 'y'], "'y'"),
                (USAGE, ['list', '--state', 'SLEEPY'], 'READY'), (USAGE, ['show'], 'Give'), (USAGE, ['umount'], 'Give'),
                (USAGE, ['update', 'used'], ''), (USAGE, ['node', 'x'], "'x'"), (USAGE, ['-o', 'xml', 'list'], 'json'),
                (USAGE, ['-t', 'soon', 'list'], '30s'), (USAGE, ['completion', 'tcsh'], 'bash'), (USAGE, ['help', 'bogus'], 'bogus'),
                (NOT_FOUND, ['mount', 'x', '--origin', 'none'], 'demo'), (NOT_FOUND, ['mount', 'x', '--revision', 'none'], 'none'),
                (NOT_FOUND, ['mount', 'x', '--path', 'none'], 'none'), (NOT_FOUND, ['show', 'none'], 'none'),
                (NOT_FOUND, ['umount', 'none'], 'none'), (PRECONDITION, ['mount', 'used', '--path', 'd0001'], 'job_id'),
                (PRECONDITION, ['mount', 'x', '--path', 'README'], 'README'),
                (UNREACHABLE, ['-a', 'unix:/no/such.sock', 'list'], '/no/such.sock'),
                (USAGE, ['--token-file', '/no/such', 'list'], '/no/such')):
            with self.subTest(args=args):
                self.assertIn(part, self.cli(*args, code=code))
        for i in range(9):
            self.cli('mount', f'fill{i}')
        self.assertIn('10', self.cli('mount', 'over', code=EXHAUSTED))
        with self.subTest('denied'):
            with tempfile.TemporaryDirectory(dir='/var/tmp') as folder:  # the build folder may be closed to that user
                os.chmod(folder, 0o755)
                done = subprocess.run([shutil.copy(program('coppice'), folder), '-a', self.node.address, 'node'], user=61000, group=61000,
                                      extra_groups=[], capture_output=True, text=True, timeout=30 * SLOW, cwd='/', check=False)
            self.assertEqual(done.returncode, DENIED, done.stderr)

    def test_node_and_cache(self):
        self.cli('mount', 'warm')
        os.listdir(self.json('show', 'warm')['root'])
        node = self.json('node')
        self.assertEqual((node['data_dir'], node['mounts'], node['device_holder']), (self.node.data, 1, 'local'))
        self.assertGreater({o['operation']: o['count'] for o in node['fuse_operations']}['LOOKUP'], 0)
        self.assertIn('tenant ops: mounts 1', self.cli('node'))
        cache = self.json('cache')
        self.assertEqual([t['name'] for t in cache['tiers']], ['memory', 'disk', 'spill', 'window'])
        self.assertGreater(cache['trees'], 0)
        self.assertIn('memory', self.cli('cache'))

    def test_watch(self):
        watch = subprocess.Popen([program('coppice'), '-a', self.node.address, '-o', 'json', 'watch'], stdout=subprocess.PIPE, text=True)
        self.addCleanup(watch.stdout.close)
        self.addCleanup(watch.wait)
        self.addCleanup(watch.kill)
        self.assertEqual(json.loads(watch.stdout.readline())['kind'], 'SYNCED')
        self.cli('mount', 'seen')
        states = [json.loads(watch.stdout.readline())['mount']['state'] for _ in range(2)]
        self.assertEqual(states, ['PROVISIONING', 'READY'])
        one = subprocess.Popen([program('coppice'), '-a', self.node.address, 'watch', 'seen'], stdout=subprocess.PIPE, text=True)
        self.addCleanup(one.stdout.close)
        self.addCleanup(one.wait)
        self.addCleanup(one.kill)
        self.assertIn('PRESENT ops/seen READY', one.stdout.readline())

    def test_help_and_version(self):
        text = self.cli('help')
        for command in COMMANDS:
            self.assertIn(f'\n  {command} ', text)
            self.assertIn('usage: coppice ' + command, self.cli('help', command))
            self.assertEqual(self.cli(command, '--help'), self.cli('help', command))
            self.assertEqual(self.cli(command, 'word', '--help'), self.cli('help', command))
        self.assertRegex(self.cli('version'), r'^coppice \d+\.\d+\.\d+\n$')
        self.assertEqual(self.cli('--version'), self.cli('version'))
        self.assertEqual(self.node.cli(check=False).returncode, USAGE)

    def test_completion(self):
        for shell in ('bash', 'zsh', 'fish'):
            text = self.cli('completion', shell)
            for word in COMMANDS + ('quota-bytes',):
                self.assertIn(word, text)
            if shutil.which(shell):
                subprocess.run([shell, '-n'], input=text, text=True, check=True, timeout=30)

        def complete(*words):
            script = self.cli('completion', 'bash') + f'\nCOMP_WORDS=({" ".join(words)})\nCOMP_CWORD={len(words) - 1}\n' \
                     '_coppice\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
            return subprocess.run(['bash', '-c', script], capture_output=True, text=True, check=True, timeout=30).stdout.split()
        self.assertEqual(complete('coppice', 'um'), ['umount'])
        self.assertEqual(complete('coppice', 'mount', '--quota'), ['--quota-bytes', '--quota-inodes'])
        self.assertEqual(complete('coppice', 'config', 'c'), ['check'])

    def test_config(self):
        self.assertIn('good', self.cli('config', 'check', '--config', self.node.config))
        shown = self.cli('config', 'show', '--config', self.node.config)
        copy = self.node.path('shown.yaml')
        with open(copy, 'w', encoding='utf-8') as f:
            f.write(shown)
        again = self.cli('config', 'show', '--config', copy)
        self.assertEqual(again.splitlines()[1:], shown.splitlines()[1:], 'what is shown is a configuration')
        with open(copy, 'a', encoding='utf-8') as f:
            f.write('bogus: 1\n')
        message = self.cli('config', 'check', '--config', copy, code=USAGE)
        self.assertIn(f'{copy}:{len(shown.splitlines()) + 1}', message)
        self.assertIn('bogus', message)
        self.cli('config', code=USAGE)

    def test_doctor(self):
        text = self.cli('doctor')
        for check in ('/dev/fuse', 'kernel', 'config', 'data_dir', 'service', 'origin'):
            self.assertIn(check, text)
        self.assertIn('0 wrong', text)
        checks = [json.loads(line) for line in self.cli('-o', 'json', 'doctor').splitlines()]
        self.assertEqual(len(checks), len(text.splitlines()) - 1, 'each check, and no sum')
        self.assertIn({'check': '/dev/fuse', 'verdict': 'ok', 'text': 'can be opened'}, checks)
        done = self.node.cli('-a', 'unix:/no/such.sock', 'doctor', check=False)
        self.assertEqual(done.returncode, FAILED)
        self.assertRegex(done.stdout, 'FAIL +service .*/no/such.sock')

    def test_answers_are_delivered_or_it_fails(self):
        with open('/dev/full', 'w', encoding='ascii') as full:
            done = subprocess.run([program('coppice'), '-a', self.node.address, 'node'], stdout=full, stderr=subprocess.PIPE, text=True,
                                  timeout=30 * SLOW, check=False)
        self.assertEqual(done.returncode, FAILED)
        self.assertIn('No space left', done.stderr)

    def test_hostile_service(self):
        """An address where something else listens ends in an error, in time."""
        start = time.monotonic()
        with subprocess.Popen(['/usr/bin/python3', '-c', 'import socket,sys\ns = socket.socket()\ns.bind(("127.0.0.1", 0))\ns.listen()\n'
                               'print(s.getsockname()[1], flush=True)\nwhile True:\n c, _ = s.accept()\n c.sendall(b"SSH-2.0\\r\\n")\n'],
                              stdout=subprocess.PIPE, text=True) as server:
            port = int(server.stdout.readline())
            self.cli('-a', f'127.0.0.1:{port}', '-t', '3s', 'list', code=UNREACHABLE)
            server.kill()
        self.assertLess(time.monotonic() - start, 20 * SLOW)


if __name__ == '__main__':
    unittest.main()
