"""A record that a start leaves in the cache folder for the next one: which of its programs compute the same bits."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from jaxchat.cache import keep
from jaxchat.kernels.cpp.build import cpu

_FORMAT = "1"  # changes whenever `jaxchat.runtime.determinism` compares programs in another way


@dataclass(frozen=True)
class Agreement:
    """The programs that compute the same bits: sizes of prefill, row counts of decode."""

    prefill_buckets: tuple[int, ...]
    decode_buckets: tuple[int, ...]


class StartRecord:
    """The file that all starts with the same settings share.

    To find which programs agree, all of them run on the real weights. That takes as long as a few answers. The result
    depends on the weights, the programs and the machine alone. It is therefore reused while these are equal.
    """

    def __init__(self, folder: Path | None, settings: Iterable[str]) -> None:
        """Opens nothing yet.

        Args:
            folder: the cache folder; None keeps no record.
            settings: the settings that decide which programs are compiled.
        """
        self._path = folder / f"start-{digest_of((_FORMAT, *settings))}.json" if folder else None

    @property
    def exists(self) -> bool:
        """Whether an earlier start with these settings has compiled its programs."""
        return self._path is not None and self._path.exists()

    def agreement(self, identity: str) -> Agreement | None:
        """Returns the last start's result, or None if that had another `identity` or the file is damaged."""
        if self._path is None:
            return None
        try:
            stored: dict[str, Any] = json.loads(self._path.read_text("utf-8"))
            if stored["identity"] != identity:
                return None
            return Agreement(tuple(map(int, stored["chunks"])), tuple(map(int, stored["rows"])))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, identity: str, agreement: Agreement | None) -> None:
        """Replaces the record. Does nothing if the folder cannot be written: the next start takes longer.

        Args:
            identity: a digest of all that decides the agreement.
            agreement: the programs that agree; None records only that the programs were compiled.
        """
        if self._path is None:
            return
        stored: dict[str, Any] = {"identity": identity if agreement else ""}
        if agreement:
            stored |= {"chunks": agreement.prefill_buckets, "rows": agreement.decode_buckets}
        with contextlib.suppress(OSError):
            keep(self._path, json.dumps(stored).encode())


def machine() -> list[str]:
    """Returns what a compiled program's bits may depend on besides its code: devices, CPU, threads, versions."""
    device = jax.devices()[0]
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [
        f"{len(jax.devices())} x {device.device_kind}",
        str(device.client.platform_version),
        jax.__version__,
        f"{threads} threads",
        cpu(),
    ]


def digest_of(parts: Iterable[str]) -> str:
    """Returns the SHA-256 of strings, as 16 hex digits."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
