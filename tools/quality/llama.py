"""Logits of llama.cpp for pieces of text. Runs in llama.cpp's environment.

`python -m tools.quality.llama FILE.gguf TOKENS.npy LOGITS.npy`

V is the number of tokens in the vocabulary.
"""

from __future__ import annotations

import sys

import llama_cpp as llama
import numpy as np


def main(file: str, tokens: str, target: str) -> None:
    """Writes the logits of each piece of text, minus the largest logit at each position.

    Args:
        file: the GGUF file.
        tokens: file with the token ids, i32 `[count, length]`.
        target: file for the logits, f16 `[count, length, V]`.

    Raises:
        RuntimeError: llama.cpp reports an error.
    """
    pieces = np.load(tokens)
    count, length = pieces.shape
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(file.encode(), llama.llama_model_default_params())
    params = llama.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = length
    params.n_threads = params.n_threads_batch = 2
    context = llama.llama_init_from_model(model, params)
    vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    batch = llama.llama_batch_init(length, 0, 1)
    logits = np.lib.format.open_memmap(target, "w+", np.float16, (count, length, vocab))
    for index, piece in enumerate(pieces):
        batch.n_tokens = length
        for place, token in enumerate(piece):
            batch.token[place], batch.pos[place], batch.logits[place] = int(token), place, 1
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
        llama.llama_memory_seq_rm(llama.llama_get_memory(context), 0, -1, -1)
        if llama.llama_decode(context, batch):
            raise RuntimeError("llama_decode failed")
        for place in range(length):
            row = np.ctypeslib.as_array(llama.llama_get_logits_ith(context, place), (vocab,))
            logits[index, place] = row - row.max()
    logits.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
