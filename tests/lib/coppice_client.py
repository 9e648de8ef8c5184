#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A gRPC client of coppiced that is not ours: python3-grpcio over the descriptors that protoc makes from the .proto files.

  client = Client('unix:/run/coppice/coppice.sock')
  mount = client.CreateMount(job_id='a', origin='demo', quota={'bytes': 1 << 20})     # a Mount message
  for event in client.WatchMounts(): ...

A failed call raises CallError with code, reason, metadata and message. As a program, so that a test can call as another user:
  coppice_client.py DESCRIPTORS ADDRESS METHOD JSON        prints {"answer": ...} or {"error": ...}
"""
import json
import os
import subprocess
import sys
import tempfile
import threading

# Programs are run by fork and exec: grpc's own handlers of fork have nothing to keep, and may wait for their threads without end.
os.environ['GRPC_ENABLE_FORK_SUPPORT'] = '0'
import grpc  # noqa: E402
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

SERVICES = ('coppice.v1.MountService', 'coppice.v1.NodeService', 'coppice.v1.WorkflowService', 'grpc.health.v1.Health')
CALL_TIMEOUT = 60


class CallError(Exception):
    """How a call failed."""

    def __init__(self, code, reason, metadata, message, violations=()):
        """violations: [(subject, description)] of a PreconditionFailure."""
        super().__init__(f'{code} {reason or "-"} {metadata}: {message} {list(violations) or ""}')
        self.code, self.reason, self.metadata, self.message = code, reason, metadata, message
        self.violations = list(violations)


def compile_protos(proto_root, out):
    """Writes the descriptor set of all protos, with what they import, to the file `out`."""
    protos = []
    for folder, _, names in os.walk(proto_root):
        protos += [os.path.relpath(os.path.join(folder, name), proto_root) for name in names if name.endswith('.proto')]
    subprocess.run(['protoc', '-I' + proto_root, '-I/usr/include', '--include_imports', '--descriptor_set_out=' + out,
                    *sorted(protos)], check=True, timeout=60)
    return out


class Protos:
    """The messages and methods of a descriptor set."""

    def __init__(self, path):
        files = descriptor_pb2.FileDescriptorSet()
        with open(path, 'rb') as f:
            files.ParseFromString(f.read())
        self.path = path
        self.pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            self.pool.Add(file)
        self.factory = message_factory.MessageFactory(self.pool)
        self.methods = {}
        for service in SERVICES:
            for method in self.pool.FindServiceByName(service).methods:
                self.methods[method.name] = (service, method)

    def message(self, name):
        """The class of a message, by full name or by name in coppice.v1."""
        full = name if '.' in name else 'coppice.v1.' + name
        return self.factory.GetPrototype(self.pool.FindMessageTypeByName(full))

    def enum(self, name, number):
        return self.pool.FindEnumTypeByName('coppice.v1.' + name).values_by_number[number].name


_made, _making = {}, threading.Lock()


def protos():
    """The protos of this tree, compiled once per process."""
    with _making:
        if 'protos' not in _made:
            top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
            _made['folder'] = tempfile.TemporaryDirectory(prefix='coppice-protos-')
            _made['protos'] = Protos(compile_protos(os.path.join(top, 'api/proto'), os.path.join(_made['folder'].name, 'protos.fds')))
        return _made['protos']


class Client:
    """Has a method of each name in the services; fields are keyword arguments, a nested message is a dict."""

    def __init__(self, address, token=None, descriptors=None):
        self.protos = descriptors or protos()
        # A daemon that restarts is found again at once, one that is just being started is waited for ("min" is the patience of an
        # attempt), and each client has a connection of its own.
        self.channel = grpc.insecure_channel(address, options=[
            ('grpc.use_local_subchannel_pool', 1), ('grpc.initial_reconnect_backoff_ms', 50),
            ('grpc.min_reconnect_backoff_ms', 10000), ('grpc.max_reconnect_backoff_ms', 500), ('grpc.enable_retries', 0)])
        self.metadata = [('authorization', 'Bearer ' + token)] if token else []

    def close(self):
        self.channel.close()

    def request(self, name, fields):
        """The request message of a method."""
        _, method = self.protos.methods[name]
        message = self.protos.factory.GetPrototype(method.input_type)()
        if 'update_mask' in fields:
            fields = dict(fields)
            message.update_mask.paths.extend(fields.pop('update_mask'))
        json_format.ParseDict(fields, message)
        return message

    def start(self, name, request, timeout, **options):
        """The grpc call object of a method."""
        service, method = self.protos.methods[name]
        answer = self.protos.factory.GetPrototype(method.output_type)
        proto = descriptor_pb2.MethodDescriptorProto()
        method.CopyToProto(proto)
        kind = self.channel.unary_stream if proto.server_streaming else self.channel.unary_unary
        stub = kind(f'/{service}/{name}', request_serializer=lambda m: m.SerializeToString(),
                    response_deserializer=answer.FromString)
        if proto.server_streaming:
            return stub(request, timeout=timeout, metadata=self.metadata, **options)
        return stub.future(request, timeout=timeout, metadata=self.metadata, **options)

    def future(self, name, timeout=CALL_TIMEOUT, wait_for_ready=False, **fields):
        """A call under way; result(call) waits for it. wait_for_ready: do not fail while nobody listens."""
        return self.start(name, self.request(name, fields), timeout, wait_for_ready=wait_for_ready)

    def raw(self, name, data, timeout=CALL_TIMEOUT):
        """A call with these bytes as its request."""
        service, method = self.protos.methods[name]
        answer = self.protos.factory.GetPrototype(method.output_type)
        stub = self.channel.unary_unary(f'/{service}/{name}', response_deserializer=answer.FromString)
        return self.result(stub.future(data, timeout=timeout, metadata=self.metadata))

    def result(self, call):
        try:
            return call.result()
        except grpc.RpcError as e:
            raise self.error(e) from None

    def error(self, e):
        """The CallError of an RpcError, with the ErrorInfo of its details."""
        details = dict(e.trailing_metadata() or ()).get('grpc-status-details-bin')
        reason, metadata, violations = '', {}, []
        if details:
            status = self.protos.message('google.rpc.Status').FromString(details)
            for detail in status.details:
                info = self.protos.message('google.rpc.ErrorInfo')()
                if detail.type_url.endswith('/google.rpc.ErrorInfo'):
                    info.ParseFromString(detail.value)
                    reason, metadata = info.reason, dict(info.metadata)
                elif detail.type_url.endswith('/google.rpc.PreconditionFailure'):
                    failure = self.protos.message('google.rpc.PreconditionFailure').FromString(detail.value)
                    violations = [(v.subject, v.description) for v in failure.violations]
        return CallError(e.code().name, reason, metadata, e.details(), violations)

    def stream(self, name, timeout=CALL_TIMEOUT, **fields):
        """The messages of a server stream, until it ends or fails; closing the generator cancels the call."""
        call = self.start(name, self.request(name, fields), timeout)
        try:
            yield from call
        except grpc.RpcError as e:
            raise self.error(e) from None
        finally:
            call.cancel()

    def __getattr__(self, name):
        if name.startswith('_') or name not in self.protos.methods:
            raise AttributeError(name)
        proto = descriptor_pb2.MethodDescriptorProto()
        self.protos.methods[name][1].CopyToProto(proto)
        if proto.server_streaming:
            return lambda **fields: self.stream(name, **fields)
        return lambda **fields: self.result(self.future(name, **fields))

    def state(self, mount):
        """READY, ..."""
        return self.protos.enum('MountState', mount.state)


def main():
    descriptors, address, method, fields = sys.argv[1:]
    client = Client(address, descriptors=Protos(descriptors))
    try:
        answer = getattr(client, method)(**json.loads(fields))
        if hasattr(answer, '__next__'):  # a stream
            answer = next(answer)
        out = {'answer': json_format.MessageToDict(answer, preserving_proto_field_name=True)}
    except CallError as e:
        out = {'error': {'code': e.code, 'reason': e.reason, 'metadata': e.metadata, 'message': e.message}}
    print(json.dumps(out))


if __name__ == '__main__':
    main()
