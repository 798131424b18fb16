"""The REST server as an ASGI application: `create_app(backend)`."""

from serving.rest.app import create_app

__all__ = ["create_app"]
