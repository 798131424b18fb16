"""Make an API key. The client gets the key, the server's file of keys (--api-keys) gets the line with its hash."""

from __future__ import annotations

import argparse

from serving.auth import new_key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> int:
    """Prints a new key and its line; nothing is stored."""
    key, line = new_key()
    print(f"key   {key}\nline  {line}")
    return 0
