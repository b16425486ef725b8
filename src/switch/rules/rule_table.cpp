// SPDX-License-Identifier: BSD-3-Clause
#include "switch/rules/rule_table.hpp"

#include <algorithm>
#include <atomic>
#include <map>
#include <numeric>

namespace vmux::switching {
namespace {

RuleWords masked(const RuleWords& words, const RuleWords& mask) noexcept {
  RuleWords out;
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = words[i] & mask[i];
  return out;
}

std::array<std::uint8_t, 2> big_endian(std::uint16_t value) noexcept {
  return {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}

constexpr PortPrefix kAnyPort{0, 0};

std::vector<PortPrefix> prefixes_of(const std::optional<L4Ports>& ports) {
  return ports ? prefixes_of(*ports) : std::vector<PortPrefix>{kAnyPort};
}

struct Pattern {
  RuleWords mask, key;
};

Pattern pattern_of(const RuleTable::Input& input, PortPrefix source, PortPrefix destination) {
  packet::FlowFields value = input.rule->match.value, mask = input.rule->match.mask;
  const std::uint8_t mark = input.rule->match.mark;
  value.source_port = big_endian(source.value);
  mask.source_port = big_endian(source.mask);
  value.destination_port = big_endian(destination.value);
  mask.destination_port = big_endian(destination.mask);
  value.spare = spare_of(input.port, mark);
  mask.spare = spare_of(input.port != 0 ? 0xffff : 0, mark != 0 ? 0xff : 0);
  return {words_of(mask), masked(words_of(value), words_of(mask))};
}

}  // namespace

std::vector<PortPrefix> prefixes_of(const L4Ports& range) {
  std::vector<PortPrefix> prefixes;
  std::uint32_t first = range.first;
  const std::uint32_t end = std::uint32_t{range.last} + 1;
  while (first < end) {
    std::uint32_t size = 1;
    while (first % (2 * size) == 0 && first + 2 * size <= end && size < 0x10000)
      size *= 2;
    prefixes.push_back({static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(~(size - 1))});
    first += size;
  }
  return prefixes;
}

// The rules of each mask, by their keys: of two with the same the first counts.
struct RuleTable::Building {
  std::map<RuleWords, std::map<RuleWords, std::uint32_t>> tuples;
  std::size_t entries = 0;
};

RuleTable::RuleTable(std::uint64_t seed, std::uint32_t version) noexcept : hash_(seed), version_(version) {}

RuleTable::Versions RuleTable::next_versions() noexcept {
  static std::atomic<std::uint32_t> last{0};
  std::uint32_t version = 0;
  while (version == 0)
    version = last.fetch_add(2, std::memory_order_relaxed) + 2;
  return {version, version + 1};
}

Result<std::unique_ptr<const RuleTable>> RuleTable::create(std::span<const Input> rules, std::uint64_t seed,
                                                           std::uint32_t version) {
  std::vector<std::size_t> order(rules.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&rules](std::size_t a, std::size_t b) {
    return rules[a].rule->priority > rules[b].rule->priority;
  });
  std::unique_ptr<RuleTable> table{new RuleTable(seed, version)};
  Building building;
  for (const std::size_t at : order) {
    const Input& input = rules[at];
    const auto rank = static_cast<std::uint32_t>(table->actions_.size());
    table->actions_.push_back(input.action);
    const auto sources = prefixes_of(input.rule->match.source_port);
    const auto destinations = prefixes_of(input.rule->match.destination_port);
    building.entries += sources.size() * destinations.size();
    if (building.entries > kMaxEntries)
      return fail(Errc::no_space, "the ranges of ports of all rules are too many prefixes");
    for (const PortPrefix source : sources) {
      for (const PortPrefix destination : destinations) {
        const Pattern pattern = pattern_of(input, source, destination);
        building.tuples[pattern.mask].try_emplace(pattern.key, rank);
      }
    }
    if (building.tuples.size() > kMaxTuples)
      return fail(Errc::no_space, "the rules of a switch look at 512 different sets of fields at most");
  }
  table->place(building);
  return std::unique_ptr<const RuleTable>{std::move(table)};
}

void RuleTable::place(Building& building) {
  for (const auto& [mask, keys] : building.tuples) {
    Tuple tuple{.mask = mask, .first = static_cast<std::uint32_t>(entries_.size())};
    std::size_t room = 2;
    while (room < 2 * keys.size())
      room *= 2;
    tuple.place_mask = static_cast<std::uint32_t>(room - 1);
    entries_.resize(entries_.size() + room);
    for (const auto& [key, rule] : keys) {
      const std::uint64_t hash = hash_(key);
      std::size_t at = hash & tuple.place_mask;
      while (entries_[tuple.first + at].rule != kNone)
        at = (at + 1) & tuple.place_mask;
      entries_[tuple.first + at] = {key, rule, static_cast<std::uint32_t>(hash >> 32)};
      tuple.best = std::min(tuple.best, rule);
    }
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      fields_[i] |= mask[i];
      if (mask[i] != 0) tuple.words[tuple.word_count++] = static_cast<std::uint8_t>(i);
    }
    tuples_.push_back(tuple);
  }
  std::sort(tuples_.begin(), tuples_.end(), [](const Tuple& a, const Tuple& b) { return a.best < b.best; });
  plain_fields_ = PlainFields{fields_};
  const auto fields = std::bit_cast<packet::FlowFields>(fields_);
  packet::FlowFields behind_ethernet = fields;
  behind_ethernet.destination = behind_ethernet.source = {};
  behind_ethernet.ethertype = behind_ethernet.vlan = {};
  behind_ethernet.spare = {};
  looks_at_ip_ = words_of(behind_ethernet) != RuleWords{};
}

// Most tuples look at two or three words of eight.
inline std::uint32_t RuleTable::find(const Tuple& tuple, const RuleWords& key) const noexcept {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < tuple.word_count; ++i) {
    const std::size_t word = tuple.words[i];
    sum += hash_.part(word, key[word] & tuple.mask[word]);
  }
  const std::uint64_t hash = hash_.mixed(sum);
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  for (std::size_t at = hash & tuple.place_mask;; at = (at + 1) & tuple.place_mask) {
    const Entry& entry = entries_[tuple.first + at];
    if (entry.rule == kNone) return kNone;
    if (entry.tag == tag && is_same(entry.key, masked(key, tuple.mask))) return entry.rule;
  }
}

std::uint32_t RuleTable::find(const RuleWords& key) const noexcept {
  std::uint32_t best = kNone;
  for (const Tuple& tuple : tuples_) {
    if (tuple.best >= best) break;
    best = std::min(best, find(tuple, key));
  }
  return best;
}

}  // namespace vmux::switching
