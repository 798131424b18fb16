// The loops of a product y[t, n] = sum over k of x[t, k] * w[n, k], over kinds of numbers.
//
// All numbers travel as words of 32 bits: one f32, two bf16 or four int8. Weights are packed in panels of 32 outputs,
// [n / 32][k][32] words, so that a word of x is multiplied by one of each of 32 outputs at once, and weights are read
// in their order. A tile of up to ROWS rows of x by one panel keeps its sums in registers.
//
// Sums run in one order, that of k: one word after the other inside a block of DEPTH words, the blocks one after the
// other. How many rows there are, which thread takes which and how rows are tiled therefore never changes a bit.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "share.h"

namespace native {

using Words = uint32_t __attribute__((vector_size(64)));

constexpr int64_t LANES = 16;          // words of a vector
constexpr int64_t PANEL = 2 * LANES;   // outputs side by side
constexpr int64_t LINE = 64;           // bytes of a cache line
constexpr int64_t DEPTH = 128;         // words of x and of each output that are summed up before the next rows' turn
constexpr int64_t PANELS = 16;         // that one thread takes at a time, at most
constexpr int64_t SMALL = 1 << 18;     // multiplications that are not worth a second thread
#if defined(__AVX512F__)
constexpr int64_t ROWS = 14;  // of x in the largest tile: 28 of 32 registers hold sums
#else
constexpr int64_t ROWS = 3;
#endif

template <typename T>
inline T load(const void* from) {
  T vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}

inline void store(void* to, const void* vector) { std::memcpy(to, vector, sizeof(Words)); }

// Brings two cache lines to L2. Inlined at once, or GCC drops calls of it: they have no effect that it knows.
[[gnu::always_inline]] inline void bring(const void* from) {
  __builtin_prefetch(from, 0, 2);
  __builtin_prefetch(static_cast<const char*>(from) + LINE, 0, 2);
}

// What a tile brings along beside word k of its weights w, for hardware stops at each page's end: nothing, or what
// comes DEPTH words later, or a part of what is read next.
struct Nothing {
  void with(const uint32_t*, int64_t) const {}
  Nothing of(int64_t) const { return {}; }
};

struct Onward {
  [[gnu::always_inline]] void with(const uint32_t* w, int64_t k) const { bring(w + (k + DEPTH) * PANEL); }
  Onward of(int64_t) const { return {}; }
};

struct Part {
  const char* from;
  int64_t panel, word;  // bytes from one to the next

  [[gnu::always_inline]] void with(const uint32_t*, int64_t k) const { bring(from + k * word); }
  Part of(int64_t index) const { return {from + index * panel, panel, word}; }
};

// R rows of x by one panel of w, of `depth` words, added to y unless they come `first`. Strides count words.
template <typename Kind, int R, typename Soon>
[[gnu::always_inline]] inline void tile(const uint32_t* x, int64_t x_stride, const uint32_t* w, int64_t depth,
                                        uint32_t* y, int64_t y_stride, bool first, Soon soon) {
  using Sums = typename Kind::Sums;
  Sums sums[R][2] = {};
  for (int64_t k = 0; k < depth; ++k) {
    const uint32_t* at = w + k * PANEL;
    Words taken[2] = {load<Words>(at), load<Words>(at + LANES)};
#if defined(__AVX512F__)
    for (Words& half : taken) asm("" : "+v"(half));  // stay in registers: else each use is a load
#endif
    soon.with(w, k);  // behind those loads, which are waited for
    for (int r = 0; r < R; ++r) {
      const Words given = Words{} + x[r * x_stride + k];
      for (int half = 0; half < 2; ++half) sums[r][half] = Kind::add(sums[r][half], given, taken[half]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int half = 0; half < 2; ++half) {
      uint32_t* at = y + r * y_stride + half * LANES;
      const Sums sum = first ? sums[r][half] : load<Sums>(at) + sums[r][half];
      store(at, &sum);
    }
}

// `tile` of so many rows, up to ROWS.
template <typename Kind, int R = ROWS, typename... Rest>
[[gnu::always_inline]] inline void tile_of(int64_t rows, Rest... rest) {
  if constexpr (R > 0) {
    if (rows == R) return tile<Kind, R>(rest...);
    tile_of<Kind, R - 1>(rows, rest...);
  }
}

// Rows of x by any number of neighbouring columns, each of `depth` words; `columns` is a multiple of PANEL. Panels of w
// are `w_panel` words apart.
template <typename Kind, typename Soon>
[[gnu::always_inline]] inline void block(const uint32_t* x, int64_t x_stride, int64_t rows, const uint32_t* w,
                                         int64_t w_panel, int64_t columns, int64_t depth, uint32_t* y,
                                         int64_t y_stride, bool first, Soon soon) {
  for (int64_t i = 0; i < columns / PANEL; ++i)
    tile_of<Kind>(rows, x, x_stride, w + i * w_panel, depth, y + i * PANEL, y_stride, first, soon.of(i));
}

template <typename Kind>
struct Product {
  const uint32_t* x;  // [t, k]
  const uint32_t* w;  // [n / PANEL, k, PANEL]
  typename Kind::Result y;
  int64_t t, k, n;  // k in words, n a multiple of PANEL

  // All rows by the panels from `start` to `end`; `next` is the panel that this thread is likely to begin with then.
  void stripe(int64_t start, int64_t end, int64_t next) const {
    if (t <= ROWS)
      for (int64_t panel = start; panel < end; ++panel) column(panel);
    else
      columns(start, end, next, (t + ROWS - 1) / ROWS);
    for (int64_t row = 0; row < t; ++row)
      for (int64_t column = start * PANEL; column < end * PANEL; column += LANES) y.finish(row, column, n);
  }

  // All rows, which are one tile's, by a panel.
  void column(int64_t panel) const {
    for (int64_t from = 0; from < k; from += DEPTH)
      block<Kind>(x + from, k, t, at(panel, from), 0, PANEL, std::min(DEPTH, k - from), y.words() + panel * PANEL, n,
                  from == 0, Onward{});
  }

  // Rows of so many tiles, which are copied: else their strides may share few cache lines.
  void columns(int64_t start, int64_t end, int64_t next, int64_t tiles) const {
    alignas(64) uint32_t copy[ROWS * DEPTH];
    for (int64_t from = 0; from < k; from += DEPTH) {
      const int64_t depth = std::min(DEPTH, k - from);
      const uint32_t* after = from + depth < k ? at(start, from + depth) : at(next, 0);
      for (int64_t i = 0; i < tiles; ++i) {
        const int64_t row = t * i / tiles, rows = t * (i + 1) / tiles - row;
        for (int64_t r = 0; r < rows; ++r)
          std::memcpy(copy + r * DEPTH, x + (row + r) * k + from, depth * sizeof(uint32_t));
        block<Kind>(copy, DEPTH, rows, at(start, from), k * PANEL, (end - start) * PANEL, depth,
                    y.words() + row * n + start * PANEL, n, from == 0, part(after, i, tiles, depth));
      }
    }
  }

  const uint32_t* at(int64_t panel, int64_t word) const { return w + (panel * k + word) * PANEL; }

  // What tile i of so many brings along of the block `after` this one: memory is read all the time, not by the first of
  // them alone.
  Part part(const uint32_t* after, int64_t i, int64_t tiles, int64_t depth) const {
    constexpr int64_t WORD = PANEL * sizeof(uint32_t);
    const int64_t bytes = DEPTH * WORD / tiles;
    return {reinterpret_cast<const char*>(after) + i * bytes, k * WORD, (bytes - 1) / depth + 1};
  }

  void run(ffi::ThreadPool& pool) const {
    const int64_t panels = n / PANEL, threads = pool.num_threads();
    if (t * k * n < SMALL) return stripe(0, panels, 0);
    const int64_t each = std::clamp<int64_t>(panels / (4 * threads), 1, PANELS);
    share(pool, (panels + each - 1) / each, [=](int64_t i) {
      const int64_t next = (i + threads) * each;
      stripe(i * each, std::min((i + 1) * each, panels), std::min(next, panels - 1));
    });
  }
};

}  // namespace native
