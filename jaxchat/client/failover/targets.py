"""The addresses of replicas: a list of targets, or a name for which DNS has several addresses."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass

DNS = "dns:///"


@dataclass(frozen=True)
class Address:
    """The address of one replica.

    Attributes:
        target: what gRPC connects to, such as `host:port`.
        authority: the `host:port` that the replica's certificate must name. None means that of `target`.
    """

    target: str
    authority: str | None = None


def split_targets(targets: str | Iterable[str]) -> tuple[str, ...]:
    """Returns the targets in a text such as `a:50051,b:50051`, or in a list, without repetitions.

    Raises:
        ValueError: `targets` does not contain a target.
    """
    texts = targets.split(",") if isinstance(targets, str) else targets
    names = tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))
    if not names:
        raise ValueError(f"expected a target such as host:port, got {targets!r}")
    return names


def resolve(targets: Iterable[str]) -> list[Address]:
    """Returns the addresses of targets. Blocks while it asks DNS.

    A target `dns:///name:port` becomes all addresses that DNS has for the name, or none if DNS does not know the name.
    Any other target becomes one address.
    """
    addresses: dict[str, Address] = {}
    for target in targets:
        for address in _of_name(target) if target.startswith(DNS) else [Address(target)]:
            addresses.setdefault(address.target, address)
    return list(addresses.values())


def _of_name(target: str) -> list[Address]:
    authority = target.removeprefix(DNS)
    host, _, port = authority.rpartition(":")
    try:
        results = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    hosts = sorted({str(result[4][0]) for result in results})
    return [Address(f"ipv6:[{ip}]:{port}" if ":" in ip else f"ipv4:{ip}:{port}", authority) for ip in hosts]
