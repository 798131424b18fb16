"""The arguments of the functions that an answer may call, for parsers that need the types of arguments."""

from __future__ import annotations

from jaxchat.chat.grammar.json_schema.translate import translate
from jaxchat.chat.request.tool_choice import Function
from jaxchat.chat.tools.argument_schema import ArgumentSchema, argument_schema


class Signatures:
    """The arguments of the functions that a request describes. The grammar must have accepted the functions' schemas.

    A schema is translated at the first call of `arguments` for its function.
    """

    def __init__(self, functions: tuple[Function, ...] = ()) -> None:
        self._functions = {function.name: function for function in functions}
        self._read: dict[str, ArgumentSchema] = {}

    def arguments(self, name: str) -> ArgumentSchema:
        """Returns the arguments of the function `name`. A function without a known schema allows any arguments."""
        if name not in self._read:
            function = self._functions.get(name)
            schema = function.parameters.value if function and function.parameters else {}
            self._read[name] = argument_schema(translate({"type": "object"} | schema)[0])
        return self._read[name]


NO_SIGNATURES = Signatures()
