"""Small random weights in quantised forms, by name."""

from __future__ import annotations

import numpy as np

from tools.parity.forms.writers import awq, bitsandbytes, compressed, compressed_floats, fp8, gptq

GROUPS = dict(strategy="group", group_size=32)
CASES = {
    "gptq": gptq(),
    "gptq, asymmetric": gptq(sym=False),
    "gptq, groups of 64": gptq(group=64, sym=False),
    "gptq, one group": gptq(group=-1),
    "gptq, 8 bits": gptq(8),
    "gptq, 8 bits, asymmetric": gptq(8, sym=False),
    "gptq, activation order": gptq(desc_act=True),
    "gptq, activation order, asymmetric": gptq(sym=False, desc_act=True),
    "gptq_v2, asymmetric": gptq(sym=False, version=2),
    "awq": awq(),
    "awq, groups of 64": awq(64),
    "awq, one group": awq(-1),
    "awq, no zero points": awq(zero_point=False),
    "compressed, W4A16": compressed("pack-quantized", num_bits=4, **GROUPS),
    "compressed, W4A16, asymmetric": compressed("pack-quantized", num_bits=4, symmetric=False, **GROUPS),
    "compressed, W4A16, activation order": compressed("pack-quantized", num_bits=4, actorder="group", **GROUPS),
    "compressed, W4A16, channels": compressed("pack-quantized", np.float16, num_bits=4),
    "compressed, W8A16": compressed("pack-quantized", **GROUPS),
    "compressed, W8A8": compressed("int-quantized"),
    "compressed, W8A8, asymmetric": compressed("int-quantized", np.float32, symmetric=False),
    "compressed, one scale": compressed("naive-quantized", strategy="tensor"),
    "compressed, 4 bits in bytes": compressed("int-quantized", num_bits=4, **GROUPS),
    "compressed, floats, tensor": compressed_floats("tensor"),
    "compressed, floats, channels": compressed_floats("channel"),
    "compressed, floats, blocks": compressed_floats("block"),
    "fp8, blocks": fp8("block"),
    "fp8, channels": fp8("channel"),
    "fp8, tensor": fp8("tensor"),
    "bitsandbytes, nf4": bitsandbytes(),
    "bitsandbytes, nf4, scales as codes": bitsandbytes(nested=True, block=128),
    "bitsandbytes, int8": bitsandbytes("int8"),
}
