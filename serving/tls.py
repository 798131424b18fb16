"""TLS of the servers: one certificate for gRPC and HTTP, and optional client certificates for gRPC."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from jaxchat.client.pem import KeyPair, PemFile, read_authorities, read_pair


@dataclass(frozen=True)
class ServerTls:
    """A checked certificate and key. `cert_file` and `key_file` are for libraries that read files themselves."""

    cert_file: str
    key_file: str
    pair: KeyPair
    client_ca: bytes | None

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Returns gRPC credentials. With `client_ca`, clients need a certificate signed by a CA of that file."""
        return grpc.ssl_server_credentials(
            [(self.pair.key, self.pair.certificate)],
            root_certificates=self.client_ca,
            require_client_auth=self.client_ca is not None,
        )


def server_tls(cert: str | None, key: str | None, client_ca: str | None = None) -> ServerTls | None:
    """Reads the files of the settings `tls_cert`, `tls_key` and `tls_client_ca`.

    Returns None if `cert` or `key` is None.

    Raises:
        ValueError: a file is missing or unusable, or certificate and key do not match. The message names flag and file.
    """
    if cert is None or key is None:
        return None
    pair = read_pair(PemFile(cert, "--tls-cert"), PemFile(key, "--tls-key"))
    authorities = read_authorities(PemFile(client_ca, "--tls-client-ca")) if client_ca else None
    return ServerTls(cert, key, pair, authorities)
