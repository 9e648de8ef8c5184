# SPDX-License-Identifier: Apache-2.0
"""A private coppiced for a test: its own directories, configuration and log; whatever happens, nothing of it is left.

  with Node(origins={'demo': '/srv/repo.git'}) as node:
      root = node.mount('job', origin='demo').root
      node.kill(); node.start()                     # as after a crash

The program comes from COPPICE_BIN (a folder with coppiced, coppice, coppice-keeper). No test may hang: every call has a time-out, and a
watchdog kills the daemon when a test overstays, which makes every stuck system call fail with ENOTCONN.
"""
import ctypes
import faulthandler
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from coppice_client import CallError, Client, protos

LIB = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(LIB))
SANITIZE = os.environ.get('COPPICE_SANITIZE', '')
SLOW = 8 if 'thread' in SANITIZE else 4 if SANITIZE else 1  # how much longer everything may take
# What must not be in a log: the words of the sanitizers and of base/lock.c.
BAD_WORDS = ('Sanitizer', 'runtime error:', 'lock: ', 'Assertion')
HARMLESS = 'WARNING: AddressSanitizer failed to allocate'  # as malloc does: a damaged pack names a size of terabytes

_libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8


def program(name):
    folder = os.environ.get('COPPICE_BIN') or os.path.join(TOP, 'build/release/bin')
    return os.path.join(folder, name)


def release_build():
    """Are times and sizes those of the product?"""
    return not SANITIZE and os.environ.get('COPPICE_BUILD_TYPE', '') in ('Release', 'RelWithDebInfo')


def unescape(text):
    """A path as mountinfo writes it (\\040 for a blank)."""
    return text.encode().decode('unicode_escape').encode('latin-1').decode('utf-8', 'surrogateescape') if '\\' in text else text


def mounts_below(folder, seals=True):
    """Mountpoints below a folder, the innermost last, with or without what lies beneath a mount to keep writers away. Reads mountinfo only: to look
    at a dead mount would fail."""
    found = []
    with open('/proc/self/mountinfo', encoding='utf-8', errors='surrogateescape') as f:
        for line in f:
            point = unescape(line.split(' ')[4])
            if (seals or ' - tmpfs coppice-seal ' not in line) and (point == folder or point.startswith(folder + '/')):
                found.append(point)
    return found


def detach(point):
    return _libc.umount2(os.fsencode(point), MNT_DETACH | UMOUNT_NOFOLLOW)


def wait_until(condition, seconds, what, pause=0.02):
    """Waits for what has no event to wait on, such as the end of another process' clean-up."""
    end = time.monotonic() + seconds * SLOW
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f'after {seconds * SLOW} s still not: {what}')
        time.sleep(pause)


class Node:
    def __init__(self, origins=None, tenants=None, extra='', keeper=False, limit=280, listen=(), http=''):
        """origins: {name: url of a Git repository, or the keys of the origin}; tenants: YAML lines of the list; extra: more YAML; limit: seconds until the watchdog bites; listen:
        more addresses of grpc; http: where it listens."""
        self.base = tempfile.mkdtemp(prefix='cop-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        os.chmod(self.base, 0o755)  # other users' processes go through it to the socket and the mounts
        self.data, self.run = self.path('data'), self.path('run')
        self.config, self.log = self.path('coppice.yaml'), self.path('log')
        self.socket = os.path.join(self.run, 'coppice.sock')
        self.address = 'unix:' + self.socket
        self.origins, self.tenants, self.extra, self.keeper = dict(origins or {}), tenants, extra, keeper
        self.listen, self.http = [self.address, *listen], http
        self.process = self.client = None
        self.bad = []
        self.watchdog = threading.Timer(limit * SLOW, self.bite)
        self.watchdog.daemon = True
        self.watchdog.start()

    def path(self, *names):
        return os.path.join(self.base, *names)

    def bite(self):
        self.bad.append('the watchdog had to end the daemon')
        print('watchdog: the test takes too long; where it is:', file=sys.stderr)
        faulthandler.dump_traceback(sys.stderr)
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGABRT if SANITIZE else signal.SIGKILL)

    def write_config(self):
        lines = [f'data_dir: {self.data}', f'run_dir: {self.run}', f'grpc: {{listen: {json.dumps(self.listen)}}}',
                 f'http: {{listen: "{self.http}"}}']
        if self.origins:
            lines.append('origins:')
            for name, origin in self.origins.items():
                keys = origin if isinstance(origin, dict) else {'url': origin}
                lines.append('  - ' + json.dumps({'name': name, 'type': 'git', **keys}))  # JSON is YAML
        if self.tenants:
            lines += ['tenants:', self.tenants.rstrip('\n')]
        with open(self.config, 'w', encoding='utf-8') as f:
            f.write('\n'.join(lines + [self.extra]) + '\n')

    def command(self, *args):
        before = [program('coppice-keeper')] if self.keeper else []
        return [*before, program('coppiced'), '--config', self.config, *args]

    def spawn(self, command, **options):
        """A process of the service: its words go to the log, and it ends with this one."""
        with open(self.log, 'ab') as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                    preexec_fn=lambda: _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), **options)

    def launch(self, *args):
        return self.spawn(self.command(*args))

    def start(self, *args):
        """Starts the daemon and waits until it answers."""
        self.write_config()
        self.process = self.launch(*args)
        if not self.client:
            self.client = Client(self.address)
        end = time.monotonic() + 30 * SLOW
        while True:
            try:
                return self.client.GetNode(timeout=1, wait_for_ready=True)
            except CallError as e:
                if self.process.poll() is not None:
                    raise AssertionError(f'coppiced ended with {self.process.returncode}:\n{self.log_tail()}') from None
                if e.code not in ('UNAVAILABLE', 'DEADLINE_EXCEEDED') or time.monotonic() > end:
                    raise AssertionError(f'coppiced does not answer ({e}):\n{self.log_tail()}') from None

    def wait(self, seconds=30):
        """The exit status of the daemon."""
        try:
            return self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f'coppiced did not stop in {seconds * SLOW} s:\n{self.log_tail()}') from None

    def stop(self):
        """An orderly end; the exit status must be 0."""
        self.process.send_signal(signal.SIGTERM)
        status = self.wait()
        self.process = None
        if status != 0:
            raise AssertionError(f'coppiced ended with {status}:\n{self.log_tail()}')

    def below_keeper(self):
        """The pid of the daemon that the keeper runs."""
        with open(f'/proc/{self.process.pid}/task/{self.process.pid}/children', encoding='ascii') as f:
            return int(f.read().split()[0])

    def kill(self):
        """A crash."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def log_text(self):
        with open(self.log, encoding='utf-8', errors='replace') as f:
            return f.read()

    def assert_logs(self, text):
        """Soon: what a line tells of may be seen before the line."""
        wait_until(lambda: text in self.log_text(), 10, f'in the log: {text}')

    def log_tail(self, size=4000):
        return self.log_text()[-size:]

    # ---- calls ----

    def mount(self, job_id, **fields):
        fields.setdefault('origin', 'demo')
        mount = self.client.CreateMount(job_id=job_id, **fields)
        if self.client.state(mount) != 'READY':
            raise AssertionError(f'{job_id} is {self.client.state(mount)}: {mount.reason}')
        return mount

    def delete(self, job_id, **fields):
        return self.client.DeleteMount(job_id=job_id, **fields)

    def call_as(self, uid, method, **fields):
        """A call by another user of this machine: the answer as a dict, or {'error': {...}}."""
        script, descriptors = self.path('client.py'), self.path('protos.fds')
        if not os.path.exists(script):  # the source tree may be closed to that user
            shutil.copy(os.path.join(LIB, 'coppice_client.py'), script)
            shutil.copy(protos().path, descriptors)
            os.chmod(script, 0o644)
            os.chmod(descriptors, 0o644)
        done = subprocess.run(['/usr/bin/python3', '-B', script, descriptors, self.address, method, json.dumps(fields)],
                              user=uid, group=uid, extra_groups=[], capture_output=True, timeout=60 * SLOW, cwd='/', check=True)
        out = json.loads(done.stdout)
        return out.get('answer', out)

    def cli(self, *args, check=True, text=True, **options):
        """Runs the coppice command against this daemon."""
        environment = dict(os.environ, COPPICE_ADDRESS=self.address, COPPICE_CONFIG=self.config)
        environment.pop('COPPICE_TOKEN_FILE', None)
        done = subprocess.run([program('coppice'), *args], capture_output=True, text=text, env=environment, timeout=90 * SLOW,
                              **options)
        if check and done.returncode != 0:
            raise AssertionError(f'coppice {args} ended with {done.returncode}: {done.stderr}')
        return done

    # ---- what the daemon uses ----

    def status(self, key):
        with open(f'/proc/{self.process.pid}/status', encoding='ascii', errors='replace') as f:
            return next(int(line.split()[1]) for line in f if line.startswith(key + ':'))

    def rss_kib(self):
        return self.status('VmRSS')

    def threads(self):
        return self.status('Threads')

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.process.pid}/fd'))

    # ---- the end ----

    def close(self):
        """Stops the daemon if it runs, removes all its mounts and files, and raises if something was wrong with it."""
        if self.client:
            self.client.close()
        try:
            if self.process and self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                status = self.wait()
            else:
                status = self.process.returncode if self.process else 0
            if status != 0:
                self.bad.append(f'coppiced ended with {status}')
        except AssertionError as e:
            self.bad.append(str(e))
        self.watchdog.cancel()
        left = mounts_below(self.base)
        for point in reversed(left):
            detach(point)
        if left:
            self.bad.append(f'mounts were left: {left}')
        log = self.log_text() if os.path.exists(self.log) else ''
        self.bad += [f'"{word}" in the log' for word in BAD_WORDS if word in log.replace(HARMLESS, '')]
        # not shutil: it recurses, and tests leave trees that are deeper than Python's stack
        subprocess.run(['rm', '-rf', '--', self.base], stderr=subprocess.DEVNULL, check=False, timeout=120 * SLOW)
        if self.bad:
            raise AssertionError('; '.join(self.bad) + ':\n' + log[-6000:])

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.abandon()
            raise
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.close()
        else:
            print(f'---- end of the log of coppiced ----\n{self.log_tail()}', file=sys.stderr)
            self.abandon()

    def abandon(self):
        """As close, when the test has failed already."""
        try:
            self.close()
        except AssertionError as e:
            print('also:', str(e).split('\n', 1)[0], file=sys.stderr)
