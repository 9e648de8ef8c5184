# SPDX-License-Identifier: Apache-2.0
"""A private redis-server for a test, or a cluster of them, and a client of a few lines.

  with RedisServer() as redis:
      redis.url                                # redis://127.0.0.1:PORT
      redis('SET', 'a', b'b')                  # b'OK'; RedisError for an error
      redis.pause(); redis.go_on()             # SIGSTOP: accepts connections and says nothing
      redis.kill(); redis.start()
  RedisServer(local=True)  RedisServer(tls=True)  RedisServer(password='x')  RedisServer(acl='user u on >p ~coppice:* +get')
  with RedisCluster(replicas=1) as cluster: cluster.url

Servers listen on loopback at free ports, save nothing, end with the test (also if it is killed) and are stopped by their pid.
"""
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from ports import free_port

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
START_SECONDS = 20


class RedisError(Exception):
    pass


class Connection:
    """One connection, one command at a time."""

    def __init__(self, sock):
        self.sock, self.file = sock, sock.makefile('rb')

    def close(self):
        self.file.close()
        self.sock.close()

    def __call__(self, *args):
        parts = [a if isinstance(a, bytes) else str(a).encode() for a in args]
        self.sock.sendall(b'*%d\r\n' % len(parts) + b''.join(b'$%d\r\n%s\r\n' % (len(p), p) for p in parts))
        return self.read()

    def read(self):
        line = self.file.readline()
        if not line.endswith(b'\r\n'):
            raise ConnectionError('redis closed the connection')
        kind, rest = line[:1], line[1:-2]
        if kind == b'-':
            raise RedisError(rest.decode())
        if kind == b':':
            return int(rest)
        if kind == b'$':
            return None if rest == b'-1' else self.file.read(int(rest) + 2)[:-2]
        if kind == b'*':
            return None if rest == b'-1' else [self.read() for _ in range(int(rest))]
        return rest


def make_certificates(folder):
    """ca.pem, server.pem and server.key for 127.0.0.1 and localhost, client.pem and client.key; expired.pem, and other-ca.pem."""
    def run(*args, **kw):
        subprocess.run(['openssl', *args], check=True, capture_output=True, timeout=60, cwd=folder, **kw)
    for ca in ('ca', 'other-ca'):
        run('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', f'/CN={ca}',
            '-keyout', f'{ca}.key', '-out', f'{ca}.pem')
    with open(os.path.join(folder, 'san'), 'w', encoding='ascii') as f:
        f.write('subjectAltName=IP:127.0.0.1,DNS:localhost\n')
    for name in ('server', 'client'):
        run('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', f'/CN={name}', '-keyout', f'{name}.key',
            '-out', f'{name}.csr')
        run('x509', '-req', '-in', f'{name}.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2',
            '-extfile', 'san', '-out', f'{name}.pem')


class RedisServer:
    def __init__(self, local=False, tls=False, password='', acl=(), options=(), cluster=False):
        """acl: lines of an ACL file; options: more of the configuration, as lines."""
        self.base = tempfile.mkdtemp(prefix='cop-redis-', dir='/var/tmp')
        os.chmod(self.base, 0o755)
        self.local, self.tls, self.password, self.acl, self.options, self.cluster = local, tls, password, acl, list(options), cluster
        self.port = 0 if local else free_port(above=10000 if cluster else 0)
        self.process, self.connection = None, None
        if tls:
            make_certificates(self.base)

    def path(self, name):
        return os.path.join(self.base, name)

    @property
    def url(self):
        return f'unix://{self.path("sock")}' if self.local else f'redis{"s" if self.tls else ""}://127.0.0.1:{self.port}'

    def lines(self):
        lines = ['bind 127.0.0.1', f'dir {self.base}', 'save ""', 'appendonly no', 'repl-diskless-sync-delay 0', 'daemonize no', f'unixsocket {self.path("sock")}',
                 'unixsocketperm 777', 'enable-debug-command yes', f'port {0 if self.tls or self.local else self.port}']
        if self.tls:
            lines += [f'tls-port {self.port}', f'tls-cert-file {self.path("server.pem")}', f'tls-key-file {self.path("server.key")}',
                      f'tls-ca-cert-file {self.path("ca.pem")}', 'tls-auth-clients yes']
        if self.password:
            lines.append(f'requirepass {self.password}')
        if self.cluster:
            lines += ['cluster-enabled yes', 'cluster-node-timeout 1000', 'cluster-require-full-coverage no']
        if self.acl:
            lines.append(f'aclfile {self.path("acl")}')
            with open(self.path('acl'), 'w', encoding='ascii') as f:
                f.write('\n'.join(self.acl) + '\n')
        return lines + self.options

    def start(self):
        with open(self.path('conf'), 'w', encoding='ascii') as f:
            f.write('\n'.join(self.lines()) + '\n')
        with open(self.path('log'), 'ab') as log:
            self.process = subprocess.Popen(['redis-server', self.path('conf')], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=lambda: _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self('PING')
                return self
            except (OSError, ConnectionError) as e:
                if self.process.poll() is not None or time.monotonic() > end:
                    with open(self.path('log'), encoding='utf-8', errors='replace') as f:
                        raise AssertionError(f'redis-server does not answer ({e}):\n{f.read()[-2000:]}') from None
                time.sleep(0.02)

    def __call__(self, *args):
        """A command, over the Unix socket: it works whatever TCP is told to do."""
        if not self.connection:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(START_SECONDS)
            try:
                sock.connect(self.path('sock'))
            except OSError:
                sock.close()
                raise
            self.connection = Connection(sock)
            if self.password:
                self.connection('AUTH', self.password)
        return self.connection(*args)

    def keys(self, pattern='coppice:*'):
        return sorted(self('KEYS', pattern))

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def forget_connection(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def kill(self):
        self.forget_connection()
        if self.process:
            self.process.kill()
            self.process.wait(START_SECONDS)
        self.process = None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.kill()
        shutil.rmtree(self.base, ignore_errors=True)


class RedisCluster:
    """Three masters, each with `replicas` replicas. The slots are in three equal parts."""

    def __init__(self, replicas=0, options=()):
        self.nodes = [RedisServer(cluster=True, options=options) for _ in range(3 * (1 + replicas))]
        self.masters, self.replicas = self.nodes[:3], self.nodes[3:]

    @property
    def url(self):
        return 'redis+cluster://' + ','.join(f'127.0.0.1:{n.port}' for n in self.masters[:2])

    def ids(self):
        return [n('CLUSTER', 'MYID').decode() for n in self.nodes]

    def wait(self, condition, what):
        end = time.monotonic() + START_SECONDS
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f'the cluster does not get there: {what}')
            time.sleep(0.02)

    def __enter__(self):
        try:
            for n in self.nodes:
                n.start()
            for i, n in enumerate(self.masters):
                n('CLUSTER', 'ADDSLOTSRANGE', i * 16384 // 3, (i + 1) * 16384 // 3 - 1)
            for n in self.nodes[1:]:
                n('CLUSTER', 'MEET', '127.0.0.1', self.nodes[0].port)
            self.wait(lambda: all(n('CLUSTER', 'INFO').count(b'cluster_known_nodes:%d' % len(self.nodes)) for n in self.nodes), 'meet')
            ids = self.ids()
            for i, n in enumerate(self.replicas):
                self.wait(lambda n=n, i=i: self.tries(n, 'CLUSTER', 'REPLICATE', ids[i % 3]), 'replicate')
            self.wait(lambda: all(b'cluster_state:ok' in n('CLUSTER', 'INFO') for n in self.nodes), 'ok')
            self.wait(lambda: all(b'master_link_status:up' in n('INFO', 'replication') for n in self.replicas), 'replicas')
            return self
        except BaseException:
            self.close()
            raise

    @staticmethod
    def tries(node, *args):
        try:
            node(*args)
            return True
        except RedisError:
            return False

    def keys(self):
        return sorted(k for n in self.masters for k in n.keys())

    def close(self):
        for n in self.nodes:
            n.close()

    def __exit__(self, *_):
        self.close()
