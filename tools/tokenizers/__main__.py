"""Compares prompts and texts of real tokenizers with those of `transformers`, and bounds the cost of long messages.

    python -m tools.tokenizers ~/models/llama-3 ~/models/gemma-3

Each folder holds `tokenizer.json` and, if there is one, `tokenizer_config.json`. Ids of prompts, bytes of tokens and
streamed texts must be those of `transformers`, and no text may forge a control token. Prints a row for each folder,
followed by details of faults. The exit status is 1 if there are faults.

A row has the numbers of added and special tokens, of texts, of id sequences, and of faults by kind. Its last columns
are times for messages of 32,000 characters:

- our highest CPU time;
- the library's CPU time for the same message;
- the largest difference between the two for any message;
- the longest time for which one call held the GIL.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tokenizers import Tokenizer

from tools.tokenizers.checks import sequences, wrong_prompts, wrong_texts
from tools.tokenizers.cost import Cost, cost
from tools.tokenizers.subject import Subject, subjects
from tools.tokenizers.texts import long_texts, texts

KINDS = ("ids", "forged", "bytes", "streams")
HEAD = (
    "tokenizer",
    "added (special)",
    "texts",
    "sequences",
    *KINDS,
    "most CPU ms",
    "library",
    "worst added ms",
    "GIL ms",
)
SHOWN = 5  # faults of each kind


@dataclass
class Row:
    """The result for one tokenizer.

    Attributes:
        name: name of its folder.
        added: number of added tokens.
        special: number of added tokens that are special.
        texts: number of texts that were encoded.
        sequences: number of id sequences that were decoded.
        faults: kind and subject of each fault.
        costs: costs of the long messages.
    """

    name: str
    added: int
    special: int
    texts: int = 0
    sequences: int = 0
    faults: list[tuple[str, object]] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)

    def __str__(self) -> str:
        count = Counter(kind for kind, _ in self.faults)
        cells = [
            self.name,
            f"{self.added} ({self.special})",
            self.texts,
            self.sequences,
            *(count[kind] for kind in KINDS),
        ]
        if self.costs:
            most, added = (max(self.costs, key=key) for key in (lambda cost: cost.ours, lambda cost: cost.added))
            cells += [f"{most.ours:.1f} {most.kind}", f"{most.library:.1f}", f"{added.added:.1f} {added.kind}"]
            cells.append(f"{max(cost.stop for cost in self.costs):.1f}")
        return " | ".join(map(str, cells))


def measure(directory: Path, args: argparse.Namespace) -> Row:
    """Returns the result for the tokenizer in `directory`. `args` are those of the command line."""
    made, rng = subjects(directory), Random(args.seed)
    library = Tokenizer.from_file(str(directory / "tokenizer.json"))
    added = library.get_added_tokens_decoder().values()
    row = Row(directory.name, len(added), sum(token.special for token in added))
    spellings = sorted(
        (token.content for token in added), key=lambda text: text not in made[0].tokenizer.control_tokens.spellings
    )
    battery = texts(spellings, rng)
    row.texts = len(battery)
    for subject in made:
        row.faults += wrong_prompts(subject, battery)
        row.costs += _costs(subject, library, args)
    ids = list(sequences(made[0], rng, args.sequences))
    row.sequences = len(ids)
    row.faults += wrong_texts(made[0], ids)
    for each in row.costs:
        row.faults += [("CPU", each)] * (each.added > args.cpu) + [("GIL", each)] * (each.stop > args.gil)
    return row


def _costs(subject: Subject, library: Tokenizer, args: argparse.Namespace) -> Iterator[Cost]:
    for kind, text in long_texts(subject.tokenizer.control_tokens.spellings, args.size).items():
        yield cost(subject, library, kind, text, args.repetitions)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools.tokenizers", description=__doc__.splitlines()[0])
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--sequences", type=int, default=1000, help="random sequences of ids")
    parser.add_argument("--size", type=int, default=32_000, help="characters of the long messages")
    parser.add_argument("--cpu", type=float, default=20.0, help="bound of what we add to the library's CPU time, in ms")
    parser.add_argument(
        "--gil", type=float, default=5.0, help="bound of the time for which one call holds the GIL, in ms"
    )
    parser.add_argument("--repetitions", type=int, default=3, help="number of runs, of which the fastest counts")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    for directory in args.directories:
        if not (directory / "tokenizer.json").is_file():
            parser.error(f"{directory}: no tokenizer.json")
    print(" | ".join(HEAD))
    faults = 0
    for directory in args.directories:
        row = measure(directory, args)
        print(row, flush=True)
        faults += len(row.faults)
        shown = Counter[str]()
        for kind, detail in row.faults:
            shown[kind] += 1
            if shown[kind] <= SHOWN:
                print(f"  {kind}: {ascii(detail)[:300]}", flush=True)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
