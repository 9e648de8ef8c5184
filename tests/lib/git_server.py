# SPDX-License-Identifier: Apache-2.0
"""Real Git servers on loopback, for tests and benchmarks. Each is stopped, by its pid, when its `with` block ends.

  with HttpServer(folder, {'repo.git': '/srv/repo.git'}) as server:
      server.url('repo.git')                        # http://127.0.0.1:PORT/git/repo.git
      server.requests('POST')                       # lines of the access log
  HttpServer(..., password='secret')                # basic authentication as user `builder`
  HttpServer(..., tls=Authority(folder))            # https; client_ca=True: only with a certificate of that authority
  HttpServer(..., faulty=True).fault(status=500)    # see git_backend.py; fault() without arguments: none any more
  with DaemonServer(folder, repos) as server: ...   # git://
  with SshServer(folder, repos) as server: ...      # ssh://, with keys of its own: see client_options

`allow_filter=False` is a server that cannot do partial clones; `object_info=True` one that tells sizes. Git before 2.41 or so offers
object-info whatever it is told: over HTTP the offer is taken out of its answers, over the others it stays.
"""
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time

from ports import free_port

USER = 'builder'


def wait_port(port, process, seconds=20):
    end = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(('127.0.0.1', port), 1):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f'the server on port {port} does not start') from None
            time.sleep(0.02)


class Server:
    """A folder with links to the repositories, and a process."""

    def __init__(self, folder, repos, allow_filter=True, object_info=False):
        self.folder = os.path.join(folder, f'{type(self).__name__}-{os.urandom(4).hex()}')
        self.root = os.path.join(self.folder, 'git')
        self.repos, self.process, self.object_info = dict(repos), None, object_info
        self.git_settings = {'safe.directory': '*', 'uploadpack.allowFilter': str(allow_filter).lower(),
                             'transfer.advertiseObjectInfo': str(object_info).lower()}
        os.makedirs(self.root)
        for name, target in self.repos.items():
            os.symlink(target, os.path.join(self.root, name))
        self.port = free_port()

    def settings(self):
        env = {'GIT_CONFIG_NOSYSTEM': '1', 'GIT_CONFIG_GLOBAL': '/dev/null', 'GIT_CONFIG_COUNT': str(len(self.git_settings))}
        for i, (key, value) in enumerate(self.git_settings.items()):
            env[f'GIT_CONFIG_KEY_{i}'], env[f'GIT_CONFIG_VALUE_{i}'] = key, value
        return env

    def command(self):
        raise NotImplementedError

    def start(self):
        with open(os.path.join(self.folder, 'output'), 'ab') as out:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder,
                                            env=dict(os.environ, **self.settings()), start_new_session=True)
        wait_port(self.port, self.process)

    def stop(self):
        if not self.process:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # its session: itself and what it has started
        except ProcessLookupError:
            pass
        self.process.wait(20)
        self.process = None

    def hide(self, name):
        os.unlink(os.path.join(self.root, name))

    def show(self, name):
        os.symlink(self.repos[name], os.path.join(self.root, name))

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()


class Authority:
    """A certificate authority, and certificates for 127.0.0.1 signed by it."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, f'authority-{os.urandom(4).hex()}')
        os.makedirs(self.folder)
        self.ca = self.path('ca.pem')
        self.openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
                     '-subj', '/CN=test authority', '-keyout', self.path('ca.key'), '-out', self.ca)

    def path(self, name):
        return os.path.join(self.folder, name)

    def openssl(self, *args):
        subprocess.run(['openssl', *args], check=True, capture_output=True, timeout=60)

    def sign(self, name, days=2):
        """Files with a key and its certificate; days=-1: expired."""
        request, key, certificate = (self.path(f'{name}.{kind}') for kind in ('csr', 'key', 'crt'))
        self.openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', f'/CN={name}',
                     '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', request)
        self.openssl('x509', '-req', '-in', request, '-CA', self.ca, '-CAkey', self.path('ca.key'), '-CAcreateserial',
                     '-copy_extensions', 'copyall', '-days', str(days), '-out', certificate)
        return key, certificate

    def server(self, days=2):
        """One file with key and certificate."""
        both = self.path('server.pem')
        files = self.sign('127.0.0.1', days)
        with open(both, 'wb') as out:
            for name in files:
                with open(name, 'rb') as f:
                    out.write(f.read())
        return both


BACKEND = '/usr/lib/git-core/git-http-backend'
BACKEND_WITH_FAULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'git_backend.py')
# A CGI program like it that does not offer object-info.
BACKEND_WITHOUT_SIZES = f"""#!/bin/sh
test "$REQUEST_METHOD" = GET || exec {BACKEND}
{BACKEND} | LC_ALL=C sed '/^0010object-info$/d'
"""


class HttpServer(Server):
    """lighttpd in front of git-http-backend."""

    def __init__(self, folder, repos, password=None, tls=None, days=2, client_ca=False, faulty=False, **options):
        super().__init__(folder, repos, **options)
        self.password, self.tls, self.days, self.client_ca, self.faulty = password, tls, days, client_ca, faulty
        self.log = os.path.join(self.folder, 'access.log')
        open(self.log, 'wb').close()

    def url(self, name):
        return f'{"https" if self.tls else "http"}://127.0.0.1:{self.port}/git/{name}'

    def fault(self, **fault):
        path = os.path.join(self.folder, 'fault')
        with open(path + '.new', 'w', encoding='utf-8') as f:
            json.dump(fault, f)
        os.rename(path + '.new', path)

    def backend(self):
        if self.faulty:
            self.fault()
            text = f'#!/bin/sh\nexec /usr/bin/python3 -BSE {BACKEND_WITH_FAULTS} {self.folder}/fault\n'
        elif self.object_info:
            return BACKEND
        else:
            text = BACKEND_WITHOUT_SIZES
        path = os.path.join(self.folder, 'backend')
        with open(path, 'w', encoding='ascii') as f:
            f.write(text)
        os.chmod(path, 0o755)
        return path

    def command(self):
        settings = dict(self.settings(), GIT_PROJECT_ROOT=self.root, GIT_HTTP_EXPORT_ALL='1')
        modules = ['mod_setenv', 'mod_alias', 'mod_accesslog', 'mod_auth', 'mod_authn_file', 'mod_cgi']
        lines = [f'server.document-root = "{self.folder}"', f'server.port = {self.port}', 'server.bind = "127.0.0.1"',
                 f'accesslog.filename = "{self.log}"', 'accesslog.format = "%h %V \\"%r\\" %s %b auth=%{Authorization}i"',
                 'server.max-keep-alive-requests = 100000', 'server.max-keep-alive-idle = 30',
                 'server.stream-response-body = 2',  # as other servers do: not the whole answer before its first byte
                 f'alias.url = ("/git" => "{self.backend()}")', 'cgi.assign = ("" => "")',
                 'setenv.add-environment = (' + ', '.join(f'"{k}" => "{v}"' for k, v in settings.items()) + ')']
        if self.password:
            users = os.path.join(self.folder, 'users')
            with open(users, 'w', encoding='ascii') as f:
                f.write(f'{USER}:{self.password}\n')
            lines += ['auth.backend = "plain"', f'auth.backend.plain.userfile = "{users}"',
                      'auth.require = ("" => ("method" => "basic", "realm" => "git", "require" => "valid-user"))']
        if self.tls:
            modules.append('mod_openssl')
            lines += ['ssl.engine = "enable"', f'ssl.pemfile = "{self.tls.server(self.days)}"']
            if self.client_ca:
                lines += [f'ssl.verifyclient.ca-file = "{self.tls.ca}"', 'ssl.verifyclient.activate = "enable"',
                          'ssl.verifyclient.enforce = "enable"']
        names = ', '.join(f'"{m}"' for m in modules)
        path = os.path.join(self.folder, 'lighttpd.conf')
        with open(path, 'w', encoding='utf-8') as f:
            f.write('\n'.join([f'server.modules = ({names})'] + lines) + '\n')
        return [shutil.which('lighttpd') or '/usr/sbin/lighttpd', '-D', '-f', path]

    def requests(self, word=''):
        """Lines of the access log so far; lighttpd writes them out at once when it is told to."""
        if self.process:
            os.kill(self.process.pid, signal.SIGHUP)
            time.sleep(0.3)  # nothing tells when that is done
        with open(self.log, encoding='utf-8', errors='replace') as f:
            return [line for line in f if word in line]


class DaemonServer(Server):
    """git daemon."""

    def url(self, name):
        return f'git://127.0.0.1:{self.port}/{name}'

    def command(self):
        return ['git', 'daemon', '--reuseaddr', '--export-all', '--listen=127.0.0.1', f'--port={self.port}',
                f'--base-path={self.root}', '--verbose', self.root]


class SshServer(Server):
    """sshd for the present user, with keys of its own; home: what the client's HOME must be."""

    def __init__(self, folder, repos, **options):
        super().__init__(folder, repos, **options)
        self.home = os.path.join(self.folder, 'home')
        self.user = pwd.getpwuid(os.getuid()).pw_name
        os.makedirs(os.path.join(self.home, '.ssh'), mode=0o700)
        for name in ('host', 'client'):
            subprocess.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', self.key(name)], check=True, timeout=60)

    def key(self, name):
        return os.path.join(self.folder, f'{name}_key')

    def url(self, name):
        return f'ssh://{self.user}@127.0.0.1:{self.port}{self.root}/{name}'

    def command(self):
        config = os.path.join(self.folder, 'sshd_config')
        # what sshd starts does not inherit its environment
        variables = ' '.join(f'{key}="{value}"' for key, value in self.settings().items())
        with open(config, 'w', encoding='utf-8') as f:
            f.write(f'Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.key("host")}\nPidFile none\nUsePAM no\n'
                    f'PermitRootLogin yes\nStrictModes no\nPasswordAuthentication no\nAuthorizedKeysFile {self.key("client")}.pub\n'
                    f'AcceptEnv GIT_PROTOCOL\nSetEnv {variables}\n')
        os.makedirs('/run/sshd', exist_ok=True)
        return [shutil.which('sshd') or '/usr/sbin/sshd', '-D', '-e', '-f', config]

    def client_files(self, known=True):
        """The private key and known hosts that a client needs: (key, known_hosts)."""
        hosts = os.path.join(self.folder, 'known_hosts')
        with open(self.key('host') + '.pub', encoding='ascii') as f, open(hosts, 'w', encoding='ascii') as out:
            if known:
                out.write(f'[127.0.0.1]:{self.port} {f.read()}')
        return self.key('client'), hosts
