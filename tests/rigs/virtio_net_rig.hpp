// SPDX-License-Identifier: BSD-3-Clause
// A virtio network card on PCI with a fake driver on its one side and a test that plays the switch on the other.
#pragma once

#include <utility>
#include <vector>

#include "base/mac.hpp"
#include "device/virtio_net/pci_nic.hpp"
#include "fake_guest/virtio_net_guest.hpp"
#include "rigs/nic_rig.hpp"

namespace vmux::rigs {

inline constexpr MacAddress kVirtioStation{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

/// The card with the port of its home poller in one, which counts what was lost on the way in.
class VirtioCard final : public port::Port {
 public:
  using Options = device::virtio_net::NicOptions;
  static Result<std::unique_ptr<VirtioCard>> create(Options options, runtime::Poller& poller) {
    auto card = device::virtio_net::PciNic::create(std::move(options), poller);
    if (!card) return tl::unexpected<Error>(card.error());
    return std::unique_ptr<VirtioCard>{new VirtioCard(std::move(*card))};
  }
  pci::Function& function() { return card_->function(); }
  device::virtio_net::Nic& nic() { return card_->nic(); }
  std::vector<port::Port*> lanes() { return card_->lanes(); }
  void set_link(bool up) { card_->set_link(up); }
  port::Port& port() { return *this; }
  [[nodiscard]] unsigned drops(port::DropReason why) const { return drops_[port::index_of(why)]; }
  [[nodiscard]] bool is_link_up() const { return card_->nic().is_link_up(); }

  void begin_round() noexcept override { card_->port().begin_round(); }
  void end_round() noexcept override { card_->port().end_round(); }
  std::size_t take(std::span<packet::FrameView> into) noexcept override { return card_->port().take(into); }
  void finish(std::span<const port::FrameResult> results) noexcept override { card_->port().finish(results); }
  [[nodiscard]] port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept override {
    const port::Delivery done = card_->port().deliver(frames);
    for (std::size_t i = 0; i < done.why.size(); ++i)
      drops_[i] += done.why[i];
    return done;
  }
  [[nodiscard]] packet::Accepts accepts() const noexcept override { return card_->port().accepts(); }
  [[nodiscard]] bool needs_polling() const noexcept override { return card_->port().needs_polling(); }
  [[nodiscard]] bool is_ready() const noexcept override { return card_->port().is_ready(); }

 private:
  explicit VirtioCard(std::unique_ptr<device::virtio_net::PciNic> card) : card_(std::move(card)) {}
  std::unique_ptr<device::virtio_net::PciNic> card_;
  std::array<unsigned, port::kDropReasons.size()> drops_{};
};

struct VirtioNetRig : NicRig<VirtioCard, fake_guest::VirtioNetGuest> {
  using Doorbell = device::virtio_net::Doorbell;
  using Guest = fake_guest::VirtioNetGuest;
  using Bytes = fake_guest::Bytes;

  explicit VirtioNetRig(Doorbell doorbell = Doorbell::trap, unsigned pairs = 4, std::uint64_t withheld = 0,
                        std::vector<runtime::Poller*> more_pollers = {})
      : NicRig(VirtioCard::Options{.name = "test",
                                   .mac = kVirtioStation,
                                   .doorbell = doorbell,
                                   .queue_pairs = pairs,
                                   .features_withheld = withheld,
                                   .more_pollers = std::move(more_pollers)}) {}

  device::virtio_net::Nic& model() { return nic->nic(); }
  /// The bytes alone of what the card sends, finished.
  std::vector<Bytes> take_bytes(std::size_t most = port::kMaxBurst) {
    std::vector<Bytes> sent;
    for (Sent& one : take(most))
      sent.push_back(std::move(one.bytes));
    return sent;
  }
};

}  // namespace vmux::rigs
