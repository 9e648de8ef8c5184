# SPDX-License-Identifier: Apache-2.0
"""What runs while the daemon is struck. Each load checks itself all the time: one error, one wrong byte, and the test has failed.

  with World(files=2000) as world:
      under_fire(Checksums(world), kills=8, seed='1')

A load: origins and extra (of the node's configuration), begin(node), check() raises its first error, stop() waits for its end and looks at the
result as a whole, leave(node) removes what it made, done() says how much it did.
"""
import hashlib
import itertools
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

import repo_maker
from coppice_client import CallError, Client
from git_server import HttpServer
from mega_server import MegaServer
from node import SLOW
from redis_server import RedisServer
from tree_compare import Comparison, git_archive
from twin import Twin, git

HERE = os.path.dirname(os.path.abspath(__file__))


class World:
    """The sources: a repository with many files and a C project, and the same outside of any mount."""

    def __init__(self, files=2000, c_files=60, revisions=12, seed='1'):
        self.files, self.c_files, self.revisions, self.seed = files, c_files, revisions, seed

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix='cop-chaos-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        self.repository = os.path.join(self.folder, 'files.git')
        repo_maker.make(self.repository, files=self.files, c_project=self.c_files)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def outside(self, name):
        return git_archive(self.repository, 'main', os.path.join(self.folder, name))


def digests(root):
    """{path: SHA-256} of the regular files."""
    found = {}
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                with open(path, 'rb') as f:
                    found[os.path.relpath(path, root)] = hashlib.sha256(f.read()).digest()
    return found


def compare_digests(root, expected, again=True):
    """All files have these bytes. again: the kernel drops its copies, so that the next round asks for them."""
    for path, digest in expected.items():
        with open(os.path.join(root, path), 'rb') as f:
            if hashlib.sha256(f.read()).digest() != digest:
                raise AssertionError(f'{path} has wrong bytes')
            if again:
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run(*command, **options):
    """A program that must succeed; its output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=200 * SLOW, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f'{command} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}')
    return done.stdout


# How a call ends that was cut off. A build before the first release may say CANCELLED when it hands over.
CUT_OFF = ('UNAVAILABLE', 'CANCELLED') if os.environ.get('COPPICE_OTHER_BUILD') else ('UNAVAILABLE',)


def insist(client, method, **fields):
    """The answer, however often the call is cut off: every other error is the test's."""
    end = time.monotonic() + 60 * SLOW
    while True:
        try:
            return client.result(client.future(method, timeout=30 * SLOW, **fields))
        except CallError as e:
            if e.code not in CUT_OFF or time.monotonic() > end:
                raise
            time.sleep(0.02)


class Work:
    """What runs in other threads until it is told to stop; its first error is the test's."""

    def __init__(self):
        self.stopping, self.error, self.threads, self.rounds = False, None, [], 0

    def start(self, *bodies):
        for body in bodies:
            thread = threading.Thread(target=self.guard, args=(body,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def guard(self, body):
        try:
            while not self.stopping and not self.error:
                body()
                self.rounds += 1
        except Exception as e:  # pylint: disable=broad-except  # raised by check
            self.error = e

    def check(self):
        if self.error:
            raise self.error

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(120 * SLOW)
            if thread.is_alive():
                raise AssertionError('a thread of the load hangs')
        self.check()


class Load:
    extra, node_options = '', {}

    def __init__(self, world):
        self.world, self.title, self.work = world, type(self).__name__.lower(), Work()
        self.origins = {'demo': world.repository}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def begin(self, node):
        self.root = node.mount('job').root
        self.work.start(*self.bodies(node))

    def bodies(self, node):
        raise NotImplementedError

    def check(self):
        self.work.check()

    def stop(self):
        self.work.stop()
        if not self.work.rounds:
            raise AssertionError('nothing was done')

    def leave(self, node):
        node.delete('job')

    def done(self):
        return {'rounds': self.work.rounds}


class Checksums(Load):
    """The bytes of all files, over and over, by two readers."""

    def bodies(self, node):
        expected = digests(self.world.outside('checksums'))
        if len(expected) < self.world.files:
            raise AssertionError('files are missing')
        return [lambda: compare_digests(self.root, expected)] * 2


class Make(Load):
    """`make -j2` of a C project; program and objects are those of a build outside."""

    def bodies(self, node):
        outside = self.world.outside('make')
        run('make', '-s', '-j2', cwd=outside)
        expected = run(outside + '/prog')

        def build():
            run('make', '-s', '-j2', cwd=self.root)
            if run(self.root + '/prog') != expected:
                raise AssertionError('the program says something else')
            differences = Comparison(outside, self.root).differences
            if differences:
                raise AssertionError(f'the outputs differ: {differences[:5]}')
            run('make', '-s', 'clean', cwd=self.root)
        return [build]


class Storm(Load):
    """Changes of names by three processes, each step compared with a model (storm.py), and a lock that they share."""

    processes = ()

    def bodies(self, node):
        self.processes = [subprocess.Popen([sys.executable, '-B', HERE + '/storm.py', self.root, str(number), self.world.seed], text=True,
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for number in range(3)]

        def watch():
            for p in self.processes:
                try:
                    p.wait(0.1)
                except subprocess.TimeoutExpired:
                    continue
                raise AssertionError(f'the storm has ended: {p.stderr.read()}')
        return [watch]

    def __exit__(self, *_):
        for p in self.processes:
            p.kill()
            p.wait()

    def stop(self):
        super().stop()
        said = [p.communicate('stop\n', timeout=60 * SLOW) for p in self.processes]
        for p, (_, error) in zip(self.processes, said):
            if p.returncode != 0:
                raise AssertionError(f'a storm ended with {p.returncode}: {error}')
        self.changes, locked = (sum(int(out.split()[i]) for out, _ in said) for i in (0, 1))
        with open(self.root + '/counter', encoding='ascii') as f:
            if int(f.read()) != locked:
                raise AssertionError('the lock was held by two')

    def done(self):
        return {'changes': self.changes}


class Sqlite(Load):
    """A database in WAL mode: one writes, one reads; what was committed is there."""

    def bodies(self, node):
        path = self.root + '/data.db'
        self.database = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        if self.database.execute('pragma journal_mode=wal').fetchone()[0] != 'wal':
            raise AssertionError('no WAL here')
        self.database.execute('create table t (k integer primary key, v text, sum text)')
        self.number = 0

        def transactions():
            self.number += 1
            text = f'{self.number}-' * 40
            self.database.execute('begin immediate')
            self.database.execute('insert into t values (?, ?, ?)', (self.number, text, hashlib.sha256(text.encode()).hexdigest()))
            self.database.execute('commit')
            if self.number % 200 == 0:
                self.database.execute('pragma wal_checkpoint(truncate)')

        def reads():
            other = sqlite3.connect(path, timeout=60)
            rows = other.execute('select k, v, sum from t').fetchall()
            other.close()
            if any(hashlib.sha256(v.encode()).hexdigest() != s for _, v, s in rows):
                raise AssertionError('wrong bytes in a row')
            if [k for k, _, _ in rows] != list(range(1, len(rows) + 1)):
                raise AssertionError('rows are missing')
        return [transactions, reads]

    def stop(self):
        super().stop()
        if self.database.execute('pragma integrity_check').fetchone()[0] != 'ok':
            raise AssertionError('the database is damaged')
        if self.database.execute('select count(*) from t').fetchone()[0] != self.number:
            raise AssertionError('a committed row is lost')
        self.database.close()

    def done(self):
        return {'transactions': self.number}


class Git(Load):
    """Git at work inside a workspace: commits, branches, merges, gc; in the end every object is sound and every commit there."""

    def bodies(self, node):
        self.folder = os.path.join(self.root, 'work')
        os.mkdir(self.folder)
        git(self.folder, 'init', '-q', '-b', 'main')
        rng, numbers = random.Random(self.world.seed), itertools.count(1)

        def commit():
            number = next(numbers)
            for _ in range(5):
                path = os.path.join(self.folder, f'd{rng.randrange(4)}', f'f{rng.randrange(12)}')
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, 'ab') as f:
                    f.write(b'%d\n' % number * rng.randrange(1, 300))
            git(self.folder, 'add', '-A')
            git(self.folder, 'commit', '-q', '-m', f'number {number}')
            if number % 4 == 0:
                git(self.folder, 'checkout', '-q', '-B', 'side', f'HEAD~{rng.randrange(1, 3)}')
                git(self.folder, 'checkout', '-q', 'main')
            if number % 16 == 0:
                git(self.folder, 'gc', '-q')
            if git(self.folder, 'status', '--porcelain'):
                raise AssertionError('something changed behind the back of git')
        return [commit]

    def stop(self):
        super().stop()
        git(self.folder, 'fsck', '--full', '--strict')
        if int(git(self.folder, 'rev-list', '--count', 'main')) != self.work.rounds:
            raise AssertionError('a commit is lost')

    def done(self):
        return {'commits': self.work.rounds}


class Patient:
    """A node for a Twin: commits and resets that were cut off are asked for again, and only take effect once because they name the HEAD
    that they start from. (The command itself repeats whatever may be done twice.)"""

    def __init__(self, node):
        self.node, self.client, self.mount = node, node.client, node.mount

    def head(self, job):
        end = time.monotonic() + 60 * SLOW
        while True:
            try:
                return [m.head for m in self.client.Status(workspace={'job_id': job}) if m.HasField('head')][-1].head_commit
            except CallError as e:
                if e.code != 'UNAVAILABLE' or time.monotonic() > end:
                    raise

    def cli(self, verb, job, *args, check=True, **options):
        if verb not in ('commit', 'reset'):
            return self.node.cli(verb, job, *args, check=check, **options)
        before, repeated = self.head(job), False
        while True:
            done = self.node.cli(verb, '--expected-head', before, job, *args, check=False, text=True)
            if done.returncode != 3 or 'cannot reach' not in done.stderr:
                break
            repeated = True
        if repeated and 'HEAD_CHANGED' in done.stderr:
            done = subprocess.CompletedProcess(done.args, 0, self.head(job) + '\n', '')
        if check and done.returncode != 0:
            raise AssertionError(f'coppice {verb} {args} ended with {done.returncode}: {done.stderr}')
        return done


class Pair(Twin):
    """Rules of what is ignored are not what is tested here."""
    OPS = tuple(op for op in Twin.OPS if op[0] != 'ignore')


class Workflow(Load):
    """`coppice` status, add, commit and reset, and changes of files, beside the same in a clone, by Git."""

    def __enter__(self):
        self.origins['small'] = os.path.join(self.world.folder, 'small.git')
        repo_maker.make(self.origins['small'], files=60)
        return self

    def begin(self, node):
        twin = Pair(Patient(node), 'job', self.origins['small'], self.world.folder, seed=self.world.seed, origin='small')

        def step():
            twin.step_git()
            twin.check_status()
        self.work.start(step)


class Calls(Load):
    """Workspaces that are made, written to and deleted by three clients; a call that was cut off is repeated and finds what happened."""

    def begin(self, node):
        self.clients, self.numbers = [Client(node.address) for _ in range(3)], itertools.count()
        self.work.start(*self.bodies(node))

    def bodies(self, node):
        return [lambda client=client: self.cycle(client) for client in self.clients]

    def cycle(self, client):
        job = f'job-{next(self.numbers)}'
        mount = insist(client, 'CreateMount', job_id=job, origin='demo', lease_seconds=600)
        if client.state(mount) != 'READY':
            raise AssertionError(f'{job} is {client.state(mount)}: {mount.reason}')
        if insist(client, 'CreateMount', job_id=job, origin='demo', lease_seconds=600).mount_id != mount.mount_id:
            raise AssertionError('a repeated creation made another mount')
        with open(mount.root + '/written', 'wb') as f:
            f.write(job.encode())
        with open(mount.root + '/written', 'rb') as f:
            if f.read() != job.encode():
                raise AssertionError(f'{job}: wrong bytes')
        gone = insist(client, 'DeleteMount', job_id=job)
        if (gone.mount_id, client.state(gone)) != (mount.mount_id, 'DELETED'):
            raise AssertionError(f'{job} is {client.state(gone)} after its deletion')

    def stop(self):
        super().stop()
        for client in self.clients:
            client.close()

    def leave(self, node):
        pass

    def done(self):
        return {'mounts': next(self.numbers)}


class Remote(Load):
    """Files that no cache has: from a Git server, from a Mega server, and from Redis, which now and then has lost everything. Every
    revision has files of its own, and the caches of the node are small."""

    extra = 'cache: {{memory: 1MiB, disk: 8MiB, redis: {{url: "{url}"}}}}'
    FILES = 120

    def __enter__(self):
        self.repository = os.path.join(self.world.folder, 'remote.git')
        repo, rng = repo_maker.Repo(self.repository), random.Random(7)
        self.expected = []
        for revision in range(self.world.revisions):
            repo.begin(ref=b'refs/heads/r%d' % revision)
            files = {f'r{revision}/d{i % 7}/f{i}': repo_maker.text(rng, rng.randrange(10, 20000)) for i in range(self.FILES)}
            for path, data in files.items():
                repo.add(path.encode(), data)
            self.expected.append({path: hashlib.sha256(data).digest() for path, data in files.items()})
        repo.begin()
        repo.add(b'README', b'nothing here\n')
        repo.finish()
        self.commits = [git(self.repository, 'rev-parse', f'r{n}').decode().strip() for n in range(self.world.revisions)]
        self.redis = RedisServer().start()
        self.server = HttpServer(self.world.folder, {'remote.git': self.repository})
        self.mega = MegaServer(self.repository)
        self.server.start()
        self.origins.update(hub=self.server.url('remote.git'), mega={'type': 'mega', 'url': self.mega.url})
        self.extra = self.extra.format(url=self.redis.url)
        return self

    def __exit__(self, *_):
        self.server.stop()
        self.mega.close()
        self.redis.close()

    def begin(self, node):
        self.clients = [Client(node.address) for _ in range(2)]
        self.read = 0
        self.work.start(*(lambda rounds=itertools.count(), c=client, o=origin: self.cycle(c, o, next(rounds))
                          for client, origin in zip(self.clients, ('hub', 'mega'))))

    def cycle(self, client, origin, number):
        revision = number % self.world.revisions
        if origin == 'hub' and number % 3 == 2:
            self.redis('FLUSHALL')
        mount = insist(client, 'CreateMount', job_id=f'{origin}-{number}', origin=origin, revision=self.commits[revision])
        if client.state(mount) != 'READY':
            raise AssertionError(f'{origin} {revision} is {client.state(mount)}: {mount.reason}')
        compare_digests(mount.root, self.expected[revision])
        insist(client, 'DeleteMount', job_id=f'{origin}-{number}')
        self.read += len(self.expected[revision])

    def stop(self):
        super().stop()
        for client in self.clients:
            client.close()

    def leave(self, node):
        pass

    def done(self):
        return {'files': self.read}


LOADS = {load.__name__.lower(): load for load in (Checksums, Make, Storm, Sqlite, Git, Workflow, Calls, Remote)}
