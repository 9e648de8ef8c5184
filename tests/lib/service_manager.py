# SPDX-License-Identifier: Apache-2.0
"""A service manager as systemd is one to its service, and no more: Type=notify, NotifyAccess=main, the store for descriptors, the watchdog
(WatchdogSignal=SIGKILL), Restart=always. What it does it does as sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3) and systemd.service(5)
say. Descriptors beyond `store_max` are closed without a word, as systemd does.

It is a process of its own, as it must be: a process that starts the daemon and has files of a workspace open waits for itself.

  with ManagedNode({'demo': repository}) as node:
      node.kill()                                   # the next one starts by itself, with the descriptors of the last
"""
import array
import ctypes
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

RESTART_SECONDS = 0.1
PR_SET_PDEATHSIG = 1


class Manager:
    def __init__(self, folder, store_max, watchdog_seconds, command):
        self.state_file, self.path = os.path.join(folder, 'manager.json'), os.path.join(folder, 'notify')
        self.store_max, self.watchdog_seconds, self.command = store_max, watchdog_seconds, command
        self.kept, self.process, self.alive_at, self.stopping = [], None, None, False  # kept: (name, descriptor)
        self.state = {'pid': 0, 'starts': 0, 'ended_by_watchdog': 0, 'kept': [], 'told': {}}
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(self.path)

    def publish(self):
        self.state['kept'] = sorted(name for name, _ in self.kept)
        with open(self.state_file + '.new', 'w', encoding='ascii') as f:
            json.dump(self.state, f)
        os.rename(self.state_file + '.new', self.state_file)

    def start(self):
        # first out of the way, then to 3, 4, ...: bash knows numbers beyond 9
        lines = [f'exec {500 + i}<&{fd} {fd}<&-' for i, (_, fd) in enumerate(self.kept)]
        lines += [f'exec {3 + i}<&{500 + i} {500 + i}<&-' for i in range(len(self.kept))]
        if self.kept:
            names = ':'.join(name for name, _ in self.kept)
            lines.append(f'export LISTEN_PID=$$ LISTEN_FDS={len(self.kept)} LISTEN_FDNAMES="{names}"')
        if self.watchdog_seconds:
            lines.append(f'export WATCHDOG_PID=$$ WATCHDOG_USEC={int(self.watchdog_seconds * 1e6)}')
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            ['bash', '-c', '\n'.join([*lines, 'exec "$@"']), 'bash', *self.command], env=dict(os.environ, NOTIFY_SOCKET=self.path),
            pass_fds=[fd for _, fd in self.kept], preexec_fn=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        self.alive_at = None
        self.state['pid'], self.state['starts'] = self.process.pid, self.state['starts'] + 1
        self.publish()

    def stop(self, *_):
        self.stopping = True
        self.process.send_signal(signal.SIGTERM)

    def run(self):
        signal.signal(signal.SIGTERM, self.stop)
        self.start()
        while True:
            if select.select([self.socket], [], [], 0.01)[0]:
                self.receive()  # what it said before its end comes first
            elif self.process.poll() is not None:
                if self.stopping or self.process.returncode == 0:
                    return self.process.returncode
                time.sleep(RESTART_SECONDS)
                self.start()
            elif self.watchdog_seconds and self.alive_at and time.monotonic() - self.alive_at > self.watchdog_seconds:
                self.alive_at = None
                self.state['ended_by_watchdog'] += 1
                self.process.kill()

    def receive(self):
        data, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(253 * 4) + socket.CMSG_SPACE(12))
        fds, sender = array.array('i'), None
        for level, kind, body in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(body[:len(body) - len(body) % fds.itemsize])
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                sender = struct.unpack('3i', body)[0]
        unwanted = list(fds)
        if sender == self.process.pid:  # NotifyAccess=main
            unwanted = self.act(dict(line.split('=', 1) for line in data.decode().splitlines() if '=' in line), unwanted)
            self.publish()
        for fd in unwanted:  # of a barrier: closing it is the answer
            os.close(fd)

    def act(self, fields, fds):
        """What the main process says. Returns the descriptors that nobody wants."""
        name = fields.get('FDNAME', 'stored')
        self.state['told'].update(fields)
        if fields.get('READY') == '1' or fields.get('WATCHDOG') == '1':
            self.alive_at = time.monotonic()
        if fields.get('STOPPING') == '1':
            self.alive_at = None
        if fields.get('FDSTOREREMOVE') == '1':
            fds += [fd for n, fd in self.kept if n == name]
            self.kept = [k for k in self.kept if k[0] != name]
        elif fields.get('FDSTORE') == '1':
            room = max(0, self.store_max - len(self.kept))
            self.kept += [(name, fd) for fd in fds[:room]]
            fds = fds[room:]
        return fds


def managed_node():
    """The class is made here, so that the manager's process needs no gRPC."""
    from node import Node, wait_until  # pylint: disable=import-outside-toplevel

    class ManagedNode(Node):
        """`process` is the manager; manager() says what it knows."""

        def __init__(self, *args, store_max=64, watchdog_seconds=0, **options):
            super().__init__(*args, **options)
            self.store_max, self.watchdog_seconds = store_max, watchdog_seconds

        def launch(self, *args):
            return self.spawn([sys.executable, '-B', os.path.abspath(__file__), self.base, str(self.store_max), str(self.watchdog_seconds),
                               *self.command(*args)])

        def manager(self):
            with open(self.path('manager.json'), encoding='ascii') as f:
                return json.load(f)

        def kill(self):
            """A crash. Returns when the next one has been started."""
            now = self.manager()
            os.kill(now['pid'], signal.SIGKILL)
            wait_until(lambda: self.manager()['starts'] > now['starts'], 10, 'the next start')

    return ManagedNode


if __name__ == '__main__':
    sys.exit(Manager(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]).run())
