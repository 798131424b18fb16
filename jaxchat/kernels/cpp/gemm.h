// The loops of a product y[t, n] = sum over k of x[t, k] * w[n, k], over kinds of numbers.
//
// All numbers travel as words of 32 bits: one f32, two bf16 or four int8. Weights are packed in panels of 32 outputs,
// [n / 32][k][32] words, so that a word of x is multiplied by one of each of 32 outputs at once, and weights are read
// in their order. A tile of up to ROWS rows of x by one panel keeps its sums in registers.
//
// Sums run in one order, that of k: one word after the other inside a block of DEPTH words, the blocks one after the
// other. How many rows there are, which thread takes which and how rows are tiled therefore never changes a bit.

#pragma once

#include "dtypes.h"
#include "parallel_for.h"

namespace native {

constexpr int64_t PANEL = 32;          // outputs side by side
constexpr int64_t LINE = 64;           // bytes of a cache line
constexpr int64_t DEPTH = 128;         // words of x and of each output that are summed up before the next rows' turn
constexpr int64_t PANELS = 16;         // that one thread takes at a time, at most
constexpr int64_t SMALL = 1 << 18;     // multiplications that are not worth a second thread

// Vectors of a panel that a tile of `rows` multiplies at once: all of them, or two where their sums would not fit.
template <typename Kind>
constexpr int64_t vectors(int64_t rows) {
  constexpr int64_t all = PANEL / LANES;
  return (rows + Kind::OPEN) * all + Kind::OPEN <= REGISTERS ? all : 2;
}

// Rows of x in the largest tile: its sums, two vectors of weights, a word of x and what is made of both fit.
#if defined(__SANITIZE_ADDRESS__)
template <typename Kind>
constexpr int64_t ROWS = 3;  // instrumented code takes long to compile
#else
template <typename Kind>
constexpr int64_t ROWS = REGISTERS / 2 - 2 * Kind::OPEN;
#endif

// Brings two cache lines to L2. Inlined at once, or GCC drops calls of it: they have no effect that it knows.
[[gnu::always_inline]] inline void prefetch(const void* from) {
  __builtin_prefetch(from, 0, 2);
  __builtin_prefetch(static_cast<const char*>(from) + LINE, 0, 2);
}

// What a tile brings along beside word k of its weights w, for hardware stops at each page's end: nothing, or what
// comes DEPTH words later, or a part of what is read next.
struct NoPrefetch {
  void with(const uint32_t*, int64_t) const {}
  NoPrefetch of(int64_t) const { return {}; }
};

struct PrefetchAhead {
  [[gnu::always_inline]] void with(const uint32_t* w, int64_t k) const { prefetch(w + (k + DEPTH) * PANEL); }
  PrefetchAhead of(int64_t) const { return {}; }
};

struct PrefetchSlice {
  const char* from;
  int64_t panel, word;  // bytes from one to the next

  [[gnu::always_inline]] void with(const uint32_t*, int64_t k) const { prefetch(from + k * word); }
  PrefetchSlice of(int64_t index) const { return {from + index * panel, panel, word}; }
};

// R rows of x by V vectors of a panel of w, of `depth` words, added to y unless they come `first`. Strides count words.
template <typename Kind, int R, int V, typename Prefetch>
[[gnu::always_inline]] inline void tile(const uint32_t* x, int64_t x_stride, const uint32_t* w, int64_t depth,
                                        uint32_t* y, int64_t y_stride, bool first, Prefetch prefetcher) {
  using Sums = typename Kind::Sums;
  Sums sums[R][V] = {};
  for (int64_t k = 0; k < depth; ++k) {
    typename Kind::Weights weights[V];
    for (int v = 0; v < V; ++v) weights[v] = Kind::open(load<Words>(w + k * PANEL + v * LANES));
    prefetcher.with(w, k);  // after those loads, which are waited for
    for (int r = 0; r < R; ++r) {
      const typename Kind::Activations given = Kind::spread(x[r * x_stride + k]);
      for (int v = 0; v < V; ++v) sums[r][v] = Kind::add(sums[r][v], given, weights[v]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      uint32_t* at = y + r * y_stride + v * LANES;
      const Sums sum = first ? sums[r][v] : load<Sums>(at) + sums[r][v];
      store(at, &sum);
    }
}

// `tile` by a whole panel, in as many parts as it takes; what comes prefetcher is brought along with the first.
template <typename Kind, int R, typename Prefetch>
[[gnu::always_inline]] inline void tile_of_panel(const uint32_t* x, int64_t x_stride, const uint32_t* w, int64_t depth,
                                                 uint32_t* y, int64_t y_stride, bool first, Prefetch prefetcher) {
  constexpr int V = vectors<Kind>(R);
  tile<Kind, R, V>(x, x_stride, w, depth, y, y_stride, first, prefetcher);
  for (int64_t at = V * LANES; at < PANEL; at += V * LANES)
    tile<Kind, R, V>(x, x_stride, w + at, depth, y + at, y_stride, first, NoPrefetch{});
}

// The tile of this many rows, from `Least` to ROWS.
template <typename Kind, int Least, int R = ROWS<Kind>, typename... Rest>
[[gnu::always_inline]] inline void tile_of(int64_t rows, Rest... rest) {
  if constexpr (R >= Least) {
    if (rows == R) return tile_of_panel<Kind, R>(rest...);
    tile_of<Kind, Least, R - 1>(rows, rest...);
  }
}

// Rows of x by any number of neighbouring columns, each of `depth` words; `columns` is a multiple of PANEL. Panels of w
// are `w_panel` words apart.
template <typename Kind, int Least = 1, typename Prefetch>
[[gnu::always_inline]] inline void block(const uint32_t* x, int64_t x_stride, int64_t rows, const uint32_t* w,
                                         int64_t w_panel, int64_t columns, int64_t depth, uint32_t* y,
                                         int64_t y_stride, bool first, Prefetch prefetcher) {
  for (int64_t i = 0; i < columns / PANEL; ++i)
    tile_of<Kind, Least>(rows, x, x_stride, w + i * w_panel, depth, y + i * PANEL, y_stride, first, prefetcher.of(i));
}

template <typename Kind>
struct Matmul {
  const uint32_t* x;  // [t, k]
  const uint32_t* w;  // [n / PANEL, k, PANEL]
  typename Kind::Result y;
  int64_t t, k, n;  // k in words, n a multiple of PANEL

  // All rows by the panels from `start` to `end`; `next` is the panel that this thread is likely to begin with then.
  void stripe(int64_t start, int64_t end, int64_t next) const {
    if (t <= ROWS<Kind>)
      for (int64_t panel = start; panel < end; ++panel) column(panel);
    else
      columns(start, end, next, (t + ROWS<Kind> - 1) / ROWS<Kind>);
    for (int64_t row = 0; row < t; ++row)
      for (int64_t column = start * PANEL; column < end * PANEL; column += LANES) y.finish(row, column, n);
  }

  // All rows, which are one tile's, by a panel.
  void column(int64_t panel) const {
    for (int64_t from = 0; from < k; from += DEPTH)
      block<Kind>(x + from, k, t, at(panel, from), 0, PANEL, std::min(DEPTH, k - from), y.words() + panel * PANEL, n,
                  from == 0, PrefetchAhead{});
  }

  // Rows of so many tiles, which are copied: else their strides may share few cache lines.
  void columns(int64_t start, int64_t end, int64_t next, int64_t tiles) const {
    alignas(64) uint32_t copy[ROWS<Kind> * DEPTH];
    for (int64_t from = 0; from < k; from += DEPTH) {
      const int64_t depth = std::min(DEPTH, k - from);
      const uint32_t* after = from + depth < k ? at(start, from + depth) : at(next, 0);
      for (int64_t i = 0; i < tiles; ++i) {
        const int64_t row = t * i / tiles, rows = t * (i + 1) / tiles - row;
        for (int64_t r = 0; r < rows; ++r)
          std::memcpy(copy + r * DEPTH, x + (row + r) * k + from, depth * sizeof(uint32_t));
        block<Kind, (ROWS<Kind> + 1) / 2>(copy, DEPTH, rows, at(start, from), k * PANEL, (end - start) * PANEL, depth,
                    y.words() + row * n + start * PANEL, n, from == 0, slice_of(after, i, tiles, depth));
      }
    }
  }

  const uint32_t* at(int64_t panel, int64_t word) const { return w + (panel * k + word) * PANEL; }

  // What tile i of so many brings along of the block `after` this one: memory is read all the time, not by the first of
  // them alone.
  PrefetchSlice slice_of(const uint32_t* after, int64_t i, int64_t tiles, int64_t depth) const {
    constexpr int64_t WORD = PANEL * sizeof(uint32_t);
    const int64_t bytes = DEPTH * WORD / tiles;
    return {reinterpret_cast<const char*>(after) + i * bytes, k * WORD, (bytes - 1) / depth + 1};
  }

  void run(ffi::ThreadPool& pool) const {
    const int64_t panels = n / PANEL, threads = pool.num_threads();
    if (t * k * n < SMALL) return stripe(0, panels, 0);
    const int64_t each = std::clamp<int64_t>(panels / (4 * threads), 1, PANELS);
    parallel_for(pool, (panels + each - 1) / each, [=](int64_t i) {
      const int64_t next = (i + threads) * each;
      stripe(i * each, std::min((i + 1) * each, panels), std::min(next, panels - 1));
    });
  }
};

}  // namespace native
