"""An independent sampler in float64 NumPy, written from the API's definition. Shares no code with the package."""

from __future__ import annotations

import numpy as np


def adjusted(logits, bias=(), counts=None, frequency=0.0, presence=0.0, repetition=1.0, prompt=()):
    """Returns the logits of one row after bias, penalties, exclusive tokens and bans, f64 `[V]`.

    Args:
        logits: `[V]`.
        bias: pairs of token id and bias.
        counts: how often the answer has each token, `[V]`; None for an empty answer.
        frequency: the frequency penalty.
        presence: the presence penalty.
        repetition: the repetition penalty.
        prompt: ids of the prompt's tokens.
    """
    mu = np.array(logits, np.float64)
    original_support = mu > -np.inf
    for token, value in bias:
        mu[token] += value
    for token in {*prompt, *np.flatnonzero(0 if counts is None else counts).tolist()}:
        mu[token] = mu[token] / repetition if mu[token] > 0 else mu[token] * repetition
    if counts is not None:
        mu -= counts * frequency + (counts > 0) * presence
    support = original_support.copy()
    exclusive = [token for token, value in bias if value >= 100]
    if exclusive:
        support &= np.isin(np.arange(len(mu)), exclusive)
    support[[token for token, value in bias if value <= -100]] = False
    return np.where(support, mu, -np.inf) if support.any() else mu


def kept(mu, temperature, top_p, top_k=0, min_p=0.0):
    """Returns the ids of the tokens that may be sampled, likeliest first, and their renormalised probabilities.

    Args:
        mu: the result of `adjusted`, f64 `[V]`.
        temperature: above 0.
        top_p: probability of the nucleus.
        top_k: maximum number of tokens; 0 or less for no limit.
        min_p: minimum probability, relative to the likeliest token.
    """
    z = mu / temperature
    p = np.exp(z - z.max())
    p /= p.sum()
    order = np.lexsort((np.arange(len(p)), -p))
    order = order[p[order] > 0]
    if top_k > 0:
        order = order[:top_k]
    if top_p < 1:
        total = np.cumsum(p[order]) / p[order].sum()
        order = order[: int(np.searchsorted(total, top_p - 1e-12) + 1)]
    order = order[p[order] >= min_p * p.max()]
    return order, p[order] / p[order].sum()


def log_softmax(x):
    x = np.array(x, np.float64)
    top = x.max()
    return x - top - np.log(np.exp(x - top).sum())
