"""Compares greedy answers with those of `transformers`, token by token, for twenty prompts in five languages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import jaxchat

PROMPTS = [
    "Write a Python function that returns the n-th Fibonacci number.",
    "What is the capital of Norway? Answer in one word.",
    "Explain what a hash table is in three sentences.",
    "List five prime numbers between 10 and 50.",
    "Schreibe ein Gedicht mit vier Zeilen über den Herbst.",
    "Was ist der Unterschied zwischen einer Liste und einem Tupel in Python?",
    "Nenne drei Flüsse in Deutschland.",
    "Übersetze ins Englische: „Der frühe Vogel fängt den Wurm.“",
    "Explique en deux phrases ce qu'est la photosynthèse.",
    "Écris une fonction JavaScript qui inverse une chaîne de caractères.",
    "Quels sont les jours de la semaine ?",
    "Donne-moi un exemple d'ironie.",
    "用Python写一个快速排序。",
    "请用一句话介绍一下长城。",
    "1到10的平方和是多少？请写出步骤。",
    "把“早上好”翻译成英文、法文和德文。",
    "日本の首都はどこですか。",
    "Pythonで素数を判定する関数を書いてください。",
    "俳句を一つ作ってください。",
    "「猫」を使った文を三つ書いてください。",
]


@dataclass(frozen=True)
class Answer:
    """A greedy answer of `transformers`.

    Attributes:
        ids: token ids, without the end token.
        scores: the logits of each step, f32 `[V]`.
    """

    ids: list[int]
    scores: tuple[torch.Tensor, ...]

    def gap(self, step: int, other: int) -> float:
        """Returns the logit of the token chosen in a step minus that of the token `other`."""
        return float(self.scores[step].max() - self.scores[step][other])


def expected(folder: Path, tokens: int) -> list[Answer]:
    """Returns the answers of `transformers` to PROMPTS. Each answer has at most `tokens` tokens."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    answers = []
    for prompt in PROMPTS:
        chat = [{"role": "user", "content": prompt}]
        inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.inference_mode():
            output = model.generate(
                **inputs,
                max_new_tokens=tokens,
                do_sample=False,
                repetition_penalty=1.0,
                return_dict_in_generate=True,
                output_logits=True,
            )
        ids = output.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        scores = tuple(step[0] for step in output.logits)
        answers.append(Answer(ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids, scores))
    return answers


def ours(model: Path, tokens: int) -> list[list[int]]:
    """Returns the token ids of jaxchat's answers to PROMPTS, at most `tokens` for each answer, without end tokens."""
    with jaxchat.load(str(model), progress=False) as client:
        answers = []
        for prompt in PROMPTS:
            answer = client.chat.completions.create(
                messages=[{"role": "user", "content": prompt}],
                temperature=0,
                max_completion_tokens=tokens,
                return_token_ids=True,
            )
            choice = answer.choices[0]
            ids = list(choice.token_ids or [])
            answers.append(ids[:-1] if choice.finish_reason == "stop" else ids)
    return answers


def compare(folder: Path, tokens: int, model: Path | None = None) -> int:
    """Prints for each prompt whether the answers are equal. Returns the number of answers that differ.

    Products with quantised weights round activations, so answers may differ where two tokens are about equally
    probable. The difference between the logits of the two tokens, computed by `transformers`, is printed.

    Args:
        folder: the model directory in float32.
        tokens: maximum length of an answer, in tokens.
        model: the model that jaxchat serves; None for `folder`.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    different = 0
    for prompt, ids, right in zip(PROMPTS, ours(model or folder, tokens), expected(folder, tokens), strict=True):
        if ids == right.ids:
            print(f"equal   {len(ids):4} tokens  {prompt}", flush=True)
            continue
        different += 1
        pairs = zip([*ids, tokenizer.eos_token_id], [*right.ids, tokenizer.eos_token_id], strict=False)
        step, (other, token) = next((step, pair) for step, pair in enumerate(pairs) if pair[0] != pair[1])
        print(f"DIFFERS at token {step} of {len(right.ids)}: {prompt}", flush=True)
        print(f"  transformers {tokenizer.decode(token)!r}, ours {tokenizer.decode(other)!r}", end="")
        print(f", whose logit is {right.gap(step, other):.3f} below")
    print(f"{len(PROMPTS) - different} of {len(PROMPTS)} answers equal")
    return different
