# SPDX-License-Identifier: Apache-2.0
"""The shared cache: what one node has fetched the others read from Redis, and whatever Redis does, jobs see the right bytes, soon."""
import collections
import concurrent.futures
import contextlib
import itertools
import os
import random
import shutil
import subprocess
import tempfile
import time
import types
import unittest

import repo_maker
from delay_proxy import DelayProxy
from git_server import HttpServer
from mega_server import MegaServer
from node import SLOW, Node, wait_until
from redis_server import RedisCluster, RedisServer
from tree_compare import Comparison, git_archive

FILES = 120
MIB = 1 << 20
PATIENT = {'timeout': '5s'}  # where nothing may be lost: on a busy machine Redis may answer later than a node waits
SMALL_USER = 'user coppice on >pw ~coppice:* +get +mget +set +exists +del +pexpire +eval'


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def settings(url, **more):
    more = {'url': url, **more}
    return 'cache: {redis: {' + ', '.join(f'{k}: {v if str(v).startswith("{") else chr(34) + str(v) + chr(34)}' for k, v in more.items()) + '}}'


class SharedCache(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-shared-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.repository = os.path.join(cls.folder, 'repo.git')
        repo = repo_maker.Repo(cls.repository)
        rng = random.Random(4)
        repo.begin()
        for i in range(FILES):
            repo.add(b'd%d/s%d/f%03d' % (i % 5, i % 3, i), repo_maker.text(rng, rng.randrange(10, 9000)))
        repo.add(b'middle', rng.randbytes(200 << 10))          # one value, not kept in memory
        repo.add(b'large/a', rng.randbytes(3 * MIB + 12345))    # chunks that do not shrink
        repo.add(b'large/b', b'0123456789abcdef' * (MIB // 16))  # chunks that do
        repo.add(b'empty', b'')
        repo.add(b'link', b'd0', b'120000')
        repo.add(b'run', b'#!/bin/sh\n', b'100755')
        repo.finish()
        cls.blobs = FILES + 6
        cls.want = git_archive(cls.repository, 'main', os.path.join(cls.folder, 'want'))
        cls.secret = os.path.join(cls.folder, 'farm.key')
        with open(cls.secret, 'w', encoding='ascii') as f:
            f.write('a secret of the farm, and of it alone')

    def node(self, redis, **more):
        return Node({'demo': self.repository}, extra=settings(redis if isinstance(redis, str) else redis.url, **more))

    def read_all(self, node, job='job', seconds=30):
        """Everything is right, soon: no fault of Redis may cost more."""
        start = time.monotonic()
        root = node.mount(job).root
        self.assertEqual(Comparison(self.want, root).differences, [])
        self.assertLess(time.monotonic() - start, seconds * SLOW)

    def tier(self, node):
        return next(t for t in node.client.GetCacheStats().tiers if t.name == 'redis')

    def fetches(self, node):
        return node.client.GetCacheStats().fetches

    def fill(self, redis, **more):
        """A first node leaves everything in Redis."""
        with self.node(redis, **PATIENT, **more) as node:
            self.read_all(node)
            self.assertGreater(self.fetches(node), FILES)
            self.wait_written(node, redis)
            return self.fetches(node)

    def wait_written(self, node, redis):
        """Until the writer has nothing left: leases go after the values, or by themselves where it takes long."""
        self.assertEqual(self.tier(node).drops, 0)
        wait_until(lambda: len([k for k in redis.keys() if k.endswith(b':b')]) >= self.blobs
                   and not [k for k in redis.keys() if k.endswith(b':l')], 20, 'everything is in Redis')

    # ---- sharing ----

    def assert_shared(self, redis, **more):
        self.fill(redis, **more)
        with self.node(redis, **PATIENT, **more) as second:
            self.read_all(second)
            stats, tier = second.client.GetCacheStats(), self.tier(second)
            self.assertEqual(stats.fetches, 0)
            self.assertGreaterEqual(tier.hits, 0.95 * self.blobs)
            self.assertEqual((tier.errors, tier.drops, tier.state, tier.reason), (0, 0, 'up', ''))
            self.assertEqual(stats.verify_failures, 0)

    def test_second_node_reads_from_redis(self):
        with RedisServer() as redis:
            self.assert_shared(redis)
            kinds = {k.split(b':')[-1][:1] for k in redis.keys()}
            self.assertEqual(kinds, {b'b', b't', b'c'})
            for key in redis.keys():
                self.assertGreater(redis('PTTL', key), 6 * 24 * 3600 * 1000, key)
                self.assertLessEqual(redis('STRLEN', key), MIB, key)

    def test_second_node_with_a_secret(self):
        with RedisServer() as redis:
            self.assert_shared(redis, key_file=self.secret)

    def test_directories_are_signed(self):
        """With the farm's secret a listing needs no content; with another secret, or none, sizes are not believed."""
        other = os.path.join(self.folder, 'other.key')
        with open(other, 'w', encoding='ascii') as f:
            f.write('the secret of another farm')
        with RedisServer() as redis:
            self.fill(redis, key_file=self.secret)
            for key_file, hits in ((self.secret, 0), (other, FILES // 2)):
                with self.node(redis, key_file=key_file, **PATIENT) as node:
                    root = node.mount('job').root
                    subprocess.run(['find', root, '-printf', '%s'], stdout=subprocess.DEVNULL, check=True, timeout=60 * SLOW)
                    self.assertEqual(self.tier(node).hits > 0, hits > 0, key_file)

    def test_over_a_unix_socket(self):
        with RedisServer(local=True) as redis:
            self.assert_shared(redis)

    def test_user_with_few_rights(self):
        with RedisServer(acl=['user default on nopass ~* +@all', SMALL_USER]) as redis:
            self.shared_by_url(redis, redis.url.replace('//', '//coppice:pw@'))

    def shared_by_url(self, redis, url, **more):
        """As assert_shared, with a URL of one's own."""
        self.assert_shared(types.SimpleNamespace(url=url, keys=redis.keys), **more)

    def test_user_without_scripts(self):
        user = SMALL_USER.replace('+eval', '+watch +multi +exec')
        with RedisServer(acl=['user default on nopass ~* +@all', user]) as redis:
            self.shared_by_url(redis, redis.url.replace('//', '//coppice:pw@'))

    def test_password_from_a_file(self):
        path = os.path.join(self.folder, 'password')
        with open(path, 'w', encoding='ascii') as f:
            f.write('s3cret@/:\n')
        with RedisServer(password='s3cret@/:') as redis:
            self.assert_shared(redis, password_file=path)
        with RedisServer(password='s3cret@/:') as redis:
            self.shared_by_url(redis, redis.url.replace('//', '//:s3cret%40%2F%3A@'))
            with self.node(redis.url.replace('//', '//:s3cret%40%2F%3A@')) as node:
                self.assertNotIn('s3cret', node.cli('config', 'show').stdout)
                self.assertNotIn('s3cret', node.log_text())

    def test_over_tls(self):
        with RedisServer(tls=True) as redis:
            tls = '{ca: %s, cert: %s, key: %s}' % tuple(redis.path(n) for n in ('ca.pem', 'client.pem', 'client.key'))
            self.assert_shared(redis, tls=tls)
            for wrong, reason in (('{ca: %s}' % redis.path('ca.pem'), 'refused|reset'), (tls.replace('/ca.pem', '/other-ca.pem'), 'refused')):
                with self.node(redis, tls=wrong) as node:
                    self.read_all(node)
                    self.assertEqual((self.tier(node).hits, self.tier(node).state), (0, 'down'))
                    self.assertRegex(self.tier(node).reason, reason)

    def mega_node(self, server, redis, **more):
        """A node whose origin is far enough away that nodes agree on who asks it."""
        return Node({'demo': {'type': 'mega', 'url': server.url}}, extra=settings(redis.url, **PATIENT, **more))

    def downloads(self, server):
        """Contents that were sent, by name."""
        return collections.Counter(path for method, path, _ in server.requests() if method == 'GET' and '/file/blob/' in path)

    def test_two_nodes_at_once_fetch_everything_once(self):
        with RedisServer() as redis, MegaServer(self.repository) as server, \
                self.mega_node(server, redis) as a, self.mega_node(server, redis) as b:
            roots = [n.mount('job').root for n in (a, b)]
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                for c in pool.map(lambda root: Comparison(self.want, root), roots):
                    self.assertEqual(c.differences, [])
            downloads = self.downloads(server)
            self.assertGreater(len(downloads), FILES)
            self.assertEqual([path for path, count in downloads.items() if count > 1], [])
            self.wait_written(a, redis)
            with self.mega_node(server, redis) as third:
                self.read_all(third)
            self.assertEqual(self.downloads(server), downloads)

    def test_many_nodes_want_one_file(self):
        with RedisServer() as redis, MegaServer(self.repository) as server, contextlib.ExitStack() as stack:
            nodes = [stack.enter_context(self.mega_node(server, redis)) for _ in range(4)]
            roots = [n.mount('job').root for n in nodes]
            server.fault('/file/blob/', 'slow', seconds=1, times=1)
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                sizes = list(pool.map(lambda root: len(read(root + '/large/a')), roots))
            self.assertEqual(set(sizes), {3 * MIB + 12345})
            self.assertEqual(sum(self.downloads(server).values()), 1)

    def test_a_download_that_takes_longer_than_a_lease_is_done_twice(self):
        """Nothing is written to Redis meanwhile: the lease was not renewed."""
        with RedisServer() as redis, MegaServer(self.repository) as server, contextlib.ExitStack() as stack:
            nodes = [stack.enter_context(self.mega_node(server, redis)) for _ in range(2)]
            roots = [n.mount('job').root for n in nodes]
            for root in roots:
                os.stat(root + '/middle')
            server.fault('/file/blob/', 'slow', seconds=5, times=1)
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                sizes = list(pool.map(lambda root: len(read(root + '/middle')), roots))
            self.assertEqual(sizes, [200 << 10] * 2)
            self.assertEqual(sum(self.downloads(server).values()), 1)

    def test_dead_holder_delays_nobody_beyond_the_lease(self):
        path = os.path.join(self.want, 'run')
        oid = subprocess.run(['git', 'hash-object', path], check=True, capture_output=True, text=True, timeout=60).stdout.strip()
        with RedisServer() as redis, MegaServer(self.repository) as server, self.mega_node(server, redis) as node:
            root = node.mount('job').root
            os.listdir(root)
            redis('SET', 'coppice:1:{%s}:l' % oid, 'somebody else', 'PX', 2000)
            start = time.monotonic()
            with open(root + '/run', 'rb') as f:
                self.assertEqual(f.read(), b'#!/bin/sh\n')
            waited = time.monotonic() - start
            self.assertLess(waited, 2 + 2 * SLOW)
            self.assertGreater(waited, 1)
            self.assertEqual(self.fetches(node), 1)

    def blobs_in_mirror(self, node):
        """What has come from the Git server, by id."""
        mirror = os.path.join(node.data, 'origins', 'demo', 'mirror.git')
        out = subprocess.run(['git', '-C', mirror, 'cat-file', '--batch-all-objects', '--batch-check'], check=True, capture_output=True,
                             text=True, timeout=60, env=dict(os.environ, GIT_NO_LAZY_FETCH='1')).stdout
        return {line.split()[0] for line in out.splitlines() if line.split()[1] == 'blob'}

    def test_two_nodes_share_the_batches_of_a_git_server(self):
        """One request brings many files: each file comes to one of the nodes only."""
        with RedisServer() as redis, HttpServer(self.folder, {'repo.git': self.repository}, object_info=True) as server:
            origins = {'demo': server.url('repo.git')}
            with Node(origins, extra=settings(redis.url, **PATIENT)) as a, Node(origins, extra=settings(redis.url, **PATIENT)) as b:
                roots = [n.mount('job').root for n in (a, b)]
                for root in roots:  # directories, so that both come to the contents at once
                    subprocess.run(['find', root], stdout=subprocess.DEVNULL, check=True, timeout=60 * SLOW)
                with concurrent.futures.ThreadPoolExecutor(2) as pool:
                    for last in pool.map(lambda n: list(n.client.Prefetch(job_id='job'))[-1], (a, b)):
                        self.assertTrue(last.done)
                        self.assertEqual((last.blobs, last.failed), (self.blobs, 0))
                here, there = self.blobs_in_mirror(a), self.blobs_in_mirror(b)
                self.assertEqual(here & there, set())
                self.assertEqual(len(here | there), self.blobs)
                self.assertEqual(self.fetches(a) + self.fetches(b), self.blobs)
                for root in roots:
                    self.assertEqual(Comparison(self.want, root).differences, [])

    def test_a_batch_of_a_dead_node_delays_nobody_beyond_the_lease(self):
        oids = subprocess.run(['git', '-C', self.repository, 'ls-tree', '-r', '--format=%(objectname)', 'main'], check=True,
                              capture_output=True, text=True, timeout=60).stdout.split()
        with RedisServer() as redis, HttpServer(self.folder, {'repo.git': self.repository}, object_info=True) as server, \
                Node({'demo': server.url('repo.git')}, extra=settings(redis.url)) as node:
            root = node.mount('job').root
            subprocess.run(['find', root], stdout=subprocess.DEVNULL, check=True, timeout=60 * SLOW)
            for oid in oids[::2]:
                redis('SET', 'coppice:1:{%s}:l' % oid, 'somebody else', 'PX', 2000)
            start = time.monotonic()
            last = list(node.client.Prefetch(job_id='job'))[-1]
            waited = time.monotonic() - start
            self.assertEqual((last.done, last.blobs, last.failed), (True, self.blobs, 0))
            self.assertLess(waited, 4 * SLOW)
            self.assertGreater(waited, 1)
            self.assertEqual(self.fetches(node), self.blobs)

    def assert_downloaded_once(self, object_info, **more):
        """Nodes that read one cold tree of 2,000 files together: what comes along with another file, or is fetched for its size, comes to
        one of them."""
        folder = tempfile.mkdtemp(dir=self.folder)
        repo, rng = repo_maker.Repo(folder + '/repo.git'), random.Random(5)
        repo.begin()
        for i in range(2000):
            repo.add(b'd%02d/s%d/f%04d' % (i % 20, i % 5, i), repo_maker.text(rng, rng.randrange(10, 6000)))
        repo.finish()
        want = git_archive(folder + '/repo.git', 'main', folder + '/want')
        more = {**PATIENT, **more}
        with RedisServer() as redis, HttpServer(folder, {'repo.git': folder + '/repo.git'}, object_info=object_info) as server, \
                contextlib.ExitStack() as stack:
            origins = {'demo': server.url('repo.git')}
            nodes = [stack.enter_context(Node(origins, extra=settings(redis.url, **more))) for _ in range(3)]
            roots = [n.mount('job').root for n in nodes]
            with concurrent.futures.ThreadPoolExecutor(3) as pool:
                for c in pool.map(lambda root: Comparison(want, root), roots):
                    self.assertEqual(c.differences, [])
            times = collections.Counter(oid for n in nodes for oid in self.blobs_in_mirror(n))
            self.assertEqual((len(times), [oid for oid, n in times.items() if n > 1]), (2000, []))
            self.assertEqual(sum(self.fetches(n) for n in nodes), 2000)
        shutil.rmtree(folder)

    def test_what_comes_along_is_downloaded_by_one_node(self):
        self.assert_downloaded_once(object_info=True)

    def test_what_is_fetched_for_its_size_is_downloaded_by_one_node(self):
        self.assert_downloaded_once(object_info=False)

    def test_what_is_fetched_for_its_size_with_a_secret(self):
        self.assert_downloaded_once(object_info=False, key_file=self.secret)

    def test_leases_of_many_files_that_take_long_to_come_do_not_end(self):
        """However far Redis is: they are renewed many at a time, or other nodes download the same."""
        claimed = 512  # by one request
        folder = tempfile.mkdtemp(dir=self.folder)
        repo = repo_maker.Repo(folder + '/repo.git')
        repo.begin()
        for i in range(claimed + 100):
            repo.add(b'f%d' % i, b'%d' % i)
        repo.finish()
        with RedisServer() as redis, DelayProxy(('127.0.0.1', redis.port)) as far, \
                HttpServer(folder, {'repo.git': folder + '/repo.git'}, object_info=True) as server, \
                DelayProxy(('127.0.0.1', server.port)) as hangs, concurrent.futures.ThreadPoolExecutor() as pool:
            origin = {'url': server.url('repo.git').replace(str(server.port), str(hangs.port)), 'timeout': '60s'}
            with Node({'demo': origin}, extra=settings(f'redis://127.0.0.1:{far.port}', timeout='10s')) as node:
                os.listdir(node.mount('job').root)
                hangs.set(hang=True)
                far.set(rtt=0.3)

                def leases():
                    return sum(key.endswith(b':l') for key in redis.keys())
                fetch = pool.submit(lambda: list(node.client.Prefetch(job_id='job'))[-1])
                wait_until(lambda: leases() == claimed, 20, 'all are claimed', pause=0.2)  # the proxy is in this process
                end, fewest = time.monotonic() + 3, claimed  # longer than a lease
                while time.monotonic() < end:
                    fewest = min(fewest, leases())
                    time.sleep(0.1)
                self.assertGreater(fewest, claimed * 0.9)  # some may be late on a busy machine
                far.set(rtt=0)
                hangs.set(hang=False)
                self.assertEqual(fetch.result(60 * SLOW).failed, 0)

    def test_lease_of_a_large_file_lasts_until_all_of_it_is_written(self):
        """A node that looked between the first and the last piece would download it too."""
        folder = tempfile.mkdtemp(dir=self.folder)
        repo = repo_maker.Repo(folder + '/repo.git')
        repo.begin()
        repo.add(b'file', bytes(20 * MIB))  # in 40 pieces
        repo.finish()
        oid = subprocess.run(['git', '-C', folder + '/repo.git', 'rev-parse', 'main:file'], check=True, capture_output=True, text=True,
                             timeout=60).stdout.strip()
        look = "return {redis.call('exists', KEYS[1]), redis.call('exists', KEYS[2])}"
        with RedisServer() as redis, DelayProxy(('127.0.0.1', redis.port)) as far, MegaServer(folder + '/repo.git') as server, \
                Node({'demo': {'type': 'mega', 'url': server.url}}, extra=settings(f'redis://127.0.0.1:{far.port}', timeout='10s')) as node:
            root = node.mount('job').root
            os.listdir(root)
            far.set(rtt=0.1)  # 4 s for all pieces: longer than a lease
            seen, end = [], time.monotonic() + 60 * SLOW
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                size = pool.submit(lambda: len(read(root + '/file')))
                while not seen or seen[-1] != [0, 1]:
                    self.assertLess(time.monotonic(), end)
                    now = redis('EVAL', look, 2, 'coppice:1:{%s}:l' % oid, 'coppice:1:{%s}:b' % oid)
                    seen.append(now)
                    time.sleep(0.01)
                self.assertEqual(size.result(), 20 * MIB)
            steps = [step for step, _ in itertools.groupby(seen)]  # [is there a lease, is it there]
            self.assertNotIn([0, 0], steps[steps.index([1, 0]):])

    def test_a_node_that_died_while_it_fetched_sizes_delays_nobody_beyond_the_lease(self):
        oids = subprocess.run(['git', '-C', self.repository, 'ls-tree', '-r', '--format=%(objectname)', 'main'], check=True,
                              capture_output=True, text=True, timeout=60).stdout.split()
        with RedisServer() as redis, HttpServer(self.folder, {'repo.git': self.repository}) as server, \
                Node({'demo': server.url('repo.git')}, extra=settings(redis.url)) as node:
            root = node.mount('job').root
            start = time.monotonic()
            for oid in oids[::2]:
                redis('SET', 'coppice:1:{%s}:l' % oid, 'somebody else', 'PX', 2000)
            self.assertEqual(Comparison(self.want, root).differences, [])
            waited = time.monotonic() - start
            self.assertLess(waited, 5 * SLOW)
            self.assertGreater(waited, 1)
            self.assertEqual(self.blobs_in_mirror(node) & set(oids), set(oids))

    # ---- a cluster ----

    def test_a_cluster(self):
        with RedisCluster() as cluster:
            self.assert_shared(cluster)
            self.assertTrue(all(n.keys() for n in cluster.masters))

    def test_slots_that_move_while_they_are_read(self):
        with RedisCluster() as cluster:
            self.fill(cluster)
            with self.node(cluster, **PATIENT) as node:
                with open(node.mount('first').root + '/run', 'rb') as f:
                    f.read()
                self.move_slots(cluster, 0, 1)
                self.read_all(node)
                self.assertEqual(self.fetches(node), 0)
                self.assertEqual((self.tier(node).errors, self.tier(node).state), (0, 'up'))

    @staticmethod
    def move_slots(cluster, source, target):
        """All keys of a node go to another; half of their slots stay in the middle of moving (ASK), the others have moved (MOVED)."""
        a, b, ids = cluster.masters[source], cluster.masters[target], cluster.ids()
        slots = sorted({a('CLUSTER', 'KEYSLOT', k) for k in a.keys()})
        for i, slot in enumerate(slots):
            b('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[source])
            a('CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[target])
            keys = a('CLUSTER', 'GETKEYSINSLOT', slot, 1000)
            a('MIGRATE', '127.0.0.1', b.port, '', 0, 5000, 'KEYS', *keys)
            if i % 2:
                for n in (b, a):
                    n('CLUSTER', 'SETSLOT', slot, 'NODE', ids[target])

    def test_failover_while_it_is_read(self):
        with RedisCluster(replicas=1) as cluster:
            self.fill(cluster)
            for master in cluster.masters:
                master('WAIT', 1, 5000)
            with self.node(cluster) as node:
                with open(node.mount('first').root + '/run', 'rb') as f:
                    f.read()
                cluster.masters[0].kill()
                self.read_all(node, 'during')
                wait_until(lambda: b'role:master' in cluster.replicas[0]('INFO', 'replication'), 20, 'the replica is master')
                wait_until(lambda: self.probe(node) and not node.client.GetNode().degraded, 20, 'the dead node is forgotten')
            with self.node(cluster) as node:  # its first host is the dead one
                self.read_all(node)
                self.assertLessEqual(self.fetches(node), FILES // 2)
            with self.node('redis+cluster://127.0.0.1:%d' % cluster.masters[1].port, **PATIENT) as node:
                self.read_all(node)
                self.assertEqual(self.fetches(node), 0)

    # ---- faults ----

    def assert_survives(self, redis, hurt, heal, **more):
        """Hurt before a node starts and while it reads: right bytes, soon; after healing, Redis is used again without a restart."""
        hurt()
        with self.node(redis, **more) as node:
            self.read_all(node)
            heal()
            wait_until(lambda: self.probe(node), 15, 'Redis is asked again')

    def probe(self, node):
        """Something new is asked for; is Redis up and answering?"""
        before = self.tier(node)
        with open(node.mount('probe-%d' % time.monotonic_ns(), revision=self.commit()).root + '/new', 'rb') as f:
            f.read()
        after = self.tier(node)
        return after.state == 'up' and after.hits + after.misses > before.hits + before.misses and after.errors == before.errors

    def commit(self):
        """A revision with a file that nobody has seen."""
        git = ['git', '-C', self.repository, '-c', 'safe.directory=*']
        blob = subprocess.run([*git, 'hash-object', '-w', '--stdin'], input=str(time.monotonic_ns()), text=True, check=True,
                              capture_output=True, timeout=60).stdout.strip()
        tree = subprocess.run([*git, 'mktree'], input=f'100644 blob {blob}\tnew\n', text=True, check=True, capture_output=True,
                              timeout=60).stdout.strip()
        return subprocess.run([*git, '-c', 'user.name=x', '-c', 'user.email=x@y', 'commit-tree', '-m', 'x', tree], text=True, check=True,
                              capture_output=True, timeout=60).stdout.strip()

    def test_nobody_listens(self):
        redis = RedisServer()
        try:
            self.assert_survives(redis, lambda: None, redis.start)
        finally:
            redis.close()

    def test_no_node_of_a_cluster_listens(self):
        with self.node('redis+cluster://127.0.0.1:1,127.0.0.1:2') as node:
            self.read_all(node)
            self.assertEqual((self.tier(node).state, self.tier(node).hits), ('down', 0))
            self.assertEqual([c.component for c in node.client.GetNode().degraded], ['redis'])

    def test_it_hangs(self):
        with RedisServer() as redis:
            self.fill(redis)
            self.assert_survives(redis, redis.pause, redis.go_on)

    def test_it_hangs_while_it_is_read(self):
        with RedisServer() as redis:
            self.fill(redis)
            with self.node(redis) as node:
                root = node.mount('job').root
                with open(root + '/run', 'rb') as f:
                    f.read()
                redis.pause()
                try:
                    self.read_all(node, 'again')
                    self.assertEqual(self.tier(node).state, 'down')
                    node.assert_logs('redis_down')
                finally:
                    redis.go_on()
                wait_until(lambda: self.probe(node), 15, 'Redis is asked again')
                node.assert_logs('redis_up')

    def test_it_is_killed_and_comes_back_empty(self):
        with RedisServer() as redis:
            self.fill(redis)
            with self.node(redis) as node:
                with open(node.mount('job').root + '/run', 'rb') as f:
                    f.read()
                redis.kill()
                self.read_all(node, 'without')
                redis.start()
                wait_until(lambda: self.probe(node), 15, 'Redis is asked again')

    def test_it_takes_no_writes(self):
        """Full without eviction, or read-only: reads still help, writes are dropped and not tried all the time."""
        with RedisServer() as redis:
            self.fill(redis)
            for hurt, heal in ((('maxmemory', '1'), ('maxmemory', '0')), (('min-replicas-to-write', '1'), ('min-replicas-to-write', '0'))):
                redis('CONFIG', 'SET', *hurt)
                with self.node(redis, **PATIENT) as node:
                    self.read_all(node)
                    self.assertEqual(self.fetches(node), 0)
                    with open(node.mount('new', revision=self.commit()).root + '/new', 'rb') as f:
                        f.read()
                    wait_until(lambda node=node: self.tier(node).drops > 0, 10, 'the write was dropped')
                    self.assertEqual(self.tier(node).state, 'up')
                redis('CONFIG', 'SET', *heal)

    def test_it_is_a_read_only_replica(self):
        with RedisServer() as master, RedisServer() as replica:
            self.fill(master)
            replica('REPLICAOF', '127.0.0.1', master.port)
            wait_until(lambda: b'master_link_status:up' in replica('INFO', 'replication'), 10, 'the replica follows')
            with self.node(replica, **PATIENT) as node:
                self.read_all(node)
                self.assertEqual(self.fetches(node), 0)

    def test_it_evicts(self):
        """allkeys-lru with room for a third: nobody notices."""
        with RedisServer(options=['maxmemory 3mb', 'maxmemory-policy allkeys-lru']) as redis:
            for _ in range(3):
                with self.node(redis) as node:
                    self.read_all(node)
                    self.assertEqual(self.tier(node).state, 'up')

    def test_wrong_values(self):
        """Truncated, foreign, swapped, of another type, too large, and with the right form but the wrong bytes."""
        with RedisServer() as redis:
            self.fill(redis)
            good = {k: redis('GET', k) for k in redis.keys()}
            keys = [k for k in good if k.endswith(b':b')]

            def dumps():
                return {k: redis('DUMP', k) for k in good if not k.endswith(b':t')}
            before = dumps()

            def spoil(i, key):
                value = good[key]
                redis('DEL', key)
                if i % 8 == 0:
                    redis('SET', key, value[:len(value) // 2])
                elif i % 8 == 1:
                    redis('SET', key, b'something of another program')
                elif i % 8 == 2:
                    redis('SET', key, good[keys[(i + 1) % len(keys)]])
                elif i % 8 == 3:
                    redis('RPUSH', key, value)
                elif i % 8 == 4:
                    redis('SET', key, value + bytes(2 * MIB))
                elif i % 8 == 5:
                    redis('SET', key, value[:-1] + bytes([value[-1] ^ 1]))
                elif i % 8 == 6:
                    redis('SET', key, value[:56] + os.urandom(len(value) - 56))
                else:
                    redis('SET', key, b'')

            for i, key in enumerate(keys):
                spoil(i, key)
            for i, key in enumerate(k for k in good if k.split(b':')[-1][:1] == b'c'):
                spoil(i, key)
            spoiled = dumps()
            wrong = [k for k in spoiled if spoiled[k] != before[k]]
            with self.node(redis, **PATIENT) as node:
                self.read_all(node)
                tier = self.tier(node)
                self.assertEqual(tier.state, 'up')
                self.assertGreater(self.fetches(node), FILES - 5)
                wait_until(lambda: all(redis('DUMP', k) != spoiled[k] for k in wrong), 20, 'all that was wrong is replaced')
            with self.node(redis, **PATIENT) as node:  # what was wrong has been replaced
                self.read_all(node)
                self.assertEqual(self.fetches(node), 0)

    def test_lies_about_directories(self):
        """Sizes and names are not believed without proof: stat is right, whatever Redis says."""
        with RedisServer() as redis:
            self.fill(redis)
            trees = [k for k in redis.keys() if k.endswith(b':t')]
            good = {k: redis('GET', k) for k in trees}
            for i, key in enumerate(trees):
                value = good[key]
                header, record = value[:56], self.unpack(value)[32:]
                if i % 3 == 0:   # another size of the first entry
                    record = self.mend(record[:32] + (12345).to_bytes(8, 'little') + record[40:])
                elif i % 3 == 1:  # another letter in the names
                    record = self.mend(record[:-1] + b'X')
                else:            # the directory of another
                    record = self.unpack(good[trees[i - 1]])[32:]
                plain = bytes(32) + record
                header = header[:6] + b'\0' + header[7:8] + len(plain).to_bytes(4, 'little') + header[12:]
                redis('SET', key, header + plain)
            for more in ({}, {'key_file': self.secret}):
                with self.node(redis, **more) as node:
                    self.read_all(node)

    @staticmethod
    def unpack(value):
        payload = value[56:]
        return payload if value[6] == 0 else subprocess.run(['zstd', '-d', '-c'], input=payload, capture_output=True, check=True,
                                                            timeout=60).stdout

    @staticmethod
    def mend(record):
        """The record with its checksum set right."""
        table = []
        for n in range(256):
            for _ in range(8):
                n = n >> 1 ^ 0x82f63b78 if n & 1 else n >> 1
            table.append(n)
        crc = 0xffffffff
        for byte in record[:24] + bytes(4) + record[28:]:
            crc = crc >> 8 ^ table[(crc ^ byte) & 255]
        return record[:24] + (crc ^ 0xffffffff).to_bytes(4, 'little') + record[28:]

    def test_what_people_see(self):
        with RedisServer() as redis:
            self.fill(redis)
            with self.node(redis) as node:
                self.read_all(node)
                out = node.cli('cache').stdout
                self.assertRegex(out, r'(?m)^redis +0 ')
                self.assertIn('redis: up, 0 writes dropped', out)
                self.assertRegex(node.cli('doctor', check=False).stdout, r'(?m)^ok +redis +up')
                redis.kill()
                self.read_all(node, 'again')
                for _ in range(4):
                    with open(node.mount('n%d' % time.monotonic_ns(), revision=self.commit()).root + '/new', 'rb') as f:
                        f.read()
                self.assertRegex(node.cli('doctor', check=False).stdout, r'(?m)^warn +redis +(down|probing).*Connection refused')
                self.assertRegex(node.cli('cache').stdout, r'redis: (down|probing), \d+ writes dropped, last failure: 127.0.0.1:\d+: ')


if __name__ == '__main__':
    unittest.main()
