"""Interprets a text completion once, so that later steps need not read the protobuf message."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jaxchat import v1
from jaxchat.chat.grammar.constraint import OutputConstraint, text_constraint
from jaxchat.chat.prompt.build import check_known_tokens, excess_tokens, prediction_tokens
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.request.params import choices, sampling, stop_tokens
from jaxchat.chat.request.validate_text import DEFAULT_MAX_TOKENS
from jaxchat.chat.response.choice import ChoiceOptions
from jaxchat.chat.response.prediction import Prediction
from jaxchat.errors import context_length_exceeded, invalid
from jaxchat.types import GenerateRequest, Grammar, SamplingParams

PARAM = "prompt"
_SEEDS = 1 << 64


@dataclass(frozen=True)
class Prompt:
    """The tokens of a prompt, and its text if the request asks to repeat it.

    Attributes:
        ids: the token ids, i32 `[tokens]`.
        text: the text; "" if the request does not set `echo`.
    """

    ids: np.ndarray
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class PreparedText:
    """The contents of a validated text completion, with defaults filled in.

    Attributes:
        choices: number of completions of each prompt.
        max_tokens: for each prompt, the maximum number of tokens of a completion.
        seeded: whether the request has a seed. If so, all prompts use it. Otherwise the prompts use different seeds.
        constraint: the source of the grammar; None for any text.
        options: the settings for turning the tokens of a completion into text.
        logprobs: number of likeliest tokens to return for each token; None for no log-probabilities.
    """

    prompts: tuple[Prompt, ...]
    prediction: np.ndarray | None  # i32 [tokens]
    choices: int
    max_tokens: tuple[int, ...]
    min_tokens: int
    stop_tokens: frozenset[int]
    sampling: SamplingParams
    seeded: bool
    constraint: OutputConstraint | None
    options: ChoiceOptions
    logprobs: int | None
    echo: bool
    token_ids: bool
    include_usage: bool

    @property
    def generates(self) -> bool:
        """Whether any token is sampled."""
        return max(self.max_tokens) > 0

    def generate_requests(self, grammar: Grammar | None) -> list[GenerateRequest]:
        """Returns requests to the engine, one for each prompt."""
        return [
            GenerateRequest(
                prompt=prompt.ids,
                max_tokens=self.max_tokens[place],
                choices=self.choices,
                sampling=self.sampling if self.seeded else _shifted(self.sampling, place),
                stop_tokens=self.stop_tokens,
                min_tokens=self.min_tokens,
                grammar=grammar,
                prediction=self.prediction,
            )
            for place, prompt in enumerate(self.prompts)
        ]

    def choice_options(self, place: int, tokenizer: ChatTokenizer) -> ChoiceOptions:
        """Returns the options for the completions of the prompt at `place`."""
        continues = any(tokenizer.bytes_of(token) for token in self.prompts[place].ids.tolist())
        return replace(self.options, continues=continues)


def prepare_text(
    request: v1.TextCompletionRequest,
    settings: v1.ChatCompletionRequest,
    tokenizer: ChatTokenizer,
    *,
    context: int,
    vocab: int,
) -> PreparedText:
    """Interprets a validated request. Blocks for long texts, so do not call it on an event loop.

    Args:
        request: a validated request.
        settings: the result of `validate_text`.
        tokenizer: the model's tokenizer.
        context: maximum length of a prompt with its completion, in tokens.
        vocab: number of token ids that the model knows.

    Raises:
        ChatError: 400 if a prompt is empty, does not fit the context with its completion, or has a token that the model
            does not know. 400 also if a schema, the response format or the prediction is invalid, or if `ignore_eos` is
            set and a grammar constrains the text.
    """
    constraint = text_constraint(settings)
    add_special = request.add_special_tokens or not request.HasField("add_special_tokens")
    prompts = tuple(_prompt(prompt, add_special, request.echo, tokenizer, context, vocab) for prompt in request.prompt)
    prediction = prediction_tokens(settings, tokenizer, context, vocab)
    logprobs = request.logprobs if request.HasField("logprobs") else None
    return PreparedText(
        prompts=prompts,
        prediction=prediction,
        choices=choices(settings),
        max_tokens=tuple(_max_tokens(request, len(prompt.ids), context) for prompt in prompts),
        min_tokens=request.min_tokens,
        stop_tokens=stop_tokens(settings, tokenizer.stop_tokens, constrained=constraint is not None),
        sampling=sampling(settings),
        seeded=request.HasField("seed"),
        constraint=constraint,
        options=ChoiceOptions(
            stops=tuple(request.stop),
            min_tokens=request.min_tokens,
            token_ids=request.return_token_ids,
            accepted_drafts=request.return_accepted_drafts,
            top_logprobs=logprobs,
            exact_logprobs=True,
            every_token=True,
            prediction=None if prediction is None else Prediction(prediction),
        ),
        logprobs=logprobs,
        echo=request.echo,
        token_ids=request.return_token_ids,
        include_usage=request.stream_options.include_usage,
    )


def raw_prompt_tokens(
    text: str, tokenizer: ChatTokenizer, context: int, vocab: int, *, add_special_tokens: bool
) -> list[int]:
    """Returns the token ids of a text. Does not use a chat template.

    Raises:
        ChatError: 400 on `prompt` if the text is far longer than `context`, or has a token that the model does not
            know.
    """
    if count := excess_tokens(text, tokenizer, context):
        raise context_length_exceeded(context, count, more=True, param=PARAM)
    ids = tokenizer.encode_raw(text, add_special_tokens=add_special_tokens)
    check_known_tokens(ids, tokenizer, vocab, PARAM, PARAM)
    return ids


def _prompt(
    prompt: v1.TextPrompt, add_special: bool, echo: bool, tokenizer: ChatTokenizer, context: int, vocab: int
) -> Prompt:
    if prompt.WhichOneof("kind") == "token_ids":
        ids = list(prompt.token_ids.ids)
        return Prompt(np.array(ids, np.int32), tokenizer.decode(ids) if echo else "")
    ids = raw_prompt_tokens(prompt.text, tokenizer, context, vocab, add_special_tokens=add_special)
    if not ids:
        raise invalid(PARAM, "a prompt must have at least one token, and this tokenizer adds none to an empty text.")
    return Prompt(np.array(ids, np.int32), prompt.text if echo else "")


def _max_tokens(request: v1.TextCompletionRequest, prompt: int, context: int) -> int:
    """Returns the maximum length of a completion in tokens. `prompt` is the length of the prompt in tokens.

    Raises `ChatError` 400 if the prompt and the completion do not fit the context.
    """
    limit = request.max_tokens if request.HasField("max_tokens") else None
    least = max(request.min_tokens, 1) if limit is None else limit
    if prompt + least > context:
        raise context_length_exceeded(context, prompt, limit or request.min_tokens or None, param=PARAM)
    return min(DEFAULT_MAX_TOKENS, context - prompt) if limit is None else limit


def _shifted(params: SamplingParams, place: int) -> SamplingParams:
    return replace(params, seed=(params.seed + place) % _SEEDS)
