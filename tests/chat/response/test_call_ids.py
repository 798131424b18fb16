"""Ids of calls: the same for an equal request, different for everything else."""

from __future__ import annotations

import re

import numpy as np

from jaxchat.chat.response.call_ids import CallIds

PROMPT = np.array([5, 6, 7], np.int32)


def test_an_equal_request_gives_the_same_ids() -> None:
    assert CallIds(PROMPT, 7).id_of(1, 2) == CallIds(PROMPT.copy(), 7).id_of(1, 2)


def test_prompt_seed_choice_and_place_each_give_another_id() -> None:
    ids = [CallIds(PROMPT, 7).id_of(choice, call) for choice in range(12) for call in range(12)]
    ids += [CallIds(PROMPT[:2], 7).id_of(0, 0), CallIds(PROMPT + 1, 7).id_of(0, 0)]
    ids += [CallIds(PROMPT, seed).id_of(0, 0) for seed in (0, 8, 2**64 - 1)]
    assert len(set(ids)) == len(ids) == 149
    assert all(re.fullmatch(r"call_[A-Za-z0-9]{24}", id_) for id_ in ids)
