// SPDX-License-Identifier: BSD-3-Clause
// Events of a session, the table of requests, and how they are answered. The handlers are in session_*.cpp.
#include "vhost_user/session.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/logf.hpp"
#include "ipc/left_behind.hpp"
#include "vhost_user/session_reply.hpp"
#include "vmux/base/clock.hpp"
#include "wire/first_words.hpp"
#include "wire/virtio.hpp"

namespace vmux::vhost_user {
namespace {

namespace flags = wire::vhost_user::header_flags;
namespace pf = wire::vhost_user::protocol_feature;
namespace wv = wire::vhost_user;

constexpr std::size_t kOutputLimit = 16 << 10;     // unsent answers beyond which no request is read
constexpr std::uint64_t kTurn_ns = 500'000;        // requests of one session, then the others of the poller
constexpr std::uint64_t kPatrol_ns = 200'000'000;  // how soon a truncated memory file is noticed while idle
constexpr std::size_t kTable = sizeof(wv::MemoryTable);
constexpr std::size_t kConfig = sizeof(wv::Config);
constexpr std::size_t kLongestTable = kTable + wv::kMaxTableRegions * sizeof(wv::Region);

}  // namespace

struct Session::Row {
  Request request;
  Result<void> (Session::*handle)(const Message&);
  std::size_t min_payload, max_payload;
  std::size_t min_fds, max_fds;
  std::uint64_t needs;  // a protocol feature without which nobody may send it
  bool has_own_reply;   // else it is acknowledged if the front end asks for that
};

struct RequestTable {
  using S = Session;
  // One row per request that a front end may send. What has no row is refused.
  static constexpr auto kRows = std::to_array<S::Row>({
      {Request::get_features, &S::get_features, 0, 0, 0, 0, 0, true},
      {Request::set_features, &S::set_features, 8, 8, 0, 0, 0, false},
      {Request::set_owner, &S::set_owner, 0, 0, 0, 0, 0, false},
      {Request::reset_owner, &S::ignore, 0, 0, 0, 0, 0, false},  // "deprecated ... should be ignored"
      {Request::set_mem_table, &S::set_mem_table, kTable, kLongestTable, 0, wv::kMaxTableRegions, 0, false},
      {Request::set_log_base, &S::set_log_base, sizeof(wv::Log), sizeof(wv::Log), 1, 1, pf::log_shmfd, true},
      {Request::set_log_fd, &S::ignore, 0, 8, 0, 1, 0, false},  // for a log that is full, which a bitmap never is
      {Request::set_vring_num, &S::set_vring_num, 8, 8, 0, 0, 0, false},
      {Request::set_vring_addr, &S::set_vring_addr, 40, 40, 0, 0, 0, false},
      {Request::set_vring_base, &S::set_vring_base, 8, 8, 0, 0, 0, false},
      {Request::get_vring_base, &S::get_vring_base, 8, 8, 0, 0, 0, true},
      {Request::set_vring_kick, &S::set_vring_kick, 8, 8, 0, 1, 0, false},
      {Request::set_vring_call, &S::set_vring_call, 8, 8, 0, 1, 0, false},
      {Request::set_vring_err, &S::set_vring_err, 8, 8, 0, 1, 0, false},
      {Request::get_protocol_features, &S::get_protocol_features, 0, 0, 0, 0, 0, true},
      {Request::set_protocol_features, &S::set_protocol_features, 8, 8, 0, 0, 0, false},
      {Request::get_queue_num, &S::get_queue_num, 0, 0, 0, 0, pf::mq, true},
      {Request::set_vring_enable, &S::set_vring_enable, 8, 8, 0, 0, 0, false},
      {Request::send_rarp, &S::send_rarp, 8, 8, 0, 0, pf::rarp, false},
      {Request::net_set_mtu, &S::net_set_mtu, 8, 8, 0, 0, pf::net_mtu, false},
      {Request::reset_device, &S::reset_device, 0, 0, 0, 0, pf::reset_device, false},
      {Request::set_backend_req_fd, &S::set_backend_req_fd, 0, 8, 1, 1, pf::backend_req, false},
      {Request::get_config, &S::get_config, kConfig, kConfig + wv::kMostConfig, 0, 0, pf::config, true},
      {Request::set_config, &S::set_config, kConfig, kConfig + wv::kMostConfig, 0, 0, pf::config, false},
      {Request::get_max_mem_slots, &S::get_max_mem_slots, 0, 0, 0, 0, pf::configure_mem_slots, true},
      {Request::add_mem_reg, &S::add_mem_reg, 40, 40, 1, 1, pf::configure_mem_slots, false},
      {Request::rem_mem_reg, &S::rem_mem_reg, 40, 40, 0, 1, pf::configure_mem_slots, false},
      {Request::set_status, &S::set_status, 8, 8, 0, 0, pf::status, false},
      {Request::get_status, &S::get_status, 0, 0, 0, 0, pf::status, true},
  });
  static const S::Row* find(std::uint32_t request) noexcept {
    const auto row = std::find_if(kRows.begin(), kRows.end(), [request](const S::Row& candidate) {
      return static_cast<std::uint32_t>(candidate.request) == request;
    });
    return row == kRows.end() ? nullptr : &*row;
  }
};

unsigned ring_count(const virtio::Device& device) noexcept {
  return device.kind() == wire::virtio::net::kDevice ? device.queue_count() / 2 * 2 : device.queue_count();
}

Session::Session(SessionContext context, ipc::Connection socket, std::function<void()> ended)
    : context_(context),
      stream_(std::move(socket), context_.recorder == nullptr ? nullptr : &context_.recorder->stream()),
      ended_callback_(std::move(ended)),
      anchor_(std::make_shared<Anchor>(Anchor{this})),
      patrol_(context_.poller, [this] { on_patrol(); }),
      rings_(std::min(ring_count(context_.device), context_.calls.count())),
      map_(context_.memory, context_.counters.regions),
      more_(context_.poller,
            [this] {
              in_event_ = true;
              process();
              finish_event();
            }),
      log_timer_(context_.poller, [this] { on_log_timer(); }) {
  context_.memory.attach(reader_);
  context_.poller.add_task(*this);
  context_.device.set_dma(true);
}

Session::~Session() {
  anchor_->session = nullptr;
  detach();
  context_.poller.remove_task(*this);
  context_.memory.detach(reader_);
}

void Session::detach() noexcept {
  ended_ = true;
  patrol_.disarm();
  log_timer_.disarm();
  more_.disarm();
  watch_.reset();
  for (Ring& ring : rings_)
    ring.watch.reset();
  stop_rings();
  carry_over_log();
  context_.device.set_dma(false);
}

Result<void> Session::start(bool is_awaited) {
  watched_ = EPOLLIN;
  auto watch = context_.poller.watch(stream_.fd(), watched_, [this](std::uint32_t events) { on_ready(events); });
  if (!watch) return tl::unexpected(watch.error());
  watch_ = std::move(*watch);
  const std::uint64_t timeout_ms = context_.options.first_message_timeout_ms;
  if (is_awaited && timeout_ms != 0) speak_by_ns_ = monotonic_ns() + timeout_ms * 1'000'000;
  arm_patrol();
  return {};
}

Agreement Session::agreement() const noexcept {
  const auto running = std::count_if(rings_.begin(), rings_.end(), [](const Ring& ring) { return ring.runs; });
  return {features_, protocol_features_, static_cast<unsigned>(running), context_.memory.is_logging()};
}

// All sessions of a poller at the same time: idle, a hundred of them wake it no more often than one.
void Session::arm_patrol() noexcept { patrol_.arm_at((monotonic_ns() / kPatrol_ns + 1) * kPatrol_ns); }

bool Session::may_read() const noexcept { return !ended_ && !is_held_up_ && stream_.queued() <= kOutputLimit; }

void Session::on_ready(std::uint32_t events) {
  in_event_ = true;
  const bool is_broken = (events & (EPOLLHUP | EPOLLERR)) != 0;
  if ((events & EPOLLOUT) != 0 && flush() == MessageStream::Io::closed) end(LogLevel::info, "disconnected");
  if (may_read() && ((events & EPOLLIN) != 0 || is_broken)) {
    const auto io = stream_.receive();
    if (io == MessageStream::Io::closed) end(LogLevel::info, "disconnected");
  } else if (is_broken) {
    end(LogLevel::info, "disconnected");  // nobody is left to read what is queued
  }
  finish_event();
}

// A truncated memory file shows itself to the thread that touches it, and silence is no event on the socket either.
void Session::on_patrol() {
  in_event_ = true;
  arm_patrol();
  if (!has_spoken_ && speak_by_ns_ != 0 && monotonic_ns() >= speak_by_ns_) {
    end(LogLevel::warning, "it connected and sent nothing in time");
  }
  if (context_.memory.is_poisoned()) end(LogLevel::error, "its memory file was truncated");
  if (log_ && log_->is_poisoned()) end(LogLevel::error, "its dirty log was truncated");
  finish_event();
}

std::function<void()> Session::hold_up() {
  is_held_up_ = true;
  return [anchor = anchor_] {
    if (anchor->session != nullptr) anchor->session->on_quiet();
  };
}

void Session::on_quiet() {
  is_held_up_ = false;
  if (in_event_) return;  // whoever began that looks at its end
  in_event_ = true;
  finish_event();
}

// Some requests take long, and one read can bring a thousand of them: what is left when the session's time is up comes
// in the next round.
void Session::process() {
  const std::uint64_t until = monotonic_ns() + kTurn_ns;
  if (!has_spoken_ && may_read() && wire::begins_vfio_user(stream_.rest())) {
    context_.counters.strangers.add();
    return end(LogLevel::warning, "it speaks vfio-user, and this socket is one of vhost-user");
  }
  while (may_read()) {
    auto message = stream_.next();
    if (!message) return end(LogLevel::warning, message.error().what);
    if (!*message) return;
    dispatch(**message);
    // As long as the socket takes answers, requests are read: an event tells when it does again.
    if (stream_.queued() > kOutputLimit && flush() == MessageStream::Io::closed) {
      end(LogLevel::info, "disconnected");
    }
    if (monotonic_ns() >= until) return more_.arm_after(0);
  }
}

MessageStream::Io Session::flush() {
  commit();
  return stream_.flush();
}

// Before anything is sent. From here on what was served counts: another process would not serve it again.
void Session::commit() noexcept {
  if (context_.recorder == nullptr || ended_) return;
  stream_.commit(context_.recorder->keep(std::exchange(has_served_, false)));
  served_fds_.clear();
  if (context_.recorder->kept()) {
    departed_.clear();
    departed_logs_.clear();
  }
  if (std::exchange(holds_dma_, false)) context_.device.set_dma(true);
}

void Session::settle() {
  commit();
  if (stream_.queued() != 0 && flush() == MessageStream::Io::closed) end(LogLevel::info, "disconnected");
  if (ended_) return;
  const std::uint32_t wanted =
      (may_read() ? static_cast<std::uint32_t>(EPOLLIN) : 0u) | (stream_.queued() != 0 ? EPOLLOUT : 0u);
  if (wanted == watched_) return;
  watched_ = wanted;
  if (!watch_.modify(wanted)) end(LogLevel::error, "the socket cannot be watched any more");
}

void Session::finish_event() {
  while (held_up_ && !is_held_up_ && !ended_) {
    has_served_ = true;
    acknowledge(*std::exchange(held_up_, std::nullopt), true);
  }
  process();  // what has been received already, and waited behind that or for room
  settle();
  in_event_ = false;
  if (!ended_ || !ended_callback_) return;
  // Moved out first: the callback may destroy this session, and with it the member.
  const auto callback = std::move(ended_callback_);
  ended_callback_ = nullptr;
  callback();
}

void Session::end(LogLevel level, std::string_view why) noexcept {
  if (std::exchange(ended_, true)) return;
  logf(level, "{}: front end gone: {}", context_.options.name, why);
}

void Session::depart(UniqueFd fd) {
  if (context_.recorder != nullptr && fd) departed_.push_back(std::move(fd));
}

void Session::trace(const Incoming& message) noexcept {
  TraceRecord record;
  record.code = message.header.request;
  record.bytes = static_cast<std::uint32_t>(message.payload.size());
  record.fds = static_cast<std::uint8_t>(message.fds.size());
  context_.device.tracer()->record(record);
}

void Session::dispatch(Incoming& message) {
  context_.counters.requests.add();
  has_served_ = true;
  if (context_.recorder != nullptr) {
    context_.recorder->stream().begin(stream_.position() - sizeof message.header - message.payload.size());
    message.lost_fds |= !ipc::keep_numbers(message.fds, served_fds_);
  }
  if (context_.device.tracer() != nullptr) [[unlikely]]
    trace(message);
  const Row* const row = RequestTable::find(message.header.request);
  const auto result =
      row != nullptr ? serve(*row, message) : Result<void>{fail(Errc::protocol, "it is not known, or not offered")};
  if (result) {
    has_spoken_ = true;
    if (row->has_own_reply) return;
    if (!is_held_up_) return acknowledge(message.header, true);
    held_up_ = message.header;
    return;
  }
  context_.counters.errors.add();
  if (context_.device.tracer() != nullptr) [[unlikely]] {
    TraceRecord record;
    record.what = TraceRecord::What::refused;
    record.code = message.header.request;
    record.result = result.error().as_errno();
    context_.device.tracer()->record(record);
  }
  const bool makes_sense = result.error().code != Errc::protocol;
  const bool is_asked = has(pf::reply_ack) && (message.header.flags & flags::kNeedReply) != 0;
  if (makes_sense && is_asked && !row->has_own_reply) return refuse(message.header, result.error());
  end(LogLevel::warning,
      fmt::format("request {}: {}", static_cast<std::uint32_t>(message.header.request), result.error().text()));
}

// A request that makes no sense ends the session. One that cannot be served is refused where the front end asks for an
// answer; where it does not, it would go on as if all were well, so that ends the session, too.
void Session::refuse(const Header& header, const Error& error) {
  if (complaints_.allow()) {
    logf(LogLevel::warning, "{}: request {} refused: {} ({} more before)", context_.options.name,
         static_cast<std::uint32_t>(header.request), error.text(), complaints_.held_back());
  }
  acknowledge(header, false);
}

Result<void> Session::serve(const Row& row, Incoming& message) {
  if ((message.header.flags & flags::kReply) != 0) return fail(Errc::protocol, "a reply to nothing");
  if (message.payload.size() < row.min_payload) return fail(Errc::protocol, "it is too short");
  if (message.payload.size() > row.max_payload) return fail(Errc::protocol, "it is too long");
  if (message.lost_fds) return fail(Errc::no_space, "too many file descriptors are open", EMFILE);
  if (message.fds.size() > row.max_fds) return fail(Errc::protocol, "it has more descriptors than it may have");
  if (message.fds.size() < row.min_fds) return fail(Errc::protocol, "it has no descriptor");
  if (row.needs != 0 && !has(row.needs))
    return fail(Errc::protocol, "the feature that it belongs to was not agreed upon");
  return (this->*row.handle)({message.header, message.payload, message.fds});
}

// "REPLY_ACK": zero for success.
void Session::acknowledge(const Header& header, bool is_done) {
  if (!has(pf::reply_ack) || (header.flags & flags::kNeedReply) == 0) return;
  put_reply(stream_, header, wv::U64{is_done ? 0u : 1u});
}

unsigned Session::poll() noexcept {
  for (unsigned i = 0; i < rings_.size(); ++i) {
    if (rings_[i].runs && !rings_[i].kick) context_.device.kicked(i);
  }
  return 0;  // what that finds is work of the device's
}

bool Session::needs_polling() const noexcept {
  return std::any_of(rings_.begin(), rings_.end(), [](const Ring& ring) { return ring.runs && !ring.kick; });
}

}  // namespace vmux::vhost_user
