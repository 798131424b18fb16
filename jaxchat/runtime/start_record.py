"""A record of the programs that compute the same bits. It is kept in the cache folder for later starts."""

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

_FORMAT = "2"  # changes whenever `jaxchat.runtime.determinism` compares programs in another way


@dataclass(frozen=True)
class Agreement:
    """The sizes of prefill programs and the row counts of decode programs that compute the same bits."""

    prefill_buckets: tuple[int, ...]
    decode_buckets: tuple[int, ...]


class StartRecord:
    """A file that all starts with the same settings share.

    To find which programs agree, a start runs all of them on the real weights, which takes as long as a few answers.
    The result depends on weights, programs and machine alone. It is reused while these stay the same.
    """

    def __init__(self, folder: Path | None, settings: Iterable[str]) -> None:
        """Determines the path of the file without opening it.

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
        """Returns the agreement that was recorded for `identity`, or None if there is none.

        Also returns None if the file is missing or damaged.
        """
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
        """Replaces the record. Does nothing if the folder is not writable; the next start then takes longer.

        Args:
            identity: digest of everything that determines which programs compute equal bits.
            agreement: the programs that compute equal bits; None: it is recorded only that all programs were compiled.
        """
        if self._path is None:
            return
        stored: dict[str, Any] = {"identity": identity if agreement else ""}
        if agreement:
            stored |= {"chunks": agreement.prefill_buckets, "rows": agreement.decode_buckets}
        with contextlib.suppress(OSError):
            keep(self._path, json.dumps(stored).encode())


def machine() -> list[str]:
    """Returns the devices, CPU, threads and versions, because a program's bits may depend on these besides its code."""
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
    """Returns the first 16 hex digits of the SHA-256 of all `parts`."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
