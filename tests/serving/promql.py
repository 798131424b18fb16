"""The metrics and labels that queries of Prometheus name, and those that a page has."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser
from prometheus_client.parser import text_string_to_metric_families as parse

from jaxchat.chat.context import Record
from serving.observability.metrics import Metrics
from tests.serving.fake_session import FakeSession

OF_PROMETHEUS = {"instance", "job", "pod", "namespace"}  # labels that Prometheus adds


def page() -> dict[str, set[str]]:
    """Returns the labels of each metric of our own page, by name. Every metric has been observed."""
    metrics = Metrics([FakeSession()])
    record = Record(request_id="r", model="m", streamed=True, queued=0.1, admitted=0.2, first_token=0.3, last_token=0.4)
    record.completion_tokens, record.finish_reasons, record.outcome = 1, ("stop",), "completed"
    metrics.tokens(record, 1, None)
    metrics.tokens(record, 1, 0.1)
    metrics.finished(record)
    samples = [sample for family in parse(metrics.page().decode()) for sample in family.samples]
    return {sample.name: set(sample.labels) | OF_PROMETHEUS for sample in samples}


def named(query: str) -> Iterator[tuple[str, set[str]]]:
    """Yields each metric of a query, with the labels that the query selects or groups it by. Checks the syntax."""
    yield from _named(promql_parser.parse(query), set())


def _named(node: object, groups: set[str]) -> Iterator[tuple[str, set[str]]]:
    match node:
        case promql_parser.VectorSelector():
            assert node.name
            yield node.name, groups | {matcher.name for matcher in node.matchers.matchers}
        case promql_parser.MatrixSelector():
            yield from _named(node.vector_selector, groups)
        case promql_parser.AggregateExpr():
            yield from _named(node.expr, set(node.modifier.labels) if node.modifier else groups)
        case promql_parser.BinaryExpr():
            yield from _named(node.lhs, groups)
            yield from _named(node.rhs, groups)
        case promql_parser.Call():
            for argument in node.args:
                yield from _named(argument, groups)
        case promql_parser.ParenExpr():
            yield from _named(node.expr, groups)
        case promql_parser.NumberLiteral():
            return
        case _:
            raise NotImplementedError(type(node))


def check(query: str) -> None:
    """Asserts that our page has every metric of a query with the labels that it asks for."""
    metrics = page()
    names = list(named(query))
    assert names, f"{query} names no metric"
    for name, labels in names:
        assert name in metrics, f"{name} is not on our page"
        assert labels <= metrics[name], f"{name} lacks {labels - metrics[name]}"
