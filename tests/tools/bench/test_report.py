"""Tables, medians, pictures, and their place in a document."""

from __future__ import annotations

import json
from pathlib import Path

from tools.bench.cases import Case
from tools.bench.measure import Record, peer_setups
from tools.bench.peers import PEERS
from tools.bench.plots import draw
from tools.bench.probe import Limits
from tools.bench.report import as_json, markdown, medians, put


def record(label: str, case: str, repetition: int, **figures: float) -> Record:
    limits = Limits(4e10, 2e11)
    return Record(
        label=label, version="1", case=case, repetition=repetition, figures=figures, limits=limits, others=0.25
    )


def decode(label: str, rates: tuple[float, ...]) -> list[Record]:
    return [record(label, "decode-8", i, rate=rate, overall=rate / 2, roofline=0.5) for i, rate in enumerate(rates)]


RECORDS = [
    *decode("jaxchat engine, 8 slots", (90.0, 120.0, 100.0)),
    *decode("jaxchat grpc, 8 slots", (80.0, 80.0, 80.0)),
    *decode("llama.cpp", (50.0, 50.0, 400.0)),
]
LATENCIES = {f"{name}_p{q}": q / 1000 for name in ("first", "gap") for q in (50, 95, 99)}


def test_medians_and_the_best_of_ours_against_each_peer() -> None:
    text = markdown(RECORDS, "python -m tools.bench")
    assert "| jaxchat engine, 8 slots | 100.0 (50 %) |" in text
    assert "| llama.cpp | 2.00 |" in text
    assert "| jaxchat grpc, 8 slots | 40.0 |" in text
    assert "Medians of 3 repetitions" in text and "memory 40 to 40 GB/s" in text
    assert "had 25 to 25 % of the processors" in text


def test_latencies_are_in_milliseconds() -> None:
    text = markdown([record("vllm", "mix-0.5", 0, overall=20.0, **LATENCIES)], "")
    assert "| vllm | 0.5 | 50 / 95 / 99 | 50 / 95 / 99 | 20.0 |" in text


def test_json_keeps_every_record() -> None:
    kept = json.loads(as_json(RECORDS, {"vllm": "no"}, {"dtype": "float32"}))
    assert len(kept["records"]) == 9 and kept["records"][8]["figures"]["rate"] == 400.0
    assert kept["failures"] == {"vllm": "no"} and kept["about"] == {"dtype": "float32"}


def test_a_document_keeps_what_stands_around_the_markers(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text("# Title\n\nBefore.\n\n<!-- a: begin -->\nold\n<!-- a: end -->\n\nAfter.\n")
    put(document, "a", "new")
    assert document.read_text() == "# Title\n\nBefore.\n\n<!-- a: begin -->\nnew\n<!-- a: end -->\n\nAfter.\n"
    put(document, "b", "more")
    put(document, "b", "most")
    assert document.read_text().endswith("After.\n\n<!-- b: begin -->\nmost\n<!-- b: end -->\n")


def test_there_is_a_picture_for_each_kind_of_figure(tmp_path: Path) -> None:
    mixed = [record("vllm", f"mix-{load}", 0, overall=20.0, **LATENCIES) for load in ("0.5", "1")]
    paths = draw(medians(RECORDS + mixed), tmp_path, "float32")
    assert [path.name for path in paths] == ["float32-roofline.png", "float32-latency.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_more_slots_are_for_more_streams() -> None:
    cases = [Case.parse("decode-1"), Case.parse("decode-32")]
    found = peer_setups([PEERS["engine"], PEERS["vllm"]], cases, [8, 32])
    named = [(c.label, c.slots, [case.name for case in c.cases]) for c in found]
    assert named == [
        ("jaxchat engine, 8 slots", 8, ["decode-1", "decode-32"]),
        ("jaxchat engine, 32 slots", 32, ["decode-32"]),
        ("vllm", 32, ["decode-1", "decode-32"]),
    ]
