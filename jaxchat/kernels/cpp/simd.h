// Vectors as wide as the CPU's registers, and functions on them. Wider vectors would be split.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace native {

#if defined(__AVX512BW__) && defined(__AVX512VL__)
#define NATIVE_AVX512
constexpr int64_t LANES = 16;  // words of 32 bits in a vector
constexpr int64_t REGISTERS = 32;
#elif defined(__AVX2__) && defined(__FMA__)
#define NATIVE_AVX2
constexpr int64_t LANES = 8;
constexpr int64_t REGISTERS = 16;
#else
constexpr int64_t LANES = 4;
constexpr int64_t REGISTERS = 16;
#endif

using Words = uint32_t __attribute__((vector_size(LANES * 4)));
using Floats = float __attribute__((vector_size(LANES * 4)));
using Integers = int32_t __attribute__((vector_size(LANES * 4)));
using Octets = int8_t __attribute__((vector_size(LANES)));

template <typename T>
inline T load(const void* from) {
  T vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}

inline void store(void* to, const void* vector) { std::memcpy(to, vector, sizeof(Words)); }

// Keeps a vector in a register; otherwise each use of it is a load.
[[gnu::always_inline]] inline void pin([[maybe_unused]] Words& vector) {
#if defined(NATIVE_AVX512)
  asm("" : "+v"(vector));
#elif defined(NATIVE_AVX2)
  asm("" : "+x"(vector));
#endif
}

// Returns a * b + c, rounded once on every CPU.
[[gnu::always_inline]] inline Floats fused(Floats a, Floats b, Floats c) {
#if defined(NATIVE_AVX512)
  return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(NATIVE_AVX2)
  return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  for (int64_t i = 0; i < LANES; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return c;
#endif
}

inline Floats fused(Floats a, Floats b, float c) { return fused(a, b, Floats{} + c); }
inline Floats fused(Floats a, float b, Floats c) { return fused(a, Floats{} + b, c); }

// Returns the sum of the two products of 16-bit integers in each word.
[[gnu::always_inline]] inline Integers multiply_pairs(Integers a, Integers b) {
#if defined(NATIVE_AVX512)
  return (Integers)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(NATIVE_AVX2)
  return (Integers)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
  return ((Integers)((Words)a << 16) >> 16) * ((Integers)((Words)b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
}

inline Floats select(Integers condition, Floats yes, Floats no) {
  return (Floats)(((Integers)yes & condition) | ((Integers)no & ~condition));
}

// GCC 12 would convert a vector byte by byte, and warns of the unmasked functions.
inline Floats to_floats(Octets bytes) {
#if defined(NATIVE_AVX512)
  const auto whole = (Integers)_mm512_maskz_cvtepi8_epi32(0xffff, (__m128i)bytes);
#elif defined(NATIVE_AVX2)
  const auto whole = (Integers)_mm256_cvtepi8_epi32(_mm_cvtsi64_si128((long long)bytes));
#else
  const auto whole = __builtin_convertvector(bytes, Integers);
#endif
  return __builtin_convertvector(whole, Floats);
}

// Returns e^x for x <= 0, accurate except for the last bit; 0 below the smallest normal number (Cephes, expf).
inline Floats exp(Floats x) {
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to whole numbers
  const Floats n = fused(x, 1.44269504088896341f, Floats{} + magic) - magic;
  const Floats r = fused(n, 2.12194440e-4f, fused(n, -0.693359375f, x));
  Floats p = Floats{} + 1.9875691500e-4f;
  for (const float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
    p = fused(p, r, c);
  const Floats power = (Floats)((__builtin_convertvector(n, Integers) + 127) << 23);
  return select((Integers)(x < -87.0f), Floats{}, (fused(p * r, r, r) + 1.0f) * power);
}

// Returns tanh(x) by powers of e, and by its series near 0, where these would cancel.
inline Floats tanh(Floats x) {
  const Integers sign = (Integers)x & (Integers)(Words{} | 0x80000000u);
  const Floats size = (Floats)((Integers)x ^ sign), square = x * x, e = exp(size * -2.0f);
  const Floats series = size - size * square * (1.0f / 3.0f) + size * square * square * (2.0f / 15.0f);
  const Floats result = select((Integers)(size < 0.03f), series, (1.0f - e) / (1.0f + e));
  return (Floats)((Integers)result | sign);
}

// Reduces all lanes to one number, half by half.
template <typename Reduce>
inline float horizontal_reduce(Floats lanes, Reduce reduce) {
  float numbers[LANES];
  std::memcpy(numbers, &lanes, sizeof(lanes));
  for (int64_t half = LANES / 2; half; half /= 2)
    for (int64_t i = 0; i < half; ++i) numbers[i] = reduce(numbers[i], numbers[i + half]);
  return numbers[0];
}

// Returns alternating lanes of a and b, from lane `First` of each.
template <int64_t First, std::size_t... I>
inline Words interleave(Words a, Words b, std::index_sequence<I...>) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, (First + I / 2 + I % 2 * LANES)...);
#else
  return __builtin_shuffle(a, b, Words{uint32_t(First + I / 2 + I % 2 * LANES)...});
#endif
}

// Transposes LANES by LANES words by log2(LANES) perfect shuffles of the rows.
inline void transpose(Words (&rows)[LANES]) {
  const auto lanes = std::make_index_sequence<LANES>{};
  for (int64_t round = 1; round < LANES; round *= 2) {
    Words next[LANES];
    for (int64_t i = 0; i < LANES / 2; ++i) {
      next[2 * i] = interleave<0>(rows[i], rows[i + LANES / 2], lanes);
      next[2 * i + 1] = interleave<LANES / 2>(rows[i], rows[i + LANES / 2], lanes);
    }
    std::memcpy(rows, next, sizeof(next));
  }
}

}  // namespace native
