"""The servers of the serving tests, as fixtures for tests of clients."""

from tests.serving.conftest import certificates, module_server, run, server

__all__ = ["certificates", "module_server", "run", "server"]
