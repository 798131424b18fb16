"""The state of a batch in a file beside its output: what the batch was begun with, and the lines that are done.

The first line is a JSON object, the header. Each further line has the index of a request, a space and the output line
of the request. These lines are in the order in which answers came. When all are there, the output file is written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

_VERSION = 1
_BEGINNING = b'{"jaxchat_batch": '  # of every header
_FINISHED = "output_sha256"
Header = dict[str, Any]


class BatchState:
    """A file with the lines of a batch that are done. Each line is passed to the operating system at once.

    Attributes:
        done: number of lines that are done.
        complete: whether the output file is written.
    """

    def __init__(self, output: Path, header: Mapping[str, Any]) -> None:
        """Opens the state of the output file, or begins a new state. Drops a last line that a kill has cut short.

        Args:
            output: the output file.
            header: what the answers depend on, by name. The values are JSON.

        Raises:
            OSError: a file cannot be read or written.
            ValueError: the output exists but its state does not; or the output has changed since it was finished; or
                the state file is not the state of a batch; or it has another input, model or settings; or another
                process has locked it.
        """
        self._output, self._path = output, state_path(output)
        self._places: dict[int, tuple[int, int]] = {}
        header = {"jaxchat_batch": _VERSION} | dict(header)
        if output.exists() and not self._path.exists():
            raise ValueError(f"{output} exists, and {self._path.name} does not: remove it, or name another output")
        self._file = open(self._path, "r+b" if self._path.exists() else "w+b")  # noqa: SIM115  closed by `close`
        self.complete = False
        try:
            _lock(self._file, self._path)
            self._continue(header)
        except BaseException:
            self._file.close()
            raise

    @property
    def done(self) -> int:
        return len(self._places)

    def __contains__(self, index: int) -> bool:
        return index in self._places

    def add(self, index: int, line: bytes) -> None:
        """Appends the output line of a request."""
        prefix = b"%d " % index
        self._places[index] = self._file.tell() + len(prefix), len(line)
        self._file.write(prefix + line)
        self._file.flush()

    def finish(self) -> None:
        """Writes the output in the order of the requests, and reduces the state to its header.

        The output file appears only when it is complete.
        """
        digest, partial = hashlib.sha256(), self._output.with_name(self._output.name + ".partial")
        with partial.open("wb") as file:
            for index in sorted(self._places):
                offset, size = self._places[index]
                self._file.seek(offset)
                file.write(text := self._file.read(size))
                digest.update(text)
            _sync(file)
        partial.replace(self._output)
        self._file.seek(0)
        header: Header = json.loads(self._file.readline())
        self._begin(header | {_FINISHED: digest.hexdigest()})
        self.complete = True

    def close(self) -> None:
        self._file.close()

    def _continue(self, header: Header) -> None:
        """Reads the state, or begins a new state if the file has no complete header yet."""
        begun = _first_line(self._file)
        if begun is None:
            self._begin(header)
            return
        finished = begun.pop(_FINISHED, None)
        self._check(begun, header)
        if finished and self._output.exists():
            self._check_output(finished)
        else:
            self._read()

    def _begin(self, header: Header) -> None:
        """Writes a new state that has only a header."""
        self._places.clear()
        text = json.dumps(header).encode() + b"\n"
        self._file.seek(0)
        self._file.write(text)
        self._file.truncate(len(text))
        _sync(self._file)

    def _check(self, begun: Header, header: Header) -> None:
        for name in begun.keys() | header.keys():
            if begun.get(name) != header.get(name):
                raise ValueError(
                    f"{self._path} was begun with another {name}: {begun.get(name)!r}, now {header.get(name)!r}. "
                    f"Continue with the same, or remove it to begin anew"
                )

    def _check_output(self, sha256: str) -> None:
        """Sets `complete`. Raises ValueError if the output has changed since it was finished."""
        with self._output.open("rb") as file:
            self.complete = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        if not self.complete:
            raise ValueError(f"{self._output} has changed since it was finished: remove it to make it anew")

    def _read(self) -> None:
        """Finds the complete lines after the header, and removes an incomplete rest of the file."""
        self._file.seek(0)
        end = len(self._file.readline())
        for line in self._file:
            index, _, text = line.partition(b" ")
            if not (line.endswith(b"}\n") and index.isdigit()):
                break
            self._places[int(index)] = end + len(index) + 1, len(text)
            end += len(line)
        self._file.seek(end)
        self._file.truncate()


def state_path(output: Path) -> Path:
    """Returns the path of the state of an output file."""
    return output.with_name(output.name + ".state")


def begun_header(output: Path) -> Header:
    """Returns the header of an output file's state, or {} if the state is missing or its header is incomplete.

    Raises:
        ValueError: the file with the state's name is not the state of a batch.
    """
    try:
        with state_path(output).open("rb") as file:
            return _first_line(file) or {}
    except FileNotFoundError:
        return {}


def _first_line(file: IO[bytes]) -> Header | None:
    """Returns the header, or None if the first line is incomplete. Raises ValueError if it is not a header."""
    file.seek(0)
    line = file.readline()
    if not line.endswith(b"\n") and line[: len(_BEGINNING)] == _BEGINNING[: len(line)]:
        return None
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or "jaxchat_batch" not in header:
        raise ValueError(f"{file.name} is not the state of a batch: remove it, or name another output")
    return header


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _lock(file: IO[bytes], path: Path) -> None:
    """Locks the file until it is closed or the process ends. Does nothing where the system has no such locks.

    Raises:
        ValueError: another process has locked the file.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"{path} is in use: another process writes this batch") from None
