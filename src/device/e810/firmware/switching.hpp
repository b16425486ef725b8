// SPDX-License-Identifier: BSD-3-Clause
// The card's own switch as its driver configures it: stations (VSIs), and rules that lead frames to them. Here it has
// one port and, for frames, one station: the first that the driver has added. What the rules say of that one becomes
// the filters of the data path.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "intel/rules/filter.hpp"
#include "wire/ice_aq.hpp"

namespace vmux::device::e810 {

struct Rule {
  std::uint16_t index = 0, type = 0, recipe = 0, source = 0;
  std::uint32_t action = 0;
  std::vector<std::uint8_t> header;  ///< as the driver gave it: addresses, type, tag, and what follows
};

class Switching {
 public:
  static constexpr std::uint16_t kDefaultVsi = 1;  ///< there before any driver: network boot uses it
  static constexpr std::size_t kMostVsis = 32, kMostRules = 4096;
  static constexpr std::uint16_t kLastList = 511;  ///< of VSIs: as many as can be allocated

  Switching() { reset(); }
  void reset();

  [[nodiscard]] std::optional<std::uint16_t> add_vsi(const wire::ice::VsiContext& context);
  [[nodiscard]] wire::ice::VsiContext* vsi(std::uint16_t number);
  /// The sections that `context` has valid; false: no such VSI.
  bool update_vsi(std::uint16_t number, const wire::ice::VsiContext& context);
  bool free_vsi(std::uint16_t number);
  [[nodiscard]] std::size_t vsi_count() const noexcept { return vsis_.size(); }
  /// The station that gets frames.
  [[nodiscard]] std::uint16_t main_vsi() const noexcept { return main_; }
  [[nodiscard]] const wire::ice::VsiContext& main_context() const { return vsis_.at(main_); }

  /// Fills in the rule's index. EEXIST: the same is there; ENOSPC: no room.
  [[nodiscard]] wire::ice::Status add(Rule& rule);
  [[nodiscard]] wire::ice::Status update(const Rule& rule);
  [[nodiscard]] wire::ice::Status remove(std::uint16_t index);
  void set_list(std::uint16_t index, const std::vector<std::uint16_t>& vsis, bool is_member);
  void forget_list(std::uint16_t index) { lists_.erase(index); }

  /// What the rules of the main station say.
  [[nodiscard]] intel::Filters filters() const;

  [[nodiscard]] const std::map<std::uint16_t, wire::ice::VsiContext>& vsis() const noexcept { return vsis_; }
  [[nodiscard]] const std::map<std::uint16_t, Rule>& rules() const noexcept { return rules_; }
  [[nodiscard]] const std::map<std::uint16_t, std::set<std::uint16_t>>& lists() const noexcept { return lists_; }
  [[nodiscard]] const std::vector<std::uint16_t>& order() const noexcept { return order_; }
  void restore_vsi(std::uint16_t number, const wire::ice::VsiContext& context);
  void restore(Rule rule);
  void choose_main() noexcept;

 private:
  [[nodiscard]] bool leads_to_main(const Rule& rule) const;
  void note(const Rule& rule, intel::Filters& filters) const;

  std::map<std::uint16_t, wire::ice::VsiContext> vsis_;
  std::vector<std::uint16_t> order_;  // VSIs that a driver has added, the oldest first
  std::uint16_t main_ = kDefaultVsi;
  using Match = std::tuple<std::uint16_t, std::uint16_t, std::uint16_t, std::vector<std::uint8_t>>;
  [[nodiscard]] static Match match_of(const Rule& rule) { return {rule.type, rule.recipe, rule.source, rule.header}; }
  std::map<std::uint16_t, Rule> rules_;
  std::set<Match> matches_;                                 // of these rules: no two are for the same frames
  std::map<std::uint16_t, std::set<std::uint16_t>> lists_;  // of VSIs, which several rules may lead to
  std::size_t macs_ = 0;                                    // rules that name a single station
};

}  // namespace vmux::device::e810
