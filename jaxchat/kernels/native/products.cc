// y[t, n] = sum over k of x[t, k] * w[n, k], for few rows t: what a decoder's layers do, on a CPU, as XLA custom calls.
//
// Every sum runs in one order, that of k: sixteen (f32) or thirty-two (bf16) at a time inside a block of BLOCK, each
// block summed by one fixed tree, the blocks one after the other. How many rows there are, which thread takes which
// and how rows are tiled therefore never changes a bit of the result.
//
// The weights are read once per call from memory, in their order; a tile of ROWS x COLUMNS sums stays in registers.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

using Lanes = float __attribute__((vector_size(64)));       // 16 of f32
using Half = float __attribute__((vector_size(32)));
using Quarter = float __attribute__((vector_size(16)));
using Words = uint32_t __attribute__((vector_size(64)));    // 16 pairs of bf16
using bf16 = uint16_t;

constexpr int64_t BLOCK = 1024;    // of k; a fixed part of the order of summation
constexpr int64_t COLUMNS = 48;    // of w, that one thread takes at a time: a multiple of each tile's width
constexpr int64_t ROWS = 8;        // of x, the highest tile
constexpr int64_t SMALL = 1 << 18; // multiplications that are not worth a second thread

// One vector of x or w from memory; `count` elements are there, zeros follow.
template <typename T>
inline Words load(const T* from, int64_t count) {
  Words vector = {};
  std::memcpy(&vector, from, count * sizeof(T));
  return vector;
}

template <typename T>
inline Words load(const T* from) {
  Words vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}

template <typename T>
inline Lanes multiply_add(Lanes sum, Words x, Words w);

template <>
inline Lanes multiply_add<float>(Lanes sum, Words x, Words w) {
  return sum + (Lanes)x * (Lanes)w;
}

template <>
inline Lanes multiply_add<bf16>(Lanes sum, Words x, Words w) {
#if defined(__AVX512BF16__)
  return (Lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)w);
#else
  const Words high = Words{} | 0xffff0000u;  // a bf16 is the upper half of an f32
  sum += (Lanes)(x << 16) * (Lanes)(w << 16);
  return sum + (Lanes)(x & high) * (Lanes)(w & high);
#endif
}

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

// Adds the products of one block of `depth` to R x N sums; `first` says that there are none yet.
template <typename T, int R, int N>
inline void tile(const T* x, const T* w, float* y, int64_t k, int64_t n, int64_t depth, bool first) {
  constexpr int64_t WIDTH = 64 / sizeof(T);
  Lanes sums[R][N] = {};
  int64_t i = 0;
  for (; i + WIDTH <= depth; i += WIDTH) {
    Words columns[N];
    for (int c = 0; c < N; ++c) {
      columns[c] = load(w + c * k + i);
      __builtin_prefetch(w + (c + N) * k + i, 0, 2);  // the next tile's, to L2: hardware stops at each row's end
    }
#if defined(__AVX512F__)
    for (int c = 0; c < N; ++c) asm("" : "+v"(columns[c]));  // stay in registers: else each use is a load
#endif
    for (int r = 0; r < R; ++r) {
      const Words row = load(x + r * k + i);
      for (int c = 0; c < N; ++c) sums[r][c] = multiply_add<T>(sums[r][c], row, columns[c]);
    }
  }
  if (i < depth) {
    for (int c = 0; c < N; ++c) {
      const Words column = load(w + c * k + i, depth - i);
      for (int r = 0; r < R; ++r)
        sums[r][c] = multiply_add<T>(sums[r][c], load(x + r * k + i, depth - i), column);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < N; ++c) {
      float& sum = y[r * n + c];
      sum = first ? total(sums[r][c]) : sum + total(sums[r][c]);
    }
}

template <typename T, int R, int N>
void columns(const T* x, const T* w, float* y, int64_t k, int64_t n, int64_t count, int64_t depth, bool first) {
  int64_t c = 0;
  for (; c + N <= count; c += N) tile<T, R, N>(x, w + c * k, y + c, k, n, depth, first);
  for (; c < count; ++c) tile<T, R, 1>(x, w + c * k, y + c, k, n, depth, first);
}

// R rows with as many columns as leave their sums in registers.
template <typename T>
void rows(int64_t r, const T* x, const T* w, float* y, int64_t k, int64_t n, int64_t count, int64_t depth, bool first) {
  switch (r) {
    case 1: return columns<T, 1, 8>(x, w, y, k, n, count, depth, first);
    case 2: return columns<T, 2, 8>(x, w, y, k, n, count, depth, first);
    case 3: return columns<T, 3, 6>(x, w, y, k, n, count, depth, first);
    case 4: return columns<T, 4, 6>(x, w, y, k, n, count, depth, first);
    case 5: return columns<T, 5, 4>(x, w, y, k, n, count, depth, first);
    case 6: return columns<T, 6, 4>(x, w, y, k, n, count, depth, first);
    case 7: return columns<T, 7, 3>(x, w, y, k, n, count, depth, first);
    default: return columns<T, 8, 3>(x, w, y, k, n, count, depth, first);
  }
}

// All rows for `count` columns from `start`.
template <typename T>
void stripe(const T* x, const T* w, float* y, int64_t t, int64_t k, int64_t n, int64_t start, int64_t count) {
  for (int64_t from = 0; from < k; from += BLOCK)
    for (int64_t row = 0; row < t; row += ROWS)
      rows<T>(std::min(ROWS, t - row), x + row * k + from, w + start * k + from, y + row * n + start, k, n, count,
              std::min(BLOCK, k - from), from == 0);
}

// Runs `work(0) .. work(count - 1)` on the calling thread and on whichever of the pool's come in time.
template <typename Work>
void share(ffi::ThreadPool& pool, int64_t count, const Work& work) {
  struct Shared {
    std::atomic<int64_t> next{0}, done{0};
  };
  auto shared = std::make_shared<Shared>();
  const auto help = [shared, count, &work] {
    for (int64_t i; (i = shared->next.fetch_add(1)) < count;) {
      work(i);
      shared->done.fetch_add(1, std::memory_order_release);
    }
  };
  const int64_t helpers = std::min<int64_t>(pool.num_threads(), count) - 1;
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule(std::function<void()>(help));
  help();
  while (shared->done.load(std::memory_order_acquire) < count) std::this_thread::yield();
}

template <typename T>
ffi::Error product(ffi::ThreadPool pool, const T* x, const T* w, float* y, int64_t t, int64_t k, int64_t n) {
  const auto work = [=](int64_t i) {
    const int64_t start = i * COLUMNS;
    stripe(x, w, y, t, k, n, start, std::min(COLUMNS, n - start));
  };
  const int64_t stripes = (n + COLUMNS - 1) / COLUMNS;
  if (t * k * n < SMALL)
    for (int64_t i = 0; i < stripes; ++i) work(i);
  else
    share(pool, stripes, work);
  return ffi::Error::Success();
}

template <ffi::DataType D, typename T>
ffi::Error call(ffi::ThreadPool pool, ffi::BufferR2<D> x, ffi::BufferR2<D> w, ffi::ResultBufferR2<ffi::F32> y) {
  const auto rows = x.dimensions(), columns = w.dimensions();
  return product<T>(pool, reinterpret_cast<const T*>(x.untyped_data()), reinterpret_cast<const T*>(w.untyped_data()),
                    y->typed_data(), rows[0], rows[1], columns[0]);
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(product_f32, (call<ffi::F32, float>),
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::BufferR2<ffi::F32>>()
                                  .Arg<ffi::BufferR2<ffi::F32>>()
                                  .Ret<ffi::BufferR2<ffi::F32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(product_bf16, (call<ffi::BF16, bf16>),
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::BufferR2<ffi::BF16>>()
                                  .Arg<ffi::BufferR2<ffi::BF16>>()
                                  .Ret<ffi::BufferR2<ffi::F32>>());
