// SPDX-License-Identifier: BSD-3-Clause
// The rules of one way, made ready: tuple space search (V. Srinivasan, S. Suri, G. Varghese, 1999).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "switch/member.hpp"
#include "switch/rules/rule.hpp"
#include "switch/rules/rule_key.hpp"

namespace vmux::switching {

/// What a rule does, in the words of the data path.
struct RuleAction {
  std::uint16_t slot = 0;  ///< where its hits are counted
  RuleVerdict verdict = RuleVerdict::allow;
  PortId redirect;  ///< where is_redirect
  bool is_redirect = false;
  MirrorSet mirrors = 0;
  std::uint8_t mark = 0;
  std::uint16_t vlan = kNoVlan;  ///< kNoVlan: as it is
  static constexpr std::uint8_t kSameDscp = 0xff;
  std::uint8_t dscp = kSameDscp;

  /// Whether the frame is another one for the stages behind.
  [[nodiscard]] bool changes_frame() const noexcept { return is_redirect || mark != 0 || vlan != kNoVlan; }
};

/// Immutable. A lookup costs a hash and mostly one comparison for each set of fields (tuple) that rules look at, those
/// of high priority first, and ends when no other can have a better rule; it allocates nothing.
class RuleTable {
 public:
  static constexpr std::uint32_t kNone = ~0u;
  /// Masks that rules have together: what a frame that no cache knows costs.
  static constexpr std::size_t kMaxTuples = 512;
  /// Rules with ranges of ports count once for each prefix of those.
  static constexpr std::size_t kMaxEntries = 65'536;

  struct Input {
    const Rule* rule;
    RuleAction action;
    std::uint16_t port = 0;  ///< 1 + slot of the port whose frames it is about; 0: all
  };
  /// Of two tables that are in use together: they differ in the lowest bit alone. Others than all before, and never 0;
  /// any thread.
  struct Versions {
    std::uint32_t in = 0, out = 0;
  };
  [[nodiscard]] static Versions next_versions() noexcept;
  /// no_space: more than kMaxTuples or kMaxEntries. `rules` in their order; `seed` is nobody's who sends frames.
  [[nodiscard]] static Result<std::unique_ptr<const RuleTable>> create(std::span<const Input> rules, std::uint64_t seed,
                                                                       std::uint32_t version);

  /// The rule that decides, as an index for action(); kNone: none matches. `key` may be masked by fields().
  [[nodiscard]] std::uint32_t find(const RuleWords& key) const noexcept;
  [[nodiscard]] const RuleAction& action(std::uint32_t rule) const noexcept { return actions_[rule]; }
  /// The fields that any rule looks at: frames that differ in others are alike.
  [[nodiscard]] const RuleWords& fields() const noexcept { return fields_; }
  [[nodiscard]] const PlainFields& plain_fields() const noexcept { return plain_fields_; }
  /// Whether rules look behind the Ethernet header, so that frames that hide what is there are dropped.
  [[nodiscard]] bool looks_at_ip() const noexcept { return looks_at_ip_; }
  [[nodiscard]] std::size_t tuples() const noexcept { return tuples_.size(); }
  [[nodiscard]] std::size_t rules() const noexcept { return actions_.size(); }
  /// What is known of a table of another version is of no use.
  [[nodiscard]] std::uint32_t version() const noexcept { return version_; }
  [[nodiscard]] const RuleHash& hash() const noexcept { return hash_; }

 private:
  struct Entry {
    RuleWords key;
    std::uint32_t rule = kNone;  // kNone: free
    std::uint32_t tag = 0;       // of its hash
  };
  struct Tuple {
    RuleWords mask{};
    std::array<std::uint8_t, std::tuple_size_v<RuleWords>> words{};  // those with ones,
    std::uint8_t word_count = 0;                                     // as many
    std::uint32_t best = kNone;                                      // the first of its rules
    std::uint32_t first = 0, place_mask = 0;  // its part of entries_: a power of two, at most half full
  };
  RuleTable(std::uint64_t seed, std::uint32_t version) noexcept;
  struct Building;
  [[nodiscard]] std::uint32_t find(const Tuple& tuple, const RuleWords& key) const noexcept;
  void place(Building& building);

  RuleHash hash_;
  std::uint32_t version_;
  std::vector<RuleAction> actions_;  // the first that matches counts
  std::vector<Tuple> tuples_;        // by their best
  std::vector<Entry> entries_;
  RuleWords fields_{};
  PlainFields plain_fields_;
  bool looks_at_ip_ = false;
};

/// The prefixes that a range of ports is made of, at most 30: value and mask.
struct PortPrefix {
  std::uint16_t value, mask;
};
[[nodiscard]] std::vector<PortPrefix> prefixes_of(const L4Ports& range);

}  // namespace vmux::switching
