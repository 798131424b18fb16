"""Reading optimised HLO: a program written by hand in the compiler's form, and one compiled here."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxchat.planning.hlo import Program

TEXT = """\
HloModule jit_decode, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%drawn (p: f32[4,64]) -> f32[4,256] {
  %p = f32[4,64]{1,0:T(4,128)} parameter(0)
  ROOT %all-gather.2 = f32[4,256]{1,0:T(4,128)} all-gather(%p), dimensions={1}, metadata={op_name="draw"}
}

%greedy (p.1: f32[4,64]) -> f32[4,256] {
  %p.1 = f32[4,64]{1,0:T(4,128)} parameter(0)
  ROOT %broadcast = f32[4,256]{1,0:T(4,128)} broadcast(%p.1), dimensions={0,1}
}

%body (state: (s32[], f32[2,8])) -> (s32[], f32[2,8]) {
  %state = (s32[], f32[2,8]) parameter(0)
  %each = f32[2,8]{1,0} get-tuple-element(%state), index=1
  ROOT %all-to-all.1 = (s32[], f32[2,8]{1,0}) all-to-all(%each), dimensions={1}
}

%condition (state.1: (s32[], f32[2,8])) -> pred[] {
  %state.1 = (s32[], f32[2,8]) parameter(0)
  ROOT %true = pred[] constant(true)
}, execution_thread="sparsecore"

%entry (experts: bf16[16,64,32], which.1: s32[]) -> bf16[64,32] {
  %experts = bf16[16,64,32]{2,1,0:T(8,128)(2,1)} parameter(0)
  %which.1 = s32[]{:T(128)} parameter(1)
  ROOT %dynamic-slice.5 = bf16[64,32]{1,0:T(8,128)(2,1)} dynamic-slice(%experts, %which.1)
}

%chosen (which.2: s32[], rows: bf16[8,64], experts.1: bf16[16,64,32]) -> f32[8,32] {
  %which.2 = s32[]{:T(128)} parameter(0)
  %experts.1 = bf16[16,64,32]{2,1,0:T(8,128)(2,1)} parameter(2)
  %rows = bf16[8,64]{1,0:T(8,128)(2,1)} parameter(1)
  %inner = bf16[64,32]{1,0:T(8,128)(2,1)} fusion(%experts.1, %which.2), kind=kLoop, calls=%entry
  ROOT %dot = f32[8,32]{1,0:T(8,128)} convolution(%rows, %inner), dim_labels=bf_io->bf
}

ENTRY %main (w: bf16[64,32], held: bf16[9,16,2,128], x: bf16[4,64], which: pred[]) -> f32[4,256] {
  %w = bf16[64,32]{1,0:T(8,128)(2,1)} parameter(0)
  %held = bf16[9,16,2,128]{3,2,1,0:T(2,128)(2,1)} parameter(1)
  %x = bf16[4,64]{1,0:T(4,128)(2,1)S(1)} parameter(2)
  %which = pred[]{:T(512)} parameter(3)
  %copy-start = (bf16[64,32]{1,0:T(8,128)(2,1)S(1)}, bf16[64,32]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}) copy-start(%w)
  %copy-done = bf16[64,32]{1,0:T(8,128)(2,1)S(1)} copy-done(%copy-start)
  %slice-start = ((bf16[64,32]{1,0:T(8,128)(2,1)}), bf16[16,32]{1,0:T(8,128)(2,1)S(1)}, s32[]{:S(2)}) slice-start(%w), slice={[0:16], [0:32]}
  %slice-done = bf16[16,32]{1,0:T(8,128)(2,1)S(1)} slice-done(%slice-start)
  %fusion = f32[4,32]{1,0:T(4,128)} fusion(%copy-done, %x), kind=kOutput, calls=%add
  %all-reduce = f32[4,32]{1,0:T(4,128)S(1)} all-reduce(%fusion), channel_id=1, to_apply=%add
  %scatter_fusion = bf16[9,16,2,128]{3,2,1,0:T(2,128)(2,1)} fusion(%held, %fusion), kind=kCustom, calls=%add
  %kernel = f32[4,64]{1,0:T(4,128)S(1)} custom-call(%scatter_fusion, %all-reduce), custom_call_target="tpu_custom_call"
  %loop = (s32[], f32[2,8]{1,0}) while(%kernel), condition=%condition, body=%body
  ROOT %choice = f32[4,256]{1,0:T(4,128)} conditional(%which, %kernel, %kernel), branch_computations={%drawn, %greedy}
}
"""  # noqa: E501 - as printed


def test_collectives_and_whether_they_always_run():
    actual = {one.name: (one.kind, one.size, one.always) for one in Program(TEXT).collectives()}
    assert actual == {
        "all-gather.2": ("all-gather", 4 * 4 * 256, False),
        "all-to-all.1": ("all-to-all", 4 * 2 * 8, True),
        "all-reduce": ("all-reduce", 4 * 4 * 32, True),
    }


def test_kernels_are_counted_by_target():
    assert Program(TEXT).kernels() == {"tpu_custom_call": 1}


def test_traffic_counts_main_memory_once():
    copied, sliced, result = 2 * 64 * 32, 2 * 16 * 32, 4 * 4 * 32
    product, sum_, update = result, result, 2 * result  # operands in fast memory do not count
    pages = 2 * 9 * 16 * 2 * 128  # the kernel's operand
    program = Program(TEXT)
    assert program.traffic() == copied + sliced + product + sum_ + update + pages
    assert program.traffic(0, frozenset(["bf16[9,16,2,128]"])) == copied + sliced + product + sum_ + update
    assert program.traffic(3) == program.traffic() + 3 * (4 + 2 * 4 * 2 * 8)  # what the loop exchanges


def test_cycles_are_those_that_the_compiler_estimates_and_loops_repeat():
    estimate = 'backend_config={"flag_configs":[],"estimated_cycles":"%d","iteration_bounds":["2"]}'
    text = TEXT.replace("fusion(%copy-done, %x), kind=kOutput", f"fusion(%copy-done, %x), {estimate % 700}")
    text = text.replace("broadcast(%p.1), dimensions={0,1}", f"broadcast(%p.1), {estimate % 50}")  # in a branch
    text = text.replace("all-to-all(%each), dimensions={1}", f"all-to-all(%each), {estimate % 30}")
    assert Program(TEXT).cycles() == 0
    assert Program(text).cycles() == 700
    assert Program(text).cycles(3) == 700 + 3 * 30


def test_of_an_array_that_is_sliced_inside_a_fusion_only_the_slice_is_read():
    body = """
ENTRY %loop (given: bf16[16,64,32], index: s32[], tokens: bf16[8,64]) -> f32[8,32] {
  %given = bf16[16,64,32]{2,1,0:T(8,128)(2,1)} parameter(0)
  %index = s32[]{:T(128)S(6)} parameter(1)
  %tokens = bf16[8,64]{1,0:T(8,128)(2,1)} parameter(2)
  ROOT %product = f32[8,32]{1,0:T(8,128)} fusion(%index, %tokens, %given), kind=kOutput, calls=%CALLED
}
"""
    fused = TEXT[: TEXT.index("ENTRY")]
    others, entry, whole = 2 * 8 * 64 + 4 * 8 * 32, 2 * 64 * 32, 2 * 16 * 64 * 32
    assert Program(fused + body.replace("CALLED", "chosen")).traffic() == others + entry
    summed = fused.replace("convolution(%rows, %inner)", "convolution(%rows, %inner, %experts.1)")
    assert Program(summed + body.replace("CALLED", "chosen")).traffic() == others + whole


def test_a_program_compiled_here():
    compiled = jax.jit(lambda x, w: jnp.tanh(x @ w)).lower(jnp.ones((4, 64)), jnp.ones((64, 32))).compile()
    program = Program(compiled.as_text())
    assert program.collectives() == []
    least = 4 * (4 * 64 + 64 * 32 + 4 * 32)
    assert least <= program.traffic() <= 2 * least


def test_a_schedule_that_one_kernel_makes_for_another_counts_once():
    text = """\
ENTRY %main (q: f32[64,128]) -> f32[64,128] {
  %q = f32[64,128]{1,0:T(8,128)} parameter(0)
  %schedule = (s32[4096]{0:T(1024)}, f32[64,128]{1,0:T(8,128)}) custom-call(), custom_call_target="tpu_custom_call"
  %steps = s32[4096]{0:T(1024)} get-tuple-element(%schedule), index=0
  %rows = f32[64,128]{1,0:T(8,128)} get-tuple-element(%schedule), index=1
  %first = f32[64,128]{1,0:T(8,128)} custom-call(%steps, %rows, %q), custom_call_target="tpu_custom_call", frontend_attributes={kernel_metadata={
"block.bq_sz":1,
"mode":"decode"
}}, metadata={op_name="jit(f)/pallas_call"}
  ROOT %kernel = f32[64,128]{1,0:T(8,128)} custom-call(%steps, %first), custom_call_target="tpu_custom_call"
}
"""  # noqa: E501 - as printed
    rows, schedule = 4 * 64 * 128, 4 * 4096
    assert Program(text).traffic() == (schedule + rows) + 3 * rows + 2 * rows


def test_codes_of_4_bits_take_half_a_byte():
    text = """\
ENTRY %main (w: u4[64,32]) -> u4[64,32] {
  %w = u4[64,32]{1,0:T(8,128)} parameter(0)
  ROOT %copy = u4[64,32]{0,1:T(8,128)} copy(%w)
}
"""
    assert Program(text).traffic() == 2 * 64 * 32 // 2


def test_conversions_of_bits_count_though_bitcasts_are_free():
    text = """\
ENTRY %main (scales: f16[64,32]) -> f32[64,32] {
  %scales = f16[64,32]{1,0:T(8,128)(2,1)} parameter(0)
  %bitcast.1 = f16[2,32,32]{2,1,0:T(8,128)(2,1)} bitcast(%scales)
  ROOT %bitcast_convert_fusion = f32[64,32]{1,0:T(8,128)S(1)} fusion(%scales), kind=kLoop, calls=%decode
}

%decode (p: f16[64,32]) -> f32[64,32] {
  %p = f16[64,32]{1,0} parameter(0)
  ROOT %wide = f32[64,32]{1,0} convert(%p)
}
"""
    assert Program(text).traffic() == 2 * 64 * 32
