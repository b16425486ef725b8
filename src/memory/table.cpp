// SPDX-License-Identifier: BSD-3-Clause
#include "memory/table.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace vmux::memory {
namespace {

bool starts_after(std::uint64_t at, const Table::Entry& entry) noexcept { return at < entry.window.start; }
bool starts_before(const Table::Entry& entry, std::uint64_t at) noexcept { return entry.window.start < at; }

}  // namespace

/// The chunk in whose stretch `at` lies: the last that starts at or below it, or the first.
std::size_t Table::chunk_for(std::uint64_t at) const noexcept {
  const auto above = std::upper_bound(starts_.begin(), starts_.end(), at);
  return above == starts_.begin() ? 0 : static_cast<std::size_t>(above - starts_.begin()) - 1;
}

const Table::Entry* Table::at_or_below(std::uint64_t at) const noexcept {
  if (chunks_.empty()) return nullptr;
  const Chunk& chunk = *chunks_[chunk_for(at)];
  const auto above = std::upper_bound(chunk.begin(), chunk.end(), at, starts_after);
  return above == chunk.begin() ? nullptr : &*std::prev(above);
}

void Table::append(std::shared_ptr<const Chunk> chunk) {
  if (chunk->empty()) return;
  starts_.push_back(chunk->front().window.start);
  size_ += chunk->size();
  chunks_.push_back(std::move(chunk));
}

std::shared_ptr<const Table> Table::with(Entry entry) const {
  auto table = std::make_shared<Table>();
  table->starts_.reserve(starts_.size() + 1);
  table->chunks_.reserve(chunks_.size() + 1);
  const std::size_t chosen = chunk_for(entry.window.start);
  for (std::size_t i = 0; i < chosen; ++i)
    table->append(chunks_[i]);

  auto grown = std::make_shared<Chunk>();
  if (chunks_.empty()) {
    grown->push_back(std::move(entry));
  } else {
    const Chunk& old = *chunks_[chosen];
    const auto place = std::upper_bound(old.begin(), old.end(), entry.window.start, starts_after);
    grown->reserve(old.size() + 1);
    grown->insert(grown->end(), old.begin(), place);
    grown->push_back(std::move(entry));
    grown->insert(grown->end(), place, old.end());
  }
  if (grown->size() > kChunk) {
    const auto middle = grown->begin() + static_cast<std::ptrdiff_t>(kChunk / 2);
    auto upper = std::make_shared<Chunk>(std::make_move_iterator(middle), std::make_move_iterator(grown->end()));
    grown->erase(middle, grown->end());
    table->append(std::move(grown));
    table->append(std::move(upper));
  } else {
    table->append(std::move(grown));
  }
  for (std::size_t i = chosen + 1; i < chunks_.size(); ++i)
    table->append(chunks_[i]);
  return table;
}

std::shared_ptr<const Table> Table::without(std::uint64_t first, std::uint64_t last,
                                            std::vector<Entry>& removed) const {
  auto table = std::make_shared<Table>();
  table->starts_.reserve(starts_.size());
  table->chunks_.reserve(chunks_.size());
  for (const auto& chunk : chunks_) {
    if (chunk->front().window.start > last || chunk->back().window.start < first) {
      table->append(chunk);
      continue;
    }
    const auto from = std::lower_bound(chunk->begin(), chunk->end(), first, starts_before);
    const auto to = std::upper_bound(chunk->begin(), chunk->end(), last, starts_after);
    removed.insert(removed.end(), from, to);
    auto rest = std::make_shared<Chunk>(chunk->begin(), from);
    rest->insert(rest->end(), to, chunk->end());
    table->append(std::move(rest));
  }
  return table;
}

}  // namespace vmux::memory
