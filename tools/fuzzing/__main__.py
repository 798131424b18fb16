"""Sends random requests to a real server: `python -m tools.fuzzing --count 20000`. `--only 17` repeats one input.

The exit status is 1 if an answer violates the API, a request hangs, the engine is not idle afterwards, or the server
dies.
"""

from __future__ import annotations

import argparse
import sys
import time

from tools.fuzzing.drive import Fuzzer
from tools.server_process import ServerProcess


def run(args: argparse.Namespace) -> int:
    numbers = range(args.count) if args.only is None else range(args.only, args.only + 1)
    with ServerProcess("--model", args.model, "--slots", str(args.slots)) as server:
        fuzzer, began = Fuzzer(server.rest, server.grpc, server.model, args.seed), time.monotonic()
        try:
            report = fuzzer.run(numbers)
        finally:
            fuzzer.close()
        seconds = time.monotonic() - began
        alive = server.alive
        idle = alive and server.becomes_idle()
        code = server.stop() if alive else -1
    print(report.table())
    print(f"{len(numbers)} inputs in {seconds:.0f} s; {len(report.violations)} violations; ", end="")
    print(f"{'alive' if alive else 'DEAD'}, {'idle' if idle else 'NOT IDLE'} afterwards, exit code {code}")
    return int(bool(report.violations) or not idle or code != 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="number of the one input to send")
    parser.add_argument("--slots", type=int, default=8)
    sys.exit(run(parser.parse_args()))


if __name__ == "__main__":
    main()
