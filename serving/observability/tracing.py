"""Makes a trace span for each request, by OpenTelemetry's GenAI semantic conventions. Requires the extra `otel`."""

from __future__ import annotations

from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from jaxchat.chat.context import Record

_SHOWN = 200  # characters of a model name; clients may send any
_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """An observer that makes a span for each request. A background thread sends the spans in batches.

    If the request names the caller's span, the new span is a child of that span, and is sent only if the caller samples
    the trace. Malformed trace headers are ignored.

    Args:
        exporter: sends the spans.
    """

    def __init__(self, exporter: SpanExporter):
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "jaxchat"}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("jaxchat")

    def tokens(self, record: Record, count: int, gap: float | None) -> None:
        """Does nothing, because a request has one span."""

    def finished(self, record: Record) -> None:
        span = self._tracer.start_span(
            f"{record.operation} {record.model[:_SHOWN]}",
            context=_parent(record),
            kind=SpanKind.SERVER,
            start_time=_nanoseconds(record.accepted),
            attributes=_attributes(record),
        )
        if record.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(_nanoseconds(record.accepted + record.seconds))

    def close(self) -> None:
        """Sends the remaining spans. Blocks for some seconds if the collector is unreachable."""
        self._provider.shutdown()


def otlp(endpoint: str) -> Tracing:
    """Returns an observer that sends spans by OTLP/gRPC to `endpoint`, such as `http://host:4317`. `https` uses TLS."""
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return Tracing(OTLPSpanExporter(endpoint=endpoint))


def _parent(record: Record) -> Context:
    """Returns the context of the caller's span, or an empty context if `traceparent` is missing or invalid."""
    headers = {"traceparent": record.traceparent, "tracestate": record.tracestate}
    return _PROPAGATOR.extract({name: value for name, value in headers.items() if value}, context=Context())


def _attributes(record: Record) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": record.operation,
        "gen_ai.provider.name": "jaxchat",
        "gen_ai.request.model": record.model[:_SHOWN],
        "gen_ai.request.stream": record.streamed,
        "gen_ai.request.choice.count": record.choices,
        "gen_ai.usage.input_tokens": record.prompt_tokens,
        "gen_ai.usage.output_tokens": record.completion_tokens,
        "gen_ai.response.finish_reasons": record.finish_reasons,
        "gen_ai.response.time_to_first_chunk": record.first_token,
        "error.type": record.error or ("cancelled" if record.outcome == "cancelled" else None),
        "jaxchat.request_id": record.request_id,
    }
    return {key: value for key, value in attributes.items() if value is not None}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
