"""The measurements on a GPU as a table, beside the limits of its memory and its matrix products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxchat.config import MeshConfig
from jaxchat.models.config import ModelConfig
from jaxchat.parallel.mesh import Placement
from jaxchat.planning.cost_model import Cost, Estimate
from jaxchat.planning.hardware import CHIPS, Topology
from jaxchat.runtime.program_specs import shapes_of_params


@dataclass(frozen=True)
class Roof:
    """The least time of a bf16 model on one chip at its maker's rates. The chip's name contains a key of `CHIPS`."""

    model: ModelConfig
    device: str

    def step(self, tokens: int, sequences: int, length: int) -> Estimate:
        """Returns the seconds of a step for `tokens` tokens of sequences of a given length.

        Raises ValueError for an unknown chip.
        """
        kind = next((kind for kind in CHIPS if kind in self.device.lower()), None)
        if kind is None:
            raise ValueError(f"device {self.device!r} is none of {', '.join(CHIPS)}")
        m = self.model
        params = shapes_of_params(m, Placement.imagined(MeshConfig(), m), "bfloat16")
        per_token = 2 * 2 * m.num_layers * m.num_kv_heads * m.head_dim
        cost = Cost(m, Topology(f"{kind}:1", CHIPS[kind], 1), 1, "bfloat16", params, per_token)
        return cost.estimate(tokens, sequences, length)


def table(model: ModelConfig, device: str, results: dict[str, dict[str, Any]], prompt: int, steps: int) -> str:
    """Returns a row for each contestant: tokens per second and their share of the roof."""
    roof = Roof(model, device)
    cases = list(dict.fromkeys(case for one in results.values() for case in one["decode"]))
    lines = [f"| | prefill | {' | '.join(cases)} |", "|---" * (len(cases) + 2) + "|"]
    for name, one in results.items():
        prefill = f"{one['prefill']:,.0f} ({_share(one['prefill'], roof.step(prompt, 1, prompt // 2).rate)})"
        cells = [prefill]
        for case in cases:
            users = int(case.split()[0])
            seconds = one["decode"].get(case)
            floor = roof.step(users, users, prompt + steps // 2).floor
            cells.append(f"{users / seconds:,.0f} ({_share(floor, seconds)})" if seconds else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %"
