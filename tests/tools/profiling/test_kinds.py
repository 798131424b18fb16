"""Operations are told apart by the names that the compiler keeps."""

from __future__ import annotations

import pytest

from tools.profiling.kinds import Kinds, kind_of


@pytest.mark.parametrize(
    ("scope", "kind"),
    [
        ("jit(decode)/Decoder/layer_3/attention/td,dkgh->tkgh/dot_general", "qkv"),
        ("jit(decode)/Decoder/layer_3/attention/tkgh,kghd->td/dot_general", "attention out"),
        ("jit(decode)/Decoder/layer_3/attention/while/body/exp", "attention"),
        ("jit(decode)/Decoder/layer_3/mlp/td,dcf->tcf/dot_general", "mlp"),
        ("jit(decode)/Decoder/layer_3/attention_norm/mul", "norms"),
        ("jit(prefill)/cond/branch_1_fun/Decoder.logits/td,vd->tv/dot_general", "head"),
        ("jit(decode)/Decoder/cos", "rest of the decoder"),
        ("jit(decode)/cond/branch_1_fun/reduce_max", "sampling"),
        ("params['layer_0']['mlp']['down']", "copies"),
    ],
)
def test_the_scope_tells_the_kind(scope: str, kind: str) -> None:
    assert kind_of("fusion.1", scope) == kind


HLO = """HloModule jit_decode

%fused (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  ROOT %e = f32[4]{0} exponential(%p), metadata={op_name="jit(decode)/Decoder/layer_0/mlp/exp"}
}

%body (b: (f32[4])) -> (f32[4]) {
  %b = (f32[4]{0}) parameter(0)
  %inner = f32[4]{0} add(%b, %b), metadata={op_name="reduce_sum"}
  ROOT %t = (f32[4]{0}) tuple(%inner)
}

%cond (c: (f32[4])) -> pred[] {
  ROOT %q = pred[] constant(false)
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %x = f32[4]{0} parameter(0)
  %my_fusion.2 = f32[4]{0} fusion(%x), kind=kLoop, calls=%fused
  %copy.1 = f32[4]{0} copy(%my_fusion.2), metadata={op_name="jit(decode)/Decoder/layer_0/mlp/x"}
  %w = (f32[4]{0}) while(%x), condition=%cond, body=%body, metadata={op_name="jit(decode)/Decoder/layer_0/attention/while"}
  %ffi_call.1 = f32[4]{0} custom-call(%x, %params__layer_0____attention____qkv___values.1), custom_call_target="matmul_f32", metadata={op_name="jit(decode)/Decoder/layer_0/attention/ffi_call"}
  %ffi_call.2 = f32[4]{0} custom-call(%x, %params__layer_0____attention____out___values.1), custom_call_target="matmul_f32", metadata={op_name="jit(decode)/Decoder/layer_0/attention/ffi_call"}
  ROOT %r = f32[4]{0} get-tuple-element(%w), index=0
}
"""  # noqa: E501 - as the compiler writes it


def test_what_has_no_scope_takes_it_from_what_it_holds_or_stands_in() -> None:
    kinds = Kinds(HLO)
    assert [kinds[name] for name in ("my_fusion.2", "inner", "w", "copy.1", "r", "unknown")] == [
        "mlp",
        "attention",
        "attention",
        "copies",
        "sampling",
        "sampling",
    ]
    assert (kinds["ffi_call.1"], kinds["ffi_call.2"]) == ("qkv", "attention out")
    assert kinds.containers == {"w"}
