"""What a request says becomes settings of the engine and of the output; absent fields have the defaults of the API."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest

from jaxchat.chat.request import params
from jaxchat.chat.request.tool_choice import ToolChoice
from jaxchat.chat.tools.hermes import HERMES
from jaxchat.errors import ChatError
from jaxchat.openai_json import request_from_kwargs
from jaxchat.types import SamplingParams

DEFAULTS = {
    "temperature": 1.0,
    "top_p": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "repetition_penalty": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "logprobs": False,
    "logit_bias": (),
}
OTHERS = {
    "temperature": 0.25,
    "top_p": 0.5,
    "frequency_penalty": -1.5,
    "presence_penalty": 1.25,
    "repetition_penalty": 1.5,
    "top_k": -1,
    "min_p": 0.125,
    "logprobs": True,
    "seed": 7,
}
OWN = frozenset({2})


def request(**given):
    return request_from_kwargs(model="m", messages=[{"role": "user", "content": "x"}], **given).request


def sampling(**given) -> dict:
    return asdict(params.sampling(request(**given)))


def test_absent_sampling_parameters_have_the_defaults_of_the_reference() -> None:
    actual = sampling()
    assert actual.pop("seed") != sampling()["seed"], "a seed is drawn for each request"
    assert (
        actual
        == DEFAULTS
        == {field.name: DEFAULTS[field.name] for field in fields(SamplingParams) if field.name != "seed"}
    )


@pytest.mark.parametrize("name", OTHERS)
def test_each_sampling_parameter_is_taken_from_its_own_field(name: str) -> None:
    actual = sampling(**{"seed": 3, name: OTHERS[name]})
    assert actual == DEFAULTS | {"seed": 3, name: OTHERS[name]}


def test_a_zero_is_not_absent() -> None:
    assert sampling(temperature=0, top_p=0, seed=0).items() >= {"temperature": 0.0, "top_p": 0.0, "seed": 0}.items()


def test_all_64_bits_of_a_seed_are_kept_and_unsigned() -> None:
    assert [sampling(seed=seed)["seed"] for seed in (2**63 - 1, -1, -(2**63))] == [2**63 - 1, 2**64 - 1, 2**63]


def test_biases_are_sorted_by_token() -> None:
    assert sampling(logit_bias={"9": 1.5, "3": -100})["logit_bias"] == ((3, -100.0), (9, 1.5))


def test_numbers_of_choices_and_tokens() -> None:
    assert params.choices(request()) == 1 and params.choices(request(n=5)) == 5
    assert params.requested_tokens(request()) is None
    assert params.requested_tokens(request(max_tokens=7)) == 7
    assert params.requested_tokens(request(max_completion_tokens=8)) == 8


def test_stop_tokens_are_those_of_the_model_and_of_the_request() -> None:
    assert params.stop_tokens(request(), OWN, constrained=True) == OWN
    assert params.stop_tokens(request(stop_token_ids=[5, 7]), OWN, constrained=True) == {2, 5, 7}
    assert params.stop_tokens(request(ignore_eos=False), OWN, constrained=True) == OWN
    assert params.stop_tokens(request(ignore_eos=True, stop_token_ids=[5]), OWN, constrained=False) == {5}


def test_a_grammar_needs_the_models_own_end() -> None:
    with pytest.raises(ChatError) as caught:
        params.stop_tokens(request(ignore_eos=True), OWN, constrained=True)
    assert (caught.value.http_status, caught.value.param) == (400, "ignore_eos")


def options(**given) -> dict:
    made = params.choice_options(request(**given), ToolChoice(), "tool_calls", HERMES)
    return {
        name: getattr(made, name)
        for name in ("stops", "min_tokens", "token_ids", "accepted_drafts", "top_logprobs", "exact_logprobs")
    }


def test_the_output_is_what_the_request_asks_for() -> None:
    plain = {"stops": (), "min_tokens": 0, "token_ids": False, "accepted_drafts": False}
    plain |= {"top_logprobs": None, "exact_logprobs": False}
    assert options() == plain
    assert options(stop="a") == plain | {"stops": ("a",)}
    assert options(stop=["a", "b"]) == plain | {"stops": ("a", "b")}
    assert options(min_tokens=3) == plain | {"min_tokens": 3}
    assert options(return_token_ids=True) == plain | {"token_ids": True}
    assert options(return_accepted_drafts=True) == plain | {"accepted_drafts": True}
    assert options(logprobs=True) == plain | {"top_logprobs": 0}
    assert options(logprobs=True, top_logprobs=4) == plain | {"top_logprobs": 4}
    assert options(logprobs=True, exact_logprobs=True) == plain | {"top_logprobs": 0, "exact_logprobs": True}
