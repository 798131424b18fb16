"""TLS credentials for clients, from PEM files."""

from __future__ import annotations

import grpc

from jaxchat.client.pem import PemFile, read_authorities, read_pair


def tls_credentials(
    ca: str | None = None, cert: str | None = None, key: str | None = None, *, prefix: str = ""
) -> grpc.ChannelCredentials:
    """Returns credentials for `Client(..., credentials=...)`.

    Args:
        ca: PEM file of the authorities that may sign the server's certificate. None means gRPC's default authorities.
        cert, key: PEM files of the client's own certificate and private key, for servers that require them.
        prefix: the text before `ca`, `cert` and `key` in error messages, such as "--" for flags.

    Raises:
        ValueError: a file is missing or unusable, the key is encrypted, certificate and key do not match, or only one
            of `cert` and `key` is given. The message names the settings.
    """
    if (cert is None) != (key is None):
        raise ValueError(f"{prefix}cert and {prefix}key belong together, only one of them was given")
    authorities = read_authorities(PemFile(ca, f"{prefix}ca")) if ca is not None else None
    if cert is None or key is None:
        return grpc.ssl_channel_credentials(authorities)
    pair = read_pair(PemFile(cert, f"{prefix}cert"), PemFile(key, f"{prefix}key"))
    return grpc.ssl_channel_credentials(authorities, pair.key, pair.certificate)
