// Matrix products as custom calls of XLA. Weights are packed by `jaxchat.kernels.matmul.native.panels`.

#include "gemm.h"

namespace {

using namespace native;

template <ffi::DataType D>
using Several = ffi::Buffer<D, 5>;

// The words of an array.
template <typename Buffer>
const uint32_t* words(const Buffer& buffer) {
  return static_cast<const uint32_t*>(buffer.untyped_data());
}

// Multiplies x[t, k] by w[n / 32, k / e, 32, e], where a word has e numbers.
template <typename Kind, ffi::DataType D>
ffi::Error multiply(ffi::ThreadPool pool, ffi::BufferR2<D> x, ffi::BufferR4<D> w, ffi::ResultBufferR2<ffi::F32> y) {
  const auto panels = w.dimensions();
  Matmul<Kind>{words(x), words(w), {y->typed_data()}, x.dimensions()[0], panels[1], panels[0] * PANEL}.run(pool);
  return ffi::Error::Success();
}

// Multiplies by one matrix of a stack, `w[index]`.
template <typename Kind, ffi::DataType D>
ffi::Error entry(ffi::ThreadPool pool, ffi::BufferR2<D> x, Several<D> w, ffi::BufferR0<ffi::S32> index,
                 ffi::ResultBufferR2<ffi::F32> y) {
  const auto all = w.dimensions();
  const int64_t which = std::clamp<int64_t>(*index.typed_data(), 0, all[0] - 1), k = all[2], n = all[1] * PANEL;
  Matmul<Kind>{words(x), words(w) + which * n * k, {y->typed_data()}, x.dimensions()[0], k, n}.run(pool);
  return ffi::Error::Success();
}

// Multiplies x of 8 bits by w of 8 bits. There is a scale for every row of x and every output of w.
ffi::Error bytes(ffi::ThreadPool pool, ffi::BufferR2<ffi::U8> x, const uint32_t* w, const Scaled& result, int64_t k,
                 int64_t n) {
  const auto rows = x.dimensions();
  if (rows[1] > Byte::LONGEST) return ffi::Error::InvalidArgument("the sum of this many int8 products may overflow");
  Matmul<Byte>{words(x), w, result, rows[0], k, n}.run(pool);
  return ffi::Error::Success();
}

ffi::Error scaled(ffi::ThreadPool pool, ffi::BufferR2<ffi::U8> x, ffi::BufferR1<ffi::F32> row_scale,
                  ffi::BufferR4<ffi::S8> w, ffi::BufferR1<ffi::F32> column_scale, ffi::BufferR1<ffi::S32> column_sum,
                  ffi::ResultBufferR2<ffi::F32> y) {
  const auto panels = w.dimensions();
  const Scaled result{y->typed_data(), row_scale.typed_data(), column_scale.typed_data(), column_sum.typed_data()};
  return bytes(pool, x, words(w), result, panels[1], panels[0] * PANEL);
}

ffi::Error entry_scaled(ffi::ThreadPool pool, ffi::BufferR2<ffi::U8> x, ffi::BufferR1<ffi::F32> row_scale,
                        Several<ffi::S8> w, ffi::BufferR2<ffi::F32> column_scale, ffi::BufferR2<ffi::S32> column_sum,
                        ffi::BufferR0<ffi::S32> index, ffi::ResultBufferR2<ffi::F32> y) {
  const auto all = w.dimensions();
  const int64_t which = std::clamp<int64_t>(*index.typed_data(), 0, all[0] - 1), k = all[2], n = all[1] * PANEL;
  const Scaled result{y->typed_data(), row_scale.typed_data(), column_scale.typed_data() + which * n,
                      column_sum.typed_data() + which * n};
  return bytes(pool, x, words(w) + which * n * k, result, k, n);
}

// Copies the weights of some outputs to y[t, k].
ffi::Error take(ffi::AnyBuffer w, ffi::BufferR1<ffi::S32> outputs, ffi::Result<ffi::AnyBuffer> y) {
  const auto panels = w.dimensions();
  const int64_t k = panels[1], n = panels[0] * PANEL;
  auto* to = static_cast<uint32_t*>(y->untyped_data());
  for (const int32_t output : ffi::Span<const int32_t>(outputs.typed_data(), outputs.element_count())) {
    const int64_t row = std::clamp<int64_t>(output, 0, n - 1);
    const uint32_t* from = words(w) + row / PANEL * k * PANEL + row % PANEL;
    for (int64_t i = 0; i < k; ++i) *to++ = from[i * PANEL];
  }
  return ffi::Error::Success();
}

template <ffi::DataType D>
auto matmul_arguments() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<ffi::BufferR2<D>>()
      .template Arg<ffi::BufferR4<D>>()
      .template Ret<ffi::BufferR2<ffi::F32>>();
}

template <ffi::DataType D>
auto entry_arguments() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<ffi::BufferR2<D>>()
      .template Arg<Several<D>>()
      .template Arg<ffi::BufferR0<ffi::S32>>()
      .template Ret<ffi::BufferR2<ffi::F32>>();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(matmul_f32, (multiply<Float, ffi::F32>), matmul_arguments<ffi::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(matmul_bf16, (multiply<BFloat, ffi::BF16>), matmul_arguments<ffi::BF16>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(entry_matmul_f32, (entry<Float, ffi::F32>), entry_arguments<ffi::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(entry_matmul_bf16, (entry<BFloat, ffi::BF16>), entry_arguments<ffi::BF16>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(matmul_s8, scaled,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::BufferR2<ffi::U8>>()
                                  .Arg<ffi::BufferR1<ffi::F32>>()
                                  .Arg<ffi::BufferR4<ffi::S8>>()
                                  .Arg<ffi::BufferR1<ffi::F32>>()
                                  .Arg<ffi::BufferR1<ffi::S32>>()
                                  .Ret<ffi::BufferR2<ffi::F32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(entry_matmul_s8, entry_scaled,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::BufferR2<ffi::U8>>()
                                  .Arg<ffi::BufferR1<ffi::F32>>()
                                  .Arg<Several<ffi::S8>>()
                                  .Arg<ffi::BufferR2<ffi::F32>>()
                                  .Arg<ffi::BufferR2<ffi::S32>>()
                                  .Arg<ffi::BufferR0<ffi::S32>>()
                                  .Ret<ffi::BufferR2<ffi::F32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(take_panels, take,
                              ffi::Ffi::Bind()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::BufferR1<ffi::S32>>()
                                  .Ret<ffi::AnyBuffer>());
