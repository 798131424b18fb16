"""Certificates that are generated for one test run."""

from __future__ import annotations

from pathlib import Path

import trustme


class Certificates:
    """PEM files of an authority, a server on loopback, a client, and an authority that signed neither."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self.ca = str(directory / "ca.pem")
        authority.cert_pem.write_to_path(self.ca)
        self.other_ca = str(directory / "other-ca.pem")
        trustme.CA().cert_pem.write_to_path(self.other_ca)
        self.cert, self.key = _write(authority.issue_cert("127.0.0.1", "localhost"), directory / "server")
        self.client_cert, self.client_key = _write(authority.issue_cert("client@test"), directory / "client")


def _write(leaf: trustme.LeafCert, stem: Path) -> tuple[str, str]:
    cert, key = f"{stem}.pem", f"{stem}-key.pem"
    for index, blob in enumerate(leaf.cert_chain_pems):
        blob.write_to_path(cert, append=index > 0)
    leaf.private_key_pem.write_to_path(key)
    return cert, key
