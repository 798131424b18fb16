// Attention over a paged KV cache for queries of one sequence and one KV head, with an online softmax (arXiv
// 1805.02867) over blocks of 128 keys.
//
// A query's bits depend on its own keys alone: blocks are at fixed positions, every sum inside a block runs in the
// order of keys, and keys that a query does not see add exact zeros. The bits do not depend on which queries share a
// call, or on the thread.

#pragma once

#include <type_traits>
#include <vector>

#include "gemm.h"

namespace native {

constexpr int64_t BLOCK = 128;    // keys that are reduced at once
constexpr float MASKED = -1e30f;  // the score of a key that is not visible

// A vector of each dtype of pages as f32.
inline Floats to_floats(const float* numbers) { return load<Floats>(numbers); }
inline Floats to_floats(const uint16_t* numbers) {  // bf16
  using Halves = uint16_t __attribute__((vector_size(LANES * 2)));
  return (Floats)(__builtin_convertvector(load<Halves>(numbers), Words) << 16);
}
inline Floats to_floats(const int8_t* numbers) { return to_floats(load<Octets>(numbers)); }

// How scores are computed and which keys are visible, see `jaxchat.kernels.attention.spec`; 0 means none.
struct AttentionSpec {
  int64_t window;
  float cap;
};

// The pages of one layer, [n, page, kv_heads, width]. Those of int8_t have scales, [n, page, kv_heads].
template <typename Number>
struct Pages {
  const Number *keys, *values;
  const float *key_scales, *value_scales;
  int64_t n, page, kv_heads, width;

  // Index of a position's scale, in either array. Its first number is at this index times the width.
  int64_t index_of(const int32_t* table, int64_t position, int64_t head) const {
    const int64_t id = std::clamp<int64_t>(table[position / page], 0, n - 1);
    return (id * page + position % page) * kv_heads + head;
  }
};

// Memory that a thread reuses from call to call: allocation would make threads wait for one another.
inline float* scratch(int64_t numbers) {
  thread_local std::vector<Words> buffer;
  const size_t count = (numbers + LANES - 1) / LANES;
  if (buffer.size() < count) buffer.resize(count);
  return reinterpret_cast<float*>(buffer.data());
}

// Queries [queries, heads, width] of one sequence. Query i sees `lengths[i]` keys; lengths ascend. The heads share a
// KV head.
template <typename Number>
class Attention {
 public:
  Attention(const Pages<Number>& pages, const int32_t* table, int64_t head, int64_t heads, AttentionSpec spec,
            int64_t queries)
      : pages_(pages), table_(table), head_(head), heads_(heads), spec_(spec), queries_(queries),
        rows_(queries * heads), width_((pages.width + PANEL - 1) / PANEL * PANEL),
        q_(scratch(2 * (rows_ + BLOCK) * width_ + rows_ * BLOCK + 2 * rows_)), mixed_(q_ + rows_ * width_),
        keys_(mixed_ + rows_ * width_), values_(keys_ + BLOCK * width_), scores_(values_ + BLOCK * width_),
        top_(scores_ + rows_ * BLOCK), total_(top_ + rows_) {}

  // Computes all queries. `stride` is the distance of queries in q and y, in numbers; `sinks` has one per head.
  void run(const float* q, float* y, int64_t stride, const int32_t* lengths, const float* sinks) {
    std::fill(q_, mixed_ + rows_ * width_, 0.0f);
    std::fill(total_, total_ + rows_, 1.0f);
    for (int64_t row = 0; row < rows_; ++row) {
      std::copy_n(q + row / heads_ * stride + row % heads_ * pages_.width, pages_.width, q_ + row * width_);
      top_[row] = sinks[row % heads_];
    }
    const int64_t longest = lengths[queries_ - 1];
    for (int64_t start = first(lengths[0]) / BLOCK * BLOCK; start < longest; start += BLOCK) {
      int64_t from = 0, to = queries_;
      while (from < to && lengths[from] <= start) ++from;
      while (to > from && first(lengths[to - 1]) >= start + BLOCK) --to;
      if (from < to) attend_block(start, std::min(BLOCK, longest - start), from, to, lengths);
    }
    for (int64_t row = 0; row < rows_; ++row) {
      float* out = y + row / heads_ * stride + row % heads_ * pages_.width;
      const float* sums = mixed_ + row * width_;
      for (int64_t i = 0; i < pages_.width; ++i) out[i] = sums[i] / total_[row];
    }
  }

 private:
  static uint32_t* words(float* numbers) { return reinterpret_cast<uint32_t*>(numbers); }

  int64_t first(int64_t length) const {
    return spec_.window ? std::max<int64_t>(length - spec_.window, 0) : 0;
  }

  // Adds the keys from `start` to the sums of those queries that see any of them.
  void attend_block(int64_t start, int64_t count, int64_t from, int64_t to, const int32_t* lengths) {
    pack(start, count);
    const int64_t columns = (count + PANEL - 1) / PANEL * PANEL;
    for (int64_t row = from * heads_; row < to * heads_; row += ROWS<Float>) {
      const int64_t rows = std::min(ROWS<Float>, to * heads_ - row);
      uint32_t *scores = words(scores_ + row * BLOCK), *mixed = words(mixed_ + row * width_);
      block<Float>(words(q_ + row * width_), width_, rows, words(keys_), width_ * PANEL, columns, width_, scores,
                   BLOCK, true, NoPrefetch{});
      for (int64_t r = row; r < row + rows; ++r) apply_softmax(r, columns, lengths[r / heads_] - start);
      block<Float>(scores, BLOCK, rows, words(values_), BLOCK * PANEL, width_, count, mixed, width_, false,
                   NoPrefetch{});
    }
  }

  // Packs keys in panels of 32 keys, values in panels of 32 numbers. A vector beyond the last key is padded with zeros,
  // because a recycled page may hold NaN. Scores and sums of positions that are not written here are not used.
  void pack(int64_t start, int64_t count) {
    for (int64_t key = 0; key < (count + LANES - 1) / LANES * LANES; key += LANES) {
      const int64_t keys = std::min(LANES, count - key);
      int64_t index[LANES];
      for (int64_t r = 0; r < keys; ++r) index[r] = pages_.index_of(table_, start + key + r, head_);
      for (int64_t i = 0; i < width_; i += LANES) {
        const int64_t left = std::min(LANES, pages_.width - i);
        Words rows[LANES] = {};
        for (int64_t r = 0; r < keys; ++r) {
          if (left <= 0) continue;
          rows[r] = widen(pages_.keys, pages_.key_scales, index[r], i, left);
          const Words value = widen(pages_.values, pages_.value_scales, index[r], i, left);
          store(values_ + (i / PANEL * BLOCK + key + r) * PANEL + i % PANEL, &value);
        }
        transpose(rows);
        for (int64_t r = 0; r < LANES; ++r)
          store(keys_ + (key / PANEL * width_ + i + r) * PANEL + key % PANEL, &rows[r]);
      }
    }
  }

  // Returns `count` numbers of the position at `index`, from number i on, as f32, and zeros after them.
  Words widen(const Number* pages, const float* scales, int64_t index, int64_t i, int64_t count) const {
    const Number* from = pages + index * pages_.width + i;
    Number part[LANES] = {};
    if (count < LANES) {
      std::copy_n(from, count, part);
      from = part;
    }
    if constexpr (std::is_same_v<Number, int8_t>) return (Words)(to_floats(from) * scales[index]);
    return (Words)to_floats(from);
  }

  // Turns the scores of a row into weights; `seen` keys of the block are within its length.
  void apply_softmax(int64_t row, int64_t columns, int64_t seen) {
    float* scores = scores_ + row * BLOCK;
    const auto last = static_cast<int32_t>(std::min(seen, columns));
    const auto begin = static_cast<int32_t>(spec_.window ? std::max<int64_t>(seen - spec_.window, 0) : 0);
    Integers lanes;
    for (int32_t i = 0; i < LANES; ++i) lanes[i] = i;
    Floats highest = Floats{} + top_[row];
    for (int64_t i = 0; i < columns; i += LANES) {
      Floats score = load<Floats>(scores + i);
      if (spec_.cap > 0) score = spec_.cap * tanh(score / spec_.cap);
      const Integers key = lanes + (int32_t)i;
      score = select((Integers)(key < last) & (Integers)(key >= begin), score, Floats{} + MASKED);
      highest = select((Integers)(score > highest), score, highest);
      store(scores + i, &score);
    }
    const float top = horizontal_reduce(highest, [](float a, float b) { return a > b ? a : b; });
    Floats sums = {};
    for (int64_t i = 0; i < columns; i += LANES) {
      const Floats weights = exp(load<Floats>(scores + i) - top);
      sums += weights;
      store(scores + i, &weights);
    }
    const float shrink = exp(Floats{} + (top_[row] - top))[0];
    total_[row] = total_[row] * shrink + horizontal_reduce(sums, [](float a, float b) { return a + b; });
    top_[row] = top;
    float* mixed = mixed_ + row * width_;
    for (int64_t i = 0; i < width_; ++i) mixed[i] *= shrink;
  }

  const Pages<Number>& pages_;
  const int32_t* table_;
  const int64_t head_, heads_;
  const AttentionSpec spec_;
  const int64_t queries_, rows_, width_;
  float *const q_, *const mixed_, *const keys_, *const values_, *const scores_, *const top_, *const total_;
};

}  // namespace native
