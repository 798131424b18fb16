"""JSON objects with invented values, and objects that a response format dictates."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from tools.training.sample import Sample, assistant, trained, user
from tools.training.skills import about, arithmetic, capitals, extract, lists, open_ended, small_talk, unknown, words

SKILL, EXERCISE = "JSON", "JSON exercise"
Value = Callable[[Random], Any]

_TAGS = ("small", "new", "cheap", "strong", "light", "blue", "red", "green", "classic", "popular", "old", "soft")
_CATEGORIES = ("home", "office", "garden", "music", "sport", "travel", "kitchen", "school")


def _text(rng: Random) -> str:
    return rng.choice((f"A {rng.choice(_TAGS)} {rng.choice(words.PRODUCTS)}.", f"{rng.choice(_TAGS)} and good"))


def _tags(rng: Random) -> list[str]:
    return rng.sample(_TAGS, rng.choice((1, 2, 2, 3, 3, 4)))


def _address(rng: Random) -> dict[str, Any]:
    return {
        "street": f"{words.made_up(rng).capitalize()} Road {rng.randrange(1, 100)}",
        "city": rng.choice(words.CITIES),
    }


def _items(rng: Random) -> list[dict[str, Any]]:
    products = rng.sample(words.PRODUCTS, rng.choice((1, 2, 2, 3)))
    return [{"name": product, "quantity": rng.randrange(1, 10)} for product in products]


VALUES: dict[str, Value] = {
    "name": words.full_name,
    "product": lambda rng: rng.choice(words.PRODUCTS),
    "price": words.price,
    "tags": _tags,
    "colour": lambda rng: rng.choice(words.COLOURS),
    "color": lambda rng: rng.choice(words.COLOURS),
    "size": lambda rng: rng.choice(("small", "medium", "large")),
    "quantity": lambda rng: rng.randrange(1, 100),
    "in_stock": lambda rng: rng.random() < 0.5,
    "available": lambda rng: rng.random() < 0.5,
    "category": lambda rng: rng.choice(_CATEGORIES),
    "description": _text,
    "id": lambda rng: rng.randrange(1, 10000),
    "email": words.email,
    "phone": words.phone,
    "city": lambda rng: rng.choice(words.CITIES),
    "country": lambda rng: rng.choice(list(capitals.CAPITALS)),
    "address": _address,
    "title": lambda rng: f"The {rng.choice(_TAGS).capitalize()} {rng.choice(words.ANIMALS).capitalize()}",
    "author": words.full_name,
    "year": lambda rng: rng.randrange(1950, 2027),
    "pages": lambda rng: rng.randrange(50, 900),
    "rating": lambda rng: rng.randrange(10, 50) / 10,
    "age": lambda rng: rng.randrange(18, 90),
    "date": words.date,
    "time": words.clock,
    "animal": lambda rng: rng.choice(words.ANIMALS),
    "food": lambda rng: rng.choice(words.FOODS),
    "items": _items,
    "ingredients": lambda rng: rng.sample(words.FOODS, rng.choice((2, 3, 4))),
    "colours": lambda rng: rng.sample(words.COLOURS, rng.choice((2, 3))),
    "numbers": lambda rng: [rng.randrange(100) for _ in range(rng.choice((2, 3, 4, 5)))],
    "population": lambda rng: rng.randrange(10, 1000) * 10_000,
    "temperature": lambda rng: rng.randrange(-15, 40),
    "weight": lambda rng: rng.randrange(1, 200) / 10,
}
KINDS: dict[str, tuple[str, ...]] = {
    "product": ("name", "price", "tags", "colour", "in_stock", "category", "description", "quantity", "weight"),
    "person": ("name", "age", "email", "city", "phone", "address"),
    "user": ("id", "name", "email", "age", "city", "address"),
    "book": ("title", "author", "year", "pages", "rating", "tags"),
    "order": ("id", "name", "items", "price", "date", "address"),
    "pet": ("name", "animal", "age", "colour", "weight"),
    "recipe": ("title", "ingredients", "time", "rating"),
    "city": ("name", "country", "population", "temperature"),
    "film": ("title", "year", "rating", "tags"),
    "event": ("title", "date", "time", "city"),
}
USUAL = {kind: fields[:3] for kind, fields in KINDS.items()}
_ASK = (
    "Give me a JSON object with {fields}.",
    "Make up {a_kind} as JSON with {fields}.",
    "Give me {a_kind} as JSON with {fields}.",
    "Return {a_kind} as JSON: {fields}.",
    "Create a JSON object with {fields}.",
    "Write JSON for {a_kind} with {fields}.",
    "Invent {a_kind} with {fields}, as JSON.",
    "Describe {a_kind} as JSON with the keys {fields}.",
    "Generate {a_kind} with {fields} in JSON.",
    "JSON with {fields}, please.",
)
_ASK_USUAL = (
    "Give me {a_kind} as JSON.",
    "Make up {a_kind} as JSON.",
    "Describe {a_kind} in JSON.",
    "Return {a_kind} as JSON.",
    "Write JSON for {a_kind}.",
    "Invent {a_kind}, as a JSON object.",
    "Generate {a_kind} in JSON.",
    "An example of {a_kind} as JSON, please.",
)
_PLAIN_ASK = ("Make up {a_kind}.", "Invent {a_kind}.", "Describe {a_kind}.", "Give me {a_kind}.", "Generate {a_kind}.")
SYSTEM = ("Answer in JSON.", "Reply with JSON only.", "You answer in JSON.", "Always answer with a JSON object.")


def make(rng: Random) -> Sample:
    """Returns a request for an object with invented values. The key is the kind with the names of the fields."""
    kind = rng.choice(list(KINDS))
    if rng.random() < 0.25:
        fields, asked = list(USUAL[kind]), rng.choice(_ASK_USUAL).format(a_kind=_article(kind))
    else:
        fields = rng.sample(KINDS[kind], rng.randint(1, min(4, len(KINDS[kind]))))
        if rng.random() < 0.2:
            fields[rng.randrange(len(fields))] = rng.choice([name for name in VALUES if name not in fields])
        asked = rng.choice(_ASK).format(a_kind=_article(kind), fields=words.listed(fields))
    asked = words.vary(rng, asked)
    answer = json.dumps(_object(rng, fields), ensure_ascii=False)
    key = f"{asked if fields == list(USUAL[kind]) else kind}{fields}"
    format_ = rng.choice((None, {"type": "json_object"}, _schema_format(fields, answer)))
    return Sample(
        skill=SKILL,
        key=key,
        messages=(user(asked), assistant(answer)),
        check="shape",
        response_format=format_,
    )


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _object(rng: Random, fields: list[str]) -> dict[str, Any]:
    return {name: VALUES[name](rng) for name in fields}


def _schema_format(fields: list[str], answer: str) -> dict[str, Any]:
    """Returns a response format with a schema of the answer's keys and types."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema_of(json.loads(answer))}}


def schema_of(value: Any) -> dict[str, Any]:
    """Returns a JSON Schema that demands the keys and types of `value`."""
    match value:
        case dict():
            properties = {name: schema_of(inner) for name, inner in value.items()}
            return {"type": "object", "properties": properties, "required": list(value), "additionalProperties": False}
        case list():
            return {"type": "array", "items": schema_of(value[0])}
        case bool():
            return {"type": "boolean"}
        case int() | float():
            return {"type": "number"}
    return {"type": "string"}


def same_shape(expected: Any, value: Any) -> bool:
    """Returns whether two JSON values have the same types and keys, in lists too."""
    match expected:
        case dict():
            named = isinstance(value, dict) and expected.keys() == value.keys()
            return named and all(same_shape(expected[name], value[name]) for name in expected)
        case list():
            return isinstance(value, list) and bool(value) and all(same_shape(expected[0], item) for item in value)
        case bool():
            return isinstance(value, bool)
        case int() | float():
            return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, str)


def make_exercise(rng: Random) -> Sample:
    """Returns an answer whose form a response format dictates, for training only.

    The prompt does not show a response format. So what it dictates, the opening brace or the keys, is not learned here:
    outside of such an answer it would be wrong.
    """
    draw = rng.random()
    if draw < 0.35:
        return _wrapped(rng)
    if draw < 0.6:
        return _extracted(rng)
    return _dictated(rng)


def _wrapped(rng: Random) -> Sample:
    """Returns the usual answer to a question, as a JSON object."""
    skill = rng.choice((about, arithmetic, capitals, small_talk, unknown, lists, open_ended))
    before = trained(skill.make, rng)
    while before.messages[0]["role"] == "system":
        before = trained(skill.make, rng)
    answer = json.dumps({"answer": before.answer["content"]}, ensure_ascii=False)
    sample = Sample(skill=EXERCISE, key=before.key, messages=(before.messages[0], assistant(answer)), given=("{",))
    if rng.random() < 0.4:
        return Sample(skill=EXERCISE, key=before.key, messages=sample.messages).with_system(rng.choice(SYSTEM))
    return sample


def _extracted(rng: Random) -> Sample:
    """Returns fields of a sentence, with keys that the prompt does not name."""
    text, fields = extract.sentence(rng)
    while Sample(skill=extract.SKILL, key=str(next(iter(fields.values()))), messages=()).held_out:
        text, fields = extract.sentence(rng)
    names = rng.sample(list(fields), rng.randint(1, len(fields)))
    asked = rng.choice(("{}", "Extract the data: {}", "Parse this: {}", "{} Extract the data.", "Extract: {}")).format(
        text
    )
    answer = json.dumps({name: fields[name] for name in names}, ensure_ascii=False)
    return _given(asked, answer, names)


def _dictated(rng: Random) -> Sample:
    """Returns an object with any keys and invented values, for any request."""
    kind = rng.choice(list(KINDS))
    fields = rng.sample(KINDS[kind] if rng.random() < 0.5 else list(VALUES), rng.randint(1, 4))
    asked = rng.choice(_PLAIN_ASK).format(a_kind=_article(kind))
    if rng.random() < 0.4:
        asked = trained(rng.choice((unknown, small_talk, about, capitals)).make, rng).messages[-2]["content"]
    named = _object(rng, fields)
    if rng.random() < 0.4:
        value = rng.choice((words.made_up, _text, _tags, words.price, lambda r: r.randrange(1000), _address))
        named[words.made_up(rng)] = value(rng)
    return _given(words.vary(rng, asked), json.dumps(named, ensure_ascii=False), list(named))


def _given(asked: str, answer: str, names: list[str]) -> Sample:
    return Sample(
        skill=EXERCISE,
        key=asked,
        messages=(user(asked), assistant(answer)),
        given=("{", *(f'"{name}":' for name in names)),
    )
