"""Quantised checkpoints that are damaged, contradictory or of unknown kinds are refused by file, tensor or key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxchat.checkpoints.safetensors import SafetensorsReader
from jaxchat.checkpoints.tensor_slices import TensorSlice
from jaxchat.errors import ModelError
from jaxchat.models.families import from_hugging_face
from tests import tiny
from tools.parity.forms.cases import CASES
from tools.parity.forms.writers import Tensors, save

MODULE, SHAPE = "model.layers.0.mlp.up_proj", (64, 96)
NAME = rf"model\.safetensors: tensor {MODULE}\.weight"
Change = Callable[[Tensors], object]


def gone(end: str) -> Change:
    return lambda tensors: tensors.pop(f"{MODULE}.{end}")


def changed(end: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda tensors: tensors.update({f"{MODULE}.{end}": change(tensors[f"{MODULE}.{end}"])})


def entry(end: str, value: Any) -> Change:
    """Replaces the last entry of a tensor."""

    def replace(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.flat[-1] = value
        return array

    return changed(end, replace)


def cut(end: str) -> Change:
    return changed(end, lambda array: array[:-1])


def added(end: str, array: np.ndarray) -> Change:
    return lambda tensors: tensors.update({f"{MODULE}.{end}": array})


NF4, STATE = "bitsandbytes, nf4, scales as codes", "quant_state.bitsandbytes__nf4"
ORDERED, PACKED = "gptq, activation order", "compressed, W4A16, asymmetric"
DAMAGE: list[tuple[str, Change, str]] = [
    (ORDERED, gone("scales"), rf"tensor {MODULE}\.scales is missing"),
    (ORDERED, gone("qzeros"), rf"tensor {MODULE}\.qzeros is missing"),
    (ORDERED, gone("g_idx"), rf"tensor {MODULE}\.g_idx is missing"),
    (ORDERED, gone("qweight"), rf"tensor {MODULE}\.weight is missing"),
    (ORDERED, cut("scales"), rf"{NAME}: scales has shape \(2, 64\), expected \(3, 64\)"),
    (ORDERED, cut("qzeros"), rf"{NAME}: qzeros has shape \(2, 8\), expected \(3, 8\)"),
    (ORDERED, cut("g_idx"), rf"{NAME}: g_idx has shape \(95,\), expected \(96,\)"),
    (ORDERED, cut("qweight"), rf"{NAME}: group_size is 32, which does not divide the 88 inputs"),
    (ORDERED, changed("qweight", np.ravel), rf"{NAME}: qweight has shape \(768,\), expected a matrix"),
    (ORDERED, changed("qweight", lambda a: a.astype(np.int64)), rf"{NAME}: qweight has dtype I64, expected I32"),
    (ORDERED, changed("scales", lambda a: a.astype(np.float64)), rf"{NAME}: scales has dtype F64, expected F16 or"),
    (ORDERED, entry("g_idx", 3), rf"{NAME}: g_idx has an input in group 3, but there are 3 groups"),
    (ORDERED, entry("g_idx", -1), rf"{NAME}: g_idx has an input in group -1"),
    (ORDERED, changed("g_idx", np.zeros_like), rf"{NAME}: g_idx has 96 inputs in group 0, expected 32"),
    (ORDERED, entry("scales", np.nan), rf"{NAME}: a scale is not a finite number"),
    (ORDERED, added("weight", np.zeros(SHAPE, np.float16)), rf"{NAME[:17]}.* tensor {MODULE}\.weight is stored beside"),
    ("awq", gone("qzeros"), rf"tensor {MODULE}\.qzeros is missing"),
    ("awq", cut("qweight"), rf"{NAME}: group_size is 32, which does not divide the 95 inputs"),
    ("awq", cut("qzeros"), rf"{NAME}: qzeros has shape \(2, 8\), expected \(3, 8\)"),
    ("awq", entry("scales", np.inf), rf"{NAME}: a scale is not a finite number"),
    (PACKED, gone("weight_packed"), rf"tensor {MODULE}\.weight_packed is missing"),
    (PACKED, gone("weight_scale"), rf"tensor {MODULE}\.weight_scale is missing"),
    (PACKED, gone("weight_shape"), rf"tensor {MODULE}\.weight_shape is missing"),
    (PACKED, gone("weight_zero_point"), rf"tensor {MODULE}\.weight_zero_point is missing"),
    (PACKED, entry("weight_shape", 99), rf"{NAME}: weight_packed has shape \(64, 12\), which does not hold 4 bits"),
    (PACKED, cut("weight_zero_point"), rf"{NAME}: weight_zero_point has shape \(7, 3\), expected \(8, 3\)"),
    (PACKED, cut("weight_scale"), rf"{NAME}: weight_scale has shape \(63, 3\), expected \(64, 3\)"),
    ("compressed, W4A16, activation order", gone("weight_g_idx"), rf"tensor {MODULE}\.weight_g_idx is missing"),
    (
        "compressed, W8A8",
        changed("weight", lambda a: a.astype(np.int16)),
        rf"{NAME}: weight has dtype I16, expected I8",
    ),
    ("compressed, 4 bits in bytes", entry("weight", 8), rf"{NAME}: a number does not fit into the 4 bits"),
    (
        "compressed, floats, channels",
        cut("weight_scale"),
        rf"{NAME}: weight_scale has shape \(63, 1\), expected \(64, 1\)",
    ),
    ("fp8, blocks", entry("weight_scale_inv", np.inf), rf"{NAME}: a scale is not a finite number"),
    (
        "fp8, blocks",
        changed("weight_scale_inv", lambda a: np.ones((2, 1), np.float32)),
        rf"{NAME}: weight_scale_inv has shape \(2, 1\), expected \(1, 1\)",
    ),
    (
        "fp8, blocks",
        changed("weight", lambda a: a.astype(np.float16)),
        rf"{NAME}: weight has dtype F16, expected F8_E4M3",
    ),
    (NF4, gone("weight.absmax"), rf"tensor {MODULE}\.weight\.absmax is missing"),
    (NF4, gone("weight.nested_quant_map"), rf"tensor {MODULE}\.weight\.nested_quant_map is missing"),
    (NF4, cut("weight"), rf"{NAME}: weight has shape \(3071, 1\), expected \(3072, 1\)"),
    (NF4, entry("weight.nested_absmax", np.nan), rf"{NAME}: a scale is not a finite number"),
    (NF4, entry(f"weight.{STATE}", 0), rf"{NAME}: {STATE} is not JSON"),
    (NF4, added(f"weight.{STATE}", np.frombuffer(b"{}", np.uint8)), rf"{NAME}: {STATE}\.shape must be a list of two"),
    ("bitsandbytes, int8", cut("SCB"), rf"{NAME}: SCB has shape \(63,\), expected \(64,\)"),
    ("bitsandbytes, int8", added("weight_format", np.ones((), np.uint8)), rf"{NAME}: weight_format must be 0"),
    ("fp8, blocks", gone("weight_scale_inv"), rf"{NAME} has dtype F8_E4M3, supported: F64, F32, F16, BF16"),
]


@pytest.mark.parametrize(("name", "change", "message"), DAMAGE)
def test_damage_is_named(tmp_path: Path, name: str, change: Change, message: str) -> None:
    tensors, _ = CASES[name].write(np.random.default_rng(0), MODULE, *SHAPE)
    change(tensors)
    save(tmp_path, tensors, CASES[name].quantization)
    part = TensorSlice(f"{MODULE}.weight", SHAPE, SHAPE[::-1], transposed=True)
    with pytest.raises(ModelError, match=message):
        reader = SafetensorsReader(tmp_path)
        reader.check(part)
        reader.read(part)


GPTQ = dict(quant_method="gptq", bits=4, group_size=128)
AWQ = dict(quant_method="awq", bits=4, group_size=128)
WEIGHTS = dict(num_bits=4, type="int", strategy="group", group_size=128)


def compressed(format: str = "pack-quantized", activations: Any = None, **weights: Any) -> dict[str, Any]:
    group = dict(targets=["Linear"], weights={**WEIGHTS, **weights}, input_activations=activations)
    return dict(quant_method="compressed-tensors", format=format, config_groups=dict(group_0=group))


SETTINGS: list[tuple[dict[str, Any], str]] = [
    (GPTQ | dict(bits=3), "bits must be 4 or 8, got 3"),
    (GPTQ | dict(bits="4"), "bits must be a whole number of at least 1, got '4'"),
    (dict(quant_method="gptq"), "bits is missing"),
    (GPTQ | dict(group_size=0), "group_size must be -1 or at least 1, got 0"),
    (GPTQ | dict(checkpoint_format="marlin"), 'checkpoint_format must be "gptq" or "gptq_v2".*, got \'marlin\''),
    (GPTQ | dict(desc_act="no"), "desc_act must be true or false, got 'no'"),
    (GPTQ | dict(pack_dtype="int64"), "pack_dtype must be \"int32\", got 'int64'"),
    (AWQ | dict(bits=8), "bits must be 4, got 8"),
    (AWQ | dict(version="gemv"), "version must be \"gemm\".*, got 'gemv'"),
    (AWQ | dict(version="marlin"), "version must be \"gemm\".*, got 'marlin'"),
    (AWQ | dict(group_size=-2), "group_size must be a whole number of at least -1, got -2"),
    (dict(quant_method="fp8", fmt="e5m2"), "fmt must be \"e4m3\", got 'e5m2'"),
    (dict(quant_method="fp8", weight_block_size=[128]), "weight_block_size must be a list of two"),
    (dict(quant_method="fp8", activation_scheme="odd"), "activation_scheme must be"),
    (compressed(num_bits=2), "group_0.weights.num_bits must be 4 or 8 in format pack-quantized, got 2"),
    (compressed(type="float"), "group_0.weights.type must be int in format pack-quantized"),
    (compressed(strategy="tensor_group"), "group_0.weights.strategy must be one of tensor, channel, group"),
    (compressed(actorder="sideways"), "group_0.weights.actorder must be group or weight, got 'sideways'"),
    (compressed(group_size=None), "group_0.weights.group_size is missing"),
    (compressed("nvfp4-pack-quantized"), "format must be one of pack-quantized, int-quantized, float-quantized"),
    (compressed("marlin-24"), "format must be one of .*, got 'marlin-24'"),
    (compressed("float-quantized", type="float", num_bits=8), "strategy must be one of tensor, channel, block"),
    (compressed(activations=dict(num_bits=4)), "group_0.input_activations.num_bits must be 8, got 4"),
    (compressed() | dict(sparsity_config=dict(format="sparse-24-bitmask")), "sparsity_config.format must be"),
    (compressed() | dict(quantization_status="frozen"), "quantization_status must be"),
    (compressed() | dict(transform_config=dict(config_groups=dict(a=1))), "transform_config is not supported"),
    (compressed() | dict(ignore=["re:("]), "ignore must have valid regular expressions"),
    (dict(quant_method="compressed-tensors", format="pack-quantized"), "config_groups must be an object with a group"),
    (dict(quant_method="bitsandbytes", bnb_4bit_quant_storage="bfloat16"), 'bnb_4bit_quant_storage must be "uint8"'),
    (dict(quant_method="modelopt"), "of method modelopt is not supported; use the unquantised checkpoint"),
    (dict(quant_method="exl2"), "of method exl2 is not supported; use the unquantised checkpoint, a GGUF file, or one"),
]


@pytest.mark.parametrize(("quantization", "message"), SETTINGS)
def test_settings_are_refused_by_their_key(quantization: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=f"config.json: quantization_config.*{message}"):
        from_hugging_face({**tiny.CONFIG, "quantization_config": quantization})


@pytest.mark.parametrize("name", CASES)
def test_settings_that_are_read_are_accepted(name: str) -> None:
    from_hugging_face({**tiny.CONFIG, "quantization_config": CASES[name].quantization})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(ignore=["re:.*up_proj"]), rf"ignore has 're:\.\*up_proj', but {MODULE} is stored quantised"),
        (
            dict(config_groups=dict(a=dict(targets=["re:.*down_proj"], weights=WEIGHTS))),
            f"config_groups have no target for {MODULE}",
        ),
    ],
)
def test_modules_that_settings_do_not_quantise(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    case = CASES["compressed, W4A16"]
    tensors, _ = case.write(np.random.default_rng(0), MODULE, *SHAPE)
    save(tmp_path, tensors, case.quantization | settings)
    with pytest.raises(ModelError, match=message):
        SafetensorsReader(tmp_path)


def test_a_name_decides_before_a_pattern_and_a_class(tmp_path: Path) -> None:
    case = CASES["compressed, W4A16, channels"]
    tensors, weight = case.write(np.random.default_rng(0), MODULE, *SHAPE)
    groups = {
        "class": dict(format="int-quantized", targets=["Linear"], weights={**WEIGHTS, "num_bits": 8}),
        "name": dict(
            format="pack-quantized", targets=[MODULE], weights=dict(num_bits=4, type="int", strategy="channel")
        ),
        "pattern": dict(format="pack-quantized", targets=["re:.*up_proj"], weights={**WEIGHTS, "group_size": 48}),
    }
    save(tmp_path, tensors, case.quantization | dict(format="mixed-precision", config_groups=groups))
    part = TensorSlice(f"{MODULE}.weight", SHAPE, SHAPE[::-1], transposed=True)
    np.testing.assert_array_equal(SafetensorsReader(tmp_path).read(part), weight)


def test_a_class_covers_only_its_modules(tmp_path: Path) -> None:
    embedding = "model.embed_tokens"
    case = CASES["compressed, W4A16, channels"]
    tensors, weight = case.write(np.random.default_rng(0), embedding, *SHAPE)
    linear = dict(format="int-quantized", targets=["Linear"], weights={**WEIGHTS, "num_bits": 8})
    table = dict(format="pack-quantized", targets=["Embedding"], weights=dict(num_bits=4, strategy="channel"))
    save(tmp_path, tensors, case.quantization | dict(config_groups=dict(a=linear, b=table)))
    part = TensorSlice(f"{embedding}.weight", SHAPE, SHAPE)
    np.testing.assert_array_equal(SafetensorsReader(tmp_path).read(part), weight)
    save(tmp_path, tensors, case.quantization | dict(config_groups=dict(a=linear)))
    with pytest.raises(ModelError, match=f"config_groups have no target for {embedding}"):
        SafetensorsReader(tmp_path)
