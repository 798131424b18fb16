"""A tokenizer with a chat template, as jaxchat loads it and as `transformers` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from jaxchat.chat.prompt.build import prompt_tokens
from jaxchat.chat.prompt.special_tokens import read_special_tokens
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.template_files import load_template
from jaxchat.chat.prompt.tokenizer import ChatTokenizer, load_tokenizer
from jaxchat.chat.request.tool_choice import ToolChoice
from jaxchat.errors import ModelError
from jaxchat.openai_json import request_from_kwargs

PLAIN = (
    "{{ bos_token }}{% for m in messages %}{{ m.role + '\n' }}{{ m.content.split('</think>')[-1] }}{{ eos_token }}\n"
    "{% endfor %}{{ 'assistant\n' if add_generation_prompt }}"
)
CONTEXT = 1 << 20  # tokens


@dataclass(frozen=True)
class Subject:
    """A tokenizer with a chat template, loaded twice: by jaxchat, and by `transformers` as the field `theirs`."""

    tokenizer: ChatTokenizer
    template: ChatTemplate
    theirs: PreTrainedTokenizerFast

    def ours(self, text: str) -> list[int]:
        """Returns the token ids of jaxchat's prompt for a request with the one message `text`."""
        request = request_from_kwargs(model="m", messages=_messages(text)).request
        size = self.tokenizer.size
        return prompt_tokens(request, ToolChoice(), self.template, self.tokenizer, CONTEXT, size).tolist()

    def expected(self, text: str) -> list[int]:
        """Returns the token ids of the prompt of `transformers`, in which `text` may forge control tokens."""
        return self.theirs.apply_chat_template(_messages(text), add_generation_prompt=True, return_dict=False)

    def rendered(self, text: str) -> str:
        """Returns the text of the prompt whose only message is `text`."""
        return self.template.render(_messages(text), None)

    def control(self, ids: list[int]) -> list[int]:
        """Returns the control tokens in `ids`, in the same order."""
        return [id_ for id_ in ids if id_ in self.tokenizer.control_tokens.ids]


def subjects(directory: Path) -> list[Subject]:
    """Loads a tokenizer with its own chat template, if it has one, and again with the template `PLAIN`.

    Raises:
        Exception: any exception of `transformers`, which reads the tokenizer first.
        ModelError: jaxchat cannot read the tokenizer.
    """
    theirs = PreTrainedTokenizerFast.from_pretrained(directory)
    made = []
    for template in (_own(directory), ChatTemplate(PLAIN, read_special_tokens(directory))):
        if template is not None:
            reads = PreTrainedTokenizerFast.from_pretrained(directory) if made else theirs
            if made or _own(directory) is None:
                reads.chat_template = PLAIN
            made.append(Subject(load_tokenizer(directory, template), template, reads))
    return made


def _own(directory: Path) -> ChatTemplate | None:
    try:
        return load_template(directory)
    except ModelError:
        return None


def _messages(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]
