#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a Mega server: serves a real Git repository over Mega's REST API, with its oddities, and fails by order.

  mega_server.py REPOSITORY [--port 8000]                     until it is ended; prints its URL

  with MegaServer(repository) as server:                      in a test
      server.fault('/file/blob/', 'status', status=500, times=2)
      ... server.url ... server.count('/file/blob/')

What it does as Mega does: latest-commit pins a revision; tree/content-hash lists one directory of a commit without sizes and modes, sorted by
(content_type, name), and says an empty list for what is not there; file/tree gives the tree object of the head only, empty on a mismatch;
file/blob gives a blob, HEAD too; commits/history gives a commit and those below it; cl/<link>/files-list
tells the files of a change list, without modes and commits; an unknown `refs` and a malformed id are 500; errors come in an envelope, 5xx without their reason; names
that are not UTF-8 are broken in JSON; directories of imported repositories ignore `refs`, and are found by plain prefix. Git's side is in mega_git.py.
"""
import argparse
import base64
import contextlib
import gzip
import hashlib
import http.server
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

from mega_git import GitSide

HEX40 = re.compile(r'[0-9a-f]{40}')


class Git:
    """Objects of a repository through one `git cat-file`."""

    def __init__(self, path):
        self.path, self.lock, self.cache = path, threading.Lock(), {}
        self.process = subprocess.Popen([*self.command(), 'cat-file', '--batch'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.main = 'main' if self.commit('main') else 'HEAD'

    def command(self):
        return ['git', '-c', 'safe.directory=*', '-C', self.path]

    def get(self, spec):
        """(id, type, bytes) or None. Only ids are remembered."""
        spec = spec if isinstance(spec, bytes) else spec.encode()
        if b'\n' in spec:
            return None
        with self.lock:
            if spec in self.cache:
                return self.cache[spec]
            self.process.stdin.write(spec + b'\n')
            self.process.stdin.flush()
            head = self.process.stdout.readline().split()
            if len(head) != 3:
                return None
            size = int(head[2])
            data = self.process.stdout.read(size + 1)[:-1]
            found = (head[0].decode(), head[1].decode(), data)
            if size < 1 << 20:
                self.cache[head[0]] = found
            return found

    def rev_parse(self, spec):
        done = subprocess.run([*self.command(), 'rev-parse', '-q', '--verify', spec], capture_output=True, text=True, check=False)
        return done.stdout.strip() or None

    def commit(self, spec):
        return self.rev_parse(spec + '^{commit}')

    def log(self, commit):
        """[[id, parents...]], newest first."""
        done = subprocess.run([*self.command(), 'rev-list', '--parents', commit], capture_output=True, text=True, check=True)
        return [line.split() for line in done.stdout.splitlines()]

    def root(self, commit):
        found = self.get(commit)
        return found[2].split(b'\n', 1)[0].split()[1].decode() if found and found[1] == 'commit' else None

    def walk(self, tree, path):
        """The id of the tree at a path of bytes, or None."""
        for name in [n for n in path.split(b'/') if n]:
            entry = next((e for e in self.entries(tree) if e[1] == name), None)
            if not entry or entry[0] != b'40000':
                return None
            tree = entry[2]
        return tree

    def entries(self, tree):
        """[(mode, name, id)]"""
        data, at, out = self.get(tree)[2], 0, []
        while at < len(data):
            space = data.index(b' ', at)
            nul = data.index(b'\0', space)
            out.append((data[at:space], data[space + 1:nul], data[nul + 1:nul + 21].hex()))
            at = nul + 21
        return out

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class NotFound(Exception):
    pass


class BadRequest(Exception):
    pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def answer(self):
        mega = self.server.mega
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        with mega.lock:
            mega.requests.append((self.command, self.path, dict(self.headers)))
            faults = mega.take_faults(self.command + ' ' + self.path)
        if mega.authorization and self.headers.get('Authorization') != mega.authorization:
            self.send(401, b'{}', 'application/json', {'WWW-Authenticate': 'Basic realm="Mega", Bearer realm="Mega"'})
            return
        for fault in faults:
            if not self.fail(fault):
                return
        if '.git/' in url.path:
            self.answer_git(url, body, faults)
            return
        query = dict(parse_qsl(url.query, keep_blank_values=True, encoding='utf-8', errors='surrogateescape'))
        try:
            status, data, kind = mega.route(self.command, url.path, query, body)
        except NotFound as e:
            status, data, kind = 404, mega.envelope(error=str(e)), 'application/json'
        except BadRequest as e:
            status, data, kind = 400, mega.envelope(error=str(e)), 'application/json'
        except Exception:  # whatever went wrong: a Mega server tells nothing about it
            status, data, kind = 500, mega.envelope(error='Internal server error'), 'application/json'
        for fault in faults:
            data = self.spoil(fault, data)
        cut = next((f for f in faults if f['action'] == 'cut'), None)
        self.send(status, data, kind, cut_after=cut and cut.get('after', len(data) // 2))

    def answer_git(self, url, body, faults):
        """Git's smart HTTP, which needs the token for pushes only."""
        mega = self.server.mega
        path, service = unquote_to_bytes(url.path).split(b'.git/', 1)
        asked = dict(parse_qsl(url.query)).get('service', service.decode()).removeprefix('git-')
        if asked == 'receive-pack' and mega.push_authorization and self.headers.get('Authorization') != mega.push_authorization:
            self.send(401, b'', 'text/plain', {'WWW-Authenticate': 'Basic realm="Mega", Bearer realm="Mega"'})
            return
        if self.headers.get('Content-Encoding') == 'gzip':
            body = gzip.decompress(body)
        try:
            if service == b'info/refs':
                data, kind = mega.git_side.advertise(path, asked), f'application/x-git-{asked}-advertisement'
            else:
                data, kind = mega.git_side.serve(path, asked, body), f'application/x-git-{asked}-result'
        except Exception:  # pylint: disable=broad-except
            self.send(500, mega.envelope(error='Internal server error'), 'application/json')
            return
        cut = next((f for f in faults if f['action'] == 'cut'), None)
        self.send(200, data, kind, {'Cache-Control': 'no-cache'}, cut_after=cut and cut.get('after', 0))

    def send(self, status, data, kind, headers=None, cut_after=None):
        self.send_response(status)
        self.send_header('Content-Type', kind)
        if not self.server.mega.chunked:
            self.send_header('Content-Length', str(len(data)))
        else:
            self.send_header('Transfer-Encoding', 'chunked')
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == 'HEAD':
            return
        if cut_after is not None:
            self.wfile.write(data[:cut_after])
            self.wfile.flush()
            self.reset()
        elif self.server.mega.chunked:
            for at in range(0, len(data), 50000):
                piece = data[at:at + 50000]
                self.wfile.write(b'%x\r\n%s\r\n' % (len(piece), piece))
            self.wfile.write(b'0\r\n\r\n')
        else:
            self.wfile.write(data)

    def reset(self):
        """Ends the connection with RST."""
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            self.connection.close()
        self.close_connection = True

    def fail(self, fault):
        """Before the answer is made. False: there is none."""
        action = fault['action']
        if action == 'slow':
            time.sleep(fault['seconds'])
        elif action == 'hang':
            self.server.mega.ended.wait(fault.get('seconds', 600))
            self.reset()
            return False
        elif action == 'reset':
            self.reset()
            return False
        elif action == 'garbage':
            self.wfile.write(b'this is not HTTP\r\n\r\n')
            self.close_connection = True
            return False
        elif action == 'status':
            extra = {'Retry-After': str(fault['retry_after'])} if 'retry_after' in fault else {}
            self.send(fault['status'], self.server.mega.envelope(error='by order'), 'application/json', extra)
            return False
        elif action == 'redirect':
            self.send(fault.get('status', 302), b'', 'text/plain', {'Location': fault['to'] + self.path})
            return False
        return True

    @staticmethod
    def spoil(fault, data):
        if fault['action'] == 'empty':
            return b''
        if fault['action'] == 'lie' and data:
            return bytes([data[0] ^ 1]) + data[1:]
        if fault['action'] == 'replace':
            return fault['data'].encode()
        if fault['action'] == 'short':
            return data[:-1]
        return data


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        pass  # connections that break are the point

    def finish_request(self, request, client_address):
        if self.mega.tls:
            request.settimeout(30)
            request = self.mega.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)


class Mega:
    """The server, on threads of this process."""

    def __init__(self, repository, port=0, imports=None, import_dir='/third-party', tls=None, address='127.0.0.1',
                 authorization=None, chunked=False, push_authorization=None, client_ca=None):
        """imports: {path: repository}; tls: (certificate file, key file); client_ca: only for who has a certificate of that authority."""
        self.git = Git(repository)
        self.git_side = GitSide(self.git)
        self.push_authorization = push_authorization  # what a push must bring
        self.imports = {path.encode(): Git(repo) for path, repo in (imports or {}).items()}
        self.import_dir = import_dir.encode()
        self.lock = threading.Lock()
        self.requests, self.faults = [], []
        self.authorization = authorization  # what a request must bring
        self.chunked = chunked              # answer without lengths
        self.lfs = {}  # sha256 -> bytes
        self.lfs_href = None       # where downloads are said to be; None: here
        self.ended = threading.Event()
        self.tls = None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
            if client_ca:
                self.tls.load_verify_locations(client_ca)
                self.tls.verify_mode = ssl.CERT_REQUIRED
        self.listener = Listener((address, port), Handler)
        self.listener.mega = self
        self.port = self.listener.server_address[1]
        self.url = f'{"https" if tls else "http"}://{address}:{self.port}'
        self.thread = threading.Thread(target=self.listener.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True)

    # ---- switches ----

    def fault(self, match, action, times=None, **more):
        """The next `times` (None: all) requests whose "METHOD /path?query" contains the pattern; see Handler.fail and spoil."""
        with self.lock:
            self.faults.append(dict(more, match=re.compile(match), action=action, times=times))

    def heal(self):
        with self.lock:
            self.faults = []

    def set(self, **values):
        for key, value in values.items():
            setattr(self, key, value)

    def seen(self):
        with self.lock:
            return list(self.requests)

    def add_lfs_base64(self, text):
        return self.add_lfs(base64.b64decode(text)).decode()

    def take_faults(self, line):
        taken = []
        for fault in self.faults:
            if fault['times'] != 0 and fault['match'].search(line):
                if fault['times'] is not None:
                    fault['times'] -= 1
                taken.append(fault)
        return taken

    def count(self, match):
        with self.lock:
            return sum(1 for method, path, _ in self.requests if re.search(match, method + ' ' + path))

    # ---- what Mega answers ----

    @staticmethod
    def envelope(data=None, error=''):
        return json.dumps({'req_result': not error, 'data': data, 'err_message': error}).encode()

    def route(self, method, path, query, body):
        where = query.get('path', '/').encode('utf-8', 'surrogateescape')
        refs = query.get('refs', '')
        if path == '/api/v1/status':
            return 200, b'http ready', 'text/plain'
        if path == '/api/v1/latest-commit':
            return 200, json.dumps(self.latest_commit(where, refs)).encode(), 'application/json'
        if path == '/api/v1/tree/content-hash':
            return 200, self.envelope(self.content_hash(where, refs)), 'application/json'
        if path == '/api/v1/tree/path-can-clone':
            inside = where.startswith(self.import_dir + b'/')
            return 200, self.envelope(where in self.imports if inside else True), 'application/json'
        if method == 'POST' and path == '/api/v1/commits/history':
            return 200, self.envelope(self.history(json.loads(body))), 'application/json'
        if re.fullmatch('/api/v1/cl/[^/]+/files-list', path):
            return 200, self.envelope(self.files_list(path.split('/')[4])), 'application/json'
        if path == '/api/v1/file/tree':
            return 200, self.file_tree(where, query.get('oid', '')), 'application/octet-stream'
        if path.startswith('/api/v1/file/blob/'):
            return 200, self.file_blob(path.rsplit('/', 1)[1]), 'application/octet-stream'
        if method == 'POST' and path in ('/api/v1/lfs/objects/batch', '/info/lfs/objects/batch'):
            return 200, self.lfs_batch(json.loads(body)), 'application/vnd.git-lfs+json'
        if method == 'PUT' and path.startswith('/info/lfs/objects/'):
            return self.lfs_put(path.rsplit('/', 1)[1], body), b'', 'application/octet-stream'
        if method == 'POST' and path == '/info/lfs/verify':
            return self.lfs_verify(json.loads(body)), b'{}', 'application/vnd.git-lfs+json'
        if '/info/lfs/objects/' in path or '/api/v1/lfs/objects/' in path:
            return 200, self.lfs_object(path.rsplit('/', 1)[1]), 'application/octet-stream'
        raise NotFound('Operation not supported')

    def import_of(self, where):
        """(repository, path in it), as the database finds it: by prefix."""
        for path in sorted(self.imports, key=len, reverse=True):
            if where.startswith(path):
                return self.imports[path], where[len(path):]
        return None

    def latest_commit(self, where, refs):
        found = self.import_of(where)
        git, where = found if found else (self.git, where)
        if refs in ('', 'main', 'master', 'refs/heads/main'):
            commit = git.commit(git.main)
        elif re.fullmatch('[0-9a-f]{7,40}', refs):
            commit = git.commit(refs)
        else:
            commit = git.commit('refs/tags/' + refs.removeprefix('refs/tags/'))
        if not commit:
            raise BadRequest('invalid refs')
        if git.walk(git.root(commit), where) is None:
            raise NotFound('path not found')
        lines = git.get(commit)[2].decode('utf-8', 'replace')
        date = re.search(r'^committer .* (\d+) [-+]\d+$', lines, re.M).group(1)
        who = {'display_name': 'someone', 'avatar_url': ''}
        return {'oid': commit, 'date': date, 'short_message': lines.split('\n\n', 1)[1].split('\n')[0], 'author': who,
                'committer': who, 'status': 'success'}

    def content_hash(self, where, refs):
        found = self.import_of(where)
        if found:  # refs are ignored
            git, where = found
            commit = git.commit(git.main)
        else:
            git = self.git
            commit = git.commit(git.main) if not refs else refs if HEX40.fullmatch(refs) else git.commit('refs/tags/' + refs)
        root = git.root(commit)
        if not root:
            raise RuntimeError('unknown refs')
        tree = git.walk(root, where)
        if tree is None:
            return []
        items = [{'name': name.decode('utf-8', 'replace'), 'content_type': 'directory' if mode == b'40000' else 'file', 'oid': oid}
                 for mode, name, oid in git.entries(tree)]
        return sorted(items, key=lambda item: (item['content_type'], item['name']))

    def history(self, request):
        asked = request['additional']
        commit = self.git.commit(asked['refs'])
        if not commit or self.git.walk(self.git.root(commit), asked['path'].encode()) is None:
            raise NotFound('no such commit')
        count = int(request['pagination'].get('per_page', 20))
        skip = count * (int(request['pagination']['page']) - 1)
        items = [{'sha': sha, 'short_message': '', 'date': '', 'gpg_status': 'NoSignature', 'parents': parents}
                 for sha, *parents in self.git.log(commit)[skip:skip + count]]
        return {'total': len(self.git.log(commit)), 'items': items}

    def files_list(self, link):
        files = self.git_side.files_of(link)
        if files is None:
            raise NotFound('no such change list')
        return files

    def add_change(self, path, tree, link):
        return self.git_side.add_change(path.encode(), tree, link)

    def refs_of(self, path):
        return self.git_side.refs(path.encode())

    def file_tree(self, where, oid):
        found = self.import_of(where)
        git, where = found if found else (self.git, where)
        tree = git.walk(git.root(git.commit(git.main)), where)
        if tree is None or (oid and oid != tree):
            return b''
        return git.get(tree)[2]

    def file_blob(self, oid):
        if not re.fullmatch('[0-9a-fA-F]{40}|[0-9a-fA-F]{64}', oid):
            raise RuntimeError('not an id')
        for git in (self.git, *self.imports.values()):
            found = git.get(oid.lower())
            if found and found[1] == 'blob':
                return found[2]
        raise NotFound('blob not found')

    def lfs_batch(self, request):
        base = self.lfs_href or self.url + '/info/lfs'
        objects = []
        for wanted in request['objects']:
            item = {'oid': wanted['oid'], 'size': wanted['size']}
            if request['operation'] == 'upload':
                if wanted['oid'] not in self.lfs:
                    item['actions'] = {'upload': {'href': f'{base}/objects/{wanted["oid"]}', 'header': {'X-Lfs': 'up'}},
                                       'verify': {'href': f'{base}/verify', 'header': {'X-Lfs': 'verify'}}}
            elif wanted['oid'] in self.lfs:
                item['actions'] = {'download': {'href': f'{base}/objects/{wanted["oid"]}', 'header': {'X-Lfs': 'yes'}}}
            else:
                item['error'] = {'code': 404, 'message': 'not found'}
            objects.append(item)
        return json.dumps({'transfer': 'basic', 'objects': objects, 'hash_algo': 'sha256'}).encode()

    def lfs_put(self, oid, data):
        if hashlib.sha256(data).hexdigest() != oid:
            raise BadRequest('not what was announced')
        self.lfs[oid] = data
        return 200

    def lfs_verify(self, told):
        if len(self.lfs.get(told['oid'], b'')) != told['size']:
            raise NotFound('no such object')
        return 200

    def lfs_object(self, oid):
        if oid not in self.lfs:
            raise NotFound('no such object')
        return self.lfs[oid]

    def add_lfs(self, data):
        """The pointer's text."""
        oid = hashlib.sha256(data).hexdigest()
        self.lfs[oid] = data
        return f'version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n'.encode()

    @staticmethod
    def basic(user, password):
        return 'Basic ' + base64.b64encode(f'{user}:{password}'.encode()).decode()

    # ---- life ----

    def start(self):
        self.thread.start()
        return self

    def close(self):
        self.ended.set()
        self.listener.shutdown()
        self.listener.server_close()
        self.thread.join(10)
        for git in (self.git, *self.imports.values()):
            git.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()


class MegaServer:
    """The same as a process of its own, ended with this one. (The end of one of our own children would interrupt system calls
    of a test in the mount.)"""

    def __init__(self, repository, **options):
        """options: as of Mega."""
        self.process = subprocess.Popen(
            ['/usr/bin/python3', '-B', os.path.abspath(__file__), repository, '--control', json.dumps(options)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        self.port = int(self.url.rsplit(':', 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def call(self, name, *args, **more):
        self.process.stdin.write(json.dumps([name, args, more]) + '\n')
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def fault(self, match, action, **more):
        self.call('fault', match, action, **more)

    def heal(self):
        self.call('heal')

    def count(self, match):
        return self.call('count', match)

    def set(self, **values):
        self.call('set', **values)

    def requests(self):
        """[(method, path, headers)]"""
        return self.call('seen')

    def add_lfs(self, data):
        return self.call('add_lfs_base64', base64.b64encode(data).decode()).encode()

    def add_change(self, path, tree, link):
        """A change list as another user would make it: its commit."""
        return self.call('add_change', path, tree, link)

    def refs_of(self, path):
        """{name: id} that the directory advertises."""
        return self.call('refs_of', path)

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def serve_control(server):
    """One JSON line in, one out: [method, arguments, named arguments]. Ends with the pipe."""
    for line in sys.stdin:
        name, args, more = json.loads(line)
        print(json.dumps(getattr(server, name)(*args, **more)), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('repository')
    p.add_argument('--port', type=int, default=0)
    p.add_argument('--control', metavar='OPTIONS', help='JSON; orders come from standard input, whose end is the end')
    a = p.parse_args()
    with Mega(a.repository, **{'port': a.port, **json.loads(a.control or '{}')}) as server:
        print(server.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            if a.control:
                serve_control(server)
            else:
                threading.Event().wait()
    return 0


if __name__ == '__main__':
    sys.exit(main())
