"""Makes chat messages from instructions and input items.

Several items, such as thoughts, text and calls, may become one message of the assistant.
"""

from __future__ import annotations

from jaxchat import v1
from jaxchat.errors import ChatError, invalid, safe_repr
from jaxchat.openai_responses.field_names import MessageOrigin

_SYSTEM = (v1.ROLE_SYSTEM, v1.ROLE_DEVELOPER)
_BETWEEN = "\n\n"  # between the texts that become one system message


class Conversation:
    """A builder of the messages of a chat request. Items are added in their order.

    Attributes:
        messages: the messages so far.
        origins: for each message, the items from which it was made.
    """

    def __init__(self) -> None:
        self.messages: list[v1.ChatMessage] = []
        self.origins: list[MessageOrigin] = []
        self._open_calls: dict[str, str] = {}  # paths of calls that await their output, by call id

    def add_message(self, message: v1.ChatMessage, path: str) -> None:
        """Adds a message of any role except `tool`.

        Text of the assistant becomes a part of the assistant's message directly before it, if that message has only
        thoughts, or if a call in it awaits its output. Otherwise the message is a new one, and `ChatError` 400 is
        raised if a call awaits its output.
        """
        last = self._assistant()
        if message.role == v1.ROLE_ASSISTANT and last is not None and (self._open_calls or not _has_output(last)):
            _append_content(last, message)
            self.origins[-1].content = self.origins[-1].content or f"{path}.content"
            return
        self._append(message, MessageOrigin(path, content=f"{path}.content"))

    def add_reasoning(self, thoughts: str, path: str) -> None:
        """Adds thoughts. The text and the calls that follow become a part of the same message. "" adds nothing.

        The thoughts become a part of the assistant's message directly before them, if that message has only thoughts,
        or if a call in it awaits its output. Otherwise they begin a message, and `ChatError` 400 is raised if a call
        awaits its output.
        """
        if not thoughts:
            return
        last = self._assistant()
        if last is None or (_has_output(last) and not self._open_calls):
            last = self._append(v1.ChatMessage(role=v1.ROLE_ASSISTANT), MessageOrigin(path))
        last.reasoning_content = "\n".join(filter(None, (last.reasoning_content, thoughts)))
        self.origins[-1].reasoning = self.origins[-1].reasoning or path

    def add_call(self, call: v1.ToolCall, path: str) -> None:
        """Adds a call.

        Raises:
            ChatError: 400 if another call with the same id awaits its output. 400 also if some of the calls directly
                before this item have their outputs, and others do not.
        """
        last = self._assistant()
        if last is None:
            last = self._append(v1.ChatMessage(role=v1.ROLE_ASSISTANT), MessageOrigin(path))
        if call.id in self._open_calls:
            raise invalid(f"{path}.call_id", f"two calls have the id {safe_repr(call.id)}.")
        self._open_calls[call.id] = path
        last.tool_calls.append(call)
        self.origins[-1].calls.append(path)

    def add_output(self, message: v1.ChatMessage, path: str) -> None:
        """Adds the output of a call. Raises `ChatError` 400 if no call with its id awaits an output."""
        if self._open_calls.pop(message.tool_call_id, None) is None:
            reason = f"no function call before this item has the id {safe_repr(message.tool_call_id)} and awaits it."
            raise invalid(f"{path}.call_id", reason)
        self.messages.append(message)
        self.origins.append(MessageOrigin(path, content=f"{path}.output"))

    def close(self, instructions: str) -> None:
        """Joins the instructions and the system messages at the beginning to one system message.

        Many chat templates show only one system message. Raises `ChatError` 400 if a call awaits its output.

        Args:
            instructions: the instructions; "" for none.
        """
        self._check_answered()
        count = next((i for i, each in enumerate(self.messages) if each.role not in _SYSTEM), len(self.messages))
        if instructions or count > 1:
            origin = MessageOrigin("instructions") if instructions else self.origins[0]
            texts = filter(None, [instructions, *map(_text, self.messages[:count])])
            joined = v1.ChatMessage(role=v1.ROLE_SYSTEM, text=_BETWEEN.join(texts))
            self.messages[:count], self.origins[:count] = [joined], [origin]

    def _append(self, message: v1.ChatMessage, origin: MessageOrigin) -> v1.ChatMessage:
        self._check_answered()
        self.messages.append(message)
        self.origins.append(origin)
        return message

    def _assistant(self) -> v1.ChatMessage | None:
        """Returns the last message if it is a message of the assistant, otherwise None."""
        last = self.messages[-1] if self.messages else None
        return last if last is not None and last.role == v1.ROLE_ASSISTANT else None

    def _check_answered(self) -> None:
        if error := unanswered(self._open_calls):
            raise error


def unanswered(open_calls: dict[str, str]) -> ChatError | None:
    """Returns the error for the first call that awaits its output, or None. `open_calls` has paths by call id."""
    for call_id, path in open_calls.items():
        reason = (
            f"the call {safe_repr(call_id)} must be followed by an item of type 'function_call_output' with its id."
        )
        return invalid(f"{path}.call_id", reason)
    return None


def _has_output(message: v1.ChatMessage) -> bool:
    return bool(message.tool_calls) or message.WhichOneof("content_kind") is not None


def _append_content(message: v1.ChatMessage, other: v1.ChatMessage) -> None:
    """Appends the content of `other` to `message`, the assistant's message before it. `message` may have no content."""
    kinds = {each.WhichOneof("content_kind") for each in (message, other)}
    if None in kinds:
        message.MergeFrom(other)
    elif kinds == {"text"}:
        message.text += other.text
    else:
        message.parts.CopyFrom(v1.ContentParts(parts=[*_parts(message), *_parts(other)]))


def _parts(message: v1.ChatMessage) -> list[v1.ContentPart]:
    return list(message.parts.parts) if message.HasField("parts") else [_text_part(message.text)]


def _text_part(text: str) -> v1.ContentPart:
    return v1.ContentPart(type=v1.CONTENT_PART_TYPE_TEXT, text=text)


def _text(message: v1.ChatMessage) -> str:
    return message.text or "".join(part.text for part in message.parts.parts)
