"""The servers of the serving tests, which the clients call."""

from tests.serving.conftest import certificates, module_server, run, server

__all__ = ["certificates", "module_server", "run", "server"]
