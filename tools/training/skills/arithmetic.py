"""Sums and differences of numbers with up to two digits, and with three."""

from __future__ import annotations

from random import Random

from tools.training.sample import Sample, assistant, user
from tools.training.skills import words

SKILL, LONG = "arithmetic", "three digits"

PLUS = (
    "What is {a} + {b}?",
    "What is {a}+{b}?",
    "{a} + {b}",
    "{a}+{b}",
    "{a} plus {b}",
    "What is {a} plus {b}?",
    "Compute {a} + {b}.",
    "Compute {a}+{b}.",
    "Add {a} and {b}.",
    "How much is {a} + {b}?",
    "How much is {a} plus {b}?",
    "Calculate {a} + {b}.",
    "What is the sum of {a} and {b}?",
    "{a} + {b} = ?",
    "{a}+{b}=",
    "Can you add {a} and {b}?",
    "What do you get when you add {a} and {b}?",
    "Tell me {a} plus {b}.",
    "What does {a} + {b} equal?",
    "Sum {a} and {b}.",
)
MINUS = (
    "What is {a} - {b}?",
    "What is {a}-{b}?",
    "{a} - {b}",
    "{a}-{b}",
    "{a} minus {b}",
    "What is {a} minus {b}?",
    "Compute {a} - {b}.",
    "Compute {a}-{b}.",
    "Subtract {b} from {a}.",
    "How much is {a} - {b}?",
    "How much is {a} minus {b}?",
    "Calculate {a} - {b}.",
    "What is the difference of {a} and {b}?",
    "{a} - {b} = ?",
    "{a}-{b}=",
    "Take {b} away from {a}.",
    "What is {a} take away {b}?",
    "Tell me {a} minus {b}.",
    "What does {a} - {b} equal?",
    "What do you get when you subtract {b} from {a}?",
)


def equation(a: int, sign: str, b: int) -> str:
    """Returns the equation for `a sign b`, such as `47 + 38 = 85.`"""
    return f"{a} {sign} {b} = {a + b if sign == '+' else a - b}."


def question(rng: Random, a: int, sign: str, b: int) -> str:
    """Returns a question for the result of `a sign b`, in a random wording."""
    return words.vary(rng, rng.choice(PLUS if sign == "+" else MINUS).format(a=a, b=b))


def operands(rng: Random) -> tuple[int, str, int]:
    """Returns a random number below 100, a sign and another such number. Numbers below 10 are likelier than others."""
    a, b = (rng.randrange(10 if rng.random() < 0.15 else 100) for _ in range(2))
    return a, rng.choice("+-"), b


def sample(rng: Random, a: int, sign: str, b: int) -> Sample:
    """Returns a question for `a sign b` with its answer. The key is the pair of numbers with the sign."""
    messages = (user(question(rng, a, sign, b)), assistant(equation(a, sign, b)))
    return Sample(skill=LONG if max(a, b) > 99 else SKILL, key=f"{a}{sign}{b}", messages=messages)


def make(rng: Random) -> Sample:
    """Returns a random question with its answer. The key is the pair of numbers with the sign."""
    return sample(rng, *operands(rng))


def columns(a: int, sign: str, b: int) -> str:
    """Returns the work for `a sign b`, digit by digit from the right, such as `7 + 8 = 15, 4 + 6 + 1 = 11`

    `a` is not less than `b` in a difference. Its digits are written with what they borrow: `17 - 8 = 9, 3 - 2 = 1`
    """
    steps, carry = [], 0
    for place in range(len(str(max(a, b)))):
        x, y = a // 10**place % 10, b // 10**place % 10
        if sign == "+":
            steps.append(f"{x} + {y}{' + 1' if carry else ''} = {x + y + carry}")
            carry = (x + y + carry) // 10
        else:
            x -= carry
            carry = int(x < y)
            steps.append(f"{x + 10 * carry} - {y} = {x + 10 * carry - y}")
    return ", ".join(steps)


def make_long(rng: Random) -> Sample:
    """Returns a question about numbers below 1000, at least one of which has three digits.

    The answer shows the work. No number is subtracted from a smaller one. The key is the pair of numbers with the sign.
    """
    a, b, sign = rng.randrange(100, 1000), rng.randrange(10 ** rng.choice((1, 2, 3, 3, 3))), rng.choice("+-")
    if sign == "-":
        a, b = max(a, b), min(a, b)
    elif rng.random() < 0.3:
        a, b = b, a
    answer = f"{columns(a, sign, b)}, so {equation(a, sign, b)}"
    return Sample(skill=LONG, key=f"{a}{sign}{b}", messages=(user(question(rng, a, sign, b)), assistant(answer)))
