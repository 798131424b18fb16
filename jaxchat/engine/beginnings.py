"""Which engine has seen a prompt that begins the same."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

REMEMBERED = 1 << 16  # chunks of prompts, of the newest ones


class Beginnings:
    """Homes of prompts by the chain of their whole chunks. A hint: two prompts may share a key by accident."""

    def __init__(self, chunk: int) -> None:
        self._chunk = chunk
        self._homes: OrderedDict[int, int] = OrderedDict()

    def keys(self, prompt: np.ndarray) -> list[int]:
        """One for each whole chunk of i32 `[tokens]`, which stands for all tokens up to its end."""
        found: list[int] = []
        for end in range(self._chunk, len(prompt) + 1, self._chunk):
            tokens = prompt[end - self._chunk : end].tobytes()
            found.append(hash((found[-1] if found else 0, tokens)))
        return found

    def find(self, keys: list[int]) -> tuple[int, int]:
        """The home of the longest beginning that is known and its tokens; (0, 0) for none."""
        for count in range(len(keys), 0, -1):
            home = self._homes.get(keys[count - 1])
            if home is not None:
                return home, count * self._chunk
        return 0, 0

    def note(self, keys: list[int], home: int) -> None:
        """Remembers where a prompt went, and forgets the oldest."""
        for key in keys:
            self._homes[key] = home
            self._homes.move_to_end(key)
        while len(self._homes) > REMEMBERED:
            self._homes.popitem(last=False)
