// The loops of a product of activations and a weight in groups, see codes.h.

#pragma once

#include "codes.h"

namespace native {

// Rows of a tile, whose sums are in registers beside the codes of a block: at most, and at most of one among several.
#if defined(__SANITIZE_ADDRESS__)
constexpr int GROUP_ROWS = 3, TILE_ROWS = 3;  // instrumented code compiles slowly
#else
constexpr int GROUP_ROWS = LANES == 16 ? 8 : 4, TILE_ROWS = LANES == 16 ? 6 : 4;
#endif

// Vectors of outputs of a tile of R rows.
template <int R>
constexpr int GROUP_VECTORS = LANES == 16 && R <= TILE_ROWS ? 2 : 1;

// A chunk of a panel. Codes are packed, or if `Open` already words of four bytes.
template <int BITS, int GROUPS, bool MINIMA, bool Open>
struct PanelChunk {
  const uint32_t* codes;
  const float *scales, *minima;  // [position][32]
  int64_t blocks;

  static constexpr int64_t CORRECTIONS = GROUPS;  // of a block

  template <int V>
  [[gnu::always_inline]] void open(int64_t block, int64_t lane, OpenCodes<V>& to) const {
    constexpr int KIND = Open ? 8 : BITS;
    for (int v = 0; v < V; ++v)
      open_codes<KIND>(codes + block * CODE_ROWS<KIND> * PANEL + lane + v * LANES, to[v]);
  }

  // Adds to the totals the products of a block of one row of x and V vectors of outputs.
  template <int V>
  [[gnu::always_inline]] void add(Floats (&totals)[V], const OpenCodes<V>& open, int64_t block, int64_t lane,
                                  const uint32_t* x, float scale, const uint32_t* corrections) const {
    if constexpr (GROUPS == 1) {
      Integers products[V];
      multiply<0, BLOCK_WORDS>(products, totals, open, block, lane, x, corrections[0]);
      for (int v = 0; v < V; ++v)
        totals[v] = fused(__builtin_convertvector(products[v], Floats) * scale, scales_at(block, lane, v), totals[v]);
    } else {
      Integers low[V], high[V];
      multiply<0, BLOCK_WORDS / 2>(low, totals, open, 2 * block, lane, x, corrections[0]);
      multiply<BLOCK_WORDS / 2, BLOCK_WORDS / 2>(high, totals, open, 2 * block + 1, lane, x, corrections[1]);
      for (int v = 0; v < V; ++v) {
        const Floats first = __builtin_convertvector(low[v], Floats) * scales_at(2 * block, lane, v);
        const auto second = __builtin_convertvector(high[v], Floats);
        totals[v] = fused(fused(second, scales_at(2 * block + 1, lane, v), first), scale, totals[v]);
      }
    }
  }

  // Sets `products` to those of a group. With minima, their part goes to the totals at once.
  template <int First, int Count, int V>
  [[gnu::always_inline]] void multiply(Integers (&products)[V], Floats (&totals)[V], const OpenCodes<V>& open,
                                       int64_t position, int64_t lane, const uint32_t* x, uint32_t correction) const {
    const Words spread = Words{} + correction;
    for (int v = 0; v < V; ++v) products[v] = MINIMA ? Integers{} : (Integers)spread;
    add_dots<BITS, First, Count>(products, open, x);
    if constexpr (MINIMA)
      for (int v = 0; v < V; ++v)
        totals[v] = fused(load<Floats>(minima + position * PANEL + lane + v * LANES), (Floats)spread, totals[v]);
  }

  [[gnu::always_inline]] Floats scales_at(int64_t position, int64_t lane, int v) const {
    return load<Floats>(scales + position * PANEL + lane + v * LANES);
  }
};

// Multiplies R rows of rounded activations by a chunk of a panel. Adds to y unless `first`. Few rows take all outputs of a
// block before the next block, so that codes are read from memory in their order.
template <int R, typename Chunk>
[[gnu::always_inline]] inline void grouped_tile(const uint32_t* words, const float* scale, const uint32_t* corrections,
                                                const Chunk& w, float* y, int64_t y_stride, bool first) {
  constexpr int V = GROUP_VECTORS<R>, PARTS = R <= FEW_ROWS ? PANEL / LANES / V : 1;
  for (int64_t start = 0; start < PANEL; start += PARTS * V * LANES) {
    const auto at = [=](int r, int part, int v) { return y + r * y_stride + start + (part * V + v) * LANES; };
    Floats totals[PARTS][R][V];
    for (int part = 0; part < PARTS; ++part)
      for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) totals[part][r][v] = first ? Floats{} : load<Floats>(at(r, part, v));
    for (int64_t block = 0; block < w.blocks; ++block)
#pragma GCC unroll 4
      for (int part = 0; part < PARTS; ++part) {
        const int64_t lane = start + part * V * LANES;
        OpenCodes<V> open;
        w.open(block, lane, open);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const int64_t from = r * w.blocks + block;
          w.add(totals[part][r], open, block, lane, words + from * BLOCK_WORDS, scale[from],
                corrections + from * Chunk::CORRECTIONS);
        }
      }
    for (int part = 0; part < PARTS; ++part)
      for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) store(at(r, part, v), &totals[part][r][v]);
  }
}

// Selects the tile for this number of rows, from `Least` to R.
template <int Least, int R, typename... Rest>
[[gnu::always_inline]] inline void grouped_tile_of(int64_t rows, const Rest&... rest) {
  if constexpr (R >= Least) {
    if (rows == R) return grouped_tile<R>(rest...);
    grouped_tile_of<Least, R - 1>(rows, rest...);
  }
}

template <int BITS, int GROUPS, bool MINIMA>  // GROUPS of a block
struct GroupedMatmul {
  Rounded x;
  Grouped w;
  float* y;  // [t, 32 * panels]

  int32_t offset() const { return w.zero - (BITS == 8 ? SIGNED : 0); }

  void round(const float* from, int64_t row) const {
    for (int64_t chunk = 0; chunk * CHUNK < x.blocks; ++chunk)
      for (int64_t b = 0; b < x.depth(chunk); ++b) {
        const int64_t to = x.first(chunk, row) + b;
        round_block<GROUPS, MINIMA>(from + (row * x.blocks + chunk * CHUNK + b) * BLOCK, offset(),
                                    x.words + to * BLOCK_WORDS, x.scale + to, x.corrections + to * GROUPS);
      }
  }

  // Multiplies all rows by a panel.
  void column(int64_t panel) const {
    alignas(64) float scales[CHUNK * GROUPS * PANEL], minima[CHUNK * GROUPS * PANEL];
    alignas(64) uint32_t opened[CHUNK * BLOCK_WORDS * PANEL];
    for (int64_t chunk = 0; chunk * CHUNK < x.blocks; ++chunk) {
      const int64_t blocks = x.depth(chunk);
      const uint32_t* codes = w.codes + (panel * w.blocks + chunk * CHUNK) * CODE_ROWS<BITS> * PANEL;
      open_factors(panel, chunk * CHUNK * GROUPS, blocks * GROUPS, scales, minima);
      if (x.rows <= GROUP_ROWS) {
        multiply<1, GROUP_ROWS>(panel, chunk, 1, PanelChunk<BITS, GROUPS, MINIMA, false>{codes, scales, minima, blocks});
      } else {
        open_block_codes(codes, blocks, opened);
        multiply<(TILE_ROWS + 1) / 2, TILE_ROWS>(panel, chunk, (x.rows + TILE_ROWS - 1) / TILE_ROWS,
                                                 PanelChunk<BITS, GROUPS, MINIMA, true>{opened, scales, minima, blocks});
      }
    }
  }

  // Multiplies all rows, in tiles, by a chunk of a panel.
  template <int Least, int Most, typename Chunk>
  void multiply(int64_t panel, int64_t chunk, int64_t tiles, const Chunk& by) const {
    const int64_t n = w.panels * PANEL;
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t row = x.rows * i / tiles, rows = x.rows * (i + 1) / tiles - row, at = x.first(chunk, row);
      grouped_tile_of<Least, Most>(rows, x.words + at * BLOCK_WORDS, x.scale + at, x.corrections + at * GROUPS, by,
                             y + row * n + panel * PANEL, n, chunk == 0);
    }
  }

  // Opens the scales and minima of `length` groups. What all codes are too large by is added to the minima.
  void open_factors(int64_t panel, int64_t first, int64_t length, float* scales, float* minima) const {
    w.scale.open(panel, first, length, x.blocks * GROUPS, scales);
    if constexpr (!MINIMA) return;
    w.minimum.open(panel, first, length, x.blocks * GROUPS, minima);
    if (const int32_t zero = offset())
      for (int64_t i = 0; i < length * PANEL; i += LANES) {
        const Floats sum = fused(load<Floats>(scales + i), float(zero), load<Floats>(minima + i));
        store(minima + i, &sum);
      }
  }

  static void open_block_codes(const uint32_t* codes, int64_t blocks, uint32_t* to) {
    for (int64_t b = 0; b < blocks; ++b)
      for (int64_t lane = 0; lane < PANEL; lane += LANES) {
        Words words[BLOCK_WORDS];
        open_codes<BITS>(codes + b * CODE_ROWS<BITS> * PANEL + lane, words);
        for (int w = 0; w < BLOCK_WORDS; ++w) store(to + (b * BLOCK_WORDS + w) * PANEL + lane, &words[w]);
      }
  }

  void run(ffi::ThreadPool& pool, const float* from) const {
    const int64_t size = x.blocks * BLOCK * x.rows;
    const bool small = size * w.panels * PANEL < SMALL;
    if (small || size < LONG)
      for (int64_t row = 0; row < x.rows; ++row) round(from, row);
    else
      parallel_for(pool, x.rows, [=](int64_t row) { round(from, row); });
    if (small) {
      for (int64_t panel = 0; panel < w.panels; ++panel) column(panel);
      return;
    }
    const int64_t stride = std::clamp<int64_t>(w.panels / (4 * pool.num_threads()), 1, PANELS);
    parallel_for(pool, (w.panels + stride - 1) / stride, [=](int64_t i) {
      for (int64_t panel = i * stride; panel < std::min((i + 1) * stride, w.panels); ++panel) column(panel);
    });
  }

  static constexpr int64_t LONG = 1 << 14;  // activations above which a second thread rounds some of them
};

}  // namespace native
