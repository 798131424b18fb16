// Products with weights in groups as custom calls of XLA. Weights are packed by `jaxchat.kernels.matmul.grouped`.

#include "tiles.h"

namespace {

using namespace native;

using Codes = ffi::Buffer<ffi::U32, 5>;  // [e, panel, block, CODE_ROWS, 32], a stack of e weights
using Outer = ffi::AnyBuffer;            // [e, panel, count, 32] f16 or f32; empty: there is none
using Inner = ffi::Buffer<ffi::S8, 4>;

constexpr int64_t ALIGNED = 64;

int64_t aligned(int64_t bytes) { return (bytes + ALIGNED - 1) / ALIGNED * ALIGNED; }

// The factors of one weight of the stack.
Factors factors_of(const Outer& outer, const Inner& inner, int64_t which) {
  Factors factors;
  const auto shape = outer.dimensions();
  if (!outer.element_count()) return factors;
  factors.half = outer.element_type() == ffi::F16;
  factors.count = shape[2];
  factors.outer = static_cast<const char*>(outer.untyped_data()) +
                  which * shape[1] * shape[2] * PANEL * (factors.half ? sizeof(uint16_t) : sizeof(float));
  if (!inner.element_count()) return factors;
  factors.inner_count = inner.dimensions()[2];
  factors.inner = inner.typed_data() + which * shape[1] * factors.inner_count * PANEL;
  return factors;
}

Grouped weight_of(const Codes& codes, const Outer& scale, const Inner& inner_scale, const Outer& minimum,
                  const Inner& inner_minimum, int64_t which, int64_t zero) {
  const auto shape = codes.dimensions();
  which = std::clamp<int64_t>(which, 0, shape[0] - 1);
  return {codes.typed_data() + which * shape[1] * shape[2] * shape[3] * PANEL,
          factors_of(scale, inner_scale, which),
          factors_of(minimum, inner_minimum, which),
          int32_t(zero),
          shape[1],
          shape[2]};
}

template <int BITS, int GROUPS>
void multiply(ffi::ThreadPool& pool, const Grouped& w, const float* x, int64_t rows, uint8_t* scratch, float* y) {
  const int64_t words = aligned(rows * w.blocks * BLOCK), scales = aligned(rows * w.blocks * int64_t(sizeof(float)));
  const Rounded rounded{reinterpret_cast<uint32_t*>(scratch), reinterpret_cast<float*>(scratch + words),
                        reinterpret_cast<uint32_t*>(scratch + words + scales), rows, w.blocks};
  if (w.minimum.outer)
    GroupedMatmul<BITS, GROUPS, true>{rounded, w, y}.run(pool, x);
  else
    GroupedMatmul<BITS, GROUPS, false>{rounded, w, y}.run(pool, x);
}

// Multiplies x[t, k] by a weight of the stack. `scratch` has room for the rounded activations.
ffi::Error grouped(ffi::ThreadPool pool, ffi::BufferR2<ffi::F32> x, Codes codes, Outer scale, Inner inner_scale,
                   Outer minimum, Inner inner_minimum, ffi::BufferR0<ffi::S32> index, ffi::ResultBufferR2<ffi::F32> y,
                   ffi::ResultBufferR1<ffi::U8> scratch, int64_t zero) {
  const Grouped w = weight_of(codes, scale, inner_scale, minimum, inner_minimum, *index.typed_data(), zero);
  const auto run = [&](auto multiply_by) {
    multiply_by(pool, w, x.typed_data(), x.dimensions()[0], scratch->typed_data(), y->typed_data());
    return ffi::Error::Success();
  };
  switch (codes.dimensions()[3]) {
    case 4: return run(multiply<4, 1>);
    case 5: return run(multiply<5, 1>);
    case 6: return run(multiply<6, 2>);
    case 8: return run(multiply<8, 1>);
  }
  return ffi::Error::InvalidArgument("codes must have 4, 5, 6 or 8 bits");
}

template <int BITS>
void take(const Grouped& w, ffi::Span<const int32_t> outputs, float* to) {
  for (const int32_t output : outputs) {
    const int64_t row = std::clamp<int64_t>(output, 0, w.panels * PANEL - 1);
    const int64_t panel = row / PANEL, lane = row % PANEL, parts = 2 * w.blocks;
    constexpr int64_t PART = BLOCK / 2;  // inputs that certainly share a scale
    for (int64_t part = 0; part < parts; ++part) {
      const float scale = w.scale.at(panel, part, parts, lane);
      const float minimum = w.minimum.outer ? w.minimum.at(panel, part, parts, lane) : 0.0f;
      for (int64_t i = part * PART; i < (part + 1) * PART; ++i) {
        const float value = (float(int32_t(w.template code<BITS>(panel, lane, i)) - w.zero)) * scale;
        *to++ = w.minimum.outer ? value - minimum : value;
      }
    }
  }
}

// Copies the weights of some outputs to y[t, k].
ffi::Error take_grouped_rows(Codes codes, Outer scale, Inner inner_scale, Outer minimum, Inner inner_minimum,
                             ffi::BufferR1<ffi::S32> outputs, ffi::ResultBufferR2<ffi::F32> y, int64_t zero) {
  const Grouped w = weight_of(codes, scale, inner_scale, minimum, inner_minimum, 0, zero);
  const ffi::Span<const int32_t> rows(outputs.typed_data(), outputs.element_count());
  switch (codes.dimensions()[3]) {
    case 4: take<4>(w, rows, y->typed_data()); break;
    case 5: take<5>(w, rows, y->typed_data()); break;
    case 6: take<6>(w, rows, y->typed_data()); break;
    default: take<8>(w, rows, y->typed_data());
  }
  return ffi::Error::Success();
}

auto weight_arguments() {
  return ffi::Ffi::Bind().Arg<Codes>().Arg<Outer>().Arg<Inner>().Arg<Outer>().Arg<Inner>();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(matmul_grouped, grouped,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::BufferR2<ffi::F32>>()
                                  .Arg<Codes>()
                                  .Arg<Outer>()
                                  .Arg<Inner>()
                                  .Arg<Outer>()
                                  .Arg<Inner>()
                                  .Arg<ffi::BufferR0<ffi::S32>>()
                                  .Ret<ffi::BufferR2<ffi::F32>>()
                                  .Ret<ffi::BufferR1<ffi::U8>>()
                                  .Attr<int64_t>("zero"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(take_grouped, take_grouped_rows,
                              weight_arguments()
                                  .Arg<ffi::BufferR1<ffi::S32>>()
                                  .Ret<ffi::BufferR2<ffi::F32>>()
                                  .Attr<int64_t>("zero"));
