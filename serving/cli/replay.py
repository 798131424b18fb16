"""Ask a recorded request again, with its seed, and say whether the answer is the same.

RECORD is a file with one record in JSON, or with one on each line. A record is an object with request and response.
`jaxchat chat --record FILE` writes such a file. If ANSWERS is given, RECORD is the input of a batch, and ANSWERS is the
output of the batch. The status is 0 if all answers are equal, otherwise 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from jaxchat.errors import ChatError
from serving.cli.target import OpenTarget, add_target_flags, target_of
from serving.offline.compare import first_difference
from serving.offline.records import Record, read_records
from serving.offline.served_model import json_of
from serving.offline.target import Target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("record", metavar="RECORD", type=Path, help="file with one or more requests and their answers")
    text = "output of a batch, whose input is RECORD"
    parser.add_argument("answers", metavar="ANSWERS", type=Path, nargs="?", help=text)
    add_target_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Asks the recorded requests again. Returns 0 if all answers are equal, otherwise 1.

    Raises:
        ModelError: the model cannot be loaded.
        OSError, ValueError: a file or a setting is unusable, or the server cannot be reached.
    """
    records = read_records(args.record, args.answers)
    return asyncio.run(_replay(records, target_of(args)))


async def _replay(records: list[Record], target: OpenTarget) -> int:
    equal = 0
    async with target() as opened:
        for record in records:
            equal += await _compare(record, opened)
    if len(records) > 1:
        print(f"{equal} of {len(records)} answers are equal")
    return 0 if equal == len(records) else 1


async def _compare(record: Record, target: Target) -> bool:
    """Asks one request again, prints how the answers compare, and returns whether they are equal."""
    try:
        now = json_of(await target.send("POST", record.path, json.dumps(record.request).encode()))
    except ChatError as error:
        print(f"{record.name}: refused: {error}")
        return False
    difference = first_difference(record.response, now)
    if difference:
        print(f"{record.name}: different at {difference.place}")
        print(f"  recorded     {difference.recorded}\n  now          {difference.now}")
    else:
        print(f"{record.name}: equal")
    before, after = record.response.get("system_fingerprint"), now.get("system_fingerprint")
    if difference or before != after:
        differ = " (another model, version or machine: answers may differ)" if before != after else " (the same)"
        print(f"  fingerprint  recorded {before}, now {after}{differ}")
    return difference is None
