# SPDX-License-Identifier: Apache-2.0
"""An HTTP proxy on loopback: CONNECT, and requests with an absolute URL; for tests of `proxy:` of an origin.

  with WebProxy() as proxy:
      proxy.url                       # http://127.0.0.1:PORT
      proxy.asked                     # ['CONNECT 127.0.0.1:8443', 'GET http://...', ...]
      proxy.refuse = True             # 403 to everything
"""
import socket
import threading


def pump(source, sink):
    try:
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other end is gone; both are closed below


class WebProxy:
    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.url = f'http://127.0.0.1:{self.listener.getsockname()[1]}'
        self.asked, self.refuse, self.open = [], False, set()
        self.thread = threading.Thread(target=self.accept, daemon=True)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return  # closed
            self.open.add(client)
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        server = None
        try:
            head = b''
            while b'\r\n\r\n' not in head:
                piece = client.recv(65536)
                if not piece:
                    return
                head += piece
            line, _, rest = head.partition(b'\r\n')
            method, target, _ = line.decode().split(' ')
            self.asked.append(f'{method} {target}')
            if self.refuse:
                client.sendall(b'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
                return
            place = target.removeprefix('http://').partition('/')[0]
            host, _, port = place.rpartition(':')
            server = socket.create_connection((host, int(port)), 10)
            if method == 'CONNECT':
                client.sendall(b'HTTP/1.1 200 Connection established\r\n\r\n')
            else:  # one request a connection: the next one could be for another server
                path = target.removeprefix('http://' + place)
                lines = [x for x in rest.split(b'\r\n\r\n')[0].split(b'\r\n') if not x.lower().startswith((b'connection:', b'proxy-'))]
                server.sendall(f'{method} {path} HTTP/1.1\r\n'.encode() + b'\r\n'.join(lines) + b'\r\nConnection: close\r\n\r\n' +
                               head.partition(b'\r\n\r\n')[2])
            back = threading.Thread(target=pump, args=(server, client), daemon=True)
            back.start()
            pump(client, server)
            back.join(60)
        except OSError:
            pass  # what fails here fails for the client, which is what is tested
        finally:
            for end in (client, server):
                if end:
                    end.close()
            self.open.discard(client)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for client in list(self.open):
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended by itself
        self.thread.join(20)
