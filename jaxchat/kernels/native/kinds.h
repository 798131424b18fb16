// The kinds of numbers that products are made of.

#pragma once

#include "tiles.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace native {

using Floats = float __attribute__((vector_size(64)));
using Integers = int32_t __attribute__((vector_size(64)));

// Sums that need nothing more.
struct Plain {
  float* y;

  uint32_t* words() const { return reinterpret_cast<uint32_t*>(y); }
  void finish(int64_t, int64_t, int64_t) const {}
};

struct Float {
  using Sums = Floats;
  using Result = Plain;

  static Sums add(Sums sums, Words x, Words w) { return sums + (Floats)x * (Floats)w; }
};

struct BFloat {
  using Sums = Floats;
  using Result = Plain;

  static Sums add(Sums sums, Words x, Words w) {
#if defined(__AVX512BF16__)
    return (Floats)_mm512_dpbf16_ps((__m512)sums, (__m512bh)x, (__m512bh)w);
#else
    const Words high = Words{} | 0xffff0000u;  // a bf16 is the upper half of an f32
    sums += (Floats)(x << 16) * (Floats)(w << 16);
    return sums + (Floats)(x & high) * (Floats)(w & high);
#endif
  }
};

// Integers add up exactly in any order. Rows of x are shifted by 128, for the instruction takes them unsigned. Until it
// is finished, y holds the integers.
struct Scaled {
  float* y;
  const float *row_scale, *column_scale;
  const int32_t* column_sum;  // of each row of w

  uint32_t* words() const { return reinterpret_cast<uint32_t*>(y); }
  void finish(int64_t row, int64_t column, int64_t n) const {
    float* at = y + row * n + column;
    const Words shift = 128u * load<Words>(column_sum + column);  // may overflow on its way, as unsigned do
    const auto sums = __builtin_convertvector((Integers)(load<Words>(at) - shift), Floats);
    const Floats scaled = sums * (row_scale[row] * load<Floats>(column_scale + column));
    store(at, &scaled);
  }
};

struct Byte {
  using Sums = Integers;
  using Result = Scaled;
  static constexpr int64_t LONGEST = 1 << 17;  // 32 bits hold a sum of so many

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

}  // namespace native
