// SPDX-License-Identifier: BSD-3-Clause
// Events of a session, the table of commands, and how replies are made. The handlers are in session_*.cpp.
#include "vfio_user/session/session.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>

#include "base/logf.hpp"
#include "ipc/left_behind.hpp"
#include "vmux/base/clock.hpp"
#include "wire/first_words.hpp"

namespace vmux::vfio_user {
namespace {

namespace flags = wire::vfio_user::header_flags;
using wire::vfio_user::Command;

constexpr std::size_t kAny = ~std::size_t{0};           // bounded by the longest message
constexpr std::size_t kMaxInfoPayload = 4096;           // some clients send as much as they are ready to receive
constexpr std::size_t kMaxIrqFds = Transport::kMaxFds;  // whatever max_msg_fds says, clients send more
constexpr std::size_t kOutputLimit = 256 << 10;         // unsent replies beyond which no request is read
constexpr std::uint64_t kPatrol_ns = 200'000'000;       // how soon a truncated memory file is noticed while idle
constexpr std::uint64_t kTurn_ns = 2'000'000;           // one session's part of a round, then the others have theirs
constexpr std::size_t kOverhead = sizeof(Header) + 64;  // header and fixed part of any message

}  // namespace

std::size_t longest_message(const ServerOptions& options) {
  return kOverhead + std::max<std::size_t>(options.max_transfer, 64 << 10);
}

// A reply and a request of the device's may follow what is queued.
std::size_t longest_stream(const ServerOptions& options) { return kOutputLimit + 2 * longest_message(options); }

struct Session::Row {
  Command command;
  Result<Outcome> (Session::*handle)(const Request&);
  std::size_t min_payload, max_payload;
  std::size_t max_fds;
  std::size_t reply_payload;  // of a success, where that is fixed: see reply_error()
};

struct CommandTable {
  using S = Session;
  // One row per request that a client may send: the sizes of payloads are those of the specification.
  static constexpr auto kRows = std::to_array<S::Row>({
      {Command::version, &S::handle_version, 4, 4 + wire::vfio_user::kMaxVersionData, 0, 4},
      {Command::dma_map, &S::handle_dma_map, 32, 32, 1, 0},
      {Command::dma_unmap, &S::handle_dma_unmap, 24, 24, 0, 24},
      {Command::get_info, &S::handle_get_info, 16, kMaxInfoPayload, 0, 16},
      {Command::get_region_info, &S::handle_get_region_info, 32, kMaxInfoPayload, 0, 32},
      {Command::get_region_io_fds, &S::handle_get_region_io_fds, 16, kMaxInfoPayload, 0, 16},
      {Command::get_irq_info, &S::handle_get_irq_info, 16, kMaxInfoPayload, 0, 16},
      {Command::set_irqs, &S::handle_set_irqs, 20, kAny, kMaxIrqFds, 0},
      {Command::region_read, &S::handle_region_read, 16, 16, 0, 16},
      {Command::region_write, &S::handle_region_write, 16, kAny, 0, 16},
      {Command::reset, &S::handle_reset, 0, 0, 0, 0},
      {Command::region_write_multi, &S::handle_write_multi, 8, kAny, 0, 8},
      {Command::device_feature, &S::handle_feature, 8, kAny, 0, 8},
      {Command::mig_data_read, &S::handle_mig_data_read, 8, 8, 0, 8},
      {Command::mig_data_write, &S::handle_mig_data_write, 8, kAny, 0, 0},
  });
  static constexpr auto kIndex = [] {
    std::array<std::int8_t, wire::vfio_user::kCommandLimit> index{};
    for (auto& entry : index)
      entry = -1;
    for (std::size_t row = 0; row < kRows.size(); ++row) {
      index[static_cast<std::size_t>(kRows[row].command)] = static_cast<std::int8_t>(row);
    }
    return index;
  }();
  static const S::Row* find(std::uint16_t command) noexcept {
    if (command >= kIndex.size() || kIndex[command] < 0) return nullptr;
    return &kRows[static_cast<std::uint8_t>(kIndex[command])];
  }
};

Session::Session(SessionContext context, ipc::Connection socket, std::function<void()> ended)
    : context_(context),
      transport_(std::move(socket), longest_message(context.options),
                 context.recorder == nullptr ? nullptr : &context.recorder->stream()),
      dma_(transport_,
           [this] {
             if (!in_event_ && !ended_) settle();  // else the event does it, after its reply
           }),
      ended_callback_(std::move(ended)),
      anchor_(std::make_shared<Anchor>(Anchor{this})),
      patrol_(context.poller, [this] { on_patrol(); }) {
  if (context_.recorder != nullptr) context_.endpoint.set_recorder(this);
}

Session::~Session() {
  anchor_->session = nullptr;
  if (context_.recorder != nullptr) context_.endpoint.set_recorder(nullptr);
  detach();
}

void Session::detach() noexcept {
  ended_ = true;
  patrol_.disarm();
  unmask_watch_.reset();
  watch_.reset();
  for (auto& region : io_events_)
    region.clear();
  if (twin_) twin_->detach();
}

Result<void> Session::start(unsigned version_timeout_ms) {
  watched_ = EPOLLIN;
  auto watch = context_.poller.watch(transport_.fd(), watched_, [this](std::uint32_t events) { on_ready(events); });
  if (!watch) return tl::unexpected(watch.error());
  watch_ = std::move(*watch);
  if (version_timeout_ms != 0) version_due_ns_ = monotonic_ns() + std::uint64_t{version_timeout_ms} * 1'000'000;
  arm_patrol();
  return {};
}

// All sessions of a poller at the same time: idle, a hundred of them wake it no more often than one.
void Session::arm_patrol() noexcept { patrol_.arm_at((monotonic_ns() / kPatrol_ns + 1) * kPatrol_ns); }

bool Session::may_read() const noexcept {
  return !ended_ && !blocked_ && transport_.queued() <= kOutputLimit &&
         transport_.departures() < Transport::kMostDepartures;
}

// Before anything is sent. From here on what was served counts: another process would not serve it again.
void Session::commit() noexcept {
  if (context_.recorder == nullptr) return;
  transport_.commit(context_.recorder->keep(std::exchange(has_changed_, false)));
  context_.recorder->kept();  // not before: until then the image before that one counts
  if (std::exchange(is_round_open_, false)) context_.endpoint.end_requests();
  served_fds_.clear();
}

void Session::open_round() noexcept {
  if (!std::exchange(is_round_open_, true)) context_.endpoint.begin_requests(context_.recorder->stream().round());
}

// A message that comes next is another's round: this one counts by itself.
void Session::run(const std::function<void()>& work) {
  if (ended_) return work();
  const bool is_part = in_event_;
  open_round();
  work();
  if (!is_part) commit();
}

void Session::on_ready(std::uint32_t events) {
  in_event_ = true;
  if ((events & EPOLLOUT) != 0 && transport_.flush() == Transport::Io::closed) end(LogLevel::info, "disconnected");
  if (may_read()) {
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && transport_.receive() == Transport::Io::closed) {
      end(LogLevel::info, "disconnected");
    }
    process();
  } else if ((events & (EPOLLHUP | EPOLLERR)) != 0 && !ended_) {
    end(LogLevel::info, "disconnected");  // nobody is left to read what is queued
  }
  finish_event();
}

unsigned Session::poll() {
  if (!may_read()) return 0;
  in_event_ = true;
  served_ = 0;
  const auto io = transport_.receive();
  if (io == Transport::Io::closed) end(LogLevel::info, "disconnected");
  if (io == Transport::Io::progress || is_behind_) process();
  const unsigned served = served_;
  finish_event();
  return served;
}

// A truncated memory file shows itself to the thread that touches it, and silence is no event on the socket either.
void Session::on_patrol() {
  in_event_ = true;
  arm_patrol();
  const bool is_due = !negotiated_ && version_due_ns_ != 0 && monotonic_ns() >= version_due_ns_;
  // It may be there, and only the poller be late.
  if (is_due && transport_.receive() == Transport::Io::closed) end(LogLevel::info, "disconnected");
  process();
  if (is_due && !negotiated_) end(LogLevel::warning, "it connected and sent no VERSION in time");
  finish_event();
}

void Session::on_quiet() {
  if (!std::exchange(blocked_, false) || in_event_) return;  // in_event_: whoever began that looks at its end
  in_event_ = true;
  finish_event();
}

// It would wait for an answer until its time for VERSION is up.
bool Session::is_stranger() const noexcept { return !negotiated_ && wire::begins_vhost_user(transport_.rest()); }

// Serves what has been received, in order, as far as nothing holds it up. A client can have thousands of requests in
// one read, and some take long: what is left when the session's time is up comes in the next round.
void Session::process() {
  if (!ended_ && is_stranger()) {
    context_.counters.strangers.add();
    return end(LogLevel::warning, "it speaks vhost-user, and this socket is one of vfio-user");
  }
  is_behind_ = true;
  for (unsigned count = 0; may_read(); ++count) {
    if (count != 0 && monotonic_ns() - context_.poller.now_ns() > kTurn_ns) break;
    auto message = transport_.next();
    if (!message) {
      Incoming broken{transport_.broken_header(), {}, {}, false};
      reply_error(broken, {Errc::protocol, message.error().what, EINVAL});
      end(LogLevel::warning, message.error().what);
      break;
    }
    if (!*message) {
      is_behind_ = false;
      break;
    }
    if (context_.recorder != nullptr && !(*message)->fds.empty())
      (*message)->lost_fds |= !ipc::keep_numbers((*message)->fds, served_fds_);
    dispatch(**message);
    if (transport_.queued() <= kOutputLimit) continue;
    commit();
    if (transport_.flush() == Transport::Io::closed) break;
  }
  if (ended_) return;
  if (const char* const why = context_.endpoint.failure()) end(LogLevel::error, why);
}

void Session::settle() {
  if (!blocked_ || twin_) dma_.pump();  // without a socket for it, what waits for an UNMAP's reply may not serve us
  if (!ended_) commit();
  if (transport_.queued() != 0 && transport_.flush() == Transport::Io::closed) return;  // an event will tell
  if (twin_ && transport_.queued() == 0) twin_->peer_was_sent();
  if (ended_) return;
  if (twin_ && !twin_->settle()) end(LogLevel::error, "the second socket cannot be watched any more");
  const bool has_work = transport_.queued() != 0 || (is_behind_ && may_read());  // a socket with room is an event, too
  const std::uint32_t wanted = (may_read() ? static_cast<std::uint32_t>(EPOLLIN) : 0u) | (has_work ? EPOLLOUT : 0u);
  if (wanted == watched_) return;
  watched_ = wanted;
  if (!watch_.modify(wanted)) end(LogLevel::error, "the socket cannot be watched any more");
}

void Session::finish_event() {
  if (pending_unmap_ && !blocked_) {
    reply_unmap(*std::exchange(pending_unmap_, std::nullopt));
    process();
  }
  settle();
  in_event_ = false;
  if (!ended_ || !ended_callback_) return;
  // Moved out first: the callback may destroy this session, and with it the member.
  const auto callback = std::move(ended_callback_);
  ended_callback_ = nullptr;
  callback();
}

void Session::end(LogLevel level, const char* why, const char* detail) noexcept {
  if (std::exchange(ended_, true)) return;
  logf(level, "{}: client gone: {}{}", context_.endpoint.name(), why, detail);
}

void Session::dispatch(Incoming& message) {
  ++served_;
  context_.counters.requests.add();
  if (context_.recorder != nullptr) {
    context_.recorder->stream().begin(transport_.position() - message.header.size);
    open_round();
  }
  const std::uint32_t type = message.header.flags & flags::kTypeMask;
  if (type == flags::kReply && !twin_ && dma_.take_reply(message.header, message.payload)) {
    has_changed_ = true;
    return;
  }
  const Row* const row = CommandTable::find(message.header.command);
  // What accesses to registers change, the device notes.
  if (row == nullptr || (row->command != Command::region_read && row->command != Command::region_write &&
                         row->command != Command::region_write_multi)) {
    has_changed_ = true;
  }
  if (context_.endpoint.tracer() != nullptr) [[unlikely]]
    trace(message);
  const std::uint64_t mark = transport_.queued_end();
  const auto outcome = [&]() -> Result<Outcome> {
    if (type != flags::kCommand) return fail(Errc::invalid_argument, "a reply to nothing, or no command at all");
    if (row == nullptr) return fail(Errc::invalid_argument, "unknown command");
    return serve(*row, message);
  }();
  if (!outcome || (message.header.flags & flags::kNoReply) != 0) {
    if (outcome != Outcome::deferred) transport_.rollback(mark);
  }
  if (!outcome) reply_error(message, outcome.error());
  if (!negotiated_ && !ended_) end(LogLevel::warning, "no agreement on the version");
}

Result<Session::Outcome> Session::serve(const Row& row, Incoming& message) {
  if (!negotiated_ && row.command != Command::version) {
    return fail(Errc::invalid_argument, "the first message must be VERSION");
  }
  if (message.payload.size() < row.min_payload) return fail(Errc::invalid_argument, "message is too short");
  if (message.payload.size() > row.max_payload) return fail(Errc::invalid_argument, "message is too long");
  if (message.lost_fds) return fail(Errc::no_space, "too many file descriptors are open", EMFILE);
  if (message.fds.size() > row.max_fds) return fail(Errc::invalid_argument, "more file descriptors than expected");
  return (this->*row.handle)({message.header, message.payload, message.fds});
}

std::span<std::byte> Session::reply(const Header& to, std::size_t payload_size, int error) {
  Header header = to;
  header.size = static_cast<std::uint32_t>(sizeof(Header) + payload_size);
  header.flags = flags::kReply | (error != 0 ? flags::kError : 0);
  header.error = static_cast<std::uint32_t>(error);
  return wire::vfio_user::put(transport_.append(header.size), header);
}

// "If an error occurs, the reply message must only include the reply header" - and cloud-hypervisor waits for ever for
// the rest of it (see protocol notes), so that client gets the full size.
void Session::reply_error(const Incoming& to, const Error& error) {
  context_.counters.errors.add();
  trace_refusal(to.header, error.as_errno());
  if (complaints_.allow()) {
    logf(LogLevel::warning, "{}: request {} refused: {} ({} more before)", context_.endpoint.name(),
         static_cast<std::uint16_t>(to.header.command), error.text(), complaints_.held_back());
  }
  if ((to.header.flags & flags::kNoReply) != 0) return;
  std::size_t payload_size = 0;
  const Row* const row = CommandTable::find(to.header.command);
  if (full_size_errors_ && row != nullptr) payload_size = row->reply_payload;
  std::size_t data_size = 0;
  if (full_size_errors_ && row != nullptr && row->command == Command::region_read) {
    const auto access = wire::vfio_user::peek<wire::vfio_user::RegionAccess>(to.payload);
    data_size = access ? std::min<std::size_t>(access->count, context_.options.max_transfer) : 0;
  }
  auto payload = reply(to.header, payload_size + data_size, error.as_errno());
  std::copy_n(to.payload.begin(), std::min(payload_size, to.payload.size()), payload.begin());
  std::fill(payload.begin() + static_cast<std::ptrdiff_t>(payload_size), payload.end(), std::byte{0xff});
}

}  // namespace vmux::vfio_user
