"""An independent sampler in float64 NumPy, written from the contract and sharing no code with the package."""

from __future__ import annotations

import numpy as np


def adjusted(logits, bias=(), counts=None, frequency=0.0, presence=0.0):
    """Returns the logits of one row after bias, penalties, exclusive tokens and bans."""
    mu = np.array(logits, np.float64)
    original_support = mu > -np.inf
    for token, value in bias:
        mu[token] += value
    if counts is not None:
        mu -= counts * frequency + (counts > 0) * presence
    support = original_support.copy()
    exclusive = [token for token, value in bias if value >= 100]
    if exclusive:
        support &= np.isin(np.arange(len(mu)), exclusive)
    support[[token for token, value in bias if value <= -100]] = False
    return np.where(support, mu, -np.inf) if support.any() else mu


def kept(mu, temperature, top_p):
    """Returns token ids of the nucleus, and their renormalised probabilities."""
    z = mu / temperature
    p = np.exp(z - z.max())
    p /= p.sum()
    order = np.lexsort((np.arange(len(p)), -p))
    order = order[p[order] > 0]
    if top_p < 1:
        total = np.cumsum(p[order])
        order = order[: int(np.searchsorted(total, top_p - 1e-12) + 1)]
    return order, p[order] / p[order].sum()


def log_softmax(x):
    x = np.array(x, np.float64)
    top = x.max()
    return x - top - np.log(np.exp(x - top).sum())
