"""What compilers are asked for."""

from __future__ import annotations

import jax
import pytest

from jaxchat.runtime.compiling import options


@pytest.mark.parametrize("platform", ["cpu", "tpu", "gpu"])
def test_this_version_of_the_compiler_knows_the_options(platform: str) -> None:
    assert jax.jit(lambda x: x + 1).lower(1).compile(options(platform))(1) == 2
    assert (options(platform) is None) == (platform != "gpu")
