"""The ids of calls in answers. A request that is repeated with its seed gives calls the same ids."""

from __future__ import annotations

import string
from hashlib import sha256

import numpy as np

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 24


class CallIds:
    """Ids that depend on prompt, seed, choice and place of a call alone.

    A conversation that grows has another prompt each time, so its calls have different ids even if its seed stays.

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
