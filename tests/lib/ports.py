# SPDX-License-Identifier: Apache-2.0
"""Ports for servers that a test starts. They lie below those that the kernel gives to clients, so that nobody's connection takes one
between the question and the server's start, and each process begins elsewhere.
"""
import random
import socket

FIRST, COUNT = 10000, 12000
_random = random.SystemRandom()
_given = set()


def _is_free(port):
    with socket.socket() as s:
        try:
            s.bind(('127.0.0.1', port))
        except OSError:
            return False
    return True


def free_port(above=0):
    """A port that is free, and not given before; with `above` the one so much higher is free too (the bus of a Redis cluster)."""
    while True:
        port = FIRST + _random.randrange(COUNT)
        if port not in _given and _is_free(port) and (not above or _is_free(port + above)):
            _given.add(port)
            return port
