"""Reads how compressed-tensors stores each weight: the groups of modules in `quantization_config`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxchat.checkpoints.forms.parts import quantization_keys
from jaxchat.checkpoints.forms.scaled_floats import Block, block_shape
from jaxchat.errors import ModelError
from jaxchat.models.hf_config import HFConfigReader

METHOD = "compressed-tensors"
PACKED, INTEGERS, FLOATS = "pack-quantized", "int-quantized", "float-quantized"
_NAIVE, _DENSE = "naive-quantized", "dense"
_STRATEGIES = {PACKED: ("tensor", "channel", "group"), INTEGERS: ("tensor", "channel", "group")}
_STRATEGIES[FLOATS] = ("tensor", "channel", "block")
_REGEX = "re:"
_EMBEDDINGS = ("embed_tokens", "embed_tokens_per_layer")  # names of modules of the class Embedding
_ORDERED = ("group", "dynamic", True)  # values of `actorder`; "dynamic" is an older word for "group"
_NOT_ORDERED = ("weight", "static", False, None)
_UNSUPPORTED = ("transform_config", "moe_sparsity_config")


@dataclass(frozen=True)
class Scheme:
    """The way in which weights are stored, for the modules of one group in `config_groups`."""

    targets: tuple[str, ...]  # names of modules, patterns after "re:", or classes
    form: str  # PACKED, INTEGERS or FLOATS
    bits: int  # 4 or 8
    symmetric: bool  # whether zero points are not stored
    group_size: int  # -1: one group
    block: Block | None  # shape of the blocks that share a scale; None: rows or groups of inputs share one
    ordered: bool  # whether a group's inputs are not neighbours, so that `weight_g_idx` is needed

    def rank(self, module: str) -> int:
        """Returns how `targets` cover a module: 0 by its name, 1 by a pattern, 2 by its class, 3 not at all."""
        if module in self.targets:
            return 0
        if any(_matches(target, module) for target in self.targets):
            return 1
        return 2 if _class_of(module) in self.targets else 3


def scheme_of(module: str, quantization: Mapping[str, Any]) -> Scheme:
    """Returns the scheme of a module that is stored quantised.

    A group that names the module precedes a group with a pattern for the name. A group with the module's class comes
    last.

    Args:
        module: name of the module, such as "model.layers.0.mlp.up_proj".
        quantization: the `quantization_config` of `config.json`.

    Raises:
        ModelError: no group covers the module, `ignore` lists the module, or a setting is missing, wrong or not
            supported.
    """
    schemes = read_schemes(quantization)
    for entry in quantization_keys(quantization).words("ignore"):
        if entry == module or _matches(entry, module):
            raise ModelError(f"config.json: quantization_config.ignore has {entry!r}, but {module} is stored quantised")
    best = min(schemes, key=lambda scheme: scheme.rank(module))
    if best.rank(module) == 3:
        raise ModelError(
            f"config.json: quantization_config.config_groups have no target for {module}, which is stored quantised"
        )
    return best


def planned_scheme(module: str, quantization: Mapping[str, Any]) -> Scheme | None:
    """Returns the scheme of a module, or None if no scheme covers it or `ignore` lists it.

    Arguments are those of `scheme_of`.

    Raises:
        ModelError: a setting is missing, wrong or not supported.
    """
    schemes = read_schemes(quantization)
    ignored = quantization_keys(quantization).words("ignore")
    best = min(schemes, key=lambda scheme: scheme.rank(module))
    if best.rank(module) == 3 or any(entry == module or _matches(entry, module) for entry in ignored):
        return None
    return best


def read_schemes(quantization: Mapping[str, Any]) -> tuple[Scheme, ...]:
    """Returns the schemes of all groups in `quantization`, the `quantization_config` of `config.json`.

    Raises:
        ModelError: a setting is missing, wrong or not supported.
    """
    keys = quantization_keys(quantization)
    if keys.word("quantization_status", "compressed") != "compressed":
        raise keys.error("quantization_status", 'must be "compressed"')
    if keys.inner("sparsity_config").word("format", _DENSE) != _DENSE:
        raise keys.inner("sparsity_config").error("format", 'must be "dense", sparse weights are not read')
    for key in _UNSUPPORTED:
        if keys.has(key) and keys.values[key] != {}:
            raise keys.error(key, "is not supported")
    groups = keys.inner("config_groups")
    if not len(groups):
        raise keys.error("config_groups", "must be an object with a group")
    _check_patterns(keys, "ignore")
    top = keys.word("format")
    return tuple(_scheme(groups.inner(name), keys, top) for name in groups.values)


def _scheme(group: HFConfigReader, keys: HFConfigReader, top: str) -> Scheme:
    targets, weights = group.words("targets"), group.inner("weights")
    _check_patterns(group, "targets")
    if not targets:
        raise group.error("targets", "must be a list of modules")
    if not len(weights):
        raise group.error("weights", "must say how weights are stored")
    for key in ("input_activations", "output_activations"):
        if group.has(key) and group.inner(key).integer("num_bits", 8) != 8:
            raise group.inner(key).error("num_bits", "must be 8")
    form = _form(weights, group if group.has("format") else keys, top)
    strategy = weights.word("strategy", "group" if weights.has("group_size") else "tensor")
    if strategy not in _STRATEGIES[form]:
        raise weights.error("strategy", f"must be one of {', '.join(_STRATEGIES[form])} in format {form}")
    symmetric = weights.flag("symmetric", True)
    if form == FLOATS and not symmetric:
        raise weights.error("symmetric", "must be true for floats")
    size = weights.integer("group_size") if strategy == "group" else -1
    order = weights.values.get("actorder")
    if order not in _ORDERED and order not in _NOT_ORDERED:
        raise weights.error("actorder", "must be group or weight")
    block = block_shape(weights, "block_structure", None) if strategy == "block" else None
    return Scheme(targets, form, weights.integer("num_bits"), symmetric, size, block, order in _ORDERED)


def _form(weights: HFConfigReader, where: HFConfigReader, top: str) -> str:
    """Returns the form of weights, from the key `format` of `where`, or `top` if the key is absent.

    Raises:
        ModelError: the form is not supported, or other settings contradict the form.
    """
    form, kind, bits = where.word("format", top), weights.word("type", "int"), weights.integer("num_bits", 8)
    if form == _NAIVE:
        form = FLOATS if kind == "float" else INTEGERS
    if form not in _STRATEGIES:
        raise where.error("format", f"must be one of {', '.join([*_STRATEGIES, _NAIVE])}")
    if kind != ("float" if form == FLOATS else "int"):
        raise weights.error("type", f"must be {'float' if form == FLOATS else 'int'} in format {form}")
    if bits not in ((8,) if form == FLOATS else (4, 8)):
        raise weights.error("num_bits", f"must be {'8' if form == FLOATS else '4 or 8'} in format {form}")
    return form


def _class_of(module: str) -> str:
    """Returns "Embedding" or "Linear", the class of a module with weights. A target may name a class or a module."""
    return "Embedding" if module.rpartition(".")[2] in _EMBEDDINGS else "Linear"


def _check_patterns(keys: HFConfigReader, key: str) -> None:
    for entry in keys.words(key):
        try:
            _matches(entry, "")
        except re.error:
            raise keys.error(key, "must have valid regular expressions") from None


def _matches(target: str, module: str) -> bool:
    """Returns whether a target is a pattern that matches the beginning of a module's name."""
    return target.startswith(_REGEX) and bool(re.match(target.removeprefix(_REGEX), module))
