"""Measures peers side by side: jaxchat in process, over gRPC and over REST, and other inference engines.

    python -m tools.bench --install-peers
    python -m tools.bench --dtype float32 --document docs/performance.md
    python -m tools.bench --gguf FILE --document docs/performance.md

The model has random weights. With --gguf, it is the model in FILE. Two peers serve this file without converting it:
jaxchat over gRPC, and llama.cpp.

Other engines have separate environments in the cache folder, which --install-peers creates. A peer without its
environment is omitted. Peers alternate, and each runs alone. Every case is measured between two probes of the machine.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

from jaxchat.checkpoints.find_model import find_model
from jaxchat.checkpoints.stored_config import read_stored_config
from tools.bench.cases import Case
from tools.bench.measure import Bench, Record, peer_setups
from tools.bench.model import make
from tools.bench.peers import AVX2, PEERS, Peer, install, installed, prepare
from tools.bench.plots import draw
from tools.bench.probe import Probe
from tools.bench.report import as_json, markdown, medians, put
from tools.bench.shapes import SHAPES

CASES = ("prefill-512", "decode-1", "decode-8", "decode-32", "mix-0.25", "mix-0.5", "mix-1")


def main() -> int:
    """Runs the command line. Returns 1 if a peer failed, otherwise 0."""
    parser = _parser()
    args = parser.parse_args()
    if args.dtype == "int8" and (others := [name for name in args.peers if not PEERS[name].has_int8]):
        parser.error(f"--dtype int8: {', '.join(others)} has no weights of 8 bits here")
    os.environ.update(AVX2 if args.avx2 else {})  # the peers' processes inherit it
    cases = [Case.parse(name) for name in args.cases]
    peers = [PEERS[name] for name in args.peers]
    if args.gguf:
        args.dtype = "gguf"
        peers = [served for peer in peers if (served := peer.with_gguf)]
    peers = _present(peers, args.cache, args.install_peers)
    config = read_stored_config(find_model(str(args.gguf))) if args.gguf else SHAPES[args.shape]
    stored = args.dtype if args.dtype == "bfloat16" else "float32"
    model = args.gguf or make(args.cache / f"{args.shape}-{args.dtype}", config, stored)
    for peer in peers:
        prepare(peer, model, args.dtype, args.cache)
    bench = Bench(model, config, args.dtype, args.cache, Probe(stored), tries=args.tries)
    records: list[Record] = []
    about = {name: str(value) for name, value in vars(args).items()}
    for record in bench.run(peer_setups(peers, cases, args.slots), args.repetitions):
        records.append(record)
        figures = ", ".join(f"{name} {value:.4g}" for name, value in record.figures.items())
        print(f"{record.label}, {record.case}, {record.repetition + 1}: {figures}", file=sys.stderr, flush=True)
        if args.json:
            args.json.write_text(as_json(records, bench.failures, about), "utf-8")
    if records:
        _tell(records, args)
    return int(bool(bench.failures))


def _tell(records: list[Record], args: argparse.Namespace) -> None:
    command = shlex.join(["python", "-m", "tools.bench", *sys.argv[1:]])
    text = markdown(records, command)
    print(text)
    if args.document:
        pictures = draw(medians(records), args.document.with_suffix(""), args.dtype)
        links = "\n".join(f"![{path.stem}]({path.relative_to(args.document.parent)})" for path in pictures)
        put(args.document, f"tools.bench {args.dtype}", f"{text}\n\n{links}")


def _present(peers: list[Peer], cache: Path, wanted: bool) -> list[Peer]:
    for peer in peers if wanted else ():
        try:
            install(peer, cache)
        except subprocess.CalledProcessError as error:
            print(f"{peer.name} does not install: {error}", file=sys.stderr)
    for peer in peers:
        if not installed(peer, cache):
            print(f"{peer.name} is left out: it has no environment, --install-peers makes it", file=sys.stderr)
    return [peer for peer in peers if installed(peer, cache)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="0.5B")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "int8"), default="float32")
    parser.add_argument("--gguf", type=Path, help="a file with a real model, instead of --shape and --dtype")
    parser.add_argument(
        "--cases", nargs="+", default=CASES, help="prefill-TOKENS, decode-STREAMS, mix-REQUESTS_A_SECOND"
    )
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=[name for name in PEERS if "avx2" not in name])
    parser.add_argument("--avx2", action="store_true", help="no instructions beyond AVX2; name llama.cpp-avx2 as peer")
    parser.add_argument(
        "--slots",
        type=int,
        nargs="+",
        default=[8, 32],
        help="slots of jaxchat; further numbers run only cases with more streams",
    )
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument(
        "--tries", type=int, default=1, help="maximum number of measurements of a case that other processes disturb"
    )
    parser.add_argument("--install-peers", action="store_true", help="create missing environments of peers")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "jaxchat" / "bench")
    parser.add_argument("--json", type=Path, help="file for every figure of every repetition")
    parser.add_argument("--document", type=Path, help="document for the tables; plots go into a folder beside it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
