"""The command `jaxchat` with a greedy sampler, which compiles in a third of the time."""

from __future__ import annotations

import sys

from serving.cli.main import main
from tests.greedy import sample_greedily

if __name__ == "__main__":
    sample_greedily()
    sys.exit(main())
