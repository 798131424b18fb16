"""Compares greedy answers with those of `transformers`, token by token, for twenty prompts in five languages."""

from __future__ import annotations

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


def expected(folder: Path, tokens: int) -> list[list[int]]:
    """Returns the token ids of the answers of `transformers` to PROMPTS, without end tokens.

    Answers have at most `tokens` tokens.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    answers = []
    for prompt in PROMPTS:
        chat = [{"role": "user", "content": prompt}]
        inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=tokens, do_sample=False, repetition_penalty=1.0)
        ids = output[0, inputs["input_ids"].shape[1] :].tolist()
        answers.append(ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids)
    return answers


def ours(folder: Path, tokens: int) -> list[list[bytes]]:
    """Returns the bytes of each token in our answers to PROMPTS. Answers have at most `tokens` tokens."""
    with jaxchat.load(str(folder), progress=False) as client:
        answers = []
        for prompt in PROMPTS:
            answer = client.chat.completions.create(
                messages=[{"role": "user", "content": prompt}],
                temperature=0,
                max_completion_tokens=tokens,
                logprobs=True,
            )
            logprobs = answer.choices[0].logprobs
            assert logprobs is not None
            answers.append([bytes(token.bytes or b"") for token in logprobs.content or []])
    return answers


def compare(folder: Path, tokens: int) -> int:
    """Prints for each prompt whether the answers are equal. Returns the number of answers that differ.

    Args:
        folder: the model directory.
        tokens: maximum length of an answer, in tokens.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    different = 0
    for prompt, answer, ids in zip(PROMPTS, ours(folder, tokens), expected(folder, tokens), strict=True):
        wanted = tokenizer.decode(ids)
        text = b"".join(answer).decode("utf-8", "replace")
        same = len(answer) == len(ids) and text == wanted
        different += not same
        print(f"{'equal' if same else 'DIFFERS'} {len(ids):4} tokens  {prompt}", flush=True)
        if not same:
            print(f"  ours: {text!r}\n  transformers: {wanted!r}")
    print(f"{len(PROMPTS) - different} of {len(PROMPTS)} answers equal")
    return different
