"""The metrics page for Prometheus."""

from __future__ import annotations

from typing import Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.rest.middleware import AnswerFailures

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricsSource(Protocol):
    """A source of the metrics page, such as `serving.observability.metrics.Metrics`."""

    def page(self) -> bytes:
        """Returns the page in Prometheus's text format 0.0.4."""


def metrics_route(metrics: MetricsSource) -> Route:
    """Returns the route of the page /metrics."""

    async def show(request: Request) -> Response:
        return Response(metrics.page(), headers={"content-type": CONTENT_TYPE})

    return Route("/metrics", show)


def create_metrics_app(metrics: MetricsSource) -> Starlette:
    """Returns an ASGI application that serves /metrics only."""
    return Starlette(routes=[metrics_route(metrics)], middleware=[Middleware(AnswerFailures)])
