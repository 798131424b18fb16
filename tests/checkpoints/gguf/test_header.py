"""Headers of GGUF files: what the `gguf` package writes is read, and every damage is named."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter

from jaxchat.checkpoints.gguf.file import open_gguf
from jaxchat.checkpoints.gguf.header import read_header
from jaxchat.errors import ModelError
from tests.checkpoints.gguf import tiny_gguf

U32, STRING, ARRAY = 4, 8, 9


def text(value: str | bytes) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def number(key: str, value: int) -> bytes:
    return pair(key, U32, struct.pack("<I", value))


def tensor(name: str = "a", shape: tuple[int, ...] = (8,), kind: int = 0, offset: int = 0) -> bytes:
    sizes = struct.pack(f"<{len(shape)}Q", *shape)
    return text(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", kind, offset)


def header(
    pairs: list[bytes] | None = None,
    tensors: list[bytes] | None = None,
    *,
    version: int = 3,
    counts: tuple[int, int] | None = None,
    data: int = 4096,
) -> bytes:
    pairs, tensors = pairs or [], [tensor()] if tensors is None else tensors
    start = b"GGUF" + struct.pack("<IQQ", version, *(counts or (len(tensors), len(pairs))))
    content = b"".join([start, *pairs, *tensors])
    return content + bytes(-len(content) % 32 + data)


def big_endian() -> bytes:
    return b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + bytes(64)


DAMAGED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r"not a GGUF file, it is empty"),
    "another format": (b"PK\x03\x04" + bytes(99), r"not a GGUF file, it begins with b'PK"),
    "an old version": (header(version=1), r"has version 1 of GGUF, supported: 2, 3"),
    "a coming version": (header(version=4), r"has version 4 of GGUF, supported: 2, 3"),
    "big-endian": (big_endian(), r"is big-endian, which is not supported"),
    "ends after the magic": (b"GGUF\3\0", r"ends in header; it is incomplete"),
    "more tensors than bytes": (header(counts=(2**60, 0)), r"claims 1152921504606846976 tensors"),
    "more keys than bytes": (header(counts=(0, 2**60)), r"claims 1152921504606846976 keys"),
    "more keys than there are": (header(counts=(0, 9))[:24] + number("a", 1), r"ends in key 1 of 9; it is incomplete"),
    "a key twice": (header([number("a", 1), number("a", 2)]), r"key a occurs twice"),
    "a key that is not text": (header([pair("a", STRING, text(b"\xff\xfe"))]), r"key a holds a string that is not"),
    "an endless string": (header([pair("a", STRING, struct.pack("<Q", 2**62))]), r"ends in key a; it is incomplete"),
    "an unknown kind of value": (header([pair("a", 77, b"")]), r"key a has the unknown type 77"),
    "an array of arrays": (
        header([pair("a", ARRAY, struct.pack("<IQ", ARRAY, 1))]), r"key a is an array of the unknown type 9",
    ),
    "an endless array": (header([pair("a", ARRAY, struct.pack("<IQ", U32, 2**60))]), r"ends in key a; it is inc"),
    "endless strings": (
        header([pair("a", ARRAY, struct.pack("<IQ", STRING, 2**60))]), r"key a claims 1152921504606846976 strings",
    ),
    "an array cut in a string": (
        header([pair("a", ARRAY, struct.pack("<IQ", STRING, 2) + text("x") + struct.pack("<Q", 99999))], [], data=0),
        r"ends in key a, string 1 of 2; it is incomplete",
    ),
    "an array with a string that is not text": (
        header([pair("a", ARRAY, struct.pack("<IQ", STRING, 1) + text(b"\xff"))]), r"key a holds b'\\xff', which is",
    ),
    "an alignment of 3": (header([number("general.alignment", 3)]), r"alignment must be a multiple of 8, got 3"),
    "an alignment of 0": (header([number("general.alignment", 0)]), r"key general.alignment must be a multiple of 8"),
    "a tensor twice": (header(tensors=[tensor(), tensor()]), r"tensor a occurs twice"),
    "a tensor of five axes": (header(tensors=[tensor(shape=(1,) * 5)]), r"tensor a must have 1 to 4 axes, got 5"),
    "a tensor without an axis": (header(tensors=[tensor(shape=())]), r"tensor a must have 1 to 4 axes, got 0"),
    "a tensor of nothing": (header(tensors=[tensor(shape=(8, 0))]), r"tensor a has shape \(0, 8\), but rows of F32"),
    "a part of a block": (header(tensors=[tensor(shape=(48,), kind=8)]), r"rows of Q8_0 are multiples of 32"),
    "another type": (header(tensors=[tensor(kind=16)]), r"tensor a: type IQ2_XXS is not supported; supported: F32"),
    "an unknown type": (header(tensors=[tensor(kind=99)]), r"tensor a: type number 99 is not supported"),
    "a tensor out of line": (header(tensors=[tensor(offset=40)]), r"tensor a begins at 40, which is not a multiple"),
    "a tensor beyond the end": (header(tensors=[tensor(offset=2**40)]), r"tensor a ends at byte \d+, but the file has"),
    "a file that was cut": (header(tensors=[tensor(shape=(4096,))], data=96), r"tensor a ends at byte \d+, but"),
    "tensors that overlap": (
        header(tensors=[tensor("a", (64,)), tensor("b", (8,), offset=32)]), r"tensors a and b overlap",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGED)
def test_damage_is_named(kind: str, tmp_path: Path) -> None:
    content, message = DAMAGED[kind]
    path = tmp_path / "damaged.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"damaged\.gguf: .*{message}"):
        read_header(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.gguf: cannot be read \(No such file"):
        read_header(tmp_path / "none.gguf")


def test_what_the_gguf_package_writes_is_read(tmp_path: Path) -> None:
    values = {
        "a.word": "größer",
        "a.flag": True,
        "a.count": 7,
        "a.scale": 0.1,
        "a.words": ["x", "ß", ""],
        "a.list": [1, 2],
    }
    tensors = {"one": np.arange(64, dtype=np.float32), "two": np.ones((3, 2, 32), np.float32)}
    path = tiny_gguf.write(tmp_path / "a.gguf", tensors, {"general.architecture": "a", **values}, {"two": "Q8_0"})
    header = read_header(path)
    assert header.metadata["a.list"].tolist() == [1, 2]
    assert header.metadata["a.scale"] == np.float32(0.1)
    for key in ("a.word", "a.flag", "a.count", "a.words"):
        assert header.metadata[key] == values[key]
    two = header.tensors["two"]
    assert (two.shape, two.type.name, two.size) == ((3, 2, 32), "Q8_0", 6 * 34)
    one = header.tensors["one"]
    assert np.array_equal(np.fromfile(path, "<f4", 64, offset=one.offset), tensors["one"])


def test_version_2_differs_in_its_number_only(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(header([number("a.b", 5)], version=2))
    assert read_header(tmp_path / "a.gguf").metadata == {"a.b": 5}


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """Writes a model of three tensors in three parts."""
    writer = GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=1)
    for name in "abc":
        writer.add_tensor(name, np.full(32, ord(name), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(tmp_path.glob("m-*.gguf"))


def test_parts_are_one_model(parts: list[Path]) -> None:
    file = open_gguf(parts[0])
    assert list(file.paths) == parts and len(parts) == 3
    assert {name: tensor.path for name, tensor in file.tensors.items()} == dict(zip("abc", parts, strict=True))


SPLIT: dict[str, tuple[Callable[[list[Path]], object], str]] = {
    "a missing part": (lambda parts: parts[2].unlink(), r"m-00003-of-00003\.gguf: not found, though m-00001-of-00003"),
    "another model's part": (
        lambda parts: parts[1].write_bytes(parts[2].read_bytes()), r"00002\S+: keys split.no and split.count must be 1",
    ),
    "a part without a place": (lambda parts: parts[1].write_bytes(header()), r"must be 1 and 3, got None and None"),
    "a cut part": (lambda parts: parts[1].write_bytes(parts[1].read_bytes()[:-99]), r"00002\S+: tensor b ends at byte"),
    "another name": (lambda parts: parts[0].rename(parts[0].with_name("x.gguf")), r"must end in -00001-of-00003\.gguf"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPLIT)
def test_damaged_parts_are_named(kind: str, parts: list[Path]) -> None:
    damage, message = SPLIT[kind]
    changed = damage(parts)
    with pytest.raises(ModelError, match=message):
        open_gguf(changed if isinstance(changed, Path) else parts[0])


def test_a_later_part_is_refused(parts: list[Path]) -> None:
    with pytest.raises(ModelError, match=r"is not the first of 3 parts; name the file that ends in -00001-of-00003"):
        open_gguf(parts[1])
