"""Compares our prompts with those of `transformers` for every chat template of some folders.

    python -m tools.templates templates/ models/
    python -m tools.templates templates/ --only Qwen3 --show

A folder holds `*.jinja` files or directories of models, or is itself the directory of a model. Each template renders
many conversations twice: as the server does for a request, and with `apply_chat_template` of `transformers`. Prints a
row for each template.

The exit status is 1 in any of these cases: jaxchat cannot load a template that `transformers` can, no rule of
`tools.templates.rules` explains a difference, or no template is selected.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jaxchat.chat.model import format_name
from jaxchat.chat.tools.format import facts_of
from jaxchat.errors import ModelError
from tools.templates.calls import reads_calls
from tools.templates.compare import Comparison, compare_all
from tools.templates.conversations import battery
from tools.templates.engines import Jaxchat, Transformers, is_valid
from tools.templates.sources import Source, find_sources, write_model
from tools.templates.table import Row, table


def row_of(source: Source, directory: Path) -> Row:
    """Returns the results of one template.

    Args:
        source: the template.
        directory: directory to which a model with that template is written. It must not exist.
    """
    write_model(source, directory)
    try:
        ours = Jaxchat(directory)
    except ModelError as error:
        reason = str(error).replace(str(directory), source.name)
        return Row(name=source.name, refused=not is_valid(directory), needed=[reason])
    theirs = Transformers(directory, ours.decode)
    tool_format = ours.template.tool_format
    needed = [*ours.template.traits.notes(), *(text for _, text in facts_of(tool_format))]
    return Row(
        name=source.name,
        comparisons=compare_all(ours, theirs, battery(ours.control())),
        tool_format=format_name(tool_format),
        calls_read=reads_calls(ours, theirs),
        needed=needed,
    )


def differences(row: Row) -> Iterator[str]:
    """Yields lines of text that show where prompts differ without an explanation."""
    for each in row.comparisons:
        if each.status in ("differs", "only jaxchat refuses"):
            yield f"--- {row.name}: {each.conversation}: {each.status} {', '.join(each.rules)}"
            yield from _place(each)


def _place(each: Comparison) -> Iterator[str]:
    if each.ours.refused or each.theirs.refused:
        yield f"ours: {each.ours.refused or 'rendered'} {each.ours.param}\ntheirs: {each.theirs.refused or 'rendered'}"
        return
    theirs, ours = (prompt.text.splitlines(keepends=True) for prompt in (each.theirs, each.ours))
    lines = [line for line in difflib.ndiff(theirs, ours) if line[0] in "+-"]
    yield from (repr(line) for line in lines[:12])
    if not lines:
        yield "the texts are equal, the token ids differ"


def main() -> int:
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools.templates", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="parts of names of templates; default: all")
    parser.add_argument("--show", action="store_true", help="print where prompts differ")
    args = parser.parse_args()
    sources = [
        source
        for source in find_sources(args.folders)
        if not args.only or any(part in source.name for part in args.only)
    ]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for index, source in enumerate(sources):
            rows.append(row_of(source, Path(folder) / str(index)))
            print(
                f"{source.name}: {'explained' if rows[-1].explained else 'NOT EXPLAINED'}", file=sys.stderr, flush=True
            )
            if args.show:
                print("\n".join(differences(rows[-1])), flush=True)
    print(table(rows))
    unexplained = [row.name for row in rows if not row.explained]
    print(
        f"\n{len(rows)} templates, {len(unexplained)} with unexplained differences: {', '.join(unexplained) or 'none'}"
    )
    return int(bool(unexplained) or not rows)


if __name__ == "__main__":
    sys.exit(main())
