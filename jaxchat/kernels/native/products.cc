// The kinds of numbers that products are made of, and the custom calls that XLA knows.

#include "tiles.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {

using native::Product;
using native::Words;
namespace ffi = native::ffi;

using Lanes = float __attribute__((vector_size(64)));
using Half = float __attribute__((vector_size(32)));
using Quarter = float __attribute__((vector_size(16)));
using Integers = int32_t __attribute__((vector_size(64)));

inline float total(Lanes lanes) {
#if defined(__AVX512DQ__)
  const Half half = (Half)_mm512_castps512_ps256((__m512)lanes) + (Half)_mm512_extractf32x8_ps((__m512)lanes, 1);
  const Quarter four = (Quarter)_mm256_castps256_ps128((__m256)half) + (Quarter)_mm256_extractf128_ps((__m256)half, 1);
#else
  Half halves[2];
  std::memcpy(halves, &lanes, sizeof(lanes));
  const Half half = halves[0] + halves[1];
  Quarter quarters[2];
  std::memcpy(quarters, &half, sizeof(half));
  const Quarter four = quarters[0] + quarters[1];
#endif
  return (four[0] + four[2]) + (four[1] + four[3]);
}

inline uint32_t total(Integers lanes) {
#if defined(__AVX512F__)
  return (uint32_t)_mm512_reduce_add_epi32((__m512i)lanes);
#else
  uint32_t sum = 0;
  for (int i = 0; i < 16; ++i) sum += (uint32_t)lanes[i];
  return sum;
#endif
}

// Sums of blocks, one after the other.
struct Plain {
  float* y;

  void put(int64_t row, int64_t column, int64_t n, Lanes sums, bool first) const {
    float& sum = y[row * n + column];
    sum = first ? total(sums) : sum + total(sums);
  }
};

struct Float {
  using X = float;
  using W = float;
  using Sums = Lanes;
  using Result = Plain;
  static constexpr int64_t BLOCK = 1024;

  static Sums add(Sums sums, Words x, Words w) { return sums + (Lanes)x * (Lanes)w; }
};

struct BFloat {
  using X = uint16_t;
  using W = uint16_t;
  using Sums = Lanes;
  using Result = Plain;
  static constexpr int64_t BLOCK = 1024;

  static Sums add(Sums sums, Words x, Words w) {
#if defined(__AVX512BF16__)
    return (Lanes)_mm512_dpbf16_ps((__m512)sums, (__m512bh)x, (__m512bh)w);
#else
    const Words high = Words{} | 0xffff0000u;  // a bf16 is the upper half of an f32
    sums += (Lanes)(x << 16) * (Lanes)(w << 16);
    return sums + (Lanes)(x & high) * (Lanes)(w & high);
#endif
  }
};

// Integers add up exactly in any order. Rows of x are shifted by 128, for the instruction takes them unsigned.
struct Scaled {
  float* y;
  const float *row_scale, *column_scale;
  const int32_t* column_sum;  // of each row of w

  void put(int64_t row, int64_t column, int64_t n, Integers sums, bool) const {
    const uint32_t sum = total(sums) - 128u * (uint32_t)column_sum[column];  // may overflow on its way, as unsigned do
    y[row * n + column] = (float)(int32_t)sum * (row_scale[row] * column_scale[column]);
  }
};

struct Byte {
  using X = uint8_t;
  using W = int8_t;
  using Sums = Integers;
  using Result = Scaled;
  static constexpr int64_t BLOCK = 1 << 17;  // as long as 32 bits hold a sum: one block

  static Sums add(Sums sums, Words x, Words w) {
#if defined(__AVX512VNNI__)
    return (Integers)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)x, (__m512i)w);
#else
    const Integers signs = (Integers)w;  // arithmetic shifts bring each byte's sign along
    sums += (Integers)(x << 24 >> 24) * (signs << 24 >> 24);
    sums += (Integers)(x << 16 >> 24) * (signs << 16 >> 24);
    sums += (Integers)(x << 8 >> 24) * (signs << 8 >> 24);
    return sums + (Integers)(x >> 24) * (signs >> 24);
#endif
  }
};

template <typename Kind, ffi::DataType D>
ffi::Error plain(ffi::ThreadPool pool, ffi::BufferR2<D> x, ffi::BufferR2<D> w, ffi::ResultBufferR2<ffi::F32> y) {
  const auto rows = x.dimensions(), columns = w.dimensions();
  const Product<Kind> product{static_cast<const typename Kind::X*>(x.untyped_data()),
                              static_cast<const typename Kind::W*>(w.untyped_data()),
                              {y->typed_data()}, rows[0], rows[1], columns[0]};
  product.run(pool);
  return ffi::Error::Success();
}

// By the one matrix of several, `w[index]`, that is asked for.
template <typename Kind, ffi::DataType D>
ffi::Error entry(ffi::ThreadPool pool, ffi::BufferR2<D> x, ffi::BufferR3<D> w, ffi::BufferR0<ffi::S32> index,
                 ffi::ResultBufferR2<ffi::F32> y) {
  const auto rows = x.dimensions(), entries = w.dimensions();
  const int64_t which = std::clamp<int64_t>(*index.typed_data(), 0, entries[0] - 1);
  const Product<Kind> product{static_cast<const typename Kind::X*>(x.untyped_data()),
                              static_cast<const typename Kind::W*>(w.untyped_data()) + which * entries[1] * entries[2],
                              {y->typed_data()}, rows[0], rows[1], entries[1]};
  product.run(pool);
  return ffi::Error::Success();
}

ffi::Error scaled(ffi::ThreadPool pool, ffi::BufferR2<ffi::U8> x, ffi::BufferR1<ffi::F32> row_scale,
                  ffi::BufferR2<ffi::S8> w, ffi::BufferR1<ffi::F32> column_scale, ffi::BufferR1<ffi::S32> column_sum,
                  ffi::ResultBufferR2<ffi::F32> y) {
  const auto rows = x.dimensions(), columns = w.dimensions();
  if (rows[1] > Byte::BLOCK) return ffi::Error::InvalidArgument("a sum of so many int8 products may overflow");
  const Scaled result{y->typed_data(), row_scale.typed_data(), column_scale.typed_data(), column_sum.typed_data()};
  const Product<Byte> product{x.typed_data(), w.typed_data(), result, rows[0], rows[1], columns[0]};
  product.run(pool);
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(product_f32, (plain<Float, ffi::F32>),
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::BufferR2<ffi::F32>>()
                                  .Arg<ffi::BufferR2<ffi::F32>>()
                                  .Ret<ffi::BufferR2<ffi::F32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(product_bf16, (plain<BFloat, ffi::BF16>),
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::BufferR2<ffi::BF16>>()
                                  .Arg<ffi::BufferR2<ffi::BF16>>()
                                  .Ret<ffi::BufferR2<ffi::F32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(product_s8, scaled,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::BufferR2<ffi::U8>>()
                                  .Arg<ffi::BufferR1<ffi::F32>>()
                                  .Arg<ffi::BufferR2<ffi::S8>>()
                                  .Arg<ffi::BufferR1<ffi::F32>>()
                                  .Arg<ffi::BufferR1<ffi::S32>>()
                                  .Ret<ffi::BufferR2<ffi::F32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(entry_product_f32, (entry<Float, ffi::F32>),
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::BufferR2<ffi::F32>>()
                                  .Arg<ffi::BufferR3<ffi::F32>>()
                                  .Arg<ffi::BufferR0<ffi::S32>>()
                                  .Ret<ffi::BufferR2<ffi::F32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(entry_product_bf16, (entry<BFloat, ffi::BF16>),
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::BufferR2<ffi::BF16>>()
                                  .Arg<ffi::BufferR3<ffi::BF16>>()
                                  .Arg<ffi::BufferR0<ffi::S32>>()
                                  .Ret<ffi::BufferR2<ffi::F32>>());
