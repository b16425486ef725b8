// SPDX-License-Identifier: BSD-3-Clause
// A VM whose card is behind a vfio-user server, and which moves to another: the fake guest's way to its card over our
// own client, a daemon on a thread of its own with frames both ways, and what a VMM does when a VM migrates.
#pragma once

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fake_guest/way.hpp"
#include "rigs/cpu_log.hpp"
#include "rigs/nic_rig.hpp"
#include "vmux/vfio_user/client.hpp"
#include "vmux/vfio_user/server.hpp"

namespace vmux::rigs {

/// Does not own the client: a VM that has moved has another.
class ClientWay final : public fake_guest::Way {
 public:
  explicit ClientWay(vfio_user::Client& client) noexcept : client_(client) {}
  void read(pci::Region region, std::uint64_t at, std::span<std::byte> into) override {
    VMUX_ASSERT(client_.read(region, RegionOffset{at}, into).has_value());
  }
  void write(pci::Region region, std::uint64_t at, std::span<const std::byte> from) override {
    VMUX_ASSERT(client_.write(region, RegionOffset{at}, from).has_value());
  }
  void give_memory(UniqueFd file, std::uint64_t size) override {
    VMUX_ASSERT(client_.dma_map(Iova{0}, ByteCount{size}, memory::Access::read_write, file.get(), 0).has_value());
  }
  std::uint32_t count_of(pci::Irq kind) override { return client_.irq_info(static_cast<std::uint32_t>(kind))->count; }
  void give_interrupts(pci::Irq kind, std::vector<UniqueFd> sinks) override {
    std::vector<int> fds;
    for (const UniqueFd& sink : sinks)
      fds.push_back(sink.get());
    VMUX_ASSERT(client_
                    .set_irqs(kind, pci::IrqAction::trigger, pci::IrqData::eventfd, 0,
                              static_cast<std::uint32_t>(fds.size()), fds)
                    .has_value());
  }
  Mapping map_bar0() override {
    const auto bar = client_.region_info(static_cast<std::uint32_t>(pci::Region::bar0));
    VMUX_ASSERT(bar.has_value());
    if (!bar->fd) return {};
    auto mapping = Mapping::create(bar->fd.get(), bar->fd_offset, bar->size, true);
    VMUX_ASSERT(mapping.has_value());
    return std::move(*mapping);
  }
  void leave() noexcept override {}

 private:
  vfio_user::Client& client_;
};

/// What the world sees of a VM: frames with numbers, each way. It moves along with the VM.
struct Numbers {
  std::atomic<unsigned> arrived{0};  ///< frames that a card has taken
  std::atomic<unsigned> allowed{0};  ///< as many may arrive as yet
  std::atomic<unsigned> on_wire{0};  ///< frames that came from the guest
  std::atomic<bool> is_wrong{false};
  std::atomic<bool> is_held{false};  ///< nothing goes either way
};

inline FrameBytes numbered(unsigned number) {
  FrameBytes frame = frame_to_us(64 + number * 37 % 1400);
  for (unsigned i = 0; i < 4; ++i)
    frame[14 + i] = std::byte(number >> 8 * i & 0xff);
  return frame;
}

/// The other end of a card's cable, on the card's poller and looked at in each of its rounds.
class Wire final : public runtime::Task {
 public:
  Wire(port::Port& port, Numbers& numbers) noexcept : port_(port), numbers_(numbers) {}
  unsigned poll() noexcept override {
    if (numbers_.is_held) return 0;
    unsigned work = 0;
    for (const Sent& frame : take_from(port_, 8)) {
      if (frame.bytes != numbered(numbers_.on_wire)) numbers_.is_wrong = true;
      ++numbers_.on_wire;
      ++work;
    }
    for (; work < 16 && numbers_.arrived < numbers_.allowed; ++work) {
      if (arrive_at(port_, numbered(numbers_.arrived)) == 0) break;
      ++numbers_.arrived;
    }
    return work;
  }
  [[nodiscard]] bool needs_polling() const noexcept override { return true; }

 private:
  port::Port& port_;
  Numbers& numbers_;
};

/// A server of one card, with all that it needs to itself.
template <class Card>
class Daemon {
 public:
  template <class Options>
  explicit Daemon(const Options& options) {
    static unsigned count = 0;
    auto poller = runtime::Poller::create();
    VMUX_ASSERT(poller.has_value());
    poller_ = std::move(*poller);
    auto card = Card::create(options, *poller_);
    VMUX_ASSERT(card.has_value());
    card_ = std::move(*card);
    vfio_user::ServerOptions serving;
    serving.path = std::filesystem::temp_directory_path() /
                   ("vmux-migration-" + std::to_string(::getpid()) + "-" + std::to_string(++count));
    auto server = vfio_user::Server::create(*poller_, card_->function(), serving);
    VMUX_ASSERT(server.has_value());
    server_ = std::move(*server);
    VMUX_ASSERT(poller_->start().has_value());
  }
  ~Daemon() {
    unplug();
    poller_->stop();
    poller_->join();
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  [[nodiscard]] std::unique_ptr<vfio_user::Client> connect() {
    auto client = vfio_user::Client::connect(server_->path());
    VMUX_ASSERT(client.has_value());
    return std::move(*client);
  }
  void plug_in(Numbers& numbers) {
    poller_->call([&] {
      wire_ = std::make_unique<Wire>(card_->port(), numbers);
      poller_->add_task(*wire_);
    });
  }
  void unplug() {
    poller_->call([&] {
      if (wire_) poller_->remove_task(*wire_);
      wire_.reset();
    });
  }
  [[nodiscard]] runtime::Poller& poller() noexcept { return *poller_; }
  [[nodiscard]] Card& card() noexcept { return *card_; }

 private:
  std::unique_ptr<runtime::Poller> poller_;
  std::unique_ptr<Card> card_;
  std::unique_ptr<vfio_user::Server> server_;
  std::unique_ptr<Wire> wire_;
};

using Pages = std::vector<bool>;

/// The log of a card's writes to memory of `size` bytes at 0, as a client has it.
class DmaLog {
 public:
  DmaLog(vfio_user::Client& client, std::uint64_t size) : client_(client), size_(size) {}
  [[nodiscard]] bool start() {
    const std::array<std::uint64_t, 4> request{CpuLog::kPage, 1, 0, size_};
    return client_.device_feature(kSet | 6, std::as_bytes(std::span{request})).has_value();
  }
  [[nodiscard]] bool stop() { return client_.device_feature(kSet | 7, {}).has_value(); }
  [[nodiscard]] Pages take() {
    const std::array<std::uint64_t, 3> request{0, size_, CpuLog::kPage};
    std::vector<std::byte> reply(24 + size_ / CpuLog::kPage / 8);
    const auto filled = client_.device_feature(kGet | 8, std::as_bytes(std::span{request}), reply);
    VMUX_ASSERT(filled.has_value() && *filled == reply.size());
    Pages pages(size_ / CpuLog::kPage);
    for (std::size_t page = 0; page < pages.size(); ++page)
      pages[page] = (std::to_integer<unsigned>(reply[24 + page / 8]) >> page % 8 & 1) != 0;
    return pages;
  }

 private:
  static constexpr std::uint32_t kGet = 1 << 16, kSet = 1 << 17;  // of linux/vfio.h, as are the features' numbers
  vfio_user::Client& client_;
  const std::uint64_t size_;
};

/// Moves what there is to read; false when the destination does not take it.
[[nodiscard]] inline bool move_stream(vfio_user::Client& from, vfio_user::Client& to, std::size_t piece = 1000) {
  std::vector<std::byte> bytes(piece);
  for (;;) {
    const auto got = from.migration_read(bytes);
    VMUX_ASSERT(got.has_value());
    if (*got != 0 && !to.migration_write(std::span{bytes}.first(*got))) return false;
    if (*got < piece) return true;
  }
}

}  // namespace vmux::rigs
