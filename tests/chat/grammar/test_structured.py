"""`structured_outputs`: what each rule lets a model write, beside every kind of tool format, and what is refused."""

from __future__ import annotations

import re
from functools import cache

import pytest

from jaxchat import v1
from jaxchat.chat.grammar import GrammarCompiler
from jaxchat.chat.grammar.sandbox import Sandbox, TooSlow
from jaxchat.chat.tools.format import TOOL_FORMATS
from jaxchat.errors import ChatError
from tests.chat.grammar.walking import PADDING, bundled, constraint_of, follows, walk


def structured(**rule) -> v1.ChatCompletionRequest:
    return v1.ChatCompletionRequest(model="m", structured_outputs=v1.StructuredOutputs(**rule))


def with_tool(request: v1.ChatCompletionRequest) -> v1.ChatCompletionRequest:
    request.tools.add(type=v1.TOOL_TYPE_FUNCTION, function=v1.FunctionDefinition(name="ping"))
    return request


@cache
def formatted(name: str) -> GrammarCompiler:
    return GrammarCompiler(bundled(), bundled().size + PADDING, tool_format=TOOL_FORMATS.get(name))


REGEXES = [
    (r"[a-c]{2}\d", ["ab1"], ["ab", "ab12", "xab1", "abé"]),
    (r"^a|b$", ["a", "b"], ["ab", "^a", "b$"]),
    (r"^a$|^(b|c$)", ["a", "b", "c"], ["ab", "^a", "c$"]),
    (r"a\$", ["a$"], ["a", "a\\"]),
    (r"a\\$", ["a\\"], ["a$", "a"]),
    (r"(/|\"|é|😀)+", ['/"é😀'], ["", "x"]),
    (r"a*", ["", "aaa"], ["b"]),
    (r"[^x]\n.", ["a\nb"], ["x\nb", "a\n\n"]),
    (r"a\0b\x00c\u0000", ["a\0b\0c\0"], ["abc"]),
    ("a\0", ["a\0"], ["a"]),
    (r"[\0-\x1f][^a][\D]", ["\0\0\0", '\0"\\'], ["a\0\0", "\0a\0", "\0\x001"]),
]


@pytest.mark.parametrize(("pattern", "right", "wrong"), REGEXES)
def test_a_regex_matches_the_whole_text(pattern: str, right: list[str], wrong: list[str]) -> None:
    request = structured(regex=pattern)
    assert all(follows(request, text) for text in right)
    assert not any(follows(request, text) for text in wrong)


def test_a_choice_is_one_of_the_texts_as_they_stand() -> None:
    texts = ["yes", "yes!", 'no "\\ /.*\n\t', "été 😀", "</a>"]
    request = structured(choice=[*texts, "yes"])
    assert all(follows(request, text) for text in texts)
    assert not any(follows(request, text) for text in ("", "ye", "yes!!", "no", "YES", "yesyes!"))


LARK = 'start: greeting " " name // a comment }\ngreeting: "hi" | "hello {"\nname: /[A-Z][a-z]+/\n%ignore /#/'


def test_a_grammar_is_followed_from_its_start() -> None:
    request = structured(grammar=LARK)
    assert follows(request, "hi Ada") and follows(request, "hello { Bob")
    assert not follows(request, "hi ada") and not follows(request, "hello Bob")


def test_a_schema_is_that_of_a_response_format() -> None:
    request = structured(json='{"enum": [1, "x"]}')
    assert follows(request, "1") and follows(request, '"x"') and not follows(request, "2")


@pytest.mark.parametrize("name", sorted(TOOL_FORMATS))
@pytest.mark.parametrize("rule", [{"regex": "[ab]{3}"}, {"choice": ["aba", "bab"]}, {"grammar": 'start: "a" "ba"'}])
def test_every_tool_format_frames_a_rule(name: str, rule: dict) -> None:
    for request in (structured(**rule), with_tool(structured(**rule))):
        assert formatted(name).compiled(constraint_of(request))


@pytest.mark.parametrize("seed", range(3))
def test_beside_tools_an_answer_is_a_call_or_follows_the_rule(seed: int) -> None:
    text, ended = walk(with_tool(structured(choice=["left", "right"])), seed, 60)
    assert ended and (text in ("left", "right") or re.match(r"<tool_call>", text))


REFUSED = [
    ({"regex": "(?=a)b"}, "structured_outputs.regex", "lookaround"),
    ({"regex": "a{"}, "structured_outputs.regex", "'{'"),
    ({"regex": "(a"}, "structured_outputs.regex", ""),
    ({"regex": "a^b"}, "structured_outputs.regex", ""),
    ({"regex": "\\p{L}{1,500}" * 100}, "structured_outputs.regex", "too many"),
    ({"grammar": "start: nobody"}, "structured_outputs.grammar", "nobody"),
    ({"grammar": 'start: "a"\n}\nx: "b"'}, "structured_outputs.grammar", ""),
    ({"grammar": 'begin: "a"'}, "structured_outputs.grammar", "start"),
    ({"grammar": "start: <[2]>"}, "structured_outputs.grammar", "<[2]>"),
    ({"grammar": 'start: "<" <|im_end|> "a"'}, "structured_outputs.grammar", "<|im_end|>"),
    ({"grammar": 'start: %json {"type": "number"}'}, "structured_outputs.grammar", "%json"),
    ({"grammar": "start: x\nx[temperature=0.5]: /a*/"}, "structured_outputs.grammar", "temperature"),
    ({"json": "[1]"}, "structured_outputs.json", "JSON Schema"),
    ({"json": '{"not": {}}'}, "structured_outputs.json", "no value"),
]


@pytest.mark.parametrize(("rule", "param", "says"), REFUSED, ids=[str(rule)[:40] for rule, _, _ in REFUSED])
def test_what_cannot_be_enforced_is_refused_by_field(rule: dict, param: str, says: str) -> None:
    with pytest.raises(ChatError) as caught:
        formatted("hermes").compiled(constraint_of(structured(**rule)))
    assert (caught.value.http_status, caught.value.param) == (400, param) and says in caught.value.message


def test_percent_signs_in_texts_of_a_grammar_are_text() -> None:
    assert follows(structured(grammar='start: "%json" // temperature=1'), "%json")


def test_a_choice_may_have_any_character() -> None:
    assert follows(structured(choice=["a\x7fb"]), "a\x7fb")


def test_a_rule_that_takes_too_long_to_compile_is_refused_by_field(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = GrammarCompiler(bundled(), bundled().size + PADDING)

    def stalls(*_: object, **__: object) -> str:
        raise TooSlow("compiling it takes more than 1 s of processor time")

    monkeypatch.setattr(Sandbox, "error_of", stalls)
    with pytest.raises(ChatError, match="more than 1 s of processor time") as caught:
        compiler.compiled(constraint_of(structured(regex="a")))
    assert (caught.value.http_status, caught.value.param) == (400, "structured_outputs.regex")
