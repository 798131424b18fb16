// Attention over pages as a custom call of XLA.

#include "attention.h"

namespace {

using namespace native;

constexpr int64_t TILE = 128;  // rows that share a block's keys; rows are queries times the heads of a KV head

// Neighbouring queries of one sequence.
struct Tile {
  int64_t sequence, first, queries;
};

// Divides the rows of each sequence into tiles. Rows bounds[i] to bounds[i + 1] - 1 are those of sequence i.
std::vector<Tile> tiles_of(ffi::Span<const int32_t> bounds, int64_t size) {
  std::vector<Tile> tiles;
  for (int64_t i = 0; i + 1 < static_cast<int64_t>(bounds.size()); ++i)
    for (int64_t first = bounds[i]; first < bounds[i + 1]; first += size)
      tiles.push_back({i, first, std::min<int64_t>(size, bounds[i + 1] - first)});
  return tiles;
}

// Computes q[t, h, d] of several sequences. `bounds` has the rows of each of them, see above; later rows become zeros.
// `lengths` is the number of keys per query.
template <typename Number>
ffi::Error attend(ffi::ThreadPool& pool, ffi::BufferR3<ffi::F32> q, const Pages<Number>& pages,
                  ffi::BufferR2<ffi::S32> table, ffi::BufferR1<ffi::S32> bounds, ffi::BufferR1<ffi::S32> lengths,
                  ffi::BufferR1<ffi::F32> sinks, ffi::ResultBufferR3<ffi::F32> y, AttentionSpec spec) {
  const auto q_shape = q.dimensions();
  const ffi::Span<const int32_t> ends(bounds.typed_data(), bounds.element_count());
  if (ends.front() != 0 || ends.back() > q_shape[0] || !std::is_sorted(ends.begin(), ends.end()))
    return ffi::Error::InvalidArgument("the rows of the sequences are out of order");
  const int64_t heads = q_shape[1] / pages.kv_heads, stride = q_shape[1] * pages.width, used = ends.back();
  const auto tiles = tiles_of(ends, std::max<int64_t>(TILE / heads, 1));

  const auto task = [&](int64_t index) {
    const Tile& tile = tiles[index / pages.kv_heads];
    const int64_t head = index % pages.kv_heads, at = tile.first * stride + head * heads * pages.width;
    Attention<Number>(pages, table.typed_data() + tile.sequence * table.dimensions()[1], head, heads, spec,
                      tile.queries)
        .run(q.typed_data() + at, y->typed_data() + at, stride, lengths.typed_data() + tile.first,
             sinks.typed_data() + head * heads);
  };
  const int64_t tasks = tiles.size() * pages.kv_heads;
  int64_t seen = 0;
  for (int64_t i = 0; i < used; ++i) seen += lengths.typed_data()[i];
  if (seen * stride < SMALL)
    for (int64_t i = 0; i < tasks; ++i) task(i);
  else
    parallel_for(pool, tasks, task);
  std::fill(y->typed_data() + used * stride, y->typed_data() + q_shape[0] * stride, 0.0f);
  return ffi::Error::Success();
}

template <typename Number, ffi::DataType D>
Pages<Number> pages_of(ffi::BufferR4<D> keys, ffi::BufferR4<D> values, const float* key_scales = nullptr,
                       const float* value_scales = nullptr) {
  const auto shape = keys.dimensions();
  return {reinterpret_cast<const Number*>(keys.untyped_data()),
          reinterpret_cast<const Number*>(values.untyped_data()),
          key_scales,
          value_scales,
          shape[0],
          shape[1],
          shape[2],
          shape[3]};
}

template <typename Number, ffi::DataType D>
ffi::Error attend_unscaled(ffi::ThreadPool pool, ffi::BufferR3<ffi::F32> q, ffi::BufferR4<D> keys,
                           ffi::BufferR4<D> values, ffi::BufferR2<ffi::S32> table, ffi::BufferR1<ffi::S32> bounds,
                           ffi::BufferR1<ffi::S32> lengths, ffi::BufferR1<ffi::F32> sinks,
                           ffi::ResultBufferR3<ffi::F32> y, int64_t window, float cap) {
  return attend(pool, q, pages_of<Number>(keys, values), table, bounds, lengths, sinks, y, {window, cap});
}

ffi::Error attend_scaled(ffi::ThreadPool pool, ffi::BufferR3<ffi::F32> q, ffi::BufferR4<ffi::S8> keys,
                         ffi::BufferR4<ffi::S8> values, ffi::BufferR3<ffi::F32> key_scales,
                         ffi::BufferR3<ffi::F32> value_scales, ffi::BufferR2<ffi::S32> table,
                         ffi::BufferR1<ffi::S32> bounds, ffi::BufferR1<ffi::S32> lengths,
                         ffi::BufferR1<ffi::F32> sinks, ffi::ResultBufferR3<ffi::F32> y, int64_t window, float cap) {
  const auto pages = pages_of<int8_t>(keys, values, key_scales.typed_data(), value_scales.typed_data());
  return attend(pool, q, pages, table, bounds, lengths, sinks, y, {window, cap});
}

template <ffi::DataType D>
auto queries_and_pages() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<ffi::BufferR3<ffi::F32>>()
      .template Arg<ffi::BufferR4<D>>()
      .template Arg<ffi::BufferR4<D>>();
}

// Appends the arguments after the pages.
template <typename Binding>
auto complete(Binding binding) {
  return std::move(binding)
      .template Arg<ffi::BufferR2<ffi::S32>>()
      .template Arg<ffi::BufferR1<ffi::S32>>()
      .template Arg<ffi::BufferR1<ffi::S32>>()
      .template Arg<ffi::BufferR1<ffi::F32>>()
      .template Ret<ffi::BufferR3<ffi::F32>>()
      .template Attr<int64_t>("window")
      .template Attr<float>("cap");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(attention_f32, (attend_unscaled<float, ffi::F32>),
                              complete(queries_and_pages<ffi::F32>()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(attention_bf16, (attend_unscaled<uint16_t, ffi::U16>),
                              complete(queries_and_pages<ffi::U16>()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    attention_s8, attend_scaled,
    complete(queries_and_pages<ffi::S8>().Arg<ffi::BufferR3<ffi::F32>>().Arg<ffi::BufferR3<ffi::F32>>()));
