#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""git-http-backend for a server with faults: a CGI program that does what the file named by its argument says (JSON; see
HttpServer.fault in git_server.py), and otherwise what git-http-backend does.

  {"status": 500, "headers": {"Retry-After": "1"}}   answer with that instead, "body": with that text
  {"redirect": "http://other:1234/git"}              send to another server, by the same path
  {"size": 3}                                        add 3 to every size that object-info tells
  {"flip": true}                                     change a byte in the middle of packs
  {"instead": "<oid>"}                               send this object, whatever is wanted
  {"empty": true}                                    success, without a body
  only: "GET" or "POST" restricts any of them to that method
"""
import gzip
import json
import os
import re
import subprocess
import sys

BACKEND = '/usr/lib/git-core/git-http-backend'


def answer(status, headers=(), body=b''):
    lines = [f'Status: {status}', 'Content-Type: text/plain', *(f'{k}: {v}' for k, v in dict(headers).items())]
    sys.stdout.buffer.write('\r\n'.join(lines).encode() + b'\r\n\r\n' + body)


def packets(data):
    """Offsets of the packets of an answer: (begin of the data, end)."""
    at = 0
    while at + 4 <= len(data):
        size = int(data[at:at + 4], 16)
        if size > 4:
            yield at + 4, at + size
        at += max(size, 4)


def more(data, amount):
    """Adds to the sizes in packets "<oid> <size>"."""
    out, at = b'', 0
    for begin, end in packets(data):
        match = re.fullmatch(rb'([0-9a-f]{40} )([0-9]+)(\n?)', data[begin:end])
        text = match[1] + str(int(match[2]) + amount).encode() + match[3] if match else data[begin:end]
        out += data[at:begin - 4] + b'%04x' % (len(text) + 4) + text
        at = end
    return out + data[at:]


def flip(data):
    """In the largest packet of a pack, a byte in the middle."""
    begin, end = max(packets(data), key=lambda p: p[1] - p[0])
    if data[begin] != 1 or end - begin < 40:
        return data  # no pack
    middle = (begin + end) // 2
    return data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1:]


def real(fault):
    """The answer of git-http-backend, changed on the way."""
    request, env = sys.stdin.buffer.read(), dict(os.environ)
    if env.get('HTTP_CONTENT_ENCODING') == 'gzip':
        request = gzip.decompress(request)
        del env['HTTP_CONTENT_ENCODING']
    if 'instead' in fault:
        request = re.sub(rb'want [0-9a-f]{40}', b'want ' + fault['instead'].encode(), request)
    env['CONTENT_LENGTH'] = str(len(request))
    data = subprocess.run([BACKEND], input=request, stdout=subprocess.PIPE, env=env, check=True, timeout=60).stdout
    head, _, body = data.partition(b'\r\n\r\n')
    if fault.get('size') and b'command=object-info' in request:
        body = more(body, fault['size'])
    if fault.get('flip') and b'command=fetch' in request:
        body = flip(body)
    sys.stdout.buffer.write(head + b'\r\n\r\n' + body)


def main():
    with open(sys.argv[1], encoding='utf-8') as f:
        fault = json.load(f)
    if fault.get('only', os.environ['REQUEST_METHOD']) != os.environ['REQUEST_METHOD']:
        fault = {}
    if 'status' in fault:
        answer(fault['status'], fault.get('headers', {}), fault.get('body', '').encode())
    elif 'redirect' in fault:
        answer(302, {'Location': fault['redirect'] + os.environ['REQUEST_URI'].removeprefix('/git')})
    elif 'empty' in fault:
        answer(200)
    elif fault:
        real(fault)
    else:
        os.execv(BACKEND, [BACKEND])


if __name__ == '__main__':
    main()
