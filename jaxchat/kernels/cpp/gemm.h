// The loops of a matrix product y[t, n] = sum over k of x[t, k] * w[n, k], for several dtypes.
//
// Numbers are stored in words of 32 bits: one f32, two bf16 or four int8. Weights are packed in panels of 32 outputs,
// [n / 32][k][32] words. A word of x is thus multiplied by one word of each of 32 outputs at once, and weights are read
// in order. A tile of up to ROWS rows of x by one panel keeps its sums in registers.
//
// Sums always run in the order of k: word after word inside a block of DEPTH words, block after block. The number of
// rows, the threads and the tiling of rows therefore never change a bit.

#pragma once

#include "dtypes.h"
#include "parallel_for.h"

namespace native {

constexpr int64_t PANEL = 32;          // outputs side by side
constexpr int64_t LINE = 64;           // bytes of a cache line
constexpr int64_t DEPTH = 128;         // words of x and of each output that are summed before the next rows
constexpr int64_t PANELS = 16;         // panels that one thread takes at a time, at most
constexpr int64_t FEW = 8;             // vector products of a word of weights that take less time than to read it
constexpr int64_t FEW_ROWS = 2;        // rows of x whose words stay in registers
constexpr int64_t SMALL = 1 << 18;     // multiplications below which a second thread does not pay

// Vectors of a panel that a tile of `rows` multiplies at once: all of them, or two if their sums would not fit.
template <typename Kind>
constexpr int64_t vectors(int64_t rows) {
  constexpr int64_t all = PANEL / LANES;
  if (rows <= FEW_ROWS) return all;
  return (rows + Kind::OPEN) * all + Kind::OPEN <= REGISTERS ? all : 2;
}

// Rows of x in the largest tile, whose sums, two vectors of weights and a word of x fit in registers.
#if defined(__SANITIZE_ADDRESS__)
template <typename Kind>
constexpr int64_t ROWS = 3;  // instrumented code compiles slowly
#else
template <typename Kind>
constexpr int64_t ROWS = REGISTERS / 2 - 2 * Kind::OPEN;
#endif

// Prefetches two cache lines to L2. It is inlined early, because GCC drops calls of it: it sees no effect in them.
[[gnu::always_inline]] inline void prefetch(const void* from) {
  __builtin_prefetch(from, 0, 2);
  __builtin_prefetch(static_cast<const char*>(from) + LINE, 0, 2);
}

// Memory that a tile prefetches at word k of its weights w: nothing, or the weights DEPTH words later, or a slice of the
// block that is read next. `products` counts the vector products of a word.
struct NoPrefetch {
  void with(const uint32_t*, int64_t, int64_t) const {}
  NoPrefetch of(int64_t) const { return {}; }
};

// With few products the loads themselves run ahead, and the processor's own prefetching is up to half faster. With many
// it stops too early, at the end of a page.
struct PrefetchAhead {
  [[gnu::always_inline]] void with(const uint32_t* w, int64_t k, int64_t products) const {
    if (products > FEW) prefetch(w + (k + DEPTH) * PANEL);
  }
  PrefetchAhead of(int64_t) const { return {}; }
};

struct PrefetchSlice {
  const char* from;
  int64_t panel, word;  // strides in bytes

  [[gnu::always_inline]] void with(const uint32_t*, int64_t k, int64_t) const { prefetch(from + k * word); }
  PrefetchSlice of(int64_t index) const { return {from + index * panel, panel, word}; }
};

// Adds to the sums the products of words k of R rows of x and of V vectors of a panel of w. Vectors are opened first, and
// each word of x is used for all of them; with few rows it is the other way round, which needs fewer registers.
template <typename Kind, int R, int V, typename Prefetch>
[[gnu::always_inline]] inline void add_products(typename Kind::Sums (&sums)[R][V], const uint32_t* x, int64_t x_stride,
                                                const uint32_t* w, int64_t k, Prefetch prefetcher) {
  constexpr int64_t PRODUCTS = R * PANEL / LANES * Kind::OPEN;
  constexpr bool BY_VECTOR = R <= FEW_ROWS;
  typename Kind::Activations activations[BY_VECTOR ? R : 1];
  typename Kind::Weights weights[BY_VECTOR ? 1 : V];
  const auto open = [=](int v) { return Kind::open(load<Words>(w + k * PANEL + v * LANES)); };
  if constexpr (BY_VECTOR) {
    for (int r = 0; r < R; ++r) activations[r] = Kind::spread(x[r * x_stride + k]);
    for (int v = 0; v < V; ++v) {
      weights[0] = open(v);
      if (v == 0) prefetcher.with(w, k, PRODUCTS);
      for (int r = 0; r < R; ++r) sums[r][v] = Kind::add(sums[r][v], activations[r], weights[0]);
    }
  } else {
    for (int v = 0; v < V; ++v) weights[v] = open(v);
    prefetcher.with(w, k, PRODUCTS);  // after those loads, which the products wait for
    for (int r = 0; r < R; ++r) {
      activations[0] = Kind::spread(x[r * x_stride + k]);
      for (int v = 0; v < V; ++v) sums[r][v] = Kind::add(sums[r][v], activations[0], weights[v]);
    }
  }
}

// Multiplies R rows of x by V vectors of a panel of w, of `depth` words. Adds to y unless `first`. Strides count words.
template <typename Kind, int R, int V, typename Prefetch>
[[gnu::always_inline]] inline void tile(const uint32_t* x, int64_t x_stride, const uint32_t* w, int64_t depth,
                                        uint32_t* y, int64_t y_stride, bool first, Prefetch prefetcher) {
  using Sums = typename Kind::Sums;
  Sums sums[R][V] = {};
  for (int64_t k = 0; k < depth; ++k) add_products<Kind, R, V>(sums, x, x_stride, w, k, prefetcher);
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      uint32_t* at = y + r * y_stride + v * LANES;
      const Sums sum = first ? sums[r][v] : load<Sums>(at) + sums[r][v];
      store(at, &sum);
    }
}

// Applies `tile` to a whole panel, in as many parts as needed. Only the first part prefetches.
template <typename Kind, int R, typename Prefetch>
[[gnu::always_inline]] inline void tile_of_panel(const uint32_t* x, int64_t x_stride, const uint32_t* w, int64_t depth,
                                                 uint32_t* y, int64_t y_stride, bool first, Prefetch prefetcher) {
  constexpr int V = vectors<Kind>(R);
  tile<Kind, R, V>(x, x_stride, w, depth, y, y_stride, first, prefetcher);
  for (int64_t at = V * LANES; at < PANEL; at += V * LANES)
    tile<Kind, R, V>(x, x_stride, w + at, depth, y + at, y_stride, first, NoPrefetch{});
}

// Selects the tile for this number of rows, from `Least` to ROWS.
template <typename Kind, int Least, int R = ROWS<Kind>, typename... Rest>
[[gnu::always_inline]] inline void tile_of(int64_t rows, Rest... rest) {
  if constexpr (R >= Least) {
    if (rows == R) return tile_of_panel<Kind, R>(rest...);
    tile_of<Kind, Least, R - 1>(rows, rest...);
  }
}

// Multiplies rows of x by neighbouring columns of `depth` words each; `columns` is a multiple of PANEL. Panels of w are
// `w_panel` words apart.
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

  // Multiplies all rows by the panels from `start` to `end`. `next` is the panel that this thread probably takes next.
  void stripe(int64_t start, int64_t end, int64_t next) const {
    if (t <= ROWS<Kind>)
      for (int64_t panel = start; panel < end; ++panel) column(panel);
    else
      columns(start, end, next, (t + ROWS<Kind> - 1) / ROWS<Kind>);
    for (int64_t row = 0; row < t; ++row)
      for (int64_t column = start * PANEL; column < end * PANEL; column += LANES) y.finish(row, column, n);
  }

  // Multiplies all rows, which fit one tile, by a panel.
  void column(int64_t panel) const {
    for (int64_t from = 0; from < k; from += DEPTH)
      block<Kind>(x + from, k, t, at(panel, from), 0, PANEL, std::min(DEPTH, k - from), y.words() + panel * PANEL, n,
                  from == 0, PrefetchAhead{});
  }

  // Multiplies the rows of several tiles. Rows are copied: with their strides they may share few cache lines.
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

  // Returns the slice of the block `after` this one that tile i prefetches. Every tile has one, so that memory is read
  // all the time.
  PrefetchSlice slice_of(const uint32_t* after, int64_t i, int64_t tiles, int64_t depth) const {
    constexpr int64_t WORD = PANEL * sizeof(uint32_t);
    const int64_t bytes = DEPTH * WORD / tiles;
    return {reinterpret_cast<const char*>(after) + i * bytes, k * WORD, (bytes - 1) / depth + 1};
  }

  void run(ffi::ThreadPool& pool) const {
    const int64_t panels = n / PANEL, threads = pool.num_threads();
    if (t * k * n < SMALL) return stripe(0, panels, 0);
    const int64_t stride = std::clamp<int64_t>(panels / (4 * threads), 1, PANELS);
    parallel_for(pool, (panels + stride - 1) / stride, [=](int64_t i) {
      const int64_t next = (i + threads) * stride;
      stripe(i * stride, std::min((i + 1) * stride, panels), std::min(next, panels - 1));
    });
  }
};

}  // namespace native
