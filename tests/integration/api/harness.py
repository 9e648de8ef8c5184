# SPDX-License-Identifier: Apache-2.0
"""The test server as a process, and a client made from the descriptors alone (no generated Python)."""
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

# Programs are run by fork and exec: grpc's own handlers of fork have nothing to keep, and may wait for their threads without end.
os.environ['GRPC_ENABLE_FORK_SUPPORT'] = '0'
import grpc  # noqa: E402
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVER = os.environ['API_TEST_SERVER']
DESCRIPTORS = os.environ['API_DESCRIPTORS']


def load_messages():
    """Every message of the descriptor set by full name."""
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet()
    with open(DESCRIPTORS, 'rb') as f:
        files.ParseFromString(f.read())
    for file in files.file:
        pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    found = {}

    def visit(prefix, message):
        name = f'{prefix}.{message.name}'
        found[name] = factory.GetPrototype(pool.FindMessageTypeByName(name))
        for nested in message.nested_type:
            if not nested.options.map_entry:
                visit(name, nested)

    for file in files.file:
        for message in file.message_type:
            visit(file.package, message)
    return found, files


MESSAGES, FILES = load_messages()
SERVICES = {f'{file.package}.{s.name}': s for file in FILES.file for s in file.service}
SHORT = {name.rsplit('.', 1)[1]: name for name in SERVICES if 'reflection' not in name}


def msg(name, **fields):
    return MESSAGES[f'coppice.v1.{name}'](**fields)


class Client:
    """client.CreateMount(request) and so on, for every method of the services."""

    def __init__(self, target, token=None, **options):
        self.channel = grpc.insecure_channel(
            target, options=[('grpc.use_local_subchannel_pool', 1)] + list(options.items()))
        self.metadata = [('authorization', f'Bearer {token}')] if token else []

    def method(self, service, name):
        m = next(m for m in SERVICES[service].method if m.name == name)
        kind = ('stream' if m.client_streaming else 'unary') + '_' + ('stream' if m.server_streaming else 'unary')
        request, answer = MESSAGES[m.input_type[1:]], MESSAGES[m.output_type[1:]]
        return getattr(self.channel, kind)(
            f'/{service}/{name}', request_serializer=request.SerializeToString, response_deserializer=answer.FromString)

    def __getattr__(self, name):
        for service in ('coppice.v1.MountService', 'coppice.v1.NodeService'):
            if any(m.name == name for m in SERVICES[service].method):
                stub = self.method(service, name)
                return lambda request, timeout=20, metadata=(), **kw: stub(
                    request, timeout=timeout, metadata=self.metadata + list(metadata), **kw)
        raise AttributeError(name)

    def close(self):
        self.channel.close()


def error_info(error):
    """(reason, metadata) of a failed call's google.rpc.ErrorInfo."""
    details = dict(error.trailing_metadata()).get('grpc-status-details-bin')
    status = MESSAGES['google.rpc.Status'].FromString(details)
    assert status.code == error.code().value[0]
    info = MESSAGES['google.rpc.ErrorInfo'].FromString(status.details[0].value)
    assert info.domain == 'coppice'
    return info.reason, dict(info.metadata)


# team-a and team-b are users of the machine, team-t brings the token "sesame"; root also comes over loopback.
CONFIG = """
data_dir: {directory}/data
run_dir: {directory}/run
http: {{listen: "127.0.0.1:0"}}
origins:
  - {{name: demo, type: git, url: {directory}/demo.git}}
  - {{name: gone, type: git, url: {directory}/gone.git}}
tenants:
  - {{name: root, admin: true, identities: [{{unix_uid: 0}}, {{loopback: true}}]}}
  - {{name: team-a, quota: {{mounts: 200}}, origins: [{{name: demo}}], identities: [{{unix_uid: 65534}}]}}
  - {{name: team-b, identities: [{{unix_uid: 1}}]}}
  - name: team-t
    origins: [{{name: demo, paths: [/src]}}]
    identities: [{{token_sha256_file: {directory}/token}}]
"""


def prepare(directory):
    """A configuration, the repository that it names, and what the daemon would have made."""
    config = os.path.join(directory, 'config.yaml')
    if os.path.exists(config):
        return config
    subprocess.run(['git', 'init', '-q', '--bare', os.path.join(directory, 'demo.git')], check=True)
    os.makedirs(os.path.join(directory, 'data'))
    with open(os.path.join(directory, 'token'), 'w') as f:
        f.write(hashlib.sha256(b'sesame').hexdigest() + '\n')
    with open(config, 'w') as f:
        f.write(CONFIG.format(directory=directory))
    return config


class Server:
    def __init__(self, stream_bytes=0, grace_ms=0, tcp='127.0.0.1:0', directory=None):
        self.directory = directory or tempfile.mkdtemp(prefix='api-test-')
        self.owns = directory is None
        os.chmod(self.directory, 0o755)
        self.socket = os.path.join(self.directory, 'run', 'api.sock')
        self.log = open(os.path.join(self.directory, 'log'), 'ab')
        self.process = subprocess.Popen(
            [SERVER, prepare(self.directory), self.socket, str(stream_bytes), str(grace_ms), tcp],
            stdout=subprocess.PIPE, stderr=self.log)
        line = self.process.stdout.readline().decode()
        if not line:
            self.process.wait()
            self.process.stdout.close()
            self.log.close()
            raise RuntimeError(self.log_text())
        values = dict(pair.split('=') for pair in line.split())
        self.tcp = f"127.0.0.1:{values['port']}"
        self.http = int(values['http'])
        self.unix = f'unix:{self.socket}'

    def log_text(self):
        with open(os.path.join(self.directory, 'log'), errors='replace') as f:
            return f.read()

    def wait_log(self, pattern, seconds=60):
        """Until a line of the log matches; without quotes, methods without their service."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.log_text().replace('"', '').replace('coppice.v1.MountService/', '')):
            assert time.monotonic() < end, f'{pattern} was never logged:\n{self.log_text()[-3000:]}'
            time.sleep(0.02)

    def wait_handler(self, job_id):
        """Until the handler of a creation asks its origin ("stuck", "nap-...")."""
        self.wait_log(f'event=fake_origin_asked .*job_id={job_id}')

    def rss_kib(self):
        with open(f'/proc/{self.process.pid}/status') as f:
            return next(int(line.split()[1]) for line in f if line.startswith('VmRSS'))

    def stop(self, number=signal.SIGTERM):
        """The exit status; whatever the sanitizers found fails the test."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(60)
        self.process.stdout.close()
        self.log.close()
        text = self.log_text()
        if self.owns:
            shutil.rmtree(self.directory)
        for mark in ('Sanitizer', 'runtime error:', 'lock:', 'rpc_batch'):
            assert mark not in text, '\n'.join(line for line in text.splitlines() if 'event=rpc' not in line)
        return code


class Case(unittest.TestCase):
    """One server per class."""
    server_options = {}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(**cls.server_options)
        cls.client = Client(cls.server.unix)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        assert cls.server.stop() == 0

    def refused(self, code, reason, call, field=None):
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        error = caught.exception
        self.assertEqual(error.code(), code, error.details())
        found, metadata = error_info(error)
        self.assertEqual(found, reason, error.details())
        if field is not None:
            self.assertEqual(metadata.get('field'), field, error.details())
        return error
