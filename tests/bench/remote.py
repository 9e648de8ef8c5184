#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A cold repository on a Git server, near and far: Coppice against `git clone --depth 1`.

  COPPICE_BIN=$PWD/build/release/bin tests/bench/remote.py --files 20000 --rtt 0 20 [--rounds 3] [--json FILE] [--markdown FILE]

The server is lighttpd with git-http-backend on loopback, the distance a delaying TCP proxy. Everything is cold in every round: a new
daemon with an empty data directory, a new clone. Requests are those of the proxy's `turns` (round trips waited for) and of the access log.

Then a second node: its own data directory, the same server, and the Redis that a first node has filled. It reads all files cold, then once more
after a restart from its disk (L2): what Redis costs is the ratio of the two. With and without a secret of the farm (docs/adr/0010).

Then nodes that read all files together, cold: what the server sent more than once is counted in their mirrors.

--parts runs some of it, so that each run is short.
"""
import argparse
import collections
import concurrent.futures
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'lib'))
import repo_maker  # noqa: E402
from delay_proxy import DelayProxy  # noqa: E402
from git_server import HttpServer  # noqa: E402
from node import Node, wait_until  # noqa: E402
from redis_server import RedisServer  # noqa: E402

PARTS = ('cold', 'second', 'together')
NODES = 3
SCORPIO_REQUESTS = 2743  # what ScorpioFS documents for a cold listing, one after the other


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600)


def files_below(root, share):
    """Paths, relative, of the first files that hold this share of all bytes, in the order of a walk."""
    found = []
    for folder, names, leaves in os.walk(root):
        names[:] = sorted(n for n in names if n != '.git')
        for name in sorted(leaves):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                found.append((os.path.relpath(path, root), os.path.getsize(path)))
    left, chosen = sum(size for _, size in found) * share, []
    for path, size in found:
        if left <= 0:
            break
        chosen.append(path)
        left -= size
    return chosen


def read_all(root, paths):
    for path in paths:
        with open(os.path.join(root, path), 'rb', buffering=0) as f:
            while f.read(1 << 20):
                pass


class Bench:
    def __init__(self, folder, repository, lists):
        self.folder, self.repository, self.lists, self.samples, self.second, self.nodes = folder, repository, lists, {}, {}, {}

    def sample(self, name, rtt, work, object_info=False):
        with HttpServer(self.folder, {'repo.git': self.repository}, object_info=object_info) as server, \
                DelayProxy(('127.0.0.1', server.port), rtt=rtt / 1000) as proxy:
            seconds = work(f'http://127.0.0.1:{proxy.port}/git/repo.git')
            one = {'seconds': seconds, 'requests': len(server.requests()), 'turns': proxy.stats()['turns']}
        self.samples.setdefault((name, rtt), []).append(one)
        print(f'{name:40} {rtt:3} ms  {seconds:7.2f} s  {one["requests"]:6} requests', file=sys.stderr)

    def clone(self, url):
        target = os.path.join(self.folder, 'clone')
        begin = time.monotonic()
        run('git', 'clone', '-q', '--depth', '1', url, target)
        seconds = time.monotonic() - begin
        shutil.rmtree(target)
        return seconds

    def mounted(self, url, work):
        with Node({'demo': url}, limit=600) as node:
            begin = time.monotonic()
            work(node.mount('job').root)
            return time.monotonic() - begin

    def round(self, rtt):
        self.sample('git clone --depth 1', rtt, self.clone)
        for object_info in (True, False):
            what = 'server tells sizes' if object_info else 'sizes by contents'
            self.sample(f'find -printf %s, {what}', rtt,
                        lambda url: self.mounted(url, lambda root: run('find', root, '-printf', '%s\n')), object_info)
            for share, paths in self.lists.items():
                self.sample(f'read {share} % of the bytes, {what}', rtt,
                            lambda url, paths=paths: self.mounted(url, lambda root: read_all(root, paths)), object_info)

    def second_node(self, paths, secret):
        """One sample: seconds from Redis and from L2, and where the contents came from."""
        key_file = f', key_file: {secret}' if secret else ''
        with RedisServer() as redis, HttpServer(self.folder, {'repo.git': self.repository}) as server:
            origins = {'demo': f'http://127.0.0.1:{server.port}/git/repo.git'}
            extra = f'cache: {{redis: {{url: "{redis.url}"{key_file}}}}}'
            with Node(origins, extra=extra, limit=600) as first:
                read_all(first.mount('job').root, paths)
                wait_until(lambda: not [k for k in redis.keys() if k.endswith(b':l')], 60, 'the first node has written all')
            with Node(origins, extra=extra, limit=600) as second:
                one = {'redis_seconds': self.timed(second, 'cold', paths)}
                stats = second.client.GetCacheStats()
                one['from_redis'] = next(t.hits for t in stats.tiers if t.name == 'redis')
                one['from_origin'] = stats.fetches
                second.stop()
                second.start()
                one['l2_seconds'] = self.timed(second, 'warm', paths)
        one['ratio'] = one['redis_seconds'] / one['l2_seconds']
        self.second.setdefault('with a secret' if secret else 'without a secret', []).append(one)
        print(f'second node, {"with" if secret else "without"} a secret: {one}', file=sys.stderr)

    @staticmethod
    def downloaded(node):
        """Ids of the files in its mirror: what the server has sent."""
        mirror = os.path.join(node.data, 'origins', 'demo', 'mirror.git')
        listed = subprocess.run(['git', '-C', mirror, 'cat-file', '--batch-all-objects', '--batch-check'], check=True, text=True, timeout=600,
                                stdout=subprocess.PIPE, env=dict(os.environ, GIT_NO_LAZY_FETCH='1')).stdout
        return [line.split()[0] for line in listed.splitlines() if line.split()[1] == 'blob']

    def together(self, paths, secret):
        key_file = f', key_file: {secret}' if secret else ''
        with RedisServer() as redis, HttpServer(self.folder, {'repo.git': self.repository}) as server, contextlib.ExitStack() as stack:
            extra = f'cache: {{redis: {{url: "{redis.url}"{key_file}}}}}'
            origins = {'demo': f'http://127.0.0.1:{server.port}/git/repo.git'}
            nodes = [stack.enter_context(Node(origins, extra=extra, limit=600)) for _ in range(NODES)]
            roots = [node.mount('job').root for node in nodes]
            begin = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(NODES) as pool:
                list(pool.map(lambda root: read_all(root, paths), roots))
            one = {'seconds': time.monotonic() - begin}
            times = collections.Counter(oid for node in nodes for oid in self.downloaded(node))
            one['contents'], one['twice'] = len(times), sum(times.values()) - len(times)
        self.nodes.setdefault('with a secret' if secret else 'without a secret', []).append(one)
        print(f'{NODES} nodes, {"with" if secret else "without"} a secret: {one}', file=sys.stderr)

    def nodes_rows(self):
        for name, all_of in self.nodes.items():
            yield dict(max(all_of, key=lambda one: (one['twice'], one['seconds'])), name=f'{NODES} nodes, {name}')  # the worst

    @staticmethod
    def timed(node, job, paths):
        root = node.mount(job).root
        begin = time.monotonic()
        read_all(root, paths)
        return time.monotonic() - begin

    def second_rows(self):
        for name, all_of in self.second.items():
            yield dict(sorted(all_of, key=lambda one: one['ratio'])[len(all_of) // 2], name=f'second node, {name}')  # the median

    def rows(self):
        for (name, rtt), all_of in self.samples.items():
            best = min(all_of, key=lambda one: one['seconds'])
            yield dict(best, name=name, rtt_ms=rtt, scorpio_pattern_seconds=SCORPIO_REQUESTS * rtt / 1000)


def markdown(rows, files):
    rtts = sorted({row['rtt_ms'] for row in rows})
    lines = [f'| cold, {files} files | ' + ' | '.join(f'{rtt} ms: seconds | requests' for rtt in rtts) + ' |',
             '|---|' + '--:|--:|' * len(rtts)]
    for name in dict.fromkeys(row['name'] for row in rows):
        cells = []
        for rtt in rtts:
            row = next(r for r in rows if r['name'] == name and r['rtt_ms'] == rtt)
            cells += [f'{row["seconds"]:.2f}', str(row['requests'])]
        lines.append(f'| {name} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def second_markdown(rows, files):
    lines = [f'| a second node reads {files} files | seconds, from Redis | from L2 | ratio | contents from Redis | from the origin |', '|---|--:|--:|--:|--:|--:|']
    lines += [f'| {r["name"]} | {r["redis_seconds"]:.2f} | {r["l2_seconds"]:.2f} | {r["ratio"]:.2f} | {r["from_redis"]} | {r["from_origin"]} |' for r in rows]
    return '\n'.join(lines) + '\n'


def nodes_markdown(rows, files):
    lines = [f'| nodes read {files} files together | seconds | contents downloaded | of them again |', '|---|--:|--:|--:|']
    lines += [f'| {r["name"]} | {r["seconds"]:.2f} | {r["contents"]} | {r["twice"]} |' for r in rows]
    return '\n'.join(lines) + '\n'


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--files', type=int, default=20000)
    p.add_argument('--rtt', type=int, nargs='+', default=[0, 20], help='milliseconds')
    p.add_argument('--read', type=int, nargs='+', default=[10, 30], help='per cent of the bytes')
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    p.add_argument('--json')
    p.add_argument('--markdown')
    a = p.parse_args()
    folder = tempfile.mkdtemp(prefix='cop-remote-', dir=os.environ.get('COPPICE_BENCH_DIR', '/var/tmp'))
    try:
        repository, tree = os.path.join(folder, 'repo.git'), os.path.join(folder, 'tree')
        repo_maker.make(repository, files=a.files, odd=False, large_mb=0, c_project=0, seed=1, pack=True)
        run('git', 'clone', '-q', repository, tree)
        bench = Bench(folder, repository, {share: files_below(tree, share / 100) for share in a.read})
        everything, secret = files_below(tree, 1), os.path.join(folder, 'farm.key')
        shutil.rmtree(tree)
        with open(secret, 'w', encoding='ascii') as f:
            f.write('a secret of the farm, and of it alone')
        for _ in range(a.rounds):
            for rtt in a.rtt if 'cold' in a.parts else ():
                bench.round(rtt)
            for key in (None, secret):
                if 'second' in a.parts:
                    bench.second_node(everything, key)
                if 'together' in a.parts:
                    bench.together(everything, key)
        rows, second, nodes = list(bench.rows()), list(bench.second_rows()), list(bench.nodes_rows())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    count = len(everything)
    table = '\n'.join(make(found, number) for make, found, number in (
        (markdown, rows, a.files), (second_markdown, second, count), (nodes_markdown, nodes, count)) if found)
    print(table)
    if a.json:
        with open(a.json, 'w', encoding='utf-8') as f:
            json.dump(rows + second + nodes, f, indent=1)
    if a.markdown:
        with open(a.markdown, 'w', encoding='utf-8') as f:
            f.write(table)


if __name__ == '__main__':
    main()
