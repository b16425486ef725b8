// SPDX-License-Identifier: BSD-3-Clause
#include "control/capture/capture_writer.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/text/format.hpp"
#include "control/version.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::control {
namespace {

constexpr std::size_t kBuffer = std::size_t{256} << 10;     // bytes that wait for the reader; then the taps fill up
constexpr unsigned kRecords = 512;                          // of a round
constexpr std::uint64_t kLookEvery_ns = 1'000'000'000;      // for frames that were missed
constexpr std::uint64_t kPatience_ns = 1'000'000'000;       // with a reader that takes nothing, at the end
constexpr std::uint64_t kMostPatience_ns = 30'000'000'000;  // with one that takes a little now and then

std::uint64_t wall_ns() noexcept {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

const char* drop_name(port::DropReason why) noexcept { return port::kDropReasons[port::index_of(why)].name; }

}  // namespace

const char* name_of(CaptureEnd end) noexcept {
  constexpr std::array kNames{"none", "count", "reader", "gone", "removed", "stopped", "daemon"};
  return kNames[static_cast<std::size_t>(end)];
}

CaptureWriter::CaptureWriter(runtime::Poller& poller, UniqueFd socket, std::vector<switching::Tap*> taps,
                             Options options)
    : poller_(poller),
      socket_(std::move(socket)),
      taps_(std::move(taps)),
      options_(std::move(options)),
      begin_ns_(monotonic_ns()),
      wall_offset_ns_(wall_ns() - begin_ns_) {
  pcapng::append_section(output_, fmt::format("vMux {}", version()));
}

CaptureWriter::~CaptureWriter() { poller_.remove_task(*this); }

Result<void> CaptureWriter::start() {
  auto watch = poller_.watch(socket_.get(), EPOLLIN | EPOLLRDHUP, [this](std::uint32_t events) { on_reader(events); });
  if (!watch) return tl::unexpected(watch.error());
  watch_ = std::move(*watch);
  poller_.add_task(*this);
  return {};
}

void CaptureWriter::add(switching::PortId port, const std::string& name, const std::string& description) {
  for (Source& source : sources_) {
    if (slot_of(source.port) == slot_of(port) && !source.after) source.after = totals_of(source);
  }
  auto known =
      std::find_if(interfaces_.begin(), interfaces_.end(), [&](const Interface& one) { return one.name == name; });
  if (known == interfaces_.end()) {
    known = interfaces_.insert(known, {name});
    pcapng::append(output_, pcapng::Interface{name, description, options_.filter, options_.snaplen});
  }
  sources_.push_back({port, static_cast<std::uint32_t>(known - interfaces_.begin()), counts_of(port)});
}

// --- what was counted ---

CaptureTotals CaptureWriter::counts_of(switching::PortId port) const noexcept {
  CaptureTotals totals;
  for (const switching::Tap* const tap : taps_) {
    const switching::Tap::Counts& counts = tap->counts(port);
    totals.seen += counts.seen.get();
    totals.passed += counts.passed.get();
    totals.missed += counts.missed.get();
  }
  return totals;
}

CaptureTotals CaptureWriter::totals_of(const Source& source) const noexcept {
  if (source.after) return *source.after;
  CaptureTotals totals = counts_of(source.port);
  totals.seen -= source.before.seen;
  totals.passed -= source.before.passed;
  totals.missed -= source.before.missed;
  return totals;
}

CaptureTotals CaptureWriter::totals_of(std::uint32_t interface) const noexcept {
  CaptureTotals sum;
  for (const Source& source : sources_) {
    if (source.interface != interface) continue;
    const CaptureTotals one = totals_of(source);
    sum.seen += one.seen;
    sum.passed += one.passed;
    sum.missed += one.missed;
  }
  sum.written = interfaces_[interface].written;
  return sum;
}

CaptureTotals CaptureWriter::totals() const noexcept {
  CaptureTotals sum;
  for (std::uint32_t i = 0; i < interfaces_.size(); ++i) {
    const CaptureTotals one = totals_of(i);
    sum.seen += one.seen;
    sum.passed += one.passed;
    sum.missed += one.missed;
    sum.written += one.written;
  }
  return sum;
}

// --- its end ---

// Nothing is said on this socket but that it is closed; whoever says something is not heard.
void CaptureWriter::on_reader(std::uint32_t events) {
  watch_.reset();
  end_by((events & (EPOLLHUP | EPOLLERR)) != 0 ? CaptureEnd::gone : CaptureEnd::reader);
}

void CaptureWriter::end_by(CaptureEnd end) noexcept {
  if (end == CaptureEnd::gone) close();
  if (end_ != CaptureEnd::none) return;
  end_ = end;
  has_news_ = true;
}

void CaptureWriter::finish(CaptureEnd end, const std::string& why, bool at_once) {
  watch_.reset();
  if (!why_) {
    if (end_ == CaptureEnd::none) end_ = end;
    why_ = why;
    close_at_ns_ = monotonic_ns() + kPatience_ns;
    give_up_at_ns_ = monotonic_ns() + kMostPatience_ns;
  }
  if (!at_once) return;
  while (socket_ && poll() > 0) {
  }
  close();
}

void CaptureWriter::close() noexcept {
  watch_.reset();
  if (!socket_) return;
  socket_.reset();
  output_.clear();
  sent_ = 0;
  has_news_ = true;
}

// --- rounds ---

unsigned CaptureWriter::poll() noexcept {
  unsigned done = 0;
  if (socket_) {
    done += drain();
    const bool has_room = output_.size() < kBuffer;  // a reader that does not read is told of gaps when it does
    if (!is_told_ && has_room && poller_.now_ns() >= next_look_ns_) tell_missed();
    if (why_ && !is_told_ && (oldest() == nullptr || end_ == CaptureEnd::count)) {
      for (std::uint32_t i = 0; i < interfaces_.size(); ++i)
        write_statistics(i, *why_);
      is_told_ = true;
    }
    done += send() ? 1 : 0;
    if (is_told_ && output_.empty()) close();
    if (why_ && done != 0) close_at_ns_ = std::min(monotonic_ns() + kPatience_ns, give_up_at_ns_);
    if (why_ && socket_ && monotonic_ns() >= close_at_ns_) close();
  }
  if (has_news_) has_news_ = !options_.on_change();
  return done;
}

// Each tap has its frames in order, and what is in several goes by its time.
switching::Tap* CaptureWriter::oldest() const noexcept {
  switching::Tap* found = nullptr;
  std::uint64_t found_ns = 0;
  for (switching::Tap* const tap : taps_) {
    const auto record = tap->ring().front();
    if (record.data() == nullptr) continue;
    switching::CapturedFrame head;
    std::memcpy(&head, record.data(), sizeof head);
    if (found != nullptr && head.seen.time_ns >= found_ns) continue;
    found = tap;
    found_ns = head.seen.time_ns;
  }
  return found;
}

unsigned CaptureWriter::drain() {
  unsigned done = 0;
  while (done < kRecords && output_.size() < kBuffer && end_ != CaptureEnd::count) {
    switching::Tap* const tap = oldest();
    if (tap == nullptr) break;
    write(tap->ring().front());
    tap->ring().pop();
    ++done;
    if (options_.count != 0 && written_ == options_.count) end_by(CaptureEnd::count);
  }
  return done;
}

void CaptureWriter::write(std::span<const std::byte> record) {
  switching::CapturedFrame head;
  std::memcpy(&head, record.data(), sizeof head);
  const auto source =
      std::find_if(sources_.rbegin(), sources_.rend(), [&](const Source& one) { return one.port == head.seen.port; });
  if (source == sources_.rend()) return;  // it was told of all that the taps are for
  std::optional<std::uint32_t> queue;
  if (head.seen.queue != port::kNoQueue) queue = head.seen.queue;
  std::string comment;
  if (head.seen.why != port::DropReason::none) comment = fmt::format("dropped: {}", drop_name(head.seen.why));
  pcapng::append(output_, pcapng::Packet{.interface = source->interface,
                                         .time_ns = wall(head.seen.time_ns),
                                         .bytes = record.subspan(sizeof head, head.size),
                                         .length = head.length,
                                         .is_outbound = head.seen.way == switching::Way::out,
                                         .queue = queue,
                                         .missed = head.missed,
                                         .comment = comment});
  ++interfaces_[source->interface].written;
  ++written_;
}

// Whoever watches sees that there are gaps while they come, not only at the end.
void CaptureWriter::tell_missed() {
  next_look_ns_ = poller_.now_ns() + kLookEvery_ns;
  for (std::uint32_t i = 0; i < interfaces_.size(); ++i) {
    if (totals_of(i).missed != interfaces_[i].told_missed) write_statistics(i, {});
  }
}

void CaptureWriter::write_statistics(std::uint32_t interface, std::string_view comment) {
  const CaptureTotals totals = totals_of(interface);
  const std::uint64_t now = wall(monotonic_ns());
  interfaces_[interface].told_missed = totals.missed;
  pcapng::append(output_, pcapng::Statistics{.interface = interface,
                                             .time_ns = now,
                                             .begin_ns = wall(begin_ns_),
                                             .end_ns = why_ ? std::optional{now} : std::nullopt,
                                             .received = totals.seen,
                                             .dropped = totals.missed,
                                             .accepted = totals.passed,
                                             .delivered = totals.written,
                                             .comment = comment});
}

// As much as the socket takes now; true when it took something.
bool CaptureWriter::send() noexcept {
  const std::size_t before = sent_;
  while (sent_ < output_.size()) {
    const ssize_t sent =
        ::send(socket_.get(), output_.data() + sent_, output_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) {
      end_by(CaptureEnd::gone);
      return false;
    }
    if (sent < 0) break;
    sent_ += static_cast<std::size_t>(sent);
  }
  const bool is_further = sent_ != before;
  if (sent_ == output_.size()) {
    output_.clear();
    sent_ = 0;
  } else if (sent_ >= kBuffer / 2) {
    output_.erase(output_.begin(), output_.begin() + static_cast<std::ptrdiff_t>(sent_));
    sent_ = 0;
  }
  return is_further;
}

}  // namespace vmux::control
