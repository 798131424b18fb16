"""No field of the protocol is without a test of its effect."""

from __future__ import annotations

import importlib
import pkgutil

from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from jaxchat.openai_json.request import REQUEST
from tests import contract
from tests.contract import covering
from tests.contract.place import Place

for _module in pkgutil.iter_modules(contract.__path__):
    if _module.name.startswith("test_"):
        importlib.import_module(f"{contract.__name__}.{_module.name}")


def test_every_field_has_a_test_of_its_effect() -> None:
    assert covering.all_fields() - set(covering.BEHAVIOUR) == covering.EXEMPT


def test_only_fields_that_exist_are_registered() -> None:
    assert (set(covering.REFUSALS) | set(covering.BEHAVIOUR)) - covering.all_fields() == set()


def test_every_parameter_of_the_reference_client_is_known_or_refused_as_unsupported(echo_place: Place) -> None:
    unknown = set(CompletionCreateParamsBase.__annotations__) - set(REQUEST)
    assert len(unknown) > 5
    door = echo_place.door("openai")
    assert {name: door.refused(**{name: "x"}).code for name in unknown} == dict.fromkeys(
        unknown, "unsupported_parameter"
    )
