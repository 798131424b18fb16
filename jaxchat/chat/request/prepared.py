"""Interprets a request once, so that later steps need not read the protobuf message."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from jaxchat import v1
from jaxchat.chat.grammar.constraint import OutputConstraint, output_constraint
from jaxchat.chat.prompt.build import prediction_tokens, prompt_tokens
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.request.params import (
    check_callable,
    choice_options,
    choices,
    draft_tokens,
    requested_tokens,
    sampling,
    stop_tokens,
)
from jaxchat.chat.request.template_kwargs import template_kwargs
from jaxchat.chat.request.tool_choice import ToolChoice
from jaxchat.chat.response.call_ids import CallIds
from jaxchat.chat.response.choice import ChoiceOptions
from jaxchat.chat.response.prediction import Prediction
from jaxchat.chat.response.reasoning import ThoughtSplitter, thought_splitter
from jaxchat.config import NamedFinish
from jaxchat.types import SamplingParams


@dataclass(frozen=True, kw_only=True)
class PreparedRequest:
    """The contents of a validated request, with defaults filled in.

    `choices` is the number of choices, and `stop_tokens` are ids of tokens that end an answer.
    """

    prompt: np.ndarray  # i32 [tokens]
    prediction: np.ndarray | None  # i32 [tokens]; None: the request has none
    drafts: tuple[tuple[int, ...], ...]  # the expected first tokens of each choice
    choices: int
    max_tokens: int | None  # None: limited by the context only
    min_tokens: int
    stop_tokens: frozenset[int]
    sampling: SamplingParams
    tool_choice: ToolChoice
    constraint: OutputConstraint | None  # the source of the grammar; None: any text
    thoughts: ThoughtSplitter | None  # tells thoughts from the text that `constraint` binds; None: it binds all tokens
    options: ChoiceOptions  # for turning the tokens of a choice into output
    logprobs: bool
    token_ids: bool  # whether the answer reports the token ids of the prompt and of each choice
    include_usage: bool
    day: date | None  # the day that the template gets as today; None: the template does not ask for it


def prepare(
    request: v1.ChatCompletionRequest,
    tool_choice: ToolChoice,
    template: ChatTemplate,
    tokenizer: ChatTokenizer,
    *,
    context: int,
    vocab: int,
    named_finish: NamedFinish,
) -> PreparedRequest:
    """Interprets a validated request. Blocks for long texts, so do not call it on an event loop.

    Args:
        request: a validated request.
        tool_choice: the result of `validate`.
        template: the model's chat template.
        tokenizer: the model's tokenizer.
        context: maximum length of a prediction and of each list of draft tokens, in tokens. A longer prompt is refused
            here only if the conversation is far longer.
        vocab: number of token ids that the model knows.
        named_finish: the finish reason of an answer that had to call a named function.

    Raises:
        ChatError: 400 if the chat template refuses the conversation or cannot show a part of it. 400 if the
            conversation is far longer than `context`, the prediction is too long, or one of the two contains a token
            that the model does not know. 400 if a schema, the response format or a template variable is invalid. 400 if
            `ignore_eos` is set and a grammar constrains the answer. 400 if the request allows calls and the model's
            tool format is unknown. 400 if draft tokens are out of bounds.
    """
    check_callable(tool_choice, template.tool_format)
    variables = template.variables(template_kwargs(request, template, tools=tool_choice.visible))
    constraint = output_constraint(request, tool_choice)
    prompt = prompt_tokens(request, tool_choice, template, tokenizer, context, vocab, variables)
    prediction = prediction_tokens(request, tokenizer, context, vocab)
    reasoning = template.reasoning_format
    splitter = thought_splitter(reasoning, tokenizer, prompt)
    options = choice_options(request, tool_choice, named_finish, template.tool_format)
    parameters = sampling(request)
    return PreparedRequest(
        prompt=prompt,
        prediction=prediction,
        drafts=draft_tokens(request, context, vocab),
        choices=choices(request),
        max_tokens=requested_tokens(request),
        min_tokens=request.min_tokens,
        stop_tokens=stop_tokens(request, tokenizer.stop_tokens, constrained=constraint is not None),
        sampling=parameters,
        tool_choice=tool_choice,
        constraint=constraint,
        thoughts=None if reasoning and reasoning.in_grammar else splitter,
        options=replace(
            options,
            splitter=splitter,
            call_ids=CallIds(prompt, parameters.seed),
            prediction=None if prediction is None else Prediction(prediction),
        ),
        logprobs=request.logprobs,
        token_ids=request.return_token_ids,
        include_usage=request.stream_options.include_usage,
        day=variables.day if template.uses_date else None,
    )
