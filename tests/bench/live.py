# SPDX-License-Identifier: Apache-2.0
"""What workspaces cost while they only exist: latency of CreateMount with 200 of them live, memory and threads of the daemon."""
import statistics
import time

from node import Node

LIVE = 200


def measure(tree, samples=300):
    """A dict of figures, of a daemon with the default configuration."""
    with Node({tree.name: tree.repository}, limit=1200) as node:
        node.mount('indexed', origin=tree.name)
        threads, rss = node.threads(), node.rss_kib()
        for i in range(LIVE):
            node.mount(f'live-{i}', origin=tree.name)
        figures = {'live': LIVE, 'rss_mib_before': rss / 1024, 'rss_mib': node.rss_kib() / 1024, 'threads_before': threads,
                   'threads': node.threads()}
        times = []
        for i in range(samples):
            start = time.perf_counter()
            node.mount(f'timed-{i}', origin=tree.name)
            times.append((time.perf_counter() - start) * 1000)
            node.delete(f'timed-{i}')
        centiles = statistics.quantiles(times, n=100)
        figures |= {'samples': samples, 'create_p50_ms': centiles[49], 'create_p99_ms': centiles[98], 'create_min_ms': min(times)}
    return figures
