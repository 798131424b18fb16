"""Models as typed objects. Each object says how the server writes prompts for the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from jaxchat import v1
from jaxchat.client import html
from jaxchat.client.answer_object import AnswerObject, optional
from jaxchat.errors import model_not_found
from jaxchat.openai_json.enums import PROMPT_WRITERS

PromptWriter = Literal["template", "server", "rejected"]


@dataclass(frozen=True, repr=False, kw_only=True)
class ChatTemplate(AnswerObject):
    """A model's tool format, and for each part of a conversation whether the chat template or the server writes it.

    "template": the chat template prints the part. "server": the template does not print the part, so the server writes
    it into another message. "rejected": requests with the part fail.
    """

    tool_format: str
    tools: PromptWriter
    calls: PromptWriter
    results: PromptWriter
    system: PromptWriter

    @classmethod
    def from_proto(cls, proto: v1.ChatTemplate) -> Self:
        writers: Any = PROMPT_WRITERS
        return cls(
            proto=proto,
            tool_format=proto.tool_format,
            tools=writers.get(proto.tools),
            calls=writers.get(proto.calls),
            results=writers.get(proto.results),
            system=writers.get(proto.system),
        )


@dataclass(frozen=True, repr=False, kw_only=True)
class Model(AnswerObject):
    """A model that requests may name. `created` is in Unix seconds.

    `chat_template` is None if the server's version does not send it.
    """

    proto: v1.Model = field(compare=False, repr=False)
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    chat_template: ChatTemplate | None = None

    @classmethod
    def from_proto(cls, proto: v1.Model) -> Self:
        template = optional(proto, "chat_template")
        return cls(
            proto=proto,
            id=proto.id,
            created=proto.created,
            owned_by=proto.owned_by,
            chat_template=ChatTemplate.from_proto(template) if template else None,
        )


class ModelList(list[Model]):
    """A list of models, which notebooks show as a table."""

    @classmethod
    def from_protos(cls, models: Iterable[v1.Model]) -> Self:
        return cls(map(Model.from_proto, models))

    def _repr_html_(self) -> str:
        return html.models_html(self)


def find_model(models: Iterable[Model], model_id: str) -> Model:
    """Returns the model with this id. Raises `ChatError` with status 404 if `models` has none."""
    by_id = {model.id: model for model in models}
    if model_id not in by_id:
        raise model_not_found(model_id, by_id)
    return by_id[model_id]


def common_models(listings: Sequence[list[v1.Model]]) -> list[v1.Model]:
    """Returns the models that all replicas have, as the first replica describes them.

    A request may go to any replica, so other models cannot be requested.

    Args:
        listings: the models of each replica.
    """
    first, *others = listings or [[]]
    ids = [{model.id for model in listing} for listing in others]
    return [model for model in first if all(model.id in each for each in ids)]
