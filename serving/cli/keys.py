"""Make an API key. Give the client the key, and add the line with its hash to the server's --api-keys file."""

from __future__ import annotations

import argparse

from serving.auth import new_key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Does nothing, because this command has no arguments."""


def run(args: argparse.Namespace) -> int:
    """Prints a new key and the line with its hash. Returns 0."""
    key, line = new_key()
    print(f"key   {key}\nline  {line}")
    return 0
