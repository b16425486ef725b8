// SPDX-License-Identifier: BSD-3-Clause
#include "kvfio/group.hpp"

#include <algorithm>
#include <utility>

#include "base/logf.hpp"

namespace vmux::kvfio {
namespace {

constexpr std::size_t kMostMembers = 32;         // bits of OwnerBit
constexpr std::uint64_t kRetry_ns = 50'000'000;  // a killed VMM needs this long to let go of everything
constexpr std::uint64_t kSlowRetry_ns = 1'000'000'000;
constexpr std::uint64_t kBetweenPieces_ns = 1'000'000;  // messages are served meanwhile
constexpr unsigned kPatience = 40;                      // attempts before someone is told, and asked less often
constexpr char kUnpinned[] = "the VM's memory cannot be pinned";
constexpr char kStuck[] = "the IOMMU keeps memory that the VM has taken back";

}  // namespace

Group::Group(Kernel& kernel, unsigned number, runtime::Poller& poller)
    : kernel_(kernel),
      number_(number),
      poller_(poller),
      retry_(poller, [this] { take_anew(); }),
      pinning_(poller, [this] { pin_piece(); }) {}

Group::~Group() = default;

Group::Membership& Group::seat_of(const Member& member) noexcept {
  return *std::find_if(seats_.begin(), seats_.end(), [&](const Membership& seat) { return seat.member == &member; });
}

OwnerBit Group::bit_of(const Member& member) const noexcept {
  const auto seat =
      std::find_if(seats_.begin(), seats_.end(), [&](const Membership& one) { return one.member == &member; });
  return OwnerBit{1} << (seat - seats_.begin());
}

bool Group::is_alone(const Member& member) const noexcept {
  return std::none_of(seats_.begin(), seats_.end(),
                      [&](const Membership& seat) { return seat.has_client && seat.member != &member; });
}

Result<Group::Membership*> Group::free_seat() {
  auto seat = std::find_if(seats_.begin(), seats_.end(), [](const Membership& one) { return one.member == nullptr; });
  if (seat == seats_.end()) {
    if (seats_.size() == kMostMembers) return fail(Errc::no_space, "too many functions of one IOMMU group");
    seat = seats_.insert(seat, Membership{});
  }
  return &*seat;
}

Result<void> Group::join(Member& member) {
  const auto seat = free_seat();
  if (!seat) return tl::unexpected(seat.error());
  (*seat)->member = &member;
  auto opened = open(**seat);
  if (!opened) leave(member);
  return opened;
}

Result<void> Group::join_closed(Member& member) {
  const auto seat = free_seat();
  if (!seat) return tl::unexpected(seat.error());
  (*seat)->member = &member;
  return {};
}

Result<KernelDomain*> Group::adopt_domain(const state::FdBag& fds) {
  if (domain_ && !is_adopted_) return fail(Errc::busy, "the IOMMU group has been opened anew");
  if (!domain_) {
    auto domain = kernel_.adopt_domain(number_, fds);
    if (!domain) return tl::unexpected(domain.error());
    domain_ = std::move(*domain);
    is_adopted_ = true;
  }
  return domain_.get();
}

void Group::adopted(Member& member) noexcept {
  Membership& seat = seat_of(member);
  seat.is_open = seat.has_client = true;
}

void Group::disown(Member& member) noexcept {
  Membership& seat = seat_of(member);
  dma_.disown(bit_of(member));
  seat.is_open = seat.has_client = false;
  drop_idle_domain();
}

void Group::settle_adopted(const std::function<bool(const Member&)>& is_running) noexcept {
  if (!std::exchange(is_adopted_, false) || !domain_) return;
  OwnerBit running = 0;
  for (const Membership& seat : seats_) {
    if (seat.member != nullptr && seat.has_client && is_running(*seat.member)) running |= bit_of(*seat.member);
  }
  if (auto done = dma_.settle(*domain_, running); !done) memory_failed(kStuck);
  pin_later();
}

void Group::open_when_free(Member& member, std::function<void()> ready) {
  Membership& seat = seat_of(member);
  if (seat.is_open) return ready();
  seat.ready = std::move(ready);
  attempts_ = 0;
  take_anew();
}

void Group::leave(Member& member) noexcept {
  Membership& seat = seat_of(member);
  seat.has_client = false;
  static_cast<void>(unmap_all(member));
  close(seat);
  seat = Membership{};
  drop_idle_domain();
  if (std::all_of(seats_.begin(), seats_.end(), [](const Membership& one) { return !one.member; })) retry_.disarm();
}

/// Without an open device the group is of no use to us, and may be of use to others.
void Group::drop_idle_domain() noexcept {
  if (std::any_of(seats_.begin(), seats_.end(), [](const Membership& one) { return one.is_open; })) return;
  dma_.clear();
  domain_.reset();
  is_adopted_ = false;
}

void Group::let_go(Member& member) noexcept {
  Membership& seat = seat_of(member);
  seat.is_lost = true;
  close(seat);
  drop_idle_domain();
}

Result<void> Group::open(Membership& seat) {
  if (seat.is_open) return {};
  if (!domain_) {
    auto domain = kernel_.open_domain(number_);
    if (!domain) return tl::unexpected(domain.error());
    domain_ = std::move(*domain);
  }
  if (auto opened = seat.member->open(*domain_); !opened) {
    drop_idle_domain();
    return opened;
  }
  seat.is_open = true;
  seat.is_lost = false;
  return {};
}

void Group::close(Membership& seat) noexcept {
  if (std::exchange(seat.is_open, false)) seat.member->close();
}

Result<void> Group::client_came(Member& member) {
  Membership& seat = seat_of(member);
  if (auto opened = open(seat); !opened) return opened;
  seat.has_client = true;
  return {};
}

void Group::client_went(Member& member, bool is_lost, std::function<void()> ready) {
  Membership& seat = seat_of(member);
  seat.has_client = false;
  seat.is_lost = is_lost;
  seat.ready = std::move(ready);
  static_cast<void>(unmap_all(member));  // what is stuck goes with the group, once the others have gone too
  if (is_alone(member)) {
    give_back();
    attempts_ = 0;
    take_anew();
    return;
  }
  // Another function of the group is in use: the group stays, this device alone is closed and opened again.
  close(seat);
  if (!is_lost) {
    if (auto opened = open(seat); !opened) logf(LogLevel::error, "group {}: {}", number_, opened.error().text());
  }
  if (auto call = std::exchange(seat.ready, nullptr)) call();
}

void Group::give_back() noexcept {
  for (Membership& seat : seats_)
    close(seat);
  drop_idle_domain();
}

void Group::take_anew() noexcept {
  bool is_busy = false;
  for (Membership& seat : seats_) {
    if (seat.member == nullptr || seat.is_lost) continue;
    const auto opened = open(seat);
    if (opened) continue;
    is_busy = is_busy || opened.error().code == Errc::busy;
    if (opened.error().code != Errc::busy) {
      logf(LogLevel::error, "IOMMU group {} cannot be had again: {}", number_, opened.error().text());
    }
  }
  if (is_busy) {
    if (++attempts_ == kPatience) {
      logf(LogLevel::warning,
           "IOMMU group {}: a client that has gone still holds its device's descriptor; the next one waits", number_);
    }
    retry_.arm_after(attempts_ < kPatience ? kRetry_ns : kSlowRetry_ns);
    return;
  }
  // By index: whoever is ready may serve a client at once, which may change the seats.
  for (std::size_t i = 0; i < seats_.size(); ++i) {
    if (auto call = std::exchange(seats_[i].ready, nullptr)) call();
  }
}

void Group::pin_later() noexcept {
  if (dma_.has_backlog() && !pinning_.is_armed()) pinning_.arm_after(kBetweenPieces_ns);
}

void Group::pin_piece() noexcept {
  if (!domain_ || !dma_.has_backlog()) return;
  if (settle(dma_.work(*domain_))) pin_later();
}

bool Group::pin_now() noexcept { return !domain_ || settle(dma_.finish(*domain_)); }

bool Group::settle(const Result<void>& pinned) noexcept {
  if (pinned) return true;
  logf(LogLevel::error, "IOMMU group {}: memory that a VM was promised cannot be given to its devices: {}", number_,
       pinned.error().text());
  memory_failed(kUnpinned);
  return false;
}

void Group::memory_failed(const char* why) noexcept {
  for (const Membership& seat : seats_) {
    if (seat.member != nullptr && seat.has_client) seat.member->memory_failed(why);
  }
}

Result<void> Group::map(const Member& member, const DmaMap::Request& request) noexcept {
  if (!domain_) return fail(Errc::disconnected, "the device is gone");
  auto done = dma_.map(*domain_, bit_of(member), request);
  if (!done && dma_.has_stuck()) memory_failed(kStuck);
  pin_later();
  return done;
}

Result<void> Group::unmap(const Member& member, Iova start, ByteCount size) noexcept {
  auto done = domain_ ? dma_.unmap(*domain_, bit_of(member), start, size) : Result<void>{};
  if (!done) memory_failed(kStuck);
  return done;
}

Result<void> Group::unmap_all(const Member& member) noexcept {
  auto done = domain_ ? dma_.unmap_all(*domain_, bit_of(member)) : Result<void>{};
  if (!done) memory_failed(kStuck);
  return done;
}

Result<std::shared_ptr<Group>> Groups::get(unsigned number, runtime::Poller& poller) {
  if (auto known = groups_[number].lock()) {
    if (known->is_at(poller)) return known;
    return fail(Errc::not_supported, "another function of its IOMMU group is served by a port of another model");
  }
  auto group = std::make_shared<Group>(kernel_, number, poller);
  groups_[number] = group;
  return group;
}

}  // namespace vmux::kvfio
