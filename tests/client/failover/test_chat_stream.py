"""A stream that was cut off anywhere, and goes on with any other chunks, reads as one that was never cut."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxchat import v1
from jaxchat.client.failover import ResumableChat
from jaxchat.client.failover.resumable import OtherFingerprint
from jaxchat.errors import ChatError

Atom = tuple[str, Any]


def request(**fields: Any) -> v1.ChatCompletionRequest:
    return v1.ChatCompletionRequest(model="m", messages=[v1.ChatMessage(role=v1.ROLE_USER, text="hi")], **fields)


def atoms(rng: Random, tools: bool, legacy: bool) -> list[Atom]:
    """An answer, a token each: thoughts, then content, then calls."""
    answer: list[Atom] = [("think", rng.choice("abc")) for _ in range(rng.randint(0, 4))]
    answer += [("text", rng.choice(["x", "yz", "", "é"])) for _ in range(rng.randint(0, 8))]
    for call in range(rng.randint(0, 1 if legacy else 3) if tools else 0):
        answer.append(("call", (call, f"name{call}")))
        answer += [("args", (call, rng.choice(["{", "}", '"a"']))) for _ in range(rng.randint(0, 4))]
    return answer


def chunks(
    answers: list[list[Atom]], rng: Random, asked: v1.ChatCompletionRequest, identity: str, legacy: bool
) -> list:
    """The chunks of a server that joins tokens at random."""
    stream = [
        chunk(identity, v1.ChunkChoice(index=i, delta=v1.Delta(role=2 + 1, content=""))) for i in range(len(answers))
    ]
    stream[0].prompt_token_ids.extend([7, 8, 9])
    places = [0] * len(answers)
    while any(place <= len(answer) for place, answer in zip(places, answers, strict=True)):
        index = rng.choice([i for i, answer in enumerate(answers) if places[i] <= len(answer)])
        answer, place = answers[index], places[index]
        if place == len(answer):
            stream.append(chunk(identity, v1.ChunkChoice(index=index, delta=v1.Delta(), finish_reason=1)))
            places[index] += 1
            continue
        end = place + 1
        while end < len(answer) and answer[end][0] == answer[place][0] != "call" and rng.random() < 0.5:
            if answer[place][0] == "args" and answer[end][1][0] != answer[place][1][0]:
                break
            end += 1
        if part := piece(
            index, answer[place:end], range(100 * index + place, 100 * index + end), asked.logprobs, legacy
        ):
            if asked.return_accepted_drafts:  # other ones in each run
                part.accepted_drafts.extend(number for number in range(place, end) if rng.random() < 0.5)
            stream.append(chunk(identity, part))
        places[index] = end
    if asked.stream_options.include_usage:
        stream.append(chunk(identity))
        stream[-1].usage.completion_tokens = 5
    return stream


def piece(index: int, part: list[Atom], tokens: range, logprobs: bool, legacy: bool) -> v1.ChunkChoice:
    kind, value = part[0]
    choice = v1.ChunkChoice(index=index, token_ids=tokens)
    if kind == "think":
        choice.delta.reasoning_content = "".join(text for _, text in part)
    elif kind == "text":
        choice.delta.content = "".join(text for _, text in part)
        if logprobs:
            entries = [v1.TokenLogprob(token=text, token_id=t) for (_, text), t in zip(part, tokens, strict=True)]
            choice.logprobs.content.extend(entries)
    elif kind == "call":
        function = v1.FunctionCall(name=value[1], arguments="")
        if legacy:
            choice.delta.function_call.CopyFrom(function)
        else:
            choice.delta.tool_calls.add(index=value[0], id=f"call_{index}_{value[0]}", type=1, function=function)
    else:
        function = v1.FunctionCall(arguments="".join(text for _, (_, text) in part))
        if legacy:
            choice.delta.function_call.CopyFrom(function)
        else:
            choice.delta.tool_calls.add(index=value[0], function=function)
    return choice


def chunk(identity: str, *choices: v1.ChunkChoice) -> v1.ChatCompletionChunk:
    shared = {"model": "m", "system_fingerprint": "fp_1", "seed_used": 3, "created": len(identity)}
    return v1.ChatCompletionChunk(id=identity, choices=choices, **shared)


def read(stream: list[v1.ChatCompletionChunk]) -> Any:
    """What a reader makes of a stream."""
    said: dict[int, dict[str, Any]] = {}
    heads = {(part.id, part.created, part.system_fingerprint, part.seed_used) for part in stream}
    for choice in (choice for part in stream for choice in part.choices):
        mine = said.setdefault(
            choice.index, {"roles": 0, "text": "", "think": "", "calls": [], "ids": [], "entries": []}
        )
        delta = choice.delta
        mine["roles"] += bool(delta.role)
        mine["text"] += delta.content
        mine["think"] += delta.reasoning_content
        mine["ids"] += choice.token_ids
        mine["entries"] += [(entry.token, entry.token_id) for entry in choice.logprobs.content]
        fragments = [(call.index, call.id, call.function) for call in delta.tool_calls]
        fragments += [(0, "", delta.function_call)] if delta.HasField("function_call") else []
        for index, identity, function in fragments:
            if function.HasField("name"):
                mine["calls"].append([index, identity, function.name, ""])
            mine["calls"][-1][3] += function.arguments
        if choice.finish_reason:
            assert "finish" not in mine
            mine["finish"] = choice.finish_reason
    prompts = [list(part.prompt_token_ids) for part in stream if part.prompt_token_ids]
    usages = [part.usage.completion_tokens for part in stream if part.HasField("usage")]
    return heads, said, prompts, usages


def deliver(answer: ResumableChat, stream: list[v1.ChatCompletionChunk]) -> list[v1.ChatCompletionChunk]:
    return [part for sent in stream if (part := answer.take(sent)) is not None]


@given(st.integers(0, 2**32), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_a_stream_that_is_cut_off_twice_reads_as_one(
    seed: int, tools: bool, legacy: bool, ids: bool, full: bool
) -> None:
    rng = Random(seed)
    answers = [atoms(rng, tools, legacy) for _ in range(rng.randint(1, 3))]
    asked = request(n=len(answers), seed=3, return_token_ids=ids, logprobs=full)
    asked.stream_options.include_usage = full

    def stream(identity: str) -> list[v1.ChatCompletionChunk]:
        return chunks(answers, rng, asked, identity, legacy)

    whole = read(deliver(ResumableChat(asked), stream("a")))
    answer, delivered = ResumableChat(asked), []
    for identity in ("a", "bc", "def"):
        sent = stream(identity)
        lost = identity != "def"
        parts = deliver(answer, sent[: rng.randint(1, len(sent))] if lost else sent)
        delivered += parts
        assert all(part.choices or part.HasField("usage") for part in parts)
        if answer.ended:
            break
        if lost:
            answer.restart()
        else:
            answer.end()
    assert answer.ended and read(delivered) == whole
    text = "".join(value for kind, value in answers[0] if kind == "text")
    assert whole[1][0]["text"] == text and bool(whole[1][0]["ids"]) == (ids and bool(answers[0]))


@given(st.integers(0, 2**32))
def test_accepted_drafts_are_those_of_the_run_that_brought_the_token(seed: int) -> None:
    rng = Random(seed)
    asked = request(seed=3, return_accepted_drafts=True)
    answers = [[("text", "x")] * 12]
    answer, expected, delivered, tokens = ResumableChat(asked), list[int](), list[v1.ChatCompletionChunk](), 0
    while not answer.ended:
        answer.restart()
        sent = chunks(answers, rng, asked, "a", False)[: rng.randint(1, 14)]
        drafts = [number for part in sent for choice in part.choices for number in choice.accepted_drafts]
        expected += [number for number in drafts if number >= tokens]
        tokens = max(tokens, sum(len(choice.token_ids) for part in sent for choice in part.choices))
        delivered += deliver(answer, sent)
    said = [number for part in delivered for choice in part.choices for number in choice.accepted_drafts]
    assert said == expected == sorted(set(said))


def begun(**fields: Any) -> ResumableChat:
    answer = ResumableChat(request(seed=3, **fields))
    deliver(answer, [chunk("a", v1.ChunkChoice(delta=v1.Delta(role=3, content="")))])
    deliver(answer, [chunk("a", v1.ChunkChoice(delta=v1.Delta(content="abc"), token_ids=[1, 2, 3]))])
    answer.restart()
    return answer


def test_the_next_attempt_brings_the_tokens_so_far_and_the_same_seed() -> None:
    answer = ResumableChat(request())
    first = answer.request()
    assert first.HasField("seed") and first.return_token_ids and not first.draft_tokens
    assert ResumableChat(request()).request().seed != first.seed
    deliver(answer, [chunk("a", v1.ChunkChoice(delta=v1.Delta(content="abc"), token_ids=[1, 2, 3]))])
    again = answer.request()
    assert [list(draft.token_ids) for draft in again.draft_tokens] == [[1, 2, 3]] and again.seed == first.seed


@pytest.mark.parametrize(
    ("part", "what"),
    [
        (v1.ChunkChoice(delta=v1.Delta(content="abX")), "content"),
        (v1.ChunkChoice(delta=v1.Delta(content="abc"), token_ids=[1, 2, 4]), "token ids"),
        (v1.ChunkChoice(delta=v1.Delta(content="ab"), finish_reason=1), "content"),
    ],
)
def test_a_difference_is_an_error_and_never_spliced(part: v1.ChunkChoice, what: str) -> None:
    with pytest.raises(ChatError, match=f"its {what} would not be the same") as caught:
        begun().take(chunk("b", part))
    assert (caught.value.code, caught.value.http_status) == ("cut_off", 503)


def test_calls_must_have_the_same_ids() -> None:
    call = {"index": 0, "type": 1, "function": v1.FunctionCall(name="f", arguments="")}
    answer = ResumableChat(request())
    deliver(answer, [chunk("a", v1.ChunkChoice(delta=v1.Delta(tool_calls=[v1.ToolCallDelta(id="call_1", **call)])))])
    answer.restart()
    with pytest.raises(ChatError, match="its call would not"):
        answer.take(chunk("a", v1.ChunkChoice(delta=v1.Delta(tool_calls=[v1.ToolCallDelta(id="call_2", **call)]))))


def test_another_fingerprint_and_another_seed_are_refused() -> None:
    other = chunk("b", v1.ChunkChoice(delta=v1.Delta(content="abc")))
    other.system_fingerprint = "fp_2"
    with pytest.raises(OtherFingerprint, match=r"fp_1.*fp_2"):
        begun().take(other)
    other.system_fingerprint, other.seed_used = "fp_1", 4
    with pytest.raises(ChatError, match="seed"):
        begun().take(other)


def test_an_end_before_all_was_repeated_is_an_error() -> None:
    answer = begun()
    answer.take(chunk("b", v1.ChunkChoice(delta=v1.Delta(content="ab"))))
    with pytest.raises(ChatError, match="content"):
        answer.end()
