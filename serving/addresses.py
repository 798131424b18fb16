"""Addresses to listen on: whether they can be used, and which process has a port."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROC = Path("/proc")
_LISTENING = "0A"  # the state of a socket in /proc/net/tcp
_PRIVILEGED = 1024  # ports below need special rights


def check_free(host: str, port: int, flag: str) -> None:
    """Raises OSError if a server cannot listen on `port` of `host`. The message says why and what to change.

    Args:
        host: address to listen on.
        port: port to listen on. With 0, the system picks a free port, so only `host` is checked.
        flag: the flag that sets the port, such as `--rest-port`.
    """
    with _socket_for(host) as probe, _explained(host, port, flag):
        probe.bind((host, port))


def listen(host: str, port: int, flag: str) -> socket.socket:
    """Returns a socket that listens. Arguments and errors are those of `check_free`."""
    listener = _socket_for(host)
    try:
        with _explained(host, port, flag):
            listener.bind((host, port))
            listener.listen(2048)  # the kernel queues connections until the server accepts them
    except OSError:
        listener.close()
        raise
    return listener


def port_holder(port: int) -> str:
    """Returns the name and process id of the program that listens on a port, or "another program" if unknown."""
    inodes = {f"socket:[{inode}]" for inode in _listening(port)}
    for process in _PROC.glob("[0-9]*") if inodes else ():
        if inodes.intersection(_links(process / "fd")):
            return _describe(process)
    return "another program"


def _socket_for(host: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return opened


@contextmanager
def _explained(host: str, port: int, flag: str) -> Iterator[None]:
    """Replaces an OSError by one whose message says what to change."""
    try:
        yield
    except OSError as error:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise OSError(f"cannot listen on {address}: {_reason(error, port, flag)}") from None


def _reason(error: OSError, port: int, flag: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{port_holder(port)} has port {port}; choose another one by {flag}, or stop that program"
    if error.errno == errno.EACCES and port < _PRIVILEGED:
        return f"ports below {_PRIVILEGED} need special rights; choose another one by {flag}"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return "this machine has no such address; choose another one by --host"
    return f"{error.strerror or error}"


def _listening(port: int) -> Iterator[str]:
    """Yields the inode of each socket that listens on `port`, on any address of this machine."""
    for name in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / name).read_text("ascii").splitlines()[1:]
        except OSError:  # not Linux
            continue
        for line in lines:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == _LISTENING and int(local.rpartition(":")[2], 16) == port:
                yield inode


def _links(folder: Path) -> Iterator[str]:
    """Yields the targets of a folder's links. Yields nothing if the folder belongs to another user."""
    try:
        for link in folder.iterdir():
            yield os.readlink(link)
    except OSError:
        return


def _describe(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        name = (process / "comm").read_text("utf-8").strip()
    except (OSError, ValueError):  # it has just ended, or has an odd name
        return "another program"
    ours = any(Path(word).name == "jaxchat" or word == "serving.cli.main" for word in words[:4])
    return f"{'another jaxchat' if ours else name} (process {process.name})"
