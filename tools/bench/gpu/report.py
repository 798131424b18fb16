"""A table of the measurements on a GPU, each with its share of the roofline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxchat.config import EngineConfig, MeshConfig, Quantize
from jaxchat.models.config import ModelConfig
from jaxchat.parallel.mesh import Placement
from jaxchat.planning.cost_model import Cost, Estimate
from jaxchat.planning.hardware import CHIPS, Topology
from jaxchat.planning.params import planned_params


@dataclass(frozen=True)
class Roofline:
    """The roofline of a model on one chip, at the maker's peak rates. Rates of products are those of bf16.

    Attributes:
        model: the configuration of the model.
        device: JAX's name of the device, such as "NVIDIA H200". A key of `CHIPS` must occur in it, in lower or upper
            case.
        quantize: how weights are rounded; None: bf16.
    """

    model: ModelConfig
    device: str
    quantize: Quantize | None = None

    def step(self, tokens: int, sequences: int, length: int) -> Estimate:
        """Returns the estimated time of a step.

        Args:
            tokens: tokens that the step computes.
            sequences: sequences that the tokens belong to.
            length: earlier tokens of each sequence.

        Raises:
            ValueError: the chip is unknown.
        """
        kind = next((kind for kind in CHIPS if kind in self.device.lower()), None)
        if kind is None:
            raise ValueError(f"device {self.device!r} is none of {', '.join(CHIPS)}")
        m = self.model
        engine = EngineConfig(dtype="bfloat16", quantize=self.quantize)
        params = planned_params(m, m, Placement.imagined(MeshConfig(), m), engine)
        per_token = 2 * 2 * m.num_layers * m.num_kv_heads * m.head_dim
        cost = Cost(m, Topology(f"{kind}:1", CHIPS[kind], 1), 1, "bfloat16", params, per_token)
        return cost.estimate(tokens, sequences, length)


def table(model: ModelConfig, device: str, results: dict[str, dict[str, Any]], prompt: int, steps: int) -> str:
    """Returns a Markdown table of tokens per second by peer, with their share of the roofline.

    Args:
        model: the model.
        device: name of the GPU.
        results: the last results that each peer printed, by the peer's name.
        prompt: tokens of a prompt.
        steps: decode steps of a measurement.

    Raises:
        ValueError: the GPU is unknown.
    """
    cases = list(dict.fromkeys(case for one in results.values() for case in one["decode"]))
    lines = [f"| | prefill | {' | '.join(cases)} |", "|---" * (len(cases) + 2) + "|"]
    for name, one in results.items():
        roofline = Roofline(model, device, one.get("quantize"))
        prefill = f"{one['prefill']:,.0f} ({_share(one['prefill'], roofline.step(prompt, 1, prompt // 2).rate)})"
        cells = [prefill]
        for case in cases:
            users = int(case.split()[0])
            seconds = one["decode"].get(case)
            floor = roofline.step(users, users, prompt + steps // 2).floor
            cells.append(f"{users / seconds:,.0f} ({_share(floor, seconds)})" if seconds else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %"
