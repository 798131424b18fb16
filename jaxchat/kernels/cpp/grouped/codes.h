// Weights in groups: codes of 4, 5, 6 or 8 bits, where neighbouring inputs of an output share a scale and a minimum.
//
// A weight is scale * (code - zero) - minimum. Activations are rounded to int8, each block of 32 inputs with a scale of
// its own. The products of a block are summed as integers, exactly; blocks are summed as f32, in the order of k. The
// number of rows, the threads and the tiling therefore never change a bit.

#pragma once

#include "../gemm.h"

namespace native {

constexpr int64_t BLOCK = 32;             // inputs whose products are summed as integers
constexpr int64_t BLOCK_WORDS = BLOCK / 4;
constexpr int64_t CHUNK = 16;             // blocks whose scales are opened before they are used

// Rows of 32 words that hold the codes of a block of a panel: lower halves of words w and w + 4 in the bytes of row w,
// then the upper bits of all words, from the lowest bits of a byte on.
template <int BITS>
constexpr int64_t CODE_ROWS = BITS;

// Moves bits up, or down if `by` is negative.
[[gnu::always_inline]] inline Words moved(Words word, int by) { return by >= 0 ? word << by : word >> -by; }

// Reads the codes of a block for LANES outputs, as words of four bytes.
template <int BITS>
[[gnu::always_inline]] inline void open_codes(const uint32_t* from, Words (&words)[BLOCK_WORDS]) {
  if constexpr (BITS == 8) {
    for (int w = 0; w < BLOCK_WORDS; ++w) words[w] = load<Words>(from + w * PANEL);
    return;
  }
  for (int w = 0; w < 4; ++w) {
    const Words both = load<Words>(from + w * PANEL);
    words[w] = both & 0x0f0f0f0fu;
    words[w + 4] = (both >> 4) & 0x0f0f0f0fu;
  }
  if constexpr (BITS == 5) {
    const Words bits = load<Words>(from + 4 * PANEL);
    for (int w = 0; w < BLOCK_WORDS; ++w) words[w] |= moved(bits, 4 - w) & 0x10101010u;
  }
  if constexpr (BITS == 6)
    for (int w = 0; w < BLOCK_WORDS; ++w)
      words[w] |= moved(load<Words>(from + (4 + w / 4) * PANEL), 4 - 2 * (w % 4)) & 0x30303030u;
}

// The codes of a block for V vectors of outputs.
template <int V>
using OpenCodes = Words[V][BLOCK_WORDS];

// Adds to the sums the products of codes, unsigned, and words of x, signed: of `Count` words from `First` on.
#if (defined(__AVX512VNNI__) && defined(NATIVE_AVX512)) || (defined(__AVXVNNI__) && defined(NATIVE_AVX2))
constexpr int32_t SIGNED = 0;  // what is subtracted from codes of 8 bits before they are multiplied

template <int BITS, int First, int Count, int V>
[[gnu::always_inline]] inline void add_dots(Integers (&sums)[V], const OpenCodes<V>& codes, const uint32_t* x) {
#pragma GCC unroll 8
  for (int w = First; w < First + Count; ++w) {
    const Words spread = Words{} + x[w];
    for (int v = 0; v < V; ++v) {
#if defined(NATIVE_AVX512)
      sums[v] = (Integers)_mm512_dpbusd_epi32((__m512i)sums[v], (__m512i)codes[v][w], (__m512i)spread);
#else
      sums[v] = (Integers)_mm256_dpbusd_avx_epi32((__m256i)sums[v], (__m256i)codes[v][w], (__m256i)spread);
#endif
    }
  }
}
#elif defined(NATIVE_AVX2)
constexpr int32_t SIGNED = 128;

// Sums of two products fit 16 bits, and for short codes some of these sums do too.
template <int BITS, int First, int Count, int V>
[[gnu::always_inline]] inline void add_dots(Integers (&sums)[V], const OpenCodes<V>& codes, const uint32_t* x) {
  constexpr int FIT = BITS == 4 ? 8 : BITS == 5 ? 4 : BITS == 6 ? 2 : 1;
  const __m256i ones = _mm256_set1_epi16(1);
  for (int v = 0; v < V; ++v)
#pragma GCC unroll 8
    for (int from = First; from < First + Count; from += FIT) {
      __m256i pairs = {};
      for (int w = from; w < std::min(from + FIT, First + Count); ++w) {
        const __m256i spread = _mm256_set1_epi32(int32_t(x[w]));
        if constexpr (BITS == 8) {  // the sign moves to the byte of x, since one factor must be unsigned
          const __m256i code = (__m256i)(codes[v][w] ^ 0x80808080u);
          pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(code), _mm256_sign_epi8(spread, code));
        } else {
          pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16((__m256i)codes[v][w], spread));
        }
      }
      sums[v] += (Integers)_mm256_madd_epi16(pairs, ones);
    }
}
#else
constexpr int32_t SIGNED = 0;

template <int BITS, int First, int Count, int V>
[[gnu::always_inline]] inline void add_dots(Integers (&sums)[V], const OpenCodes<V>& codes, const uint32_t* x) {
  using Shorts = int16_t __attribute__((vector_size(LANES * 4)));
  for (int w = First; w < First + Count; ++w) {
    const auto signed_bytes = (Shorts)(Words{} + x[w]);
    const auto even = (Integers)((signed_bytes << 8) >> 8), odd = (Integers)(signed_bytes >> 8);
    for (int v = 0; v < V; ++v)
      sums[v] += multiply_pairs((Integers)(codes[v][w] & 0x00ff00ffu), even) +
                 multiply_pairs((Integers)((codes[v][w] >> 8) & 0x00ff00ffu), odd);
  }
}
#endif

// Activations rounded to int8, in chunks of CHUNK blocks: [chunk][row][blocks].
struct Rounded {
  uint32_t* words;        // BLOCK_WORDS for each block
  float* scale;           // one for each block
  uint32_t* corrections;  // what zeros or minima subtract, one for each group: two or one in a block
  int64_t rows, blocks;

  int64_t depth(int64_t chunk) const { return std::min(CHUNK, blocks - chunk * CHUNK); }
  // The index of a row's first block in a chunk.
  int64_t first(int64_t chunk, int64_t row) const { return chunk * CHUNK * rows + row * depth(chunk); }
};

// Rounds a block of activations to the nearest of -127 .. 127. With minima, a correction is the factor of a group's
// minimum, as f32; otherwise it is an integer, the sum of a group times -zero.
template <int GROUPS, bool MINIMA>
inline void round_block(const float* x, int32_t zero, uint32_t* words, float* scale, uint32_t* corrections) {
  Integers largest = {};
  for (int64_t i = 0; i < BLOCK; i += LANES) {
    const Integers size = load<Integers>(x + i) & 0x7fffffff;  // ordered as the numbers are; NaN is above all
    largest = size > largest ? size : largest;
  }
  int32_t most = 0;
  for (int64_t i = 0; i < LANES; ++i) most = std::max(most, largest[i]);
  float limit;
  std::memcpy(&limit, &most, sizeof(limit));
  const bool tiny = limit < 1e-30f;
  *scale = tiny ? 0.0f : limit / 127.0f;
  const float inverse = tiny ? 0.0f : 127.0f / limit, magic = 12582912.0f;  // adding 1.5 * 2^23 rounds to whole numbers
  int32_t sums[GROUPS] = {};
  for (int64_t i = 0; i < BLOCK; i += LANES) {
    const Floats whole = load<Floats>(x + i) * inverse + magic;
    const Octets bytes = __builtin_convertvector((Integers)whole, Octets);  // the lowest bits
    std::memcpy(reinterpret_cast<int8_t*>(words) + i, &bytes, sizeof(bytes));
    for (int64_t j = 0; j < LANES; ++j) sums[(i + j) * GROUPS / BLOCK] += bytes[j];
  }
  for (int g = 0; g < GROUPS; ++g) {
    const float factor = -*scale * float(sums[g]);
    const int32_t sum = -zero * sums[g];
    if (MINIMA)
      std::memcpy(corrections + g, &factor, sizeof(factor));
    else
      std::memcpy(corrections + g, &sum, sizeof(sum));
  }
}

// Scales, or minima, of a weight: outer[panel, count, 32], times inner[panel, inner_count, 32] if there is one.
struct Factors {
  const void* outer = nullptr;
  bool half = false;  // f16, not f32
  int64_t count = 0;
  const int8_t* inner = nullptr;
  int64_t inner_count = 0;

  // Writes the factors of a panel at `length` of all `positions`, which are equal parts of the inputs: [position][32].
  void open(int64_t panel, int64_t first, int64_t length, int64_t positions, float* to) const {
    const int64_t shared = positions / count;  // positions with the same outer factor
    for (int64_t i = 0, entry, run; i < length; i += run) {
      entry = (first + i) / shared;
      run = std::min(length - i, (entry + 1) * shared - (first + i));
      for (int64_t lane = 0; lane < PANEL; lane += LANES) {
        const Floats factor = outer_at((panel * count + entry) * PANEL + lane);
        for (int64_t j = i; j < i + run; ++j) {
          const Floats value = inner ? factor * inner_at(panel, first + j, positions, lane) : factor;
          store(to + j * PANEL + lane, &value);
        }
      }
    }
  }

  // Returns the factor of one output.
  float at(int64_t panel, int64_t position, int64_t positions, int64_t lane) const {
    const int64_t first = lane / LANES * LANES;
    Floats factor = outer_at((panel * count + position * count / positions) * PANEL + first);
    if (inner) factor *= inner_at(panel, position, positions, first);
    float factors[LANES];
    store(factors, &factor);
    return factors[lane % LANES];
  }

  Floats outer_at(int64_t where) const {
    if (half) return widened(static_cast<const uint16_t*>(outer) + where);
    return load<Floats>(static_cast<const float*>(outer) + where);
  }

  Floats inner_at(int64_t panel, int64_t position, int64_t positions, int64_t lane) const {
    const int64_t entry = inner_count == positions ? position : position * inner_count / positions;
    return to_floats(load<Octets>(inner + (panel * inner_count + entry) * PANEL + lane));
  }

  static Floats widened(const uint16_t* from) {
#if defined(NATIVE_AVX512)
    return (Floats)_mm512_maskz_cvtph_ps(0xffff, load<__m256i>(from));
#elif defined(NATIVE_AVX2)
    return (Floats)_mm256_cvtph_ps(load<__m128i>(from));
#else
    Floats value;
    for (int64_t i = 0; i < LANES; ++i) value[i] = half_to_float(from[i]);
    return value;
#endif
  }

  // Returns an f16 as f32: moves its bits, then corrects the exponent by a product, which is exact.
  static float half_to_float(uint16_t half) {
    const uint32_t size = uint32_t(half & 0x7fff) << 13;
    const uint32_t bits = size >= (0x7c00u << 13) ? size | 0x7f800000u : size;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    if (size < (0x7c00u << 13)) value *= 5.192296858534828e33f;  // 2^112
    return half & 0x8000 ? -value : value;
  }
};

// A weight. `zero` is subtracted from every code.
struct Grouped {
  const uint32_t* codes;  // [panel, block, CODE_ROWS, 32]
  Factors scale, minimum;
  int32_t zero;
  int64_t panels, blocks;

  // Returns the code of an output of a panel.
  template <int BITS>
  uint32_t code(int64_t panel, int64_t lane, int64_t input) const {
    const uint32_t* block = codes + (panel * blocks + input / BLOCK) * CODE_ROWS<BITS> * PANEL + lane;
    const int64_t w = input % BLOCK / 4, bit = input % 4 * 8;
    if constexpr (BITS == 8) return block[w * PANEL] >> bit & 0xff;
    uint32_t code = block[w % 4 * PANEL] >> (bit + w / 4 * 4) & 0xf;
    if constexpr (BITS == 5) code |= (block[4 * PANEL] >> (bit + w) & 1) << 4;
    if constexpr (BITS == 6) code |= (block[(4 + w / 4) * PANEL] >> (bit + w % 4 * 2) & 3) << 4;
    return code;
  }
};

}  // namespace native
