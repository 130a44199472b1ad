"""Ports of the loopback address at which nobody listens."""

import socket


def free_port() -> int:
    """Return one. The kernel gives it to nobody else soon."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
