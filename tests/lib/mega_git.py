# SPDX-License-Identifier: Apache-2.0
"""Git's side of the stand-in for a Mega server: each directory is a repository of its own, with a main of one commit without parents over what the
directory has, and a refs/cl/<link> for each change list. A push of exactly one commit over main makes a change list, or moves the one that is
open; main never moves, and the answer does not tell the link.

Objects are those of the one repository; the refs of a directory are a Git namespace in it.
"""
import hashlib
import os
import random
import string
import subprocess
import threading

WHO = 'Mega <mega@example.org> 1600000000 +0000'


def packet(data):
    return b'%04x%s' % (len(data) + 4, data)


def packets(data):
    """The packets before the first flush, and what is behind it."""
    out, at = [], 0
    while True:
        size = int(data[at:at + 4], 16)
        if size == 0:
            return out, data[at + 4:]
        out.append(data[at + 4:at + size])
        at += size


class GitSide:
    def __init__(self, git):
        self.git, self.lock = git, threading.Lock()

    def run(self, *args, namespace=None, stdin=b'', check=True):
        env = dict(os.environ, GIT_AUTHOR_NAME='Mega', GIT_AUTHOR_EMAIL='mega@example.org', GIT_AUTHOR_DATE='1600000000 +0000',
                   GIT_COMMITTER_NAME='Mega', GIT_COMMITTER_EMAIL='mega@example.org', GIT_COMMITTER_DATE='1600000000 +0000')
        if namespace:
            env['GIT_NAMESPACE'] = namespace
        done = subprocess.run([*self.git.command(), *args], input=stdin, capture_output=True, env=env, check=False, timeout=60)
        if check and done.returncode:
            raise RuntimeError(done.stderr.decode())
        return done.stdout

    @staticmethod
    def name(path):
        return 'mega' + hashlib.sha1(path.strip(b'/')).hexdigest()[:12]

    def full(self, path, ref):
        return f'refs/namespaces/{self.name(path)}/{ref}'

    def refs(self, path):
        prefix = self.full(path, '')
        lines = self.run('for-each-ref', '--format=%(objectname) %(refname)', prefix).decode().split('\n')
        return {line.split(' ', 1)[1][len(prefix):]: line.split(' ', 1)[0] for line in lines if line}

    def prepare(self, path):
        """The advertisement itself makes the directory's main, over what it has now."""
        tree = self.git.walk(self.git.root(self.git.commit(self.git.main)), path)
        if tree is None:
            return
        main = self.refs(path).get('refs/heads/main')
        if not main or self.git.root(main) != tree:
            commit = self.run('commit-tree', '-m', 'synthetic', tree).decode().strip()
            self.run('update-ref', self.full(path, 'refs/heads/main'), commit)

    def advertise(self, path, service):
        with self.lock:
            self.prepare(path)
            data = self.run(service, '--stateless-rpc', '--advertise-refs', '.', namespace=self.name(path))
        return packet(b'# service=git-%s\n' % service.encode()) + b'0000' + data

    def serve(self, path, service, body):
        with self.lock:
            if service == 'receive-pack':
                return self.receive(path, body)
            return self.run('upload-pack', '--stateless-rpc', '.', namespace=self.name(path), stdin=body)

    def add_change(self, path, tree, link):
        with self.lock:
            self.prepare(path)
            main = self.refs(path)['refs/heads/main']
            commit = self.run('commit-tree', '-p', main, '-m', 'change ' + link, tree).decode().strip()
            self.run('update-ref', self.full(path, 'refs/cl/' + link), commit)
            return commit

    def files_of(self, link):
        """What a change list changes, by the ids alone: a file that only became executable is not in it."""
        with self.lock:
            names = self.run('for-each-ref', '--format=%(refname)', 'refs/namespaces').decode().split('\n')
            commit = next((name for name in names if name.endswith('/refs/cl/' + link)), None)
            if not commit:
                return None
            raw = self.run('diff-tree', '-r', '-z', '-M50%', '-l1000', commit + '^', commit).split(b'\0')
        out, at = [], 0
        while at < len(raw) - 1:
            _, _, old, new, status = raw[at].decode().split(' ')
            item = {'path': raw[at + 1].decode(), 'sha': new, 'action': {'A': 'new', 'D': 'deleted', 'R': 'renamed'}.get(status[0], 'modified')}
            at += 2
            if status[0] == 'R':
                item.update(old_path=item['path'], path=raw[at].decode(), similarity=int(status[1:]))
                at += 1
            if status[0] == 'D':
                item['sha'] = old
            if old != new or status[0] == 'R':
                out.append(item)
        return out

    def receive(self, path, body):
        commands, pack = packets(body)
        old, new, ref = commands[0].split(b'\0')[0].decode().strip().split(' ')
        unpacked = self.run('unpack-objects', '-q', stdin=pack, check=False) is not None
        why = self.refuse(path, old, new, ref) if len(commands) == 1 and unpacked else 'one command at a time'
        if not why:
            self.change(path, new)
        report = packet(b'unpack ok\n') + packet(f'ng {ref} {why}\n'.encode() if why else f'ok {ref}\n'.encode()) + b'0000'
        return packet(b'\x01' + report) + b'0000'

    def refuse(self, path, old, new, ref):
        main = self.refs(path).get('refs/heads/main')
        if ref != 'refs/heads/main':
            return 'only main can be pushed'
        if old != main:
            return 'ref hash conflict'
        parents = self.run('rev-list', '--parents', '-n', '1', new, check=False).decode().split()[1:]
        return '' if parents == [main] else 'only single commit support in each push'

    def change(self, path, commit):
        """The open change list of the user moves; all pushes here are of one user."""
        mine = [name for name in self.refs(path) if name.startswith('refs/cl/P')]
        link = 'P' + ''.join(random.choices(string.ascii_uppercase + string.digits, k=7))
        self.run('update-ref', self.full(path, mine[0] if mine else 'refs/cl/' + link), commit)
