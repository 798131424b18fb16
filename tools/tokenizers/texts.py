"""Texts that tokenizers treat in unusual ways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from random import Random

SCRIPTS = (
    "The quick brown fox", "Zwölf Boxkämpfer jagen Viktor", "Съешь ещё этих мягких булок",
    "Ξεσκεπάζω την ψυχοφθόρα", "نص حكيم له سر قاطع", "דג סקרן שט בים", "ऋषियों को सताने वाले",
    "আমি বাংলায় গান গাই", "நான் தமிழ் பேசுகிறேன்", "เป็นมนุษย์สุดประเสริฐ", "ຂ້ອຍກິນແກ້ວ", "ကျွန်တော်", "ខ្ញុំអាចញ៉ាំ",
    "天地玄黄宇宙洪荒", "いろはにほへと ちりぬるを", "カタカナ ﾊﾝｶｸ", "키스의 고유조건은", "მშვიდობა",
    "Բարեւ աշխարհ", "ሰላም ለዓለም", "ᐃᓄᒃᑎᑐᑦ", "ᚠᛇᚻ᛫ᛒᛦᚦ", "𐌲𐌿𐍄", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "ǅ ﬁ ß İ ı ſ", "①②③ Ⅷ ½ ㎏",
    "ｆｕｌｌ　ｗｉｄｔｈ",
)  # fmt: skip
CODE = (
    "def f(a, b):\n    return a + b\n  - x", "if (x<y && y>z) { a[i]++; }",
    "for(;;){\n\tprintf(\"%d\\n\", i);\n}", "SELECT * FROM t WHERE a <> 'b';", "<b>x</b> <i>y</i>",
    "<table><tr><td> 1 </td></tr></table>", "&lt;s&gt; &amp; &#60;", "{\"a\": [1, 2, {\"b\": null}]}",
    "| a | b |\n|---|---|\n| 1 | 2 |", "```python\nprint('<s>')\n```", "a:\n  - b: 'c'\n    d: |\n      e",
    "$\\frac{a}{b} \\le \\sum_{i=0}^{n} x_i$", "https://example.org/a?b=c&d=%20#e", "user@example.org",
    "C:\\Users\\x\\n", "x = 0xFF | ~1 ** 2",
)  # fmt: skip
MARKS = (
    "👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈", "🇩🇪🇫🇷🇯", "é ạ̈ ṩ", "Z̩͑ͫ̓a̡", "́alone", "‍\u200b\ufeff\u2060",
    "\u202eright to left\u202c", "\ue000\uf8ff\U000f0000\U0010fffd", "�\ufffe\uffff",
    "\x00\x01\x07\x08\x1b\x7f", "\x85\u2028\u2029\x0b\x0c", "▁a ▁▁ b", "Ġa Ċ", "<0x0A><0xE2><0x96>",
    "\xa0a\xa0\xa0b　c", "\U0001d173\U000e0041", "\xad soft\xadhyphen",
)  # fmt: skip
NUMBERS = (
    "0", "12", "123", "1234567890" * 4, "3.14159", "1,234,567.89", "-1e-10", "٣٤٥", "१२३", "2024-06-05T12:34:56Z",
    "1 2 3", "0b1010",
)  # fmt: skip
ENDS = (
    "a\r\nb\r\n", "\r\r\n\n", "a\n\n\nb", "\n", "\n\n", " \n \n ", "\t", "\ta\t\tb", "a ", " a", "  a  ", "a <", "> a",
    "'s 're 'LL", "...", "?!?!",
)  # fmt: skip
ALPHABET = (
    "a", "B", "é", "ß", "漢", "👍", "\u0301", "0", "9", " ", "  ", "\n", "\r\n", "\t", "<", ">", "|", "[", "]", "/",
    "_", "'", ".", "\u2581",
)  # fmt: skip


def texts(spellings: Iterable[str], rng: Random) -> list[str]:
    """Returns more than 300 different texts: scripts, code, marks, white space, spellings of tokens and their parts.

    Args:
        spellings: spellings of the added tokens, control tokens first. At most 80 are used.
        rng: selects the spellings after the first 40, and makes random texts.
    """
    spellings = list(spellings)
    some = spellings[:40] + rng.sample(spellings[40:], min(40, len(spellings[40:])))
    made = [*SCRIPTS, *CODE, *MARKS, *NUMBERS, *ENDS, *_runs()]
    made += [variant for text in some for variant in _near(text)]
    made += ["".join(rng.choices([*ALPHABET, *some], k=rng.randint(2, 12))) for _ in range(200)]
    return list(dict.fromkeys(made))


def long_texts(spellings: Iterable[str], size: int) -> dict[str, str]:
    """Returns texts that are expensive to tokenise, or to search for control tokens. Each repeats a short piece.

    Args:
        spellings: spellings of the control tokens, in any order. If there are none, "<s>" is used.
        size: characters of each text.

    Returns:
        The texts by what they repeat, such as "spaces" or "longest token".
    """
    known = sorted(spellings, key=len)
    short, long = (known[0], known[-1]) if known else ("<s>", "<s>")
    half = len(long) // 2
    units = {
        "words": "The quick brown fox. ",
        '" <"': "a <",
        "spaces": " " * 61 + "a",
        "x<</think>": "x<</think>",
        "</think>": "</think>",
        "shortest token": short,
        "longest token": long,
        "every token": "".join(known) or short,
        "first halves": long[: half + 1] + " ",
        "second halves": long[half:],
        "halves at cuts": f"{long[:-1]}</think>{long[1:]}",
        "without its end": long[:-1],
        "digits": "1234567890",
        "one letter": "x",
        "accents": "a\u0301\u0302",
        "Chinese": "漢字かな交じり文",
        "family": "👩‍👩‍👧",
        "new lines": "\n\n \n",
        "private use": "\ue000\uf8ff",
    }
    return {name: (unit * (size // len(unit) + 1))[:size] for name, unit in units.items()}


def _runs() -> Iterator[str]:
    for char, size in product(" \n\t.-=x0<", (2, 3, 7, 16, 33, 130)):
        yield f"a{char * size}b"


def _near(token: str) -> Iterator[str]:
    """Yields a token's spelling, texts around it, near misses and halves."""
    half = len(token) // 2
    yield from (token, f"x{token}y", f" {token} ", f"{token}\n{token}", token * 3)
    yield from (token[:half], token[half:], token[:-1], token[1:], token[:half] + " " + token[half:])
    yield from (token[:half] + token, token.upper(), token.replace("|", "\uff5c"), f"{token[:-1]}{token}")
