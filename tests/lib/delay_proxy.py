#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy on loopback that makes a near server far away, slow, or broken.

  with DelayProxy(('127.0.0.1', 8080), rtt=0.020) as proxy:
      url = f'http://127.0.0.1:{proxy.port}/repo.git'
      proxy.set(rate=1_000_000)          # bytes a second, each connection and direction
      proxy.set(hang=True)               # connections are accepted, nothing passes any more; hang=False lets it go on
      proxy.set(refuse=True)             # new connections are reset at once
      proxy.set(cut_after=5000)          # a connection is reset once the server has sent so many bytes through it (0: never)
      proxy.cut()                        # reset every connection that is open now
      proxy.stats()                      # {'connections': 3, 'open': 1, 'to_server': 812, 'to_client': 90211, 'turns': 7}

It is a process of its own (delays stay exact while the test is busy), told what to do by lines of JSON on its standard input; each is
answered by a line. It ends with its standard input, so nothing is left when a test dies. `turns` counts how often a client spoke after
the server had (or for the first time): the number of round trips that it waited for.

By hand: delay_proxy.py --target 127.0.0.1:8080 --port 9000 --rtt 0.02
"""
import argparse
import asyncio
import collections
import json
import socket
import struct
import subprocess
import sys

PIECE = 64 << 10
IN_FLIGHT_MAX = 8 << 20  # a direction's bytes on their way; beyond, the sender is not read from: a window, as TCP has


class Settings:
    def __init__(self):
        self.rtt, self.rate, self.hang, self.refuse, self.cut_after = 0.0, 0, False, False, 0
        self.changed = asyncio.Event()

    def set(self, fields):
        for name, value in fields.items():
            if name not in ('rtt', 'rate', 'hang', 'refuse', 'cut_after'):
                raise ValueError(f'no setting {name}')
            setattr(self, name, value)
        self.changed.set()
        self.changed = asyncio.Event()

    async def wait_go(self):
        while self.hang:
            await self.changed.wait()


class Connection:
    def __init__(self, proxy, reader, writer):
        self.proxy, self.client = proxy, (reader, writer)
        self.server, self.task = None, None
        self.speaker, self.to_client = '', 0

    def reset(self):
        """RST, not FIN: what a crashed peer or a firewall does."""
        for end in (self.client, self.server):
            sock = end and end[1].get_extra_info('socket')
            if sock:
                try:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                except OSError:
                    pass  # it is closed already
                end[1].transport.abort()
        if self.task:
            self.task.cancel()

    def count(self, to_server, size):
        stats = self.proxy.counts
        stats['to_server' if to_server else 'to_client'] += size
        speaker = 'client' if to_server else 'server'
        if speaker == 'client' and self.speaker != 'client':
            stats['turns'] += 1
        self.speaker = speaker
        if not to_server:
            self.to_client += size

    async def pump(self, source, sink, to_server):
        """Reads at once and writes half a round trip later, so that delays of consecutive pieces overlap as on a wire."""
        settings, loop = self.proxy.settings, asyncio.get_running_loop()
        queue, size, wake, room = collections.deque(), 0, asyncio.Event(), asyncio.Event()

        async def read():
            nonlocal size
            while True:
                piece = await source.read(PIECE)
                queue.append((loop.time() + settings.rtt / 2, piece))
                size += len(piece)
                wake.set()
                if not piece:
                    return
                while size > IN_FLIGHT_MAX:
                    room.clear()
                    await room.wait()

        reading = asyncio.ensure_future(read())
        reading.add_done_callback(lambda _: wake.set())
        try:
            while True:
                while not queue:
                    wake.clear()
                    if reading.done() and not queue:
                        reading.result()
                    await wake.wait()
                due, piece = queue.popleft()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await settings.wait_go()
                if not piece:
                    if sink.can_write_eof():
                        sink.write_eof()
                    return
                if settings.rate:
                    await asyncio.sleep(len(piece) / settings.rate)
                left = settings.cut_after - self.to_client if settings.cut_after and not to_server else len(piece)
                self.count(to_server, len(piece[:left]))
                sink.write(piece[:left])
                await sink.drain()
                if left < len(piece) or (settings.cut_after and not to_server and self.to_client >= settings.cut_after):
                    await asyncio.sleep(settings.rtt / 2)
                    self.reset()
                    return
                size -= len(piece)
                room.set()
        finally:
            reading.cancel()

    async def run(self):
        settings = self.proxy.settings
        try:
            await asyncio.sleep(settings.rtt)  # the handshake of TCP
            await settings.wait_go()
            self.server = await asyncio.open_connection(*self.proxy.target)
            await asyncio.gather(self.pump(self.client[0], self.server[1], True), self.pump(self.server[0], self.client[1], False))
        except (OSError, asyncio.CancelledError):
            self.reset()
        finally:
            for end in (self.client, self.server):
                if end:
                    end[1].close()


class Proxy:
    def __init__(self, target):
        self.target, self.settings, self.open = target, Settings(), set()
        self.counts = {'connections': 0, 'open': 0, 'to_server': 0, 'to_client': 0, 'turns': 0}

    async def accept(self, reader, writer):
        connection = Connection(self, reader, writer)
        if self.settings.refuse:
            connection.reset()
            return
        self.counts['connections'] += 1
        self.open.add(connection)
        connection.task = asyncio.current_task()
        await connection.run()
        self.open.discard(connection)

    def command(self, line):
        order = json.loads(line)
        self.settings.set(order.get('set', {}))
        if order.get('cut'):
            for connection in list(self.open):
                connection.reset()
        return dict(self.counts, open=len(self.open))

    async def serve(self, port, controlled):
        server = await asyncio.start_server(self.accept, '127.0.0.1', port)
        print(json.dumps({'port': server.sockets[0].getsockname()[1]}), flush=True)
        if not controlled:
            await server.serve_forever()
        orders = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
        while line := await orders.readline():
            try:
                print(json.dumps(self.command(line)), flush=True)
            except ValueError as e:
                print(json.dumps({'error': str(e)}), flush=True)
        server.close()
        tasks = [connection.task for connection in self.open]
        for connection in list(self.open):
            connection.reset()
        await asyncio.gather(*tasks, return_exceptions=True)


class DelayProxy:
    """The proxy as a test sees it."""

    def __init__(self, target, **settings):
        self.process = subprocess.Popen(['/usr/bin/python3', '-B', __file__, '--controlled', '--target', '%s:%d' % tuple(target)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = self.read()['port']
        self.address = f'127.0.0.1:{self.port}'
        self.set(**settings)

    def read(self):
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {'error': 'the proxy has ended'}
        if 'error' in answer:
            raise RuntimeError(answer['error'])
        return answer

    def order(self, **fields):
        self.process.stdin.write(json.dumps(fields) + '\n')
        self.process.stdin.flush()
        return self.read()

    def set(self, **settings):
        self.order(set=settings)

    def cut(self):
        self.order(cut=True)

    def stats(self):
        return self.order()

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def main():
    parser = argparse.ArgumentParser(description='delays and breaks TCP connections')
    parser.add_argument('--target', required=True, metavar='HOST:PORT')
    parser.add_argument('--port', type=int, default=0, help='to listen on; 0: a free one, which is printed')
    parser.add_argument('--rtt', type=float, default=0.0, help='seconds')
    parser.add_argument('--rate', type=float, default=0.0, help='bytes a second')
    parser.add_argument('--controlled', action='store_true', help='take orders from standard input')
    args = parser.parse_args()
    host, _, port = args.target.rpartition(':')

    async def run():
        proxy = Proxy((host, int(port)))
        proxy.settings.set({'rtt': args.rtt, 'rate': args.rate})
        await proxy.serve(args.port, args.controlled)

    asyncio.run(run())


if __name__ == '__main__':
    main()
