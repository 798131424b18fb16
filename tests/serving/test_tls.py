"""TLS and mutual TLS on every port, and messages about files that cannot be used."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import httpx
import openai
import pytest

from jaxchat.client import AsyncClient, Client, tls_credentials
from jaxchat.errors import ChatError
from serving.cli.main import main
from serving.config import BackendConfig, ServeConfig
from serving.remote_backend import RemoteBackend
from serving.tls import server_tls
from tests.serving.conftest import Behind

HELLO = {"model": "fake", "messages": [{"role": "user", "content": "hello"}]}


def trusting(certificates):
    return ssl.create_default_context(cafile=certificates.ca)


async def test_every_port(run, certificates):
    server = run(tls_cert=certificates.cert, tls_key=certificates.key, metrics_port=0)
    credentials = tls_credentials(certificates.ca)
    with Client(server.grpc, credentials=credentials) as client:
        assert client.chat.completions.create(**HELLO).choices[0].message.content == "hello "
    async with AsyncClient(server.grpc, credentials=credentials) as client:
        assert len(await client.models.list()) == 1
    assert server.rest.startswith("https://")
    with httpx.Client(verify=trusting(certificates), trust_env=False) as http:
        client = openai.OpenAI(base_url=f"{server.rest}/v1", api_key="none", http_client=http)
        chunks = client.chat.completions.create(**HELLO, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "hello "
        assert "num_requests" in http.get(server.servers.metrics_url).text


def test_strangers_are_not_trusted(run, certificates):
    server = run(tls_cert=certificates.cert, tls_key=certificates.key)
    for credentials in (None, tls_credentials(certificates.other_ca), tls_credentials()):
        with Client(server.grpc, credentials=credentials, timeout=30) as client, pytest.raises(ChatError) as caught:
            client.models.list()
        assert caught.value.http_status == 503
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.rest}/health", trust_env=False)


def test_addresses_of_a_name_have_its_certificate(run, certificates, monkeypatch):
    server = run(tls_cert=certificates.cert, tls_key=certificates.key, host="127.0.0.2")  # not in the certificate
    port = server.grpc.rpartition(":")[2]
    address = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", int(port)))]
    monkeypatch.setattr("jaxchat.client.failover.targets.socket.getaddrinfo", lambda *_, **__: address)
    credentials = tls_credentials(certificates.ca)
    with Client(f"dns:///localhost:{port}", credentials=credentials, timeout=30) as client:
        assert len(client.models.list()) == 1
    for target in (f"dns:///stranger.test:{port}", server.grpc):
        with Client(target, credentials=credentials, timeout=30) as client, pytest.raises(ChatError) as caught:
            client.models.list()
        assert caught.value.http_status == 503


def test_mutual_tls(run, certificates):
    server = run(tls_cert=certificates.cert, tls_key=certificates.key, tls_client_ca=certificates.ca)
    own = tls_credentials(certificates.ca, certificates.client_cert, certificates.client_key)
    with Client(server.grpc, credentials=own) as client:
        assert len(client.models.list()) == 1
    with Client(server.grpc, credentials=tls_credentials(certificates.ca), timeout=30) as client:
        with pytest.raises(ChatError) as caught:
            client.models.list()
        assert caught.value.http_status == 503


def test_mutual_tls_trusts_one_authority_only(run, certificates):
    server = run(tls_cert=certificates.cert, tls_key=certificates.key, tls_client_ca=certificates.other_ca)
    own = tls_credentials(certificates.ca, certificates.client_cert, certificates.client_key)
    with Client(server.grpc, credentials=own, timeout=30) as client, pytest.raises(ChatError):
        client.models.list()


def test_rest_before_a_backend_with_mutual_tls(run, certificates):
    files = dict(tls_cert=certificates.cert, tls_key=certificates.key)
    trust = dict(backend_ca=certificates.ca, backend_cert=certificates.client_cert, backend_key=certificates.client_key)
    server = run(Behind, **files, tls_client_ca=certificates.ca, front=files, backend=trust)
    answer = httpx.post(
        f"{server.rest}/v1/chat/completions", json=HELLO, verify=trusting(certificates), trust_env=False
    )
    assert answer.json()["choices"][0]["message"]["content"] == "hello "


def test_chat_in_the_terminal(run, certificates, tmp_path, capsys):
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    server = run(tls_cert=certificates.cert, tls_key=certificates.key, api_keys=str(keys))
    assert main(["chat", "--connect", server.grpc, "--ca", certificates.ca, "--api-key-file", str(keys), "hi"]) == 0
    assert capsys.readouterr().out == "hi \n"
    assert main(["chat", "--connect", server.grpc, "--ca", certificates.ca, "hi"]) == 1
    assert "The API key is missing or wrong." in capsys.readouterr().err


def test_files_that_cannot_be_used(certificates, tmp_path):
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    encrypted = tmp_path / "encrypted.pem"
    encrypted.write_text(Path(certificates.key).read_text().replace("PRIVATE", "ENCRYPTED PRIVATE"))
    cert, key = certificates.cert, certificates.key
    for arguments, message in (
        (("/nowhere.pem", key), "--tls-cert /nowhere.pem: No such file or directory"),
        ((cert, "/nowhere.pem"), "--tls-key /nowhere.pem: No such file or directory"),
        ((cert, certificates.client_key), f"--tls-key {certificates.client_key}: this is not the key of .*{cert}"),
        ((str(rubbish), key), f"--tls-cert {rubbish} and --tls-key {key}: not a PEM certificate"),
        ((cert, str(encrypted)), f"--tls-key {encrypted}: "),
        ((cert, key, str(rubbish)), f"--tls-client-ca {rubbish}: no PEM certificates"),
    ):
        with pytest.raises(ValueError, match=message):
            server_tls(*arguments)
    with pytest.raises(ValueError, match=f"--backend-ca {rubbish}"):
        RemoteBackend(BackendConfig(backend_ca=str(rubbish)))
    with pytest.raises(ValueError, match=f"ca {rubbish}"):
        tls_credentials(str(rubbish))
    with pytest.raises(ValueError, match="belong together"):
        tls_credentials(certificates.ca, cert)


@pytest.mark.parametrize("settings", [dict(tls_cert="a"), dict(tls_key="a"), dict(tls_client_ca="a")])
def test_settings_that_need_each_other(settings):
    with pytest.raises(ValueError, match="tls_cert and tls_key"):
        ServeConfig(**settings)
