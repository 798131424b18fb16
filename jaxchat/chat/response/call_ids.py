"""The ids of calls in answers. If a request is repeated with the same seed, its calls get the same ids again."""

from __future__ import annotations

import string
from hashlib import sha256

import numpy as np

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 24


class CallIds:
    """A source of ids for calls. An id depends only on the prompt, the seed, the choice and the index of the call.

    Each request of a growing conversation has another prompt. The calls in its answer therefore have other ids than
    the calls in earlier answers, even if all requests have the same seed.

    Args:
        prompt: tokens of the prompt, i32 `[tokens]`.
        seed: 64 bits, unsigned.
    """

    def __init__(self, prompt: np.ndarray, seed: int) -> None:
        self._digest = sha256(prompt.astype("<i4").tobytes() + seed.to_bytes(8, "little"))

    def id_of(self, choice: int, call: int) -> str:
        """Returns `call_` and 24 letters and digits for the call with the index `call` in the choice `choice`."""
        digest = self._digest.copy()
        digest.update(f" {choice} {call}".encode())
        number = int.from_bytes(digest.digest(), "little")
        letters = []
        for _ in range(_LENGTH):
            number, letter = divmod(number, len(_ALPHABET))
            letters.append(_ALPHABET[letter])
        return "call_" + "".join(letters)


NO_PROMPT = CallIds(np.zeros(0, np.int32), 0)
