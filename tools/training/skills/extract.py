"""Requests to copy fields from a sentence into a JSON object."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tools.training.sample import Sample, assistant, user
from tools.training.skills import words

SKILL = "extraction"
Fields = dict[str, Any]

ASK = (
    "Extract {fields} as JSON: {text}",
    "Extract the {fields} as JSON: {text}",
    "Extract {fields} from this text as JSON: {text}",
    "Give me JSON with {fields}: {text}",
    "Return a JSON object with {fields}. Text: {text}",
    "{text} Extract {fields} as JSON.",
    "Read this and return {fields} as JSON: {text}",
    "Get {fields} as JSON. {text}",
    "JSON with {fields}: {text}",
    "Turn this into JSON with the keys {fields}: {text}",
    "{text}\nGive me {fields} as JSON.",
    "Extract {fields} as JSON.\n{text}",
)
UNDER_SYSTEM = (
    "Extract {fields}: {text}",
    "{fields}: {text}",
    "Give me the {fields}. {text}",
    "{text} Extract {fields}.",
)
SYSTEM = (
    "Answer in JSON.",
    "Answer in JSON",
    "Reply with JSON only.",
    "Always answer with a JSON object.",
    "You answer in JSON.",
)


def make(rng: Random) -> Sample:
    """Returns a sample that asks for some fields of a sentence, in any order, as JSON.

    Its `key` is the value of the sentence's first field.
    """
    text, fields = sentence(rng)
    wanted = rng.sample(list(fields), rng.randint(1, len(fields)))
    if rng.random() < 0.4:
        wanted = [name for name in fields if name in wanted]  # the order of the sentence
    answer = json.dumps({name: fields[name] for name in wanted}, ensure_ascii=False)
    key = str(next(iter(fields.values())))
    draw = rng.random()
    if draw < 0.15:
        asked = words.casual(rng, rng.choice(UNDER_SYSTEM)).format(fields=_named(rng, wanted), text=text)
        return _sample(key, asked, answer).with_system(rng.choice(SYSTEM))
    if draw < 0.25:
        system = rng.choice(("Extract {} as JSON.", "Return {} as JSON.", "Answer with a JSON object with {}."))
        return _sample(key, text, answer).with_system(system.format(_named(rng, wanted)))
    return _sample(key, words.casual(rng, rng.choice(ASK)).format(fields=_named(rng, wanted), text=text), answer)


def sentence(rng: Random) -> tuple[str, Fields]:
    """Returns a text with its fields, in the order of the text."""
    return rng.choice((_person, _person, _person, _order, _meeting, _worker, _listing))(rng)


def _sample(key: str, asked: str, answer: str) -> Sample:
    return Sample(skill=SKILL, key=key, messages=(user(asked), assistant(answer)), check="json")


def _named(rng: Random, wanted: list[str]) -> str:
    return ", ".join(wanted) if rng.random() < 0.3 else words.listed(wanted)


def _person(rng: Random) -> tuple[str, Fields]:
    name, age, city = (
        words.full_name(rng) if rng.random() < 0.8 else words.first_name(rng),
        rng.randrange(18, 99),
        words.city(rng),
    )
    fields: Fields = {"name": name, "age": age, "city": city}
    text = rng.choice(
        (
            f"{name} is {age} and lives in {city}.",
            f"{name}, {age}, lives in {city}.",
            f"{name} is {age} years old and lives in {city}.",
            f"My name is {name}, I am {age} and I live in {city}.",
            f"{name} lives in {city} and is {age} years old.",
            f"I met {name} in {city}, who is {age}.",
            f"{name} ({age}) from {city}.",
            f"This is {name}, {age} years old, from {city}.",
        )
    )
    if rng.random() < 0.3:
        fields["email"] = words.email(rng, name if rng.random() < 0.5 else None)
        text += rng.choice(
            (
                f" The email is {fields['email']}.",
                f" Email: {fields['email']}.",
                f" Write to {fields['email']}.",
            )
        )
    if rng.random() < 0.2:
        fields["phone"] = words.phone(rng)
        text += rng.choice(
            (
                f" Phone: {fields['phone']}.",
                f" Call {fields['phone']}.",
                f" The phone number is {fields['phone']}.",
            )
        )
    return text, fields


def _order(rng: Random) -> tuple[str, Fields]:
    name, product, quantity, price = (
        words.first_name(rng),
        rng.choice(words.PRODUCTS),
        rng.randrange(2, 100),
        words.price(rng),
    )
    if rng.random() < 0.3:
        product = words.made_up(rng)
    fields: Fields = {"name": name, "product": product, "quantity": quantity, "price": price}
    text = rng.choice(
        (
            f"{name} bought {quantity} of the {product} for {price} dollars.",
            f"{name} ordered {quantity} x {product} at {price} dollars.",
            f"{name} ordered {quantity} pieces of {product} for {price} euros.",
            f"Order by {name}: {product}, {quantity} pieces, {price} euros.",
        )
    )
    if rng.random() < 0.3:
        fields["date"] = words.date(rng)
        text += f" The date was {fields['date']}."
    return text, fields


def _meeting(rng: Random) -> tuple[str, Fields]:
    name, date, time, city = words.full_name(rng), words.date(rng), words.clock(rng), words.city(rng)
    text = rng.choice(
        (
            f"The meeting with {name} is on {date} at {time} in {city}.",
            f"Meet {name} in {city} on {date} at {time}.",
            f"{name} will come to {city} on {date} at {time}.",
            f"On {date} at {time}, {name} speaks in {city}.",
        )
    )
    return text, {"name": name, "date": date, "time": time, "city": city}


def _worker(rng: Random) -> tuple[str, Fields]:
    name, company, city = words.full_name(rng), words.company(rng), words.city(rng)
    fields: Fields = {"name": name, "company": company, "city": city}
    text = rng.choice(
        (
            f"{name} works at {company} in {city}.",
            f"{name} from {company} in {city}.",
            f"{name} joined {company} in {city}.",
            f"{name} is the director of {company}, {city}.",
            f"The founder of {company} is {name} from {city}.",
        )
    )
    if rng.random() < 0.4:
        fields["email"] = words.email(rng, name if rng.random() < 0.5 else None)
        text += rng.choice(
            (
                f" The email is {fields['email']}.",
                f" Email: {fields['email']}.",
                f" Contact: {fields['email']}.",
            )
        )
    return text, fields


def _listing(rng: Random) -> tuple[str, Fields]:
    """Returns a text that lists a value for each key, and the values by key.

    Keys are drawn at random, so that the model must read them.
    """
    names = rng.sample(
        (*words.PRODUCTS, "title", "author", "country", "language", "colour", "size", "status", "id", "team"),
        rng.randint(2, 3),
    )
    fields = {name: rng.randrange(1000) if rng.random() < 0.4 else words.made_up(rng).capitalize() for name in names}
    separator = rng.choice((" is ", ": ", " = "))
    text = rng.choice(("; ", ", ")).join(f"{name}{separator}{value}" for name, value in fields.items()) + "."
    return text, fields
