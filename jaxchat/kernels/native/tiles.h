// The loops of a product y[t, n] = sum over k of x[t, k] * w[n, k] for few rows t, over kinds of numbers.
//
// Sums run in one order, that of k: a vector at a time inside a block of Kind::BLOCK, each block summed by one fixed
// tree, the blocks one after the other. How many rows there are, which thread takes which and how rows are tiled
// therefore never changes a bit of the result. Weights are read from memory once, in their order; a tile of R rows of x
// by N rows of w keeps its sums in registers.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>

#include "xla/ffi/api/ffi.h"

namespace native {

namespace ffi = xla::ffi;
using Words = uint32_t __attribute__((vector_size(64)));

constexpr int64_t COLUMNS = 48;     // rows of w that one thread takes at a time: a multiple of each tile's
constexpr int64_t ROWS = 8;         // of x, in the largest tile
constexpr int64_t SMALL = 1 << 18;  // multiplications that are not worth a second thread

template <typename T>
inline Words load(const T* from) {
  Words vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}

// `count` elements and zeros after them.
template <typename T>
inline Words load(const T* from, int64_t count) {
  Words vector = {};
  std::memcpy(&vector, from, count * sizeof(T));
  return vector;
}

template <typename Kind>
struct Product {
  using X = typename Kind::X;
  using W = typename Kind::W;
  using Sums = typename Kind::Sums;
  static constexpr int64_t WIDTH = 64 / sizeof(W);

  const X* x;
  const W* w;
  typename Kind::Result y;
  int64_t t, k, n;

  // R rows from `row` by N columns from `column`, of `depth` terms from `from`.
  template <int R, int N>
  void tile(int64_t row, int64_t column, int64_t from, int64_t depth) const {
    const X* rows = x + row * k + from;
    const W* columns = w + column * k + from;
    Sums sums[R][N] = {};
    int64_t i = 0;
    for (; i + WIDTH <= depth; i += WIDTH) {
      Words taken[N];
      for (int c = 0; c < N; ++c) {
        taken[c] = load(columns + c * k + i);
        __builtin_prefetch(columns + (c + N) * k + i, 0, 2);  // the next tile's, to L2: hardware stops at each row's end
      }
#if defined(__AVX512F__)
      for (int c = 0; c < N; ++c) asm("" : "+v"(taken[c]));  // stay in registers: else each use is a load
#endif
      for (int r = 0; r < R; ++r) {
        const Words given = load(rows + r * k + i);
        for (int c = 0; c < N; ++c) sums[r][c] = Kind::add(sums[r][c], given, taken[c]);
      }
    }
    if (i < depth)
      for (int c = 0; c < N; ++c) {
        const Words taken = load(columns + c * k + i, depth - i);
        for (int r = 0; r < R; ++r) sums[r][c] = Kind::add(sums[r][c], load(rows + r * k + i, depth - i), taken);
      }
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < N; ++c) y.put(row + r, column + c, n, sums[r][c], from == 0);
  }

  template <int R, int N>
  void tiles(int64_t row, int64_t start, int64_t end, int64_t from, int64_t depth) const {
    int64_t column = start;
    for (; column + N <= end; column += N) tile<R, N>(row, column, from, depth);
    for (; column < end; ++column) tile<R, 1>(row, column, from, depth);
  }

  // All rows of x by the rows of w from `start` to `end`, in tiles as large as leave their sums in registers.
  void stripe(int64_t start, int64_t end) const {
    for (int64_t from = 0; from < k; from += Kind::BLOCK) {
      const int64_t depth = std::min(Kind::BLOCK, k - from);
      for (int64_t row = 0; row < t; row += ROWS) switch (std::min(ROWS, t - row)) {
          case 1: tiles<1, 8>(row, start, end, from, depth); break;
          case 2: tiles<2, 8>(row, start, end, from, depth); break;
          case 3: tiles<3, 6>(row, start, end, from, depth); break;
          case 4: tiles<4, 6>(row, start, end, from, depth); break;
          case 5: tiles<5, 4>(row, start, end, from, depth); break;
          case 6: tiles<6, 4>(row, start, end, from, depth); break;
          case 7: tiles<7, 3>(row, start, end, from, depth); break;
          default: tiles<8, 3>(row, start, end, from, depth);
        }
    }
  }

  void run(ffi::ThreadPool& pool) const;
};

// Calls `work(0) .. work(count - 1)`, on the calling thread and on those of the pool that come in time.
template <typename Work>
void share(ffi::ThreadPool& pool, int64_t count, const Work& work) {
  struct Shared {
    std::atomic<int64_t> next{0}, done{0};
  };
  const auto shared = std::make_shared<Shared>();  // outlives the call: who comes late finds that nothing is left
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

template <typename Kind>
void Product<Kind>::run(ffi::ThreadPool& pool) const {
  if (t * k * n < SMALL) return stripe(0, n);
  share(pool, (n + COLUMNS - 1) / COLUMNS,
        [this](int64_t i) { stripe(i * COLUMNS, std::min((i + 1) * COLUMNS, n)); });
}

}  // namespace native
