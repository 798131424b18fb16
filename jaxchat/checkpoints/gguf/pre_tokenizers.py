"""The registry of pre-tokenizers: how byte-level BPE vocabularies in GGUF files split text before merging.

The key `tokenizer.ggml.pre` names a pre-tokenizer. The file does not store the normalizer, the patterns and the options
of the original `tokenizer.json`. They follow from this name.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Regex, normalizers, pre_tokenizers

from jaxchat.registry import Registry


@dataclass(frozen=True)
class PreTokenizer:
    """A way of splitting text in several steps. The last step maps bytes to characters."""

    patterns: tuple[str, ...] = ()  # regular expressions; each match is a part
    digits: bool = False  # each digit is a part
    words: bool = False  # the last step also splits as GPT-2 did
    composed: bool = False  # text is normalised to Unicode's form NFC
    whole_words: bool = False  # a part that is a token stays one, even if merges give others

    def pre_tokenizer(self) -> pre_tokenizers.PreTokenizer:
        """Returns the pre-tokenizer as an object of the `tokenizers` library."""
        steps = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in self.patterns]
        digits = [pre_tokenizers.Digits(individual_digits=True)] if self.digits else []
        last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=self.words)
        return pre_tokenizers.Sequence([*steps, *digits, last])

    def normalizer(self) -> normalizers.Normalizer | None:
        """Returns the normalizer as an object of the `tokenizers` library, or None if there is none."""
        return normalizers.NFC() if self.composed else None


_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_CL100K = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_SYMBOLS}|{_TAIL}"
_QWEN = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_SYMBOLS}|{_TAIL}"
_SEED = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_TAIL}"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
_CASED = tuple(f"{_BEFORE}{_UPPER}{first}{_LOWER}{second}" for first, second in (("*", "+"), ("+", "*")))
_O200K = "|".join(
    [
        *(f"{cased}{_CONTRACTIONS}?" for cased in _CASED),
        rf"\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_TAIL}",
    ]
)
_TEKKEN = "|".join([*_CASED, rf"\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_TAIL}"])
_DEEPSEEK_3 = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_TAIL}",
)
_DEEPSEEK_CODER = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+")

LLAMA_3 = PreTokenizer((_CL100K,), whole_words=True)
CL100K = PreTokenizer((_CL100K,))
GLM_4 = PreTokenizer((_CL100K,), whole_words=True)
QWEN_2 = PreTokenizer((_QWEN,), composed=True)
O200K = PreTokenizer((_O200K,), whole_words=True)
TEKKEN = PreTokenizer((_TEKKEN,), whole_words=True)
DEEPSEEK_3 = PreTokenizer(_DEEPSEEK_3)
DEEPSEEK_CODER = PreTokenizer(_DEEPSEEK_CODER, digits=True)
SEED = PreTokenizer((_SEED,))
GPT_2 = PreTokenizer(words=True)
GPT_2_COMPOSED = PreTokenizer(words=True, composed=True)
DIGITS = PreTokenizer(digits=True, words=True)
DIGITS_COMPOSED = PreTokenizer(digits=True, words=True, composed=True)

PRE_TOKENIZERS: Registry[PreTokenizer] = Registry(
    "GGUF pre-tokenizer",
    "jaxchat.gguf_pre_tokenizers",
    {
        name: f"{__name__}:{constant}"
        for name, constant in {
            "llama-bpe": "LLAMA_3",
            "llama3": "LLAMA_3",
            "llama-v3": "LLAMA_3",
            "qwen2": "QWEN_2",
            "deepseek-r1-qwen": "QWEN_2",
            "gpt-4o": "O200K",
            "tekken": "TEKKEN",
            "dbrx": "CL100K",
            "smaug-bpe": "CL100K",
            "glm4": "GLM_4",
            "chatglm-bpe": "CL100K",
            "deepseek-v3": "DEEPSEEK_3",
            "hunyuan-dense": "DEEPSEEK_3",
            "deepseek-coder": "DEEPSEEK_CODER",
            "seed-coder": "SEED",
            "gpt-2": "GPT_2",
            "olmo": "GPT_2_COMPOSED",
            "exaone4": "GPT_2_COMPOSED",
            "smollm": "DIGITS",
            "starcoder": "DIGITS",
            "refact": "DIGITS",
            "command-r": "DIGITS_COMPOSED",
        }.items()
    },
)


def register_pre_tokenizer(name: str, pre_tokenizer: PreTokenizer, *, replace: bool = False) -> None:
    """Adds the pre-tokenizer of GGUF files whose `tokenizer.ggml.pre` is `name`.

    Raises:
        RegistryError: the name is taken, and `replace` is false.
    """
    PRE_TOKENIZERS.register(name, pre_tokenizer, replace=replace)
