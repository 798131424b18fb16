"""Field types of pydantic and zod: nearly all of their schemas are accepted."""

from __future__ import annotations

import datetime
import decimal
import enum
import ipaddress
import pathlib
import re
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import pydantic
from pydantic import Field
from typing_extensions import TypedDict

from jaxchat.errors import ChatError
from tests.chat.grammar.walking import constraint_of, grammars, request

MOST_REFUSED = 4  # of all


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Empty(pydantic.BaseModel):
    pass


class Point(pydantic.BaseModel):
    """A point."""

    x: float
    y: float = 0.0


class Closed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    a: int


class Node(pydantic.BaseModel):
    value: int
    children: list[Node] = []


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    name: str


class Pair(NamedTuple):
    a: int
    b: str


class Movie(TypedDict, total=False):
    name: str
    year: int


PYDANTIC: list[Any] = [
    str, int, float, bool, bytes, None, Any, dict, list,
    Annotated[str, Field(min_length=1, max_length=20)],
    Annotated[str, Field(pattern=r"^[A-Z]{2}\d+$")],
    Annotated[int, Field(ge=0, lt=100)],
    Annotated[int, Field(multiple_of=5)],
    Annotated[float, Field(gt=0, le=1)],
    decimal.Decimal,
    Annotated[decimal.Decimal, Field(max_digits=6, decimal_places=2)],
    datetime.date, datetime.time, datetime.datetime, datetime.timedelta,
    uuid.UUID, pydantic.UUID4, pathlib.Path, re.Pattern,
    ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, pydantic.IPvAnyAddress,
    pydantic.AnyUrl, pydantic.HttpUrl, pydantic.SecretStr, pydantic.Json, pydantic.Base64Bytes,
    pydantic.PositiveInt, pydantic.StrictBool, pydantic.AwareDatetime,
    Color, Level, Literal["a", 1, None], int | None, int | str | list[float],
    list[str], Annotated[list[int], Field(min_length=1, max_length=3)], tuple[int, str], tuple[int, ...],
    set[Color], set[str], frozenset[int], dict[str, int], dict[Color, int], dict[int, str],
    Empty, Point, Closed, Node, list[Point],
    Annotated[Cat | Dog, Field(discriminator="kind")],
    Pair, Movie,
]  # fmt: skip

SAFE = {"minimum": -(2**53 - 1), "maximum": 2**53 - 1}
STRING, NUMBER = {"type": "string"}, {"type": "number"}
EMAIL = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
HOSTNAME = (
    r"^(?=.{1,253}\.?$)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[-0-9a-zA-Z]{0,61}[0-9a-zA-Z])?)*\.?$"
)
DATE = (
    r"(?:(?:\d\d[2468][048]|\d\d[13579][26]|\d\d0[48]|[02468][048]00|[13579][26]00)-02-29|\d{4}-(?:(?:0[13578]|1[02])-"
    r"(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|(?:02)-(?:0[1-9]|1\d|2[0-8])))"
)
UUID = (
    r"^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
    r"|00000000-0000-0000-0000-000000000000|ffffffff-ffff-ffff-ffff-ffffffffffff)$"
)
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9][0-9]|[0-9])"
IPV4 = rf"^(?:{_BYTE}\.){{3}}{_BYTE}$"
BASE64 = r"^$|^(?:[0-9a-zA-Z+/]{4})*(?:(?:[0-9a-zA-Z+/]{2}==)|(?:[0-9a-zA-Z+/]{3}=))?$"
DURATION = r"^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$"


def closed(**members: Any) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}


ZOD_4: list[Any] = [
    STRING, NUMBER, {"type": "boolean"}, {"type": "null"}, {}, {"not": {}},
    {"type": "integer"} | SAFE, {"type": "integer", "exclusiveMinimum": 0, "maximum": SAFE["maximum"]},
    NUMBER | {"minimum": 0, "maximum": 1}, NUMBER | {"multipleOf": 0.01},
    {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    STRING | {"minLength": 1, "maxLength": 5}, STRING | {"format": "email", "pattern": EMAIL},
    STRING | {"format": "uuid", "pattern": UUID}, STRING | {"format": "uri"},
    STRING | {"format": "date", "pattern": f"^{DATE}$"},
    STRING | {"format": "date-time", "pattern": rf"^{DATE}T(?:(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?(?:Z))$"},
    STRING | {"format": "time", "pattern": r"^(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?$"},
    STRING | {"format": "duration", "pattern": DURATION}, STRING | {"format": "ipv4", "pattern": IPV4},
    STRING | {"format": "hostname", "pattern": HOSTNAME},
    STRING | {"format": "base64", "contentEncoding": "base64", "pattern": BASE64},
    STRING | {"format": "nanoid", "pattern": "^[a-zA-Z0-9_-]{21}$"},
    STRING | {"format": "cuid2", "pattern": "^[0-9a-z]+$"},
    STRING | {"format": "ulid", "pattern": "^[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{26}$"},
    STRING | {"format": "e164", "pattern": r"^\+[1-9]\d{6,14}$"}, STRING | {"format": "jwt"},
    STRING | {"format": "starts_with", "pattern": "^ab.*"}, STRING | {"format": "lowercase", "pattern": "^[^A-Z]*$"},
    STRING | {"format": "emoji", "pattern": r"^(\p{Extended_Pictographic}|\p{Emoji_Component})+$"},
    STRING | {"enum": ["a", "b"]}, STRING | {"const": "a"}, {"enum": ["a", 1, None]},
    {"anyOf": [STRING, {"type": "null"}]},
    {"anyOf": [STRING, NUMBER]}, {"type": "array", "items": STRING, "minItems": 1, "maxItems": 3},
    {"type": "array", "prefixItems": [STRING, NUMBER]}, {"type": "array", "prefixItems": [STRING], "items": NUMBER},
    {"type": "object", "propertyNames": STRING, "additionalProperties": NUMBER},
    {"type": "object", "propertyNames": STRING | {"enum": ["a", "b"]}, "additionalProperties": NUMBER,
     "required": ["a", "b"]},
    closed(), closed(a=STRING, b={"anyOf": [NUMBER, {"type": "null"}]}), closed(a=STRING) | {"required": []},
    {"oneOf": [closed(k=STRING | {"const": "a"}), closed(k=STRING | {"const": "b"}, n=NUMBER)]},
    {"allOf": [{"type": "object", "properties": {"a": STRING}, "required": ["a"]},
               {"type": "object", "properties": {"b": NUMBER}}]},
    STRING | {"default": "x", "description": "d", "readOnly": True},
]  # fmt: skip
ZOD_3: list[Any] = [
    STRING | {"nullable": True}, {"type": ["string", "null"]}, {"type": "integer", "format": "int64"},
    {"type": "array", "minItems": 2, "maxItems": 2, "items": [STRING, NUMBER]},
    {"type": "array", "maxItems": 125,
     "items": {"type": "array", "items": [STRING, NUMBER], "minItems": 2, "maxItems": 2}},
    {"type": "array", "uniqueItems": True, "items": {"enum": ["a", "b"], "type": "string"}},
    STRING | {"pattern": "^c[^\\s-]{8,}$"}, STRING | {"format": "cuid"},
    {"type": "object", "additionalProperties": STRING, "propertyNames": {"minLength": 2}},
    {"type": "object", "properties": {"o": {"not": {}}}, "additionalProperties": False},
    {"anyOf": [{"not": {}}, STRING]},
]  # fmt: skip


def refused_fields(schemas: list[Any]) -> list[str]:
    """Returns the messages for the schemas that are refused as the field of an object."""
    messages = []
    for schema in schemas:
        try:
            grammars().compiled(constraint_of(request(schema)))
        except ChatError as error:
            messages.append(error.message)
    return messages


def pydantic_schema(field: Any) -> dict[str, Any]:
    make: Callable[..., type[pydantic.BaseModel]] = pydantic.create_model
    return make("M", field=(field, ...)).model_json_schema()


def test_nearly_all_field_types_are_accepted() -> None:
    zod = [{"$schema": "http://json-schema.org/draft-07/schema#"} | closed(field=part) for part in ZOD_3]
    zod += [{"$schema": "https://json-schema.org/draft/2020-12/schema"} | closed(field=part) for part in ZOD_4]
    models = [pydantic_schema(field) for field in PYDANTIC]
    assert len(models) >= 55 and len(zod) >= 55
    satisfiable = [schema for schema in zod if schema["properties"]["field"] != {"not": {}}]
    refused = refused_fields(models) + refused_fields(satisfiable)
    assert len(refused) <= MOST_REFUSED, refused
