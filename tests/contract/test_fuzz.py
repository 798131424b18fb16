"""Some hundred random requests against real servers: every answer is legal and nothing stays behind."""

from __future__ import annotations

from tests.contract.place import Place
from tools.fuzzing.drive import Fuzzer


def test_random_requests_have_legal_answers(tiny_place: Place) -> None:
    fuzzer = Fuzzer(f"{tiny_place.rest}/v1", tiny_place.grpc, tiny_place.model, seed=1)
    try:
        report = fuzzer.run(range(500), workers=8)
    finally:
        fuzzer.close()
    assert not report.violations, report.table()
    outcomes = {outcome for _, _, outcome in report.outcomes}
    assert outcomes >= {"200 plain", "200 stream", "400", "404", "OK", "INVALID_ARGUMENT", "NOT_FOUND"}, report.table()
    tiny_place.wait_until_idle()
    assert tiny_place.door("openai").ask(max_tokens=1).usage
