"""Reads and checks PEM files of certificates and keys. gRPC reports a bad file only when a handshake fails."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PemFile:
    """The path of a PEM file, and the name of the setting that holds the path, for error messages."""

    path: str
    setting: str

    def __str__(self) -> str:
        return f"{self.setting} {self.path}"


@dataclass(frozen=True, repr=False)
class KeyPair:
    """A certificate with its chain, and its private key, both in PEM format."""

    certificate: bytes
    key: bytes


def read_pair(certificate: PemFile, key: PemFile) -> KeyPair:
    """Reads a certificate and its private key.

    Raises:
        ValueError: a file cannot be read or is not PEM, the key is encrypted, or certificate and key do not match. The
            message names the setting and the file.
    """
    pair = KeyPair(_read(certificate), _read(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate.path, key.path, password=lambda: _refuse(key))
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"{key}: this is not the key of the certificate {certificate}") from None
        raise ValueError(f"{certificate} and {key}: not a PEM certificate and its private key") from None
    return pair


def read_authorities(file: PemFile) -> bytes:
    """Returns the bytes of a PEM file of certificate authorities.

    Raises:
        ValueError: the file cannot be read or has no PEM certificate. The message names the setting and the file.
    """
    data = _read(file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=data.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError):
        raise ValueError(f"{file}: no PEM certificates in it") from None
    return data


def _read(file: PemFile) -> bytes:
    try:
        return Path(file.path).read_bytes()
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None


def _refuse(key: PemFile) -> str:
    raise ValueError(f"{key}: the key is encrypted; decrypt it first")
