"""Records which test covers which field of the protocol. Decorators make the claims, which are checked on the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from jaxchat.v1 import service_pb2

Test = TypeVar("Test", bound=Callable[..., Any])

BEHAVIOUR: dict[str, list[str]] = {}
"""Field -> tests that show its effect."""
REFUSALS: dict[str, list[str]] = {}
"""Field -> values of it that are shown to be refused."""
EXEMPT = frozenset({"ChatCompletionRequest.user", "TextCompletionRequest.user"})
"""For logs only: tests show that they change nothing."""


def covers(*fields: str) -> Callable[[Test], Test]:
    """Marks a test that shows the effect of `fields`, each a `Message.field`. The fixture `honest` checks the claim."""

    def mark(test: Test) -> Test:
        for field in fields:
            BEHAVIOUR.setdefault(field, []).append(test.__name__)
        test.covers = fields  # type: ignore[attr-defined]
        return test

    return mark


def all_fields() -> set[str]:
    """Returns `Message.field` for every field that a call of the service can carry, at any depth."""
    methods = service_pb2.DESCRIPTOR.services_by_name["ChatService"].methods
    return _reachable(method.input_type for method in methods) | answer_fields()


def answer_fields() -> set[str]:
    """Returns `Message.field` for every field that an answer can carry, at any depth."""
    methods = service_pb2.DESCRIPTOR.services_by_name["ChatService"].methods
    return _reachable(method.output_type for method in methods)


def _reachable(roots: Iterable[Descriptor]) -> set[str]:
    todo, found = list(roots), set()
    while todo:
        message = todo.pop()
        if message.name not in found:
            found.add(message.name)
            todo += [field.message_type for field in message.fields if _is_plain_message(field)]
            found |= {f"{message.name}.{field.name}" for field in message.fields}
    return {name for name in found if "." in name}


def fields_of(message: Message) -> Iterator[str]:
    """Yields `Message.field` for every field that is set in `message`, at any depth."""
    for field, value in message.ListFields():
        yield f"{message.DESCRIPTOR.name}.{field.name}"
        if _is_plain_message(field):
            for inner in value if field.is_repeated else [value]:
                yield from fields_of(inner)


def _is_plain_message(field: Any) -> bool:
    return field.message_type is not None and not field.message_type.GetOptions().map_entry


class Seen:
    """The fields that one test has sent and received."""

    def __init__(self) -> None:
        self.sent: set[str] = set()
        self.received: set[str] = set()

    def unproven(self, claimed: Iterable[str]) -> set[str]:
        """Returns the fields that a test claims but has neither sent nor received.

        Leaves out fields of answer messages of which none came back.
        """
        kinds = {field.partition(".")[0] for field in self.received}
        absent = {field for field in answer_fields() if field.partition(".")[0] not in kinds}
        return set(claimed) - self.sent - self.received - absent


SEEN = Seen()
"""Of the test that runs."""
