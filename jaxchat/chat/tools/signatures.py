"""The arguments of the functions that an answer may call, for parsers that need their types."""

from __future__ import annotations

from jaxchat.chat.grammar.json_schema.translate import translate
from jaxchat.chat.request.tool_choice import Function
from jaxchat.chat.tools.argument_schema import ArgumentSchema, argument_schema


class Signatures:
    """The arguments of the functions of a request. The grammar must have accepted their schemas.

    Each schema is translated when it is first asked for.
    """

    def __init__(self, functions: tuple[Function, ...] = ()) -> None:
        self._functions = {function.name: function for function in functions}
        self._read: dict[str, ArgumentSchema] = {}

    def arguments(self, name: str) -> ArgumentSchema:
        """Returns the arguments of the function `name`. An unknown function, or one without a schema, allows any."""
        if name not in self._read:
            function = self._functions.get(name)
            schema = function.parameters.value if function and function.parameters else {}
            self._read[name] = argument_schema(translate({"type": "object"} | schema)[0])
        return self._read[name]


NO_SIGNATURES = Signatures()
