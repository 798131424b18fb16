"""Converts steps between `jaxchat.types` and the messages of `jaxchat.multihost.v1`."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from jaxchat.multihost.v1 import multihost_pb2 as pb
from jaxchat.types import (
    DecodeWork,
    MultihostStep,
    PrefillSlice,
    PrefillWork,
    SamplingParams,
    SwapInWork,
    SwapOutWork,
    Swapped,
    Work,
)

STORED_LOCALLY = Swapped(None, ())
"""A placeholder for the data of a swapped sequence. Each process replaces it by its stored part of that data."""


def encode(step: MultihostStep) -> pb.Step:
    """Converts a step to a message. A swapped sequence is sent as its number, without its data."""
    message = pb.Step(saved=step.saved, forgotten=step.forgotten)
    match step.work:
        case PrefillWork() as work:
            message.prefill.CopyFrom(pb.Prefill(slices=map(_from_slice, work.slices)))
        case DecodeWork() as work:
            message.decode.slots, message.decode.new_pages = _bytes(work.slots), _bytes(work.new_pages)
            if work.constrained is not None:
                message.decode.constrained = _bytes(work.constrained)
            if work.token_mask is not None:
                message.decode.token_mask = _bytes(work.token_mask)
            if work.drafts is not None:
                message.decode.drafts = _bytes(work.drafts)
        case SwapOutWork() as work:
            message.swap_out.CopyFrom(pb.SwapOut(slot=work.slot, pages=_bytes(work.pages)))
        case SwapInWork() as work:
            message.swap_in.CopyFrom(pb.SwapIn(slot=work.slot, pages=_bytes(work.pages), kept=work.shared_pages))
    return message


def decode(message: pb.Step) -> MultihostStep:
    """Converts a message to a step with read-only arrays. `STORED_LOCALLY` takes the place of a swapped sequence.

    Raises:
        ValueError: the message has no work, such as a prefill or a decode step.
    """
    return MultihostStep(_work(message), message.saved, tuple(message.forgotten))


def _work(message: pb.Step) -> Work:
    match message.WhichOneof("work"):
        case "prefill":
            return PrefillWork(tuple(map(_to_slice, message.prefill.slices)))
        case "decode":
            step = message.decode
            slots = _i32(step.slots)
            return DecodeWork(
                slots,
                _i32(step.new_pages),
                np.frombuffer(step.constrained, bool) if step.HasField("constrained") else None,
                _rows(step.token_mask, len(slots)) if step.HasField("token_mask") else None,
                _i32(step.drafts) if step.HasField("drafts") else None,
            )
        case "swap_out":
            return SwapOutWork(message.swap_out.slot, _i32(message.swap_out.pages))
        case "swap_in":
            return SwapInWork(message.swap_in.slot, _i32(message.swap_in.pages), message.swap_in.kept, STORED_LOCALLY)
    raise ValueError("a step without work")


def _from_slice(piece: PrefillSlice) -> pb.PrefillSlice:
    return pb.PrefillSlice(
        slot=piece.slot,
        tokens=_bytes(piece.tokens),
        start=piece.start,
        last=piece.last,
        pages=_bytes(piece.pages),
        choice=piece.choice,
        sampling=_from_sampling(piece.sampling),
        token_mask=None if piece.token_mask is None else _bytes(piece.token_mask),
        prompt=None if piece.prompt is None else _bytes(piece.prompt),
    )


def _to_slice(message: pb.PrefillSlice) -> PrefillSlice:
    return PrefillSlice(
        slot=message.slot,
        tokens=_i32(message.tokens),
        start=message.start,
        last=message.last,
        pages=_i32(message.pages),
        choice=message.choice,
        sampling=_to_sampling(message.sampling),
        token_mask=_rows(message.token_mask, 1)[0] if message.HasField("token_mask") else None,
        prompt=_i32(message.prompt) if message.HasField("prompt") else None,
    )


SCALARS = tuple(field.name for field in fields(SamplingParams) if field.name != "logit_bias")
"""Names of the sampling parameters that are fields of `pb.Sampling` with the same name."""


def _from_sampling(params: SamplingParams) -> pb.Sampling:
    return pb.Sampling(
        bias_ids=[token for token, _ in params.logit_bias],
        bias=[bias for _, bias in params.logit_bias],
        **{name: getattr(params, name) for name in SCALARS},
    )


def _to_sampling(message: pb.Sampling) -> SamplingParams:
    return SamplingParams(
        logit_bias=tuple(zip(message.bias_ids, message.bias, strict=True)),
        **{name: getattr(message, name) for name in SCALARS},
    )


def _bytes(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _i32(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<i4")


def _rows(data: bytes, rows: int) -> np.ndarray:
    return np.frombuffer(data, "<u4").reshape(rows, -1)
