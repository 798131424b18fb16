"""Measures for each skill how often the answer to a held-out prompt is exactly right, by default at temperature 0."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jaxchat.bundled
from tools.training import data
from tools.training.decode import Sampler
from tools.training.sample import Message, Sample
from tools.training.skills import json_objects, lists, open_ended
from tools.training.template import render

Answer = Callable[[list[Sample]], list[Message]]
BATCH, SLOTS = 32, 8
_CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)


def direct(directory: Path, temperature: float, **engine: str) -> Answer:
    """Returns a function that answers samples with `tools.training.decode`, in float32, without response formats.

    Args:
        directory: the model directory.
        temperature: temperature of all answers.
        engine: ignored; `in_process` uses it.
    """
    model = Sampler(directory, temperature)

    def answer(samples: list[Sample]) -> list[Message]:
        return [
            _message(text) for text in model.complete([render(s.prompt, list(s.tools), generate=True) for s in samples])
        ]

    return answer


def in_process(directory: Path, temperature: float, **engine: Any) -> Answer:
    """Returns a function that answers samples with the client of `jaxchat.load`.

    Args:
        directory: the model directory.
        temperature: temperature of all requests. Their seed is 1.
        engine: keyword arguments of `jaxchat.load`.
    """
    import jaxchat

    client, pool = jaxchat.load(str(directory), slots=SLOTS, **engine), ThreadPoolExecutor(SLOTS)

    def one(sample: Sample) -> Message:
        params = {**sample.request, "temperature": temperature, "seed": 1}
        reply = client.chat.completions.create(**params).choices[0].message
        named = [
            {"function": {"name": c.function.name, "arguments": c.function.arguments}} for c in reply.tool_calls or []
        ]
        return {"role": "assistant", "content": reply.content, "tool_calls": named}

    return lambda samples: list(pool.map(one, samples))


BACKENDS: dict[str, Callable[..., Answer]] = {"direct": direct, "jaxchat": in_process}


def _message(text: str) -> Message:
    """Converts the text of an assistant turn to a message. Keeps calls that are not valid JSON as text."""
    try:
        calls = [json.loads(body) for body in _CALL.findall(text)]
        named = [{"function": {"name": c["name"], "arguments": json.dumps(c["arguments"])}} for c in calls]
    except (ValueError, KeyError, TypeError):
        return {"role": "assistant", "content": text}
    return {"role": "assistant", "content": _CALL.sub("", text).strip(), "tool_calls": named}


def correct(sample: Sample, answer: Message) -> bool:
    """Returns whether an answer equals the expected one. `sample.check` says what is compared: text, JSON or calls."""
    content, called = (answer.get("content") or "").strip(), _calls(answer)
    if sample.check == "call":
        return called == _calls(sample.answer) and not content
    if sample.check == "json":
        return not called and _parsed(content) == _parsed(sample.answer["content"])
    if sample.check == "shape":
        return not called and json_objects.same_shape(_parsed(sample.answer["content"]), _parsed(content))
    if sample.check == "open":
        return not called and open_ended.accepts(sample.kind, dict(sample.bound), content)
    if sample.check == "list":
        return not called and lists.accepts(sample.kind, sample.answer["content"], content)
    return not called and content == sample.answer["content"]


def _calls(message: Message) -> list[Any]:
    functions = [call["function"] for call in message.get("tool_calls") or []]
    return [(f["name"], _parsed(f["arguments"])) for f in functions]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text, "no JSON"


def measure(answer: Answer, skill: str, count: int, seed: int, show: int) -> tuple[int, int]:
    """Returns the numbers of samples and of exact answers of one skill.

    Args:
        answer: answers samples.
        skill: name of the skill.
        count: maximum number of samples.
        seed: seed of the samples.
        show: maximum number of wrong answers to print.
    """
    samples, right = data.held_out(seed, skill, count), 0
    samples.sort(key=lambda s: len(render(s.prompt, list(s.tools))))
    for start in range(0, len(samples), BATCH):
        part = samples[start : start + BATCH]
        for sample, got in zip(part, answer(part), strict=True):
            good = correct(sample, got)
            right += good
            if not good and show > 0:
                show -= 1
                print(f"- {sample.prompt[-1]['content']!r}")
                print(f"    expected {_brief(sample.answer)}\n    got      {_brief(got)}")
    return len(samples), right


def _brief(message: Message) -> str:
    return str(_calls(message) or message.get("content"))


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=jaxchat.bundled.path(), help="model folder")
    parser.add_argument("--backend", choices=BACKENDS, default="direct")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="for the jaxchat backend")
    parser.add_argument("--quantize", choices=("int8", "int4"), help="rounds weights of the jaxchat backend")
    parser.add_argument("--temperature", type=float, default=0.0, help="with seed 1")
    parser.add_argument("--count", type=int, default=200, help="samples of each skill")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="wrong answers of each skill to print")
    parser.add_argument("--skills", type=lambda text: text.split(","), default=list(data.SKILLS))
    args = parser.parse_args()
    answer = BACKENDS[args.backend](args.model, args.temperature, dtype=args.dtype, quantize=args.quantize)
    table = {skill: measure(answer, skill, args.count, args.seed, args.show) for skill in args.skills}
    print("| skill | examples | exact |\n|---|---|---|")
    for skill, (examples, right) in table.items():
        print(f"| {skill} | {examples} | {100 * right / examples:.1f} % |")
    examples, right = (sum(column) for column in zip(*table.values(), strict=True))
    print(f"| all | {examples} | {100 * right / examples:.1f} % |")


if __name__ == "__main__":
    main()
