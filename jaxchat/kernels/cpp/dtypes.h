// The dtypes of matrix products: how a word of the weights and a word of x are multiplied.
//
// A vector of weights becomes `Weights`, and a word of x becomes `Activations`, once before they are multiplied: each
// vector of weights is used for every row, each word of x for every vector.

#pragma once

#include "simd.h"

namespace native {

// A result whose sums are final.
struct Unscaled {
  float* y;

  uint32_t* words() const { return reinterpret_cast<uint32_t*>(y); }
  void finish(int64_t, int64_t, int64_t) const {}
};

// Words that are multiplied as they are stored.
struct Unsplit {
  using Weights = Words;
  using Activations = Words;
  static constexpr int64_t OPEN = 1;  // registers for a vector of weights

  static Weights open(Words w) {
    pin(w);
    return w;
  }
  static Activations spread(uint32_t x) { return Words{} + x; }
};

struct Float : Unsplit {
  using Sums = Floats;
  using Result = Unscaled;

  static Sums add(Sums sums, Activations x, Weights w) { return fused((Floats)x, (Floats)w, sums); }
};

#if defined(__AVX512BF16__) && defined(NATIVE_AVX512)
struct BFloat : Float {
  static Sums add(Sums sums, Activations x, Weights w) {
    return (Floats)_mm512_dpbf16_ps((__m512)sums, (__m512bh)x, (__m512bh)w);
  }
};
#else
// A bf16 is the upper half of an f32.
struct BFloat {
  struct Halves {
    Floats low, high;
  };
  using Sums = Floats;
  using Result = Unscaled;
  using Weights = Halves;
  using Activations = Halves;
  static constexpr int64_t OPEN = 2;

  static Halves open(Words w) { return {(Floats)(w << 16), (Floats)(w & 0xffff0000u)}; }
  static Halves spread(uint32_t x) { return open(Words{} + x); }
  static Sums add(Sums sums, Halves x, Halves w) { return fused(x.high, w.high, fused(x.low, w.low, sums)); }
};
#endif

// Products of bytes, whose sums are exact in any order. Bytes of x are shifted by 128: VNNI takes them unsigned.
#if defined(__AVX512VNNI__) && defined(NATIVE_AVX512)
struct Bytes : Unsplit {
  static constexpr uint32_t SHIFT = 128;  // the shift of x that the sums contain

  static Integers add(Integers sums, Activations x, Weights w) {
    return (Integers)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)x, (__m512i)w);
  }
};
#elif defined(__AVXVNNI__) && defined(NATIVE_AVX2)
struct Bytes : Unsplit {
  static constexpr uint32_t SHIFT = 128;

  static Integers add(Integers sums, Activations x, Weights w) {
    return (Integers)_mm256_dpbusd_avx_epi32((__m256i)sums, (__m256i)x, (__m256i)w);
  }
};
#elif defined(NATIVE_AVX2)
// The sign of a weight is moved to the byte of x, since one factor must be unsigned. Sums of two products stay below
// 2^15, because bytes of x are at most 127 in size.
struct Bytes {
  struct Signed {
    __m256i size, weights;
  };
  using Weights = Signed;
  using Activations = __m256i;
  static constexpr int64_t OPEN = 2;
  static constexpr uint32_t SHIFT = 0;

  static Signed open(Words w) { return {_mm256_abs_epi8((__m256i)w), (__m256i)w}; }
  static Activations spread(uint32_t x) { return _mm256_set1_epi32(int32_t(x ^ 0x80808080u)); }
  static Integers add(Integers sums, Activations x, Signed w) {
    const __m256i pairs = _mm256_maddubs_epi16(w.size, _mm256_sign_epi8(x, w.weights));
    return sums + (Integers)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }
};
#else
// Bytes as integers of 16 bits, whose products are never saturated.
struct Bytes {
  struct Halves {
    Integers even, odd;  // bytes
  };
  using Weights = Halves;
  using Activations = Halves;
  using Shorts = int16_t __attribute__((vector_size(LANES * 4)));
  static constexpr int64_t OPEN = 2;
  static constexpr uint32_t SHIFT = 0;

  static Halves open(Words w) {
    const auto bytes = (Shorts)w;
    return {(Integers)((bytes << 8) >> 8), (Integers)(bytes >> 8)};
  }
  static Halves spread(uint32_t x) { return open((Words{} + x) ^ 0x80808080u); }
  static Integers add(Integers sums, Halves x, Halves w) {
    return sums + (multiply_pairs(x.even, w.even) + multiply_pairs(x.odd, w.odd));
  }
};
#endif

// A result that is scaled at the end. Before `finish`, y holds the sums as integers.
struct Scaled {
  float* y;
  const float *row_scale, *column_scale;
  const int32_t* column_sum;  // the sum of each row of w

  uint32_t* words() const { return reinterpret_cast<uint32_t*>(y); }
  void finish(int64_t row, int64_t column, int64_t n) const {
    float* at = y + row * n + column;
    const Words shift = Bytes::SHIFT * load<Words>(column_sum + column);  // unsigned, because it may wrap around
    const auto sums = __builtin_convertvector((Integers)(load<Words>(at) - shift), Floats);
    const Floats scaled = sums * (row_scale[row] * load<Floats>(column_scale + column));
    store(at, &scaled);
  }
};

struct Byte : Bytes {
  using Sums = Integers;
  using Result = Scaled;
  static constexpr int64_t LONGEST = 1 << 17;  // the largest number of products whose sum fits 32 bits
};

}  // namespace native
