"""The cases that `tools.aot` compiles, and the bounds that are known not to hold, with the reason.

A bound that is listed but holds is reported too, so that the list stays true.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxchat.config import Quantize


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model on a slice of a TPU pod.

    Attributes:
        model: a name in `MODEL_SHAPES`.
        topology: the slice, such as "v5e:2x4".
        quantize: the precision to which weights are rounded, "int8" or "int4"; None: bfloat16.
        slots: sequences that are decoded together.
        context: maximum length of a sequence, in tokens.
        known: pairs (name, reason), one for each bound that is known not to hold. Names are keys of `BOUNDS` in
            `tools.aot.__main__`.
    """

    model: str
    topology: str
    quantize: Quantize | None = None
    slots: int = 64
    context: int = 8192
    known: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The model, and how its weights are rounded."""
        return f"{self.model}, {self.quantize}" if self.quantize else self.model


CASES = (
    Case(model="llama-3-8b", topology="v5e:2x4"),
    Case(model="llama-3-8b", topology="v6e:2x4"),
    Case(model="llama-3-8b", topology="v5p:2x2x2"),
    Case(model="qwen3-30b-a3b", topology="v5e:2x4"),
    Case(model="qwen3-30b-a3b", topology="v6e:2x4"),
    Case(model="qwen3-30b-a3b", topology="v5p:2x2x2"),
    # Heads of 256, which tokamax's kernel computes: from Python 3.12 on.
    Case(model="gemma-3-12b", topology="v5e:2x4"),
    Case(model="gemma-3-12b", topology="v6e:2x4"),
    Case(
        model="gemma-3-12b",
        topology="v5p:2x2x2",
        known=(
            ("step", "missed with 64 rows by less than 0.01; the compiler writes more of them to memory than for v5e"),
        ),
    ),
    Case(model="gemma-3-12b", topology="v6e:1x1", quantize="int8"),
    Case(model="gemma-3-12b", topology="v5e:1x1", quantize="int4"),
    # Eight v5e chips hold 126 GiB, the weights of 70B take 131.
    Case(model="llama-3-70b", topology="v5e:4x4"),
    Case(model="llama-3-70b", topology="v6e:2x4"),
    Case(model="llama-3-70b", topology="v5p:2x2x2"),
    Case(model="llama-3-8b", topology="v5e:1x1", quantize="int8"),
    Case(model="llama-3-8b", topology="v5e:1x1", quantize="int4"),
    Case(model="llama-3-70b", topology="v5e:2x4", quantize="int4"),
)
