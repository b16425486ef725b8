// SPDX-License-Identifier: BSD-3-Clause
// Pausing, saving and loading what is the card's own: its queues are the transport's to save.
#include <algorithm>
#include <string_view>
#include <utility>

#include "device/virtio_net/nic.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::device::virtio_net {
namespace {

struct SavedState {
  static constexpr std::string_view kSection = "virtio.net";
  static constexpr std::uint16_t kVersion = 1;

  MacAddress station{};     // of the daemon: to be the same at both ends
  std::uint16_t mtu = 0;    // the same
  bool is_link_up = false;  // as the guest was told
  Settings settings;

  static void describe(auto& fields, auto& self) {
    fields("station", self.station);
    fields("mtu", self.mtu);
    fields("is_link_up", self.is_link_up);
    fields("settings", self.settings);
  }
};

}  // namespace

void Nic::pause() noexcept {
  is_paused_ = true;
  control_timer_.disarm();
  for (const auto& lane : lanes_)
    lane->pause();
}

// A driver that has moved tells its new network where it is.
void Nic::resume() noexcept {
  is_paused_ = false;
  for (const auto& lane : lanes_)
    lane->resume();
  if (has_moved_) settings_.announce_due = has(wire::virtio::net::feature::guest_announce);
  if ((has_moved_ || has_news_) && signals_ != nullptr) signals_->config_changed();
  has_moved_ = has_news_ = false;
  if (std::exchange(is_control_unsure_, false) && signals_ != nullptr) signals_->queue_used(control_index());
  serve_control();
}

void Nic::save(state::Writer& into) const { into.add(SavedState{options_.mac, options_.mtu, is_link_up_, settings_}); }

tl::expected<void, std::string> Nic::load(state::Reader& from) {
  SavedState saved;
  if (auto read = from.load(saved); !read) return read;
  if (saved.station != options_.mac) return tl::unexpected<std::string>("virtio.net is of a card with another address");
  if (saved.mtu != options_.mtu) return tl::unexpected<std::string>("virtio.net is of a card with another MTU");
  if (!can_be(saved.settings, agreed_))
    return tl::unexpected<std::string>("virtio.net has settings that there cannot be");
  settings_ = saved.settings;
  has_moved_ = true;
  has_news_ = saved.is_link_up != is_link_up_;
  publish();
  return {};
}

tl::expected<void, std::string> Nic::arena_taken_over() {
  const bool are_queues = control_.journal_taken_over() && std::all_of(lanes_.begin(), lanes_.end(), [](auto& lane) {
                            return lane->journals_taken_over();
                          });
  if (!are_queues) {
    return tl::unexpected<std::string>("what the card's process has left has a queue that there cannot be");
  }
  is_control_unsure_ = control_.ring().is_started();
  return {};
}

void Nic::has_stayed() noexcept { has_moved_ = false; }

}  // namespace vmux::device::virtio_net
