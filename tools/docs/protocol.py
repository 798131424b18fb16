"""The reference of the protocol, made from the comments in `proto/jaxchat/v1`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc

from tools.docs.command_line import cell

PROTO = Path(__file__).resolve().parents[2] / "proto"
SOURCES = ("service", "chat", "text")
INTRODUCTION = """\
# Protocol

The gRPC service and its messages, as `proto/jaxchat/v1` documents them. JSON over REST has the same fields, under the
names of OpenAI's API; [requests](../requests.md) tells where the two differ. "optional" fields may be absent, which
differs from 0 and "". \\[X\\] marks extensions of the reference, the OpenAI API of June 2024.
"""
MESSAGES, ENUMS, SERVICES = 4, 5, 6  # numbers of fields of FileDescriptorProto, which paths of comments begin with
FIELDS, NESTED_MESSAGES, NESTED_ENUMS, VALUES, METHODS = 2, 3, 4, 2, 2
Place = tuple[int, ...]


class Comments:
    """The comments of a proto file. For example, `comments[4, 0]` describes the first message, whose path is (4, 0)."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._texts = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}

    def __getitem__(self, path: Place) -> str:
        return " ".join(self._texts.get(path, "").split())


def protocol_page() -> str:
    """Returns the page of services, messages and enums. Raises RuntimeError if protoc fails."""
    lines = [INTRODUCTION]
    for file in descriptors():
        lines += [f"## {file.name}", "", cell(Comments(file)[(12,)]), ""]  # 12: the comment above `syntax`
        lines += _definitions(file, Comments(file))
    return "\n".join(lines)


def descriptors() -> list[FileDescriptorProto]:
    """Returns the compiled files of the protocol, with their comments. Raises RuntimeError if protoc fails."""
    names = [f"jaxchat/v1/{name}.proto" for name in SOURCES]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        well_known = files("grpc_tools") / "_proto"
        options = [f"-I{PROTO}", f"-I{well_known}", "--include_source_info", f"--descriptor_set_out={out}"]
        if protoc.main(["protoc", *options, *names]):
            raise RuntimeError("protoc failed")
        found = {file.name: file for file in FileDescriptorSet.FromString(out.read_bytes()).file}
    return [found[name] for name in names]


def _definitions(file: FileDescriptorProto, comments: Comments) -> Iterator[str]:
    for number, service in enumerate(file.service):
        yield from _service(service, (SERVICES, number), comments)
    for number, message in enumerate(file.message_type):
        yield from _message(message, message.name, (MESSAGES, number), comments)
    for number, enum in enumerate(file.enum_type):
        yield from _enum(enum, enum.name, (ENUMS, number), comments)


def _service(service: ServiceDescriptorProto, path: Place, comments: Comments) -> Iterator[str]:
    yield from [f"### {service.name}", "", cell(comments[path]), ""]
    yield from ["| method | takes | returns | |", "|---|---|---|---|"]
    for number, method in enumerate(service.method):
        stream = "stream of " if method.server_streaming else ""
        names = f"{_linked(method.input_type)} | {stream}{_linked(method.output_type)}"
        yield f"| `{method.name}` | {names} | {cell(comments[(*path, METHODS, number)])} |"
    yield ""


def _message(message: DescriptorProto, title: str, path: Place, comments: Comments) -> Iterator[str]:
    yield from [f"### {title}", "", cell(comments[path]), ""]
    if message.field:
        yield from ["| field | type | |", "|---|---|---|"]
    maps = {f".jaxchat.v1.{title}.{each.name}": each for each in message.nested_type if each.options.map_entry}
    for number, field in enumerate(message.field):
        text = cell(comments[(*path, FIELDS, number)])
        yield f"| `{field.name}` = {field.number} | {_type(field, message, maps)} | {text} |"
    yield ""
    for number, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from _message(nested, f"{title}.{nested.name}", (*path, NESTED_MESSAGES, number), comments)
    for number, enum in enumerate(message.enum_type):
        yield from _enum(enum, f"{title}.{enum.name}", (*path, NESTED_ENUMS, number), comments)


def _enum(enum: EnumDescriptorProto, title: str, path: Place, comments: Comments) -> Iterator[str]:
    yield from [f"### {title}", "", cell(comments[path]), "", "| value | |", "|---|---|"]
    for number, value in enumerate(enum.value):
        yield f"| `{value.name}` = {value.number} | {cell(comments[(*path, VALUES, number)])} |"
    yield ""


def _type(field: FieldDescriptorProto, message: DescriptorProto, maps: dict[str, DescriptorProto]) -> str:
    if entry := maps.get(field.type_name):
        key, value = entry.field
        return f"map of {_simple(key)} to {_simple(value)}"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"list of {_simple(field)}"
    if field.HasField("oneof_index") and not field.proto3_optional:
        return f"{_simple(field)}, one of `{message.oneof_decl[field.oneof_index].name}`"
    return f"{'optional ' if field.proto3_optional else ''}{_simple(field)}"


def _simple(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return _linked(field.type_name)
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _linked(type_name: str) -> str:
    name = type_name.removeprefix(".jaxchat.v1.")
    return f"[{name}](#{name.lower().replace('.', '')})"
