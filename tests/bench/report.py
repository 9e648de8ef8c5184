# SPDX-License-Identifier: Apache-2.0
"""Turns results into a Markdown page, with the machine, the command and a verdict per target."""
import os
import platform
import resource
import subprocess
import time

import nullfs

NOTES = '<!-- Below this line the page is written by hand; run.py keeps it. -->'
LIVE_TARGETS = (('create_p50_ms', 'CreateMount to READY, p50', 3, 'ms'), ('create_p99_ms', 'CreateMount to READY, p99', 10, 'ms'),
                ('rss_mib', 'RSS of the daemon', 64, 'MiB'))


def first_line(*argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        lines = (done.stdout + done.stderr).strip().splitlines()
        return lines[0] if lines else '?'
    except FileNotFoundError:
        return 'absent'


def round_trip_us(workload):
    """CPU of a byte to another process on the same CPU and back: the least of three."""
    count, best = 50000, float('inf')
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([workload, 'round-trips', str(count)], check=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best / count * 1e6


def machine():
    with open('/proc/cpuinfo', encoding='ascii', errors='replace') as f:
        model = next((line.split(':', 1)[1].strip() for line in f if line.startswith('model name')), platform.machine())
    with open('/proc/meminfo', encoding='ascii') as f:
        memory = int(f.readline().split()[1]) >> 20
    return {'cpu': f'{os.cpu_count()} × {model}', 'memory': f'{memory} GiB', 'kernel': platform.release(),
            'libfuse': first_line('pkg-config', '--modversion', 'fuse3'),
            'fuse-overlayfs': first_line('dpkg-query', '-W', '-f', '${Version}', 'fuse-overlayfs'),
            'compiler': first_line('cc', '--version'), 'date': time.strftime('%Y-%m-%d', time.gmtime()),
            'load': f'{os.getloadavg()[2]:.1f}'}


def silent(messages, allowed):
    """Did a warm row send nothing but what it may? FORGETs are the kernel's own, of whatever was there before."""
    loud = {name: count for name, count in messages.items() if name not in ('GETATTR', 'FORGET', 'BATCH_FORGET')}
    return not loud and messages.get('GETATTR', 0) <= allowed


COMPARED = {'native': ('native', 'native'), 'kernel': ('kernel', 'kernel overlayfs'), 'fuse': ('fuse-overlayfs', 'fuse-overlayfs')}


def judge(bench, row, target):
    """(what was promised, what was measured, met?) or None if a column is missing; met is None if nobody can say."""
    us = bench.results.summary(row.name, 'coppice')
    if not us:
        return None
    if target.kind == 'rate':
        figure = row.operations(bench) / us['wall']
        return f'≥ {target.limit:,.0f}/s', f'{figure:,.0f}/s', figure >= target.limit
    if target.kind == 'each':
        figure = us['cpu'] / row.operations(bench) * 1e6
        return f'≤ {target.limit:g} µs each', f'{figure:.1f} µs', figure <= target.limit
    if target.kind == 'silent':
        tree = next(bench.corpus[g.tree] for g in bench.groups if row in g.rows)
        allowed = int(target.limit * (tree.files + tree.directories))
        if not bench.results.undisturbed(row.name, 'coppice'):
            return 'silent', "others dropped the kernel's caches", None
        met = silent(us['messages'], allowed)
        return 'silent', 'silent' if met else 'messages', met
    column, title = COMPARED[target.kind]
    other = bench.results.summary(row.name, column)
    if not other or not other['cpu']:
        return None
    figure = us['cpu'] / other['cpu']
    return f'≤ {target.limit:g} × {title}', f'{figure:.2f}', figure <= target.limit


def cell(bench, row, column):
    summary, native = bench.results.summary(row.name, column), bench.results.summary(row.name, 'native')
    if not summary:
        return '–'
    text = f'{summary["cpu"]:.2f}'
    if column != 'native' and native and native['cpu'] > 0:
        text += f' ({summary["cpu"] / native["cpu"]:.2f}×)'
    return text


def verdicts(bench, row):
    words = {True: '{0}: met', False: '{0}: **not met** ({1})', None: '{0}: not judged ({1})'}
    judged = [j for j in (judge(bench, row, t) for t in row.targets) if j]
    return '; '.join(words[met].format(promise, figure) for promise, figure, met in judged) or '–'


def messages_text(bench, row):
    summary = bench.results.summary(row.name, 'coppice')
    if not summary:
        return '–'
    text = ', '.join(f'{count:,} {name}' for name, count in summary['messages'].items()) or 'none'
    return text if bench.results.undisturbed(row.name, 'coppice') else text + ' (caches dropped)'


def cpu_table(bench):
    head = ['workload', *(c.title for c in bench.columns), 'µs each', 'targets of Coppice']
    lines = ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
    for row in bench.rows():
        us = bench.results.summary(row.name, 'coppice')
        each = f'{us["cpu"] / row.operations(bench) * 1e6:.1f}' if us else '–'
        cells = [row.title, *(cell(bench, row, c.name) for c in bench.columns), each, verdicts(bench, row)]
        lines.append('| ' + ' | '.join(cells) + ' |')
    return lines


def detail_table(bench):
    head = ['workload', *(c.title for c in bench.columns), 'daemon CPU', 'messages to the daemon']
    lines = ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
    for row in bench.rows():
        walls = []
        for column in bench.columns:
            s = bench.results.summary(row.name, column.name)
            walls.append(f'{s["wall"]:.2f} / {s["wall_median"]:.2f}' if s else '–')
        us = bench.results.summary(row.name, 'coppice')
        lines.append('| ' + ' | '.join([row.title, *walls, f'{us["server"]:.2f}' if us else '–', messages_text(bench, row)]) + ' |')
    return lines


def live_table(figures):
    lines = ['| figure | measured | target |', '|---|---|---|']
    for key, title, limit, unit in LIVE_TARGETS:
        verdict = 'met' if figures[key] <= limit else '**not met**'
        lines.append(f'| {title} | {figures[key]:.2f} {unit} | ≤ {limit} {unit}: {verdict} |')
    met = figures['threads'] <= figures['threads_before'] + 8
    lines.append(f'| threads, with 1 workspace and with {figures["live"] + 1} | {figures["threads_before"]}, {figures["threads"]} | '
                 f'none per workspace: {"met" if met else "**not met**"} |')
    return lines


def busy(facts):
    """The benchmark itself is a load of 1 to 2."""
    return f' Load average {facts["load"]}: others were at work on this machine.' if float(facts.get('load', 0)) > 2.5 else ''


def page(bench, command, rounds, live, facts):
    lines = ['# Benchmarks', '',
             f'Written by `{command}` on {facts["date"]}. {facts["cpu"]}, {facts["memory"]}; Linux {facts["kernel"]}, libfuse '
             f'{facts["libfuse"]}, fuse-overlayfs {facts["fuse-overlayfs"]}, {facts["compiler"]}. A byte to another process on the same CPU and back costs {facts["round_trip"]} µs of CPU here (a pipe); a request '
             'to a daemon cannot cost less.' + busy(facts), '',
             f'All columns of a row run interleaved, {rounds} rounds, scale {bench.corpus.scale:g}. CPU is that of the client and of the '
             'process that serves it, in seconds; a cell is the minimum, in brackets as a multiple of native (ext4, always warm). Cold '
             'means a fresh mount; blobs are on the local disk, the index is warm. Warm rows make 3 passes (negative lookups 12). Below '
             'about 1.3 × single differences are noise on a shared machine; message counts are not.', '', '## CPU', '']
    lines += cpu_table(bench)
    lines += ['', 'µs each: CPU of Coppice per file, name or write. Silent: no message to the daemon; for the second find and the '
              'second read, none but one GETATTR per inode (after a READ or READDIR the kernel doubts the access time).', '', '## Wall time and messages', '',
              'Wall in seconds, minimum / median.', '']
    lines += detail_table(bench)
    if facts.get('requests'):
        lines += ['', '## A filesystem that does nothing', '',
                  'CPU of a request, client and server together, when the server answers at once from constants, on the CPU of the client and without a library '
                  '(`bench_workload nullfs`). It is what the kernel takes for FUSE on this machine; Coppice, or any filesystem in userspace, comes on top.', '']
        lines += nullfs.table(facts['requests'])
    if live:
        lines += ['', f'## {live["live"]} idle workspaces of one tenant', '',
                  f'CreateMount on an indexed revision with {live["live"]} live workspaces, {live["samples"]} calls over the unix socket '
                  'from Python, each mount deleted again.', '']
        lines += live_table(live)
    return '\n'.join(lines) + '\n'


def write(path, text):
    """Replaces the measured part of a page and keeps the notes."""
    notes = ''
    if os.path.exists(path):
        with open(path, encoding='utf-8') as f:
            old = f.read()
        notes = old[old.index(NOTES):] if NOTES in old else ''
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text + '\n' + (notes or NOTES + '\n'))


def replace_section(path, begin, end, text):
    """The part of a page between two marks, which are part of it; at the page's end if it is new."""
    with open(path, encoding='utf-8') as f:
        old = f.read()
    if begin in old and end in old:
        text = old[:old.index(begin)] + text + old[old.index(end) + len(end):]
    else:
        text = f'{old}\n{text}\n'
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
