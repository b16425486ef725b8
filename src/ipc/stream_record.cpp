// SPDX-License-Identifier: BSD-3-Clause
#include "ipc/stream_record.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "vmux/base/assert.hpp"

namespace vmux::ipc {
namespace {

constexpr std::uint64_t kMagic = 0x0a31'6d61'6572'7453;  // "Stream1\n", lowest byte first
constexpr std::size_t kPage = 4096;
constexpr std::uint64_t kNobody = ~std::uint64_t{0};
/// What is left moves to the front of its buffer when its end is near, to places that the cursor that counts does not
/// name: in buffers of this many times the longest the two do not overlap.
constexpr std::size_t kInBuffers = 3, kOutBuffers = 4;

/// Stores of one thread, seen by a process that begins after its death: the compiler is all that may change their
/// order.
void keep_order() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

}  // namespace

/// A system call under way. The kernel itself stores the length into `message` before the thread can see a signal, so
/// memory says what was read or sent wherever SIGKILL falls; a counter that is set after the call does not.
struct StreamRecord::Call {
  std::uint64_t generation;  // of the cursor that it began with: another one knows its result already
  mmsghdr message;
  iovec part;
  alignas(cmsghdr) char control[CMSG_SPACE(StreamFds::kMost * sizeof(int))];
};

struct StreamRecord::State {
  std::uint64_t magic;
  std::uint64_t longest;
  Cursor cursors[2];
  std::uint32_t which;
  std::uint32_t deaths;     // in the message at `executing`, before this process
  std::uint64_t executing;  // its position, or kNobody
  Call receiving, sending;
  StreamFds arrived[kArrivals + 1], departing[kDepartures * 2];
};

namespace {

constexpr std::size_t header_size(std::size_t state) noexcept { return (state + kPage - 1) / kPage * kPage; }

template <std::size_t Size, std::size_t Places>
std::uint8_t free_place(const std::uint8_t (&used)[Size], std::uint8_t count, const StreamFds (&)[Places]) noexcept {
  for (std::uint8_t place = 0; place < Places; ++place) {
    if (std::find(used, used + count, place) == used + count) return place;
  }
  return 0;  // there are more places than can be in use
}

}  // namespace

Result<StreamRecord> StreamRecord::create(std::size_t longest) {
  longest = (longest + kPage - 1) / kPage * kPage;
  const std::size_t first = header_size(sizeof(State));
  const std::size_t size = first + (kInBuffers + kOutBuffers) * longest;
  auto fd = make_memfd("vmux-stream", size);
  if (!fd) return tl::unexpected(fd.error());
  auto memory = Mapping::create(fd->get(), 0, size, true);
  if (!memory) return tl::unexpected(memory.error());
  // A page that is missing when the kernel stores a length, with a fatal signal pending, is not brought in, and the
  // length is lost. Where locking is not allowed they are at least there from the start.
  static_cast<void>(::mlock(memory->data(), first));
  StreamRecord record{std::move(*fd), std::move(*memory)};
  record.state().magic = kMagic;
  record.state().longest = longest;
  record.clear();
  return record;
}

tl::expected<StreamRecord, std::string> StreamRecord::open(UniqueFd fd) {
  const auto bad = [](const char* why) { return tl::unexpected(std::string{"the record of a session "} + why); };
  struct stat status {};
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  const std::size_t first = header_size(sizeof(State));
  if (::fstat(fd.get(), &status) != 0 || seals < 0 || (seals & F_SEAL_SHRINK) == 0) return bad("can be cut");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size < first) return bad("is too short");
  auto memory = Mapping::create(fd.get(), 0, size, true);
  if (!memory) return bad("cannot be mapped");
  StreamRecord record{std::move(fd), std::move(*memory)};
  const State& state = record.state();
  if (state.magic != kMagic || state.longest == 0 || size != first + (kInBuffers + kOutBuffers) * state.longest) {
    return bad("is of another version");
  }
  return record;
}

StreamRecord::State& StreamRecord::state() const noexcept { return *reinterpret_cast<State*>(mapping_.data()); }

const StreamRecord::Cursor& StreamRecord::current() const noexcept { return state().cursors[state().which & 1]; }

std::span<std::byte> StreamRecord::in() const noexcept {
  return mapping_.bytes().subspan(header_size(sizeof(State)), kInBuffers * state().longest);
}

std::span<std::byte> StreamRecord::out() const noexcept {
  return mapping_.bytes().subspan(header_size(sizeof(State)) + kInBuffers * state().longest,
                                  kOutBuffers * state().longest);
}

void StreamRecord::flip(Cursor next) noexcept {
  State& all = state();
  const std::uint32_t other = 1 - (all.which & 1);
  next.generation = current().generation + 1;
  all.cursors[other] = next;
  keep_order();
  all.which = other;
  keep_order();
}

void StreamRecord::clear() noexcept {
  Cursor next{};
  next.round = current().round + 1;
  flip(next);
  state().deaths = 0;
  state().executing = kNobody;
}

Result<void> StreamRecord::begin_with(std::span<const std::byte> bytes, std::span<const StreamFds> fds,
                                      std::uint32_t deaths) noexcept {
  if (bytes.size() > state().longest || fds.size() > kArrivals) {
    return fail(Errc::no_space, "more is under way on a session than its record has room for");
  }
  Cursor next = current();
  std::ranges::copy(bytes, in().begin());
  next.in_end = bytes.size();
  for (const StreamFds& each : fds) {
    state().arrived[next.arrivals] = each;
    next.arrived[next.arrivals] = next.arrivals;
    ++next.arrivals;
  }
  flip(next);
  state().deaths = deaths;
  return {};
}

ssize_t StreamRecord::receive(int socket, std::size_t limit, int flags, msghdr& message,
                              std::span<const std::byte>& bytes) noexcept {
  const std::size_t room = in().size();
  if (const Cursor& now = current(); now.in_end - now.in_base + std::min(limit, state().longest) > room ||
                                     (now.in_begin == now.in_end && now.in_base != now.in_end)) {
    Cursor next = now;
    const std::span<const std::byte> left = in().subspan(now.in_begin - now.in_base, now.in_end - now.in_begin);
    std::ranges::copy(left, in().begin());
    next.in_base = now.in_begin;
    flip(next);
  }
  const Cursor& now = current();
  const std::size_t used = now.in_end - now.in_base;
  const auto area = in().subspan(used, std::min(limit, room - used));
  Call& call = state().receiving;
  call.part = {area.data(), area.size()};
  call.message.msg_len = 0;
  call.message.msg_hdr = {};
  call.message.msg_hdr.msg_iov = &call.part;
  call.message.msg_hdr.msg_iovlen = 1;
  call.message.msg_hdr.msg_control = call.control;
  call.message.msg_hdr.msg_controllen = sizeof call.control;
  keep_order();
  call.generation = now.generation;
  keep_order();
  const int done = ::recvmmsg(socket, &call.message, 1, flags, nullptr);
  if (done < 1) return -1;
  message = call.message.msg_hdr;
  bytes = area.first(call.message.msg_len);
  return call.message.msg_len;
}

void StreamRecord::received(std::size_t bytes, const StreamFds* fds) noexcept {
  State& all = state();
  Cursor next = current();
  next.in_end += bytes;
  if (fds != nullptr) {
    const std::uint8_t place = free_place(next.arrived, next.arrivals, all.arrived);
    all.arrived[place] = *fds;
    const bool is_more = next.arrivals != 0 && all.arrived[next.arrived[next.arrivals - 1]].position == fds->position;
    VMUX_ASSERT(is_more || next.arrivals < kArrivals);
    if (!is_more) ++next.arrivals;
    next.arrived[next.arrivals - 1] = place;
  }
  flip(next);
}

void StreamRecord::begin(std::uint64_t position) noexcept { state().executing = position; }

void StreamRecord::commit(std::uint64_t served, std::uint64_t image, std::span<const std::byte> output,
                          std::span<const StreamFds> fds) noexcept {
  State& all = state();
  Cursor next = current();
  ++next.round;
  next.image = image;
  next.in_begin = served;
  const auto is_served = [&](std::uint8_t place) { return all.arrived[place].position < served; };
  const auto rest = std::find_if_not(next.arrived, next.arrived + next.arrivals, is_served);
  next.arrivals = static_cast<std::uint8_t>(std::copy(rest, next.arrived + next.arrivals, next.arrived) - next.arrived);
  if (next.out_sent == next.out_end) next.out_base = next.out_end;
  if (next.out_end - next.out_base + output.size() > out().size()) {
    const auto left = out().subspan(next.out_sent - next.out_base, next.out_end - next.out_sent);
    VMUX_ASSERT(left.size() + output.size() <= out().size() / 2);
    std::ranges::copy(left, out().begin());
    next.out_base = next.out_sent;
  }
  std::ranges::copy(output, out().begin() + static_cast<std::ptrdiff_t>(next.out_end - next.out_base));
  next.out_end += output.size();
  for (const StreamFds& each : fds) {
    VMUX_ASSERT(next.departures < kDepartures);
    const std::uint8_t place = free_place(next.departing, next.departures, all.departing);
    all.departing[place] = each;
    next.departing[next.departures++] = place;
  }
  flip(next);
  if (all.executing == kNobody) return;
  all.executing = kNobody;
  all.deaths = 0;
}

ssize_t StreamRecord::send(int socket, msghdr& message, int flags) noexcept {
  Call& call = state().sending;
  call.message.msg_len = 0;
  call.message.msg_hdr = message;
  keep_order();
  call.generation = current().generation;
  keep_order();
  if (::sendmmsg(socket, &call.message, 1, flags) < 1) return -1;
  Cursor next = current();
  next.out_sent += call.message.msg_len;
  const auto is_sent = [&](std::uint8_t place) { return state().departing[place].position < next.out_sent; };
  const auto rest = std::find_if_not(next.departing, next.departing + next.departures, is_sent);
  next.departures =
      static_cast<std::uint8_t>(std::copy(rest, next.departing + next.departures, next.departing) - next.departing);
  flip(next);
  return call.message.msg_len;
}

namespace {

/// The numbers of descriptors in a control area, as recvmsg() leaves it.
StreamFds numbers_in(msghdr message) noexcept {
  StreamFds found;
  found.lost = (message.msg_flags & MSG_CTRUNC) != 0 ? 1 : 0;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = std::min((part->cmsg_len - CMSG_LEN(0)) / sizeof(int), StreamFds::kMost - found.count);
    std::memcpy(found.fds + found.count, CMSG_DATA(part), count * sizeof(int));
    found.count += static_cast<std::uint32_t>(count);
  }
  return found;
}

}  // namespace

tl::expected<StreamRecord::Left, std::string> StreamRecord::left(OwnerOf owner_of, std::size_t max_message) const {
  const auto bad = [](const char* why) { return tl::unexpected(std::string{"the record of a session "} + why); };
  const State& all = state();
  Cursor now = current();
  const auto fit = [](std::uint64_t base, std::uint64_t begin, std::uint64_t end, std::size_t room) {
    return base <= begin && begin <= end && end - base <= room;
  };
  if (!fit(now.in_base, now.in_begin, now.in_end, in().size()) ||
      !fit(now.out_base, now.out_sent, now.out_end, out().size()) || now.arrivals > kArrivals ||
      now.departures > kDepartures) {
    return bad("stands where it cannot");
  }
  Left left;
  const Call& receiving = all.receiving;
  const bool has_received = receiving.generation == now.generation && receiving.message.msg_len != 0;
  if (has_received) {
    if (receiving.message.msg_len > in().size() - (now.in_end - now.in_base)) return bad("has received too much");
    now.in_end += receiving.message.msg_len;
  }
  if (all.sending.generation == now.generation) {
    if (all.sending.message.msg_len > now.out_end - now.out_sent) return bad("has sent too much");
    now.out_sent += all.sending.message.msg_len;
  }
  left.image = now.image;
  left.round = now.round;
  left.in_position = now.in_begin;
  left.out_position = now.out_sent;
  const auto received = in().subspan(now.in_begin - now.in_base, now.in_end - now.in_begin);
  left.in.assign(received.begin(), received.end());
  const auto queued = out().subspan(now.out_sent - now.out_base, now.out_end - now.out_sent);
  left.out.assign(queued.begin(), queued.end());
  for (std::size_t i = 0; i < now.arrivals; ++i) {
    if (now.arrived[i] > kArrivals || all.arrived[now.arrived[i]].count > StreamFds::kMost) return bad("is damaged");
    left.arrived.push_back(all.arrived[now.arrived[i]]);
  }
  for (std::size_t i = 0; i < now.departures; ++i) {
    if (now.departing[i] >= kDepartures * 2) return bad("is damaged");
    const StreamFds& each = all.departing[now.departing[i]];
    if (each.count > StreamFds::kMost) return bad("is damaged");
    if (each.position >= now.out_sent) left.departing.push_back(each);
  }
  if (has_received &&
      (receiving.message.msg_hdr.msg_controllen != 0 || (receiving.message.msg_hdr.msg_flags & MSG_CTRUNC) != 0)) {
    msghdr message = receiving.message.msg_hdr;
    if (message.msg_controllen > sizeof receiving.control) return bad("is damaged");
    message.msg_control = const_cast<char*>(receiving.control);  // the pointer in it was the other process's
    StreamFds fds = numbers_in(message);
    fds.position = now.in_begin + owner_of(left.in, max_message);
    left.arrived.push_back(fds);
  }
  left.died_serving = all.executing != kNobody && all.executing >= now.in_begin && all.executing < now.in_end;
  left.deaths = left.died_serving ? all.deaths + 1 : 0;
  return left;
}

}  // namespace vmux::ipc
