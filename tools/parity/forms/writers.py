"""Writes random weights in quantised forms by the formats' definitions, and returns the numbers that they represent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch
from safetensors.torch import save_file

Tensors = dict[str, np.ndarray]
Write = Callable[[np.random.Generator, str, int, int], tuple[Tensors, np.ndarray]]
"""`write(rng, module, n, k)` returns the stored tensors of a module, and its weight, f32 `[n, k]`."""
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # the outputs in a word, lowest bits first
FLOAT8 = ml_dtypes.float8_e4m3fn


@dataclass(frozen=True)
class Case:
    """A stored form.

    Attributes:
        quantization: the `quantization_config` of the checkpoint.
        write: `write(rng, module, n, k)` returns the stored tensors of a weight, and the weight, f32 `[n, k]`.
        bits: bits of the codes that kernels multiply by; None if the weights are converted to floats on loading.
        order: whether the inputs that share a scale are scattered over the row.
    """

    quantization: dict[str, Any]
    write: Write
    bits: int | None
    order: bool = False


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Packs codes `[n, k]`, unsigned integers, into words i32 `[n, ceil(k * bits / 32)]`, lowest bits first.

    `bits` must divide 32. If a row does not fill its last word, zeros fill it.
    """
    per_word = 32 // bits
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % per_word)))
    words = np.zeros((len(codes), padded.shape[1] // per_word), np.uint32)
    for column in range(padded.shape[1]):
        words[:, column // per_word] |= padded[:, column].astype(np.uint32) << np.uint32(bits * (column % per_word))
    return words.view(np.int32)


def scales_of(rng: np.random.Generator, largest: float, *shape: int, dtype: Any = np.float16) -> np.ndarray:
    """Returns random scales of the given shape. Codes up to `largest`, times such a scale, are typical weights."""
    return (rng.uniform(0.2, 0.6, shape) / largest).astype(dtype)


def weight_of(codes: np.ndarray, zeros: Any, scales: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Returns the weight `(codes - zeros) * scales`, f32 `[n, k]`.

    Args:
        codes: codes `[n, k]`.
        zeros: zero points, broadcastable to `[n, G]`.
        scales: scales `[n, G]`.
        groups: the group of each input, `[k]`.
    """
    zeros = np.broadcast_to(zeros, scales.shape)[:, groups].astype(np.float32)
    return (codes.astype(np.float32) - zeros) * scales.astype(np.float32)[:, groups]


def groups_of(rng: np.random.Generator, inputs: int, size: int, shuffled: bool) -> np.ndarray:
    groups = np.repeat(np.arange(inputs // size, dtype=np.int32), size)
    return rng.permutation(groups).astype(np.int32) if shuffled else groups


def gptq(bits: int = 4, group: int = 32, *, sym: bool = True, desc_act: bool = False, version: int = 1) -> Case:
    def write(rng: np.random.Generator, module: str, n: int, k: int) -> tuple[Tensors, np.ndarray]:
        size = k if group == -1 else group
        groups = groups_of(np.random.default_rng(k), k, size, desc_act)  # the inputs decide the order
        codes = rng.integers(0, 2**bits, (n, k), np.uint8)
        zeros = rng.integers(1, 2**bits, (n, k // size), np.uint8)
        if sym:
            zeros[:] = 2 ** (bits - 1)
        scales = scales_of(rng, 2**bits, n, k // size)
        stored = {
            "qweight": pack(codes, bits).T,
            "qzeros": pack((zeros - np.uint8(version == 1)).T, bits),
            "scales": scales.T,
            "g_idx": groups,
        }
        return {f"{module}.{end}": array for end, array in stored.items()}, weight_of(codes, zeros, scales, groups)

    form = {} if version == 1 else {"checkpoint_format": "gptq_v2"}
    quantization = dict(quant_method="gptq", bits=bits, group_size=group, desc_act=desc_act, sym=sym, **form)
    return Case(quantization, write, bits, desc_act)


def awq(group: int = 32, *, zero_point: bool = True) -> Case:
    def write(rng: np.random.Generator, module: str, n: int, k: int) -> tuple[Tensors, np.ndarray]:
        size = k if group == -1 else group
        codes = rng.integers(0, 16, (n, k), np.uint8)
        zeros = rng.integers(0, 16, (n, k // size), np.uint8) if zero_point else np.full((n, k // size), 8, np.uint8)
        scales = scales_of(rng, 16, n, k // size)
        order = np.arange(n).reshape(-1, 8)[:, AWQ_ORDER].ravel()
        stored = {"qweight": pack(codes.T[:, order], 4), "scales": scales.T}
        if zero_point:
            stored["qzeros"] = pack(zeros.T[:, order], 4)
        parts = {f"{module}.{end}": array for end, array in stored.items()}
        return parts, weight_of(codes, zeros, scales, groups_of(rng, k, size, shuffled=False))

    return Case(dict(quant_method="awq", bits=4, group_size=group, version="gemm", zero_point=zero_point), write, 4)


def compressed(form: str, dtype: Any = ml_dtypes.bfloat16, **weights: Any) -> Case:
    """Returns a case of compressed-tensors.

    Args:
        form: the format, such as "pack-quantized".
        dtype: dtype of the scales.
        weights: entries of `weights` in `config_groups`; by default symmetric int8 with a scale for each output.
    """
    weights = dict(num_bits=8, type="int", symmetric=True, strategy="channel") | weights
    bits, strategy = weights["num_bits"], weights["strategy"]
    middle = 2 ** (bits - 1)

    def write(rng: np.random.Generator, module: str, n: int, k: int) -> tuple[Tensors, np.ndarray]:
        size = weights.get("group_size", k)
        groups = groups_of(np.random.default_rng(k), k, size, weights.get("actorder") == "group")
        codes = rng.integers(0, 2**bits, (n, k), np.uint8)
        scales = scales_of(rng, 2**bits, *((1, 1) if strategy == "tensor" else (n, k // size)), dtype=dtype)
        zeros: Any = middle
        stored = {"weight_scale": scales.reshape(1) if strategy == "tensor" else scales}
        signed = (codes.astype(np.int16) - middle).astype(np.int8)
        if form == "pack-quantized":
            stored |= {"weight_packed": pack(codes, bits), "weight_shape": np.array([n, k], np.int64)}
        else:
            stored["weight"] = signed
        if not weights["symmetric"]:
            zeros = rng.integers(0, 2**bits, scales.shape, np.uint8)
            plain = (zeros.astype(np.int16) - middle).astype(np.int8)
            stored["weight_zero_point"] = pack(zeros.T, bits).T if form == "pack-quantized" else plain
        if weights.get("actorder") == "group":
            stored["weight_g_idx"] = groups
        whole = np.broadcast_to(scales, (n, k // size))
        return {f"{module}.{end}": array for end, array in stored.items()}, weight_of(codes, zeros, whole, groups)

    quantization = dict(
        quant_method="compressed-tensors",
        format=form,
        quantization_status="compressed",
        ignore=["lm_head"],
        config_groups=dict(group_0=dict(targets=["Linear"], weights=weights, input_activations=None)),
    )
    return Case(quantization, write, bits, weights.get("actorder") == "group")


def floats(strategy: str, scale: str, quantization: dict[str, Any], block: int = 128) -> Case:
    """Returns a case of 8-bit floats.

    Args:
        strategy: what has one scale: "tensor", "channel" or "block".
        scale: last part of the scales' name, such as "weight_scale".
        quantization: the `quantization_config`.
        block: width and height of a block.
    """

    def write(rng: np.random.Generator, module: str, n: int, k: int) -> tuple[Tensors, np.ndarray]:
        numbers = (rng.standard_normal((n, k)) * 50).astype(FLOAT8)
        shape = {"tensor": (), "channel": (n, 1), "block": (-(-n // block), -(-k // block))}[strategy]
        scales = np.asarray(scales_of(rng, 150, *shape, dtype=np.float32), np.float32)
        if strategy == "block":
            rows, columns = np.arange(n) // block, np.arange(k) // block
            weight = numbers.astype(np.float32) * scales[rows][:, columns]
        else:
            weight = numbers.astype(np.float32) * scales
        return {f"{module}.weight": numbers, f"{module}.{scale}": np.asarray(scales)}, weight

    return Case(quantization, write, None)


def compressed_floats(strategy: str, block: int = 128) -> Case:
    weights = dict(num_bits=8, type="float", symmetric=True, strategy=strategy)
    if strategy == "block":
        weights["block_structure"] = [block, block]
    groups = dict(group_0=dict(targets=["Linear"], weights=weights, input_activations=dict(num_bits=8, dynamic=True)))
    quantization = dict(quant_method="compressed-tensors", format="float-quantized", config_groups=groups, ignore=[])
    return floats(strategy, "weight_scale", quantization, block)


def fp8(strategy: str, block: int = 128) -> Case:
    sizes = [block, block] if strategy == "block" else None
    quantization = dict(quant_method="fp8", activation_scheme="dynamic", fmt="e4m3", weight_block_size=sizes)
    return floats(strategy, "weight_scale_inv" if strategy == "block" else "weight_scale", quantization, block)


def bitsandbytes(kind: str = "nf4", *, nested: bool = False, block: int = 64) -> Case:
    """Returns a case of bitsandbytes.

    Args:
        kind: "nf4", here with an arbitrary table, or "int8".
        nested: whether the scales are quantised too.
        block: number of codes that share a scale.
    """

    def write_int8(rng: np.random.Generator, module: str, n: int, k: int) -> tuple[Tensors, np.ndarray]:
        numbers = rng.integers(-127, 128, (n, k), np.int8)
        largest = rng.uniform(0.2, 0.6, n).astype(np.float32)
        stored = {"weight": numbers, "SCB": largest, "weight_format": np.zeros((), np.uint8)}
        weight = numbers.astype(np.float32) * (largest / np.float32(127))[:, None]
        return {f"{module}.{end}": array for end, array in stored.items()}, weight

    def write(rng: np.random.Generator, module: str, n: int, k: int) -> tuple[Tensors, np.ndarray]:
        table = np.sort(rng.uniform(-1, 1, 16)).astype(np.float32)
        codes = rng.integers(0, 16, n * k, np.uint8)
        count = -(-n * k // block)
        scales = rng.uniform(0.2, 0.6, count).astype(np.float32)
        state: dict[str, Any] = dict(quant_type=kind, blocksize=block, dtype="bfloat16", shape=[n, k])
        stored = {"absmax": scales, "quant_map": table}
        if nested:
            inner, outer_table = rng.integers(0, 256, count, np.uint8), rng.uniform(-1, 1, 256).astype(np.float32)
            outer = rng.uniform(0.1, 0.2, -(-count // 256)).astype(np.float32)
            scales = outer_table[inner] * outer[np.arange(count) // 256] + np.float32(0.4)
            stored |= {"absmax": inner, "nested_absmax": outer, "nested_quant_map": outer_table}
            state |= dict(nested_blocksize=256, nested_dtype="float32", nested_offset=float(np.float32(0.4)))
        text = np.frombuffer(json.dumps(state).encode(), np.uint8)
        parts = {f"{module}.weight.{end}": array for end, array in stored.items()}
        parts[f"{module}.weight.quant_state.bitsandbytes__{kind}"] = text
        parts[f"{module}.weight"] = (codes[::2] << 4 | codes[1::2])[:, None]
        return parts, (table[codes] * scales[np.arange(n * k) // block]).reshape(n, k)

    bits = 8 if kind == "int8" else 4
    return Case(
        {"quant_method": "bitsandbytes", f"load_in_{bits}bit": True},
        write_int8 if bits == 8 else write,
        8 if bits == 8 else None,
    )


def tensor_of(array: np.ndarray) -> torch.Tensor:
    """Returns an array as a torch tensor. Supports bf16 and 8-bit floats, which NumPy itself lacks."""
    array = np.array(array, order="C")
    if array.dtype == FLOAT8:
        return torch.from_numpy(array.view(np.uint8)).view(torch.float8_e4m3fn)
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def save(directory: Path, tensors: Tensors, quantization: dict[str, Any] | None = None) -> None:
    """Writes `model.safetensors`, and adds `quantization` to `config.json` unless it is None. Supports 8-bit floats."""
    save_file({name: tensor_of(array) for name, array in tensors.items()}, directory / "model.safetensors")
    if quantization is not None:
        file = directory / "config.json"
        raw = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(raw | {"quantization_config": quantization}))
