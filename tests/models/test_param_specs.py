"""The table of parameters says what the decoder creates, and where a checkpoint stores each of them."""

from __future__ import annotations

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transformers

from jaxchat.checkpoints.hf_mapping import stored_slices
from jaxchat.kernels.attention.reference import causal
from jaxchat.models.config import ModelConfig
from jaxchat.models.decoder import Decoder
from jaxchat.models.families import from_hugging_face
from jaxchat.models.param_specs import param_specs, param_tree
from jaxchat.planning.model_shapes import MODEL_SHAPES
from tests import tiny
from tools.bench.shapes import SHAPES
from tools.parity import checkpoints


def published(case: str) -> ModelConfig:
    """The shape of a family, as `transformers` writes its `config.json`."""
    kind, changes = checkpoints.CASES[case]
    theirs = getattr(transformers, f"{kind}Config")(**{**checkpoints.SHAPE, **changes})
    architecture = f"{kind.removesuffix('Text')}ForCausalLM"
    return from_hugging_face({**json.loads(theirs.to_json_string()), "architectures": [architecture]})


def shortened(config: ModelConfig) -> ModelConfig:
    return replace(config, num_layers=2, kinds=config.kinds[:2])


CONFIGS = {
    "tiny": from_hugging_face(tiny.CONFIG),
    "tiny, experts": from_hugging_face({**tiny.CONFIG, **tiny.EXPERTS}),
    "biases": from_hugging_face({**tiny.CONFIG, "attention_bias": True, "mlp_bias": True}),
    "own head": from_hugging_face({**tiny.CONFIG, "tie_word_embeddings": False}),
    **{case: published(case) for case in checkpoints.CASES},
    **{name: shortened(from_hugging_face(raw)) for name, raw in MODEL_SHAPES.items()},
    **{f"bench {name}": shortened(config) for name, config in SHAPES.items()},
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_decoder_creates_the_parameters_of_the_table(config: ModelConfig) -> None:
    ids = jax.ShapeDtypeStruct((2,), jnp.int32)
    created = jax.eval_shape(
        lambda ids: Decoder(config).init(jax.random.key(0), ids, ids, attend=causal)["params"], ids
    )
    assert param_tree(param_specs(config), lambda path, spec: spec.shape) == jax.tree.map(
        lambda leaf: leaf.shape, created
    )


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_axis_has_a_logical_name_and_products_sum_over_some(config: ModelConfig) -> None:
    for path, spec in param_specs(config).items():
        assert len(spec.axes) == len(spec.shape), path
        assert {*spec.contracted} <= {*range(len(spec.shape))}, path
        assert ("vocab" in spec.axes) == (spec.padding == "vocab"), path
        assert ("kv_heads" in spec.axes) == (spec.padding in ("query_heads", "fused_heads")), path


@pytest.mark.parametrize("case", checkpoints.CASES)
def test_stored_tensors_fill_every_parameter_once(case: str) -> None:
    specs, stored = param_specs(CONFIGS[case]), stored_slices(CONFIGS[case])
    assert [*stored] == [*specs]  # the digest of the weights is that of this order
    for path, slices in stored.items():
        written = np.zeros(specs[path].shape, np.int32)
        for part in slices:
            written[part.place] += np.ones(part.shape, np.int32)
        assert (written == 1).all(), path
