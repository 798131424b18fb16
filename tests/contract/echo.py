"""A device whose model repeats the last user message token by token. The engine and everything above it are real.

A test thus decides what the model says. Choices take turns with the parts into which `SPLIT` divides the message. Other
control characters in the message cause events: `NOT_FINITE` a step with numbers that are not finite, `LOST` the loss of
the device, and `PAUSE` a step that waits until the test opens the runner's gate.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
from tokenizers import Tokenizer

from jaxchat.chat.context import ModelInfo
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.template_variables import utc_today
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.session import ChatSession
from jaxchat.config import ChatConfig
from jaxchat.engine.engine import Engine
from jaxchat.engine.scheduler import Scheduler
from jaxchat.types import DecodeWork, PrefillSlice, PrefillWork, StepResult, SwapInWork, SwapOutWork
from tests import tiny

SPLIT, NOT_FINITE, LOST, PAUSE = "\x1f", "\x07", "\x18", "\x11"
CONTEXT, CHUNK, PAGE, TOP = 4096, 32, 16, 20
TEMPLATE = (
    "{% if tools %}<|im_start|>tools\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.name %}({{ m.name }}) {% endif %}"
    "{% if m.tool_call_id %}[{{ m.tool_call_id }}] {% endif %}"
    "{% if m.reasoning_content %}{ {{- m.reasoning_content -}} } {% endif %}{{ m.content or '' }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SOURCE = tiny.tokenizer_json()
LIBRARY = Tokenizer.from_str(SOURCE)
START, END = LIBRARY.token_to_id("<|im_start|>"), LIBRARY.token_to_id("<|im_end|>")


def encode_text(text: str) -> list[int]:
    return LIBRARY.encode(text, add_special_tokens=False).ids


HEAD = [START, *encode_text("user\n")]
_SPLIT, _NOT_FINITE, _LOST, _PAUSE = (encode_text(char)[0] for char in (SPLIT, NOT_FINITE, LOST, PAUSE))


@dataclass
class Pending:
    result: StepResult
    passed: Callable[[], None]

    def wait(self) -> StepResult:
        self.passed()
        return self.result


class EchoRunner:
    """A `StepRunner` whose model repeats the last user message.

    Attributes:
        gate: while it is cleared, the engine waits at its next result.
        held: set while the engine waits.
        prompts: the text of every prompt.
        steps: number of steps.
        prefilled: number of prompt tokens that were computed.
    """

    def __init__(self, slots: int, pages: int) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.held = threading.Event()  # the engine waits at the gate
        self.prompts: list[str] = []
        self.steps = 0
        self.prefilled = 0  # tokens of prompts that were computed
        self._pages = np.zeros((pages, PAGE), np.int32)
        self._script: list[list[int]] = [[] for _ in range(slots)]

    def prefill(self, work: PrefillWork) -> Pending:
        self.steps += 1
        self.prefilled += work.tokens
        return self._pending([self._prefill(part) for part in work.slices])

    def decode(self, work: DecodeWork) -> Pending:
        self.steps += 1
        drafts = np.full(len(work.slots), -1) if work.drafts is None else work.drafts
        tokens: list[int] = []
        right = True
        for row, (slot, draft) in enumerate(zip(work.slots, drafts, strict=True)):
            right = draft < 0 or (right and draft == tokens[-1])
            mask = work.token_mask[row] if work.token_mask is not None and work.constrained[row] else None
            tokens.append(_only_token(mask, self._next(slot)) if right else END)
        return self._pending(tokens)

    def swap_out(self, work: SwapOutWork) -> Pending:
        raise AssertionError("every slot has its full context")

    def swap_in(self, work: SwapInWork) -> Pending:
        raise AssertionError("nothing was swapped out")

    def _prefill(self, part: PrefillSlice) -> int:
        for at, token in enumerate(part.tokens, part.start):
            self._pages[part.pages[at // PAGE], at % PAGE] = token
        if not part.last:
            return END
        prompt = self._pages[part.pages].ravel()[: part.start + len(part.tokens)].tolist()
        self.prompts.append(LIBRARY.decode(prompt, skip_special_tokens=False))
        self._script[part.slot] = _choice_part(_last_user_message(prompt), part.choice)
        return _only_token(part.token_mask, self._next(part.slot))

    def _next(self, slot: int) -> int:
        token = self._script[slot].pop(0) if self._script[slot] else END
        if token == _LOST:
            raise RuntimeError("device lost")
        if token == _PAUSE:
            self.gate.clear()
        return token

    def _pending(self, tokens: list[int]) -> Pending:
        ids = np.array(tokens, np.int32)
        rows, ranks = len(ids), np.arange(TOP, dtype=np.int32)
        result = StepResult(
            tokens=ids,
            finite=ids != _NOT_FINITE,
            logprobs=np.full(rows, -0.5, np.float32),
            top_ids=(ids[:, None] + ranks) % LIBRARY.get_vocab_size(),
            top_logprobs=np.tile(-0.5 * (ranks + 1).astype(np.float32), (rows, 1)),
        )
        return Pending(result, self._wait_at_gate)

    def _wait_at_gate(self) -> None:
        if not self.gate.is_set():
            self.held.set()
            assert self.gate.wait(30), "a test left the gate closed"
            self.held.clear()


def _only_token(mask: np.ndarray | None, token: int) -> int:
    """Returns the one token that a mask allows; `token` without a mask, or if the mask allows several."""
    if mask is None or int(np.bitwise_count(mask).sum()) != 1:
        return token
    word = int(np.flatnonzero(mask)[0])
    return 32 * word + int(mask[word]).bit_length() - 1


def _last_user_message(prompt: list[int]) -> list[int]:
    starts = [at for at in range(len(prompt)) if prompt[at : at + len(HEAD)] == HEAD]
    if not starts:
        return []
    rest = prompt[starts[-1] + len(HEAD) :]
    return rest[: rest.index(END)]


def _choice_part(message: list[int], choice: int) -> list[int]:
    parts: list[list[int]] = [[]]
    for token in message:
        if token == _SPLIT:
            parts.append([])
        else:
            parts[-1].append(token)
    return list(parts[choice % len(parts)])


def echo_session(
    *,
    slots: int = 4,
    queue: int = 256,
    chat: ChatConfig | None = None,
    template: str = TEMPLATE,
    source: str = SOURCE,
    today: Callable[[], date] = utc_today,
    raw_logprobs: bool = True,
) -> tuple[ChatSession, EchoRunner]:
    """Returns a session that is not started, and its runner.

    Args:
        slots: number of slots.
        queue: maximum number of waiting sequences.
        chat: settings of the session.
        template: the chat template.
        source: the tokenizer, with the ids of `SOURCE`.
        today: returns the day for the template.
        raw_logprobs: whether log-probabilities are said to be those of the model's logits.
    """
    pages = slots * CONTEXT // PAGE + 1
    runner = EchoRunner(slots, pages)
    scheduler = Scheduler(slots=slots, prefill_buckets=(CHUNK,), page_size=PAGE, pages=pages, vocab=5000)
    info = ModelInfo(
        id="echo",
        created=1,
        vocab=5000,
        logits=5000,
        context=CONTEXT,
        queue=queue,
        fingerprint="fp_0123456789",
        raw_logprobs=raw_logprobs,
    )
    chat_template = ChatTemplate(template, {}, today=today)
    tokenizer = ChatTokenizer(source, {END}, chat_template)
    engine = Engine(runner, scheduler, queue_limit=queue)
    return ChatSession(engine, tokenizer, chat_template, info, chat), runner
