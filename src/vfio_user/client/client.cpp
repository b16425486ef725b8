// SPDX-License-Identifier: BSD-3-Clause
// Connecting, VERSION, and the exchange of requests and replies. The calls are in client_calls.cpp.
#include "vmux/vfio_user/client.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>

#include "ipc/listener.hpp"
#include "vfio_user/client/client_impl.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::vfio_user {
namespace {

using wire::vfio_user::Command;
namespace flags = wire::vfio_user::header_flags;

constexpr std::size_t kOverhead = 4096;        // beyond the data of the longest message
constexpr std::size_t kSendEarly = 64 << 10;   // requests are collected up to this many bytes
constexpr std::size_t kMaxExchanges = 60'000;  // ids have 16 bits

Error gone() noexcept { return {Errc::disconnected, "the server closed the connection"}; }
Error late() noexcept { return {Errc::timed_out, "the server did not answer in time"}; }

}  // namespace

Client::Impl::Impl(ipc::Connection socket, ClientOptions wanted)
    : options(wanted), transport(std::move(socket), std::max<std::size_t>(options.max_transfer, 64 << 10) + kOverhead) {
  timeval limit{};
  limit.tv_sec = static_cast<time_t>(options.timeout_ns / 1'000'000'000);
  limit.tv_usec = static_cast<suseconds_t>(options.timeout_ns % 1'000'000'000 / 1000);
  ::setsockopt(transport.fd(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  exchanges.reserve(64);
}

void Client::Impl::append(Command command, std::uint32_t header_flags, std::span<const std::byte> head,
                          std::span<const std::byte> data, std::span<const int> fds) {
  Header header;
  header.id = last_id;
  header.command = static_cast<std::uint16_t>(command);
  header.size = static_cast<std::uint32_t>(sizeof header + head.size() + data.size());
  header.flags = header_flags;
  if (!fds.empty()) transport.attach_fds(fds);
  const auto into = wire::vfio_user::put(transport.append(header.size), header);
  std::copy(head.begin(), head.end(), into.begin());
  std::copy(data.begin(), data.end(), into.begin() + static_cast<std::ptrdiff_t>(head.size()));
}

Result<std::uint16_t> Client::Impl::start(Command command, std::span<const std::byte> head,
                                          std::span<const std::byte> data, std::size_t fixed_size,
                                          std::span<std::byte> into, std::span<const int> fds) {
  if (exchanges.size() >= kMaxExchanges) return fail(Errc::no_space, "too many requests are under way");
  ++last_id;
  append(command, flags::kCommand, head, data, fds);
  Exchange& exchange = exchanges.emplace_back();
  exchange.id = last_id;
  exchange.command = command;
  exchange.fixed_size = fixed_size;
  exchange.into = into;
  // Descriptors are the caller's and may be closed after this call.
  const std::uint16_t id = exchange.id;
  if (!fds.empty() || transport.queued() > kSendEarly) {
    if (auto sent = send_all(); !sent) return abandon(id, sent.error());
  }
  return id;
}

/// The caller goes, and takes its buffer along: the reply may still come.
tl::unexpected<Error> Client::Impl::abandon(std::uint16_t id, const Error& why) noexcept {
  for (Exchange& exchange : exchanges) {
    if (exchange.id != id) continue;
    exchange.is_abandoned = true;
    exchange.into = {};
  }
  std::erase_if(exchanges, [](const Exchange& exchange) { return exchange.is_abandoned && exchange.is_done; });
  return tl::unexpected(why);
}

Result<void> Client::Impl::post(Command command, std::span<const std::byte> head, std::span<const std::byte> data) {
  ++last_id;
  append(command, flags::kCommand | flags::kNoReply, head, data, {});
  return send_all();
}

Result<void> Client::Impl::send_all() {
  const std::uint64_t deadline = monotonic_ns() + options.timeout_ns;
  for (;;) {
    const auto io = flush();
    if (io == Transport::Io::closed) return tl::unexpected(gone());
    if (io == Transport::Io::progress && !is_held_up) return {};
    // The server reads no more until we have read its replies. Or it has read, and now there is room for more of them.
    if (auto taken = take_messages(); !taken) return taken;
    if (io == Transport::Io::progress) continue;
    if (auto waited = wait_for_more(deadline); !waited) return waited;
  }
}

Transport::Io Client::Impl::flush() noexcept {
  const auto io = transport.flush();
  if (!twin || io == Transport::Io::closed) return io;
  const auto beside = twin->flush();
  return beside == Transport::Io::progress ? io : beside;
}

/// Until one of the sockets has something to read, or room for what is queued, or it is late.
void Client::Impl::sleep_until(std::uint64_t deadline_ns) noexcept {
  const std::uint64_t now = monotonic_ns();
  if (now >= deadline_ns) return;
  const auto wait_for = [this](const Transport& socket) {
    const int may_come = may_take(socket) ? POLLIN : 0;
    return pollfd{socket.fd(), static_cast<short>(socket.queued() != 0 ? may_come | POLLOUT : may_come), 0};
  };
  pollfd what[] = {wait_for(transport), twin ? wait_for(*twin) : pollfd{-1, 0, 0}};
  ::poll(what, std::size(what), static_cast<int>((deadline_ns - now) / 1'000'000 + 1));
}

Result<void> Client::Impl::wait_for_more(std::uint64_t deadline_ns) {
  if (monotonic_ns() >= deadline_ns) return tl::unexpected(late());
  sleep_until(deadline_ns);
  for (Transport* const socket : {&transport, twin ? &*twin : nullptr}) {
    if (socket == nullptr || !may_take(*socket)) continue;
    if (socket->receive() == Transport::Io::closed) return tl::unexpected(gone());
  }
  return {};
}

/// The next bytes from either socket; sleeps at most once for them.
Transport::Io Client::Impl::receive(std::uint64_t deadline_ns) {
  if (!twin) return transport.receive(/*may_sleep=*/!options.spin);
  for (const bool may_sleep : {!options.spin, false}) {
    const auto beside = twin->receive();
    const auto io = beside == Transport::Io::would_block ? transport.receive() : beside;
    if (io != Transport::Io::would_block || !may_sleep) return io;
    sleep_until(deadline_ns);
  }
  return Transport::Io::would_block;
}

/// A request of 32 bytes may ask for a megabyte: a server that does not read what it asked for is not read from.
bool Client::Impl::may_take(const Transport& from) const noexcept {
  return from.queued() <= options.max_transfer + kSendEarly;
}

Result<void> Client::Impl::take_messages() {
  is_held_up = false;
  if (auto taken = take_from(transport); !taken || !twin) return taken;
  return take_from(*twin);
}

Result<void> Client::Impl::take_from(Transport& from) {
  while (may_take(from)) {
    auto message = from.next();
    if (!message) return tl::unexpected(message.error());
    if (!*message) return {};
    const std::uint32_t type = (*message)->header.flags & flags::kTypeMask;
    if (type == flags::kReply && &from == &transport) take_reply(**message);
    if (type == flags::kCommand) answer(**message, from);
  }
  is_held_up = true;
  return {};
}

void Client::Impl::take_reply(Incoming& message) {
  const auto found = std::find_if(exchanges.begin(), exchanges.end(), [&](const Exchange& exchange) {
    return exchange.id == message.header.id && !exchange.is_done;
  });
  if (found == exchanges.end()) return;  // of a request whose caller gave up long ago
  Exchange& exchange = *found;
  exchange.is_done = true;
  if (exchange.is_abandoned) {
    exchanges.erase(found);
    return;
  }
  const auto payload = message.payload;
  if ((message.header.flags & flags::kError) != 0) {
    exchange.has_failed = true;
    const int code = static_cast<int>(std::min<std::uint32_t>(message.header.error, 4095));
    exchange.error = {Errc::system, "the server refused the request", code == 0 ? EIO : code};
    return;
  }
  if (message.header.command != static_cast<std::uint16_t>(exchange.command) || payload.size() < exchange.fixed_size) {
    exchange.has_failed = true;
    exchange.error = {Errc::protocol, "a reply does not fit its request"};
    return;
  }
  std::copy_n(payload.begin(), exchange.fixed_size, exchange.fixed.begin());
  const auto data = payload.subspan(exchange.fixed_size);
  exchange.data_size = std::min(data.size(), exchange.into.size());
  std::copy_n(data.begin(), exchange.data_size, exchange.into.begin());
  exchange.fds = std::move(message.fds);
}

void Client::Impl::answer(const Incoming& message, Transport& to) {
  using wire::vfio_user::DmaAccess;
  const auto command = static_cast<Command>(static_cast<std::uint16_t>(message.header.command));
  const auto access = wire::vfio_user::peek<DmaAccess>(message.payload);
  const bool is_read = command == Command::dma_read;
  const std::size_t room = is_read ? options.max_transfer : message.payload.size() - sizeof(DmaAccess);
  int code = 0;
  if (!access || (!is_read && command != Command::dma_write)) {
    code = EINVAL;
  } else if (access->count > room) {
    code = E2BIG;
  } else if (dma_target == nullptr) {
    code = EFAULT;
  }
  const std::uint64_t mark = to.queued_end();
  Header header = message.header;
  header.flags = flags::kReply;
  header.error = 0;
  if (code == 0) {
    const auto count = static_cast<std::size_t>(access->count);
    header.size = static_cast<std::uint32_t>(sizeof header + sizeof *access + (is_read ? count : 0));
    const auto data = put(put(to.append(header.size), header), *access);
    const bool done = is_read
                          ? dma_target->read(Iova{access->address}, data)
                          : dma_target->write(Iova{access->address}, message.payload.subspan(sizeof(DmaAccess), count));
    if (!done) code = EFAULT;
  }
  const bool wants_reply = (message.header.flags & flags::kNoReply) == 0;
  if (code != 0 || !wants_reply) to.rollback(mark);
  if (code == 0 || !wants_reply) return;
  header.size = sizeof header;
  header.flags = flags::kReply | flags::kError;
  header.error = static_cast<std::uint32_t>(code);
  put(to.append(sizeof header), header);
}

Result<Exchange> Client::Impl::finish(std::uint16_t id) {
  const std::uint64_t deadline = monotonic_ns() + options.timeout_ns;
  for (;;) {
    if (has_queued()) {
      if (auto sent = send_all(); !sent) return abandon(id, sent.error());
    }
    const auto found =
        std::find_if(exchanges.begin(), exchanges.end(), [id](const Exchange& exchange) { return exchange.id == id; });
    if (found == exchanges.end()) return fail(Errc::invalid_argument, "no such request is under way");
    if (found->is_done) {
      Exchange done = std::move(*found);
      exchanges.erase(found);
      if (done.has_failed) return tl::unexpected(done.error);
      return done;
    }
    const auto io = receive(deadline);
    if (io == Transport::Io::closed) return abandon(id, gone());
    if (io == Transport::Io::would_block && monotonic_ns() >= deadline) return abandon(id, late());
    if (io == Transport::Io::progress) {
      if (auto taken = take_messages(); !taken) return abandon(id, taken.error());
    }
  }
}

Result<Exchange> Client::Impl::call(Command command, std::span<const std::byte> head, std::span<const std::byte> data,
                                    std::size_t fixed_size, std::span<std::byte> into, std::span<const int> fds) {
  const auto id = start(command, head, data, fixed_size, into, fds);
  if (!id) return tl::unexpected(id.error());
  return finish(*id);
}

Result<void> Client::Impl::check_count(std::size_t count) const noexcept {
  if (count > limits.max_transfer) return fail(Errc::out_of_range, "more bytes than the server takes in one message");
  return {};
}

Result<void> Client::Impl::negotiate() {
  wire::vfio_user::Capabilities ours;
  ours.max_msg_fds = 16;
  ours.max_data_xfer_size = options.max_transfer;
  ours.write_multiple = true;
  ours.twin_socket = options.twin_socket;
  const std::string json = wire::vfio_user::version_json(ours);
  const wire::vfio_user::Version version{0, options.minor};
  std::array<std::byte, sizeof version + wire::vfio_user::kMaxVersionData> answer;
  auto reply = call(Command::version, std::as_bytes(std::span{&version, 1}),
                    std::as_bytes(std::span{json.c_str(), json.size() + 1}), 0, answer);
  if (!reply) return tl::unexpected(reply.error());
  const auto agreed = wire::vfio_user::decode_version(std::span{answer}.first(reply->data_size));
  if (!agreed) return tl::unexpected(agreed.error());
  if (agreed->major != 0 || agreed->minor > options.minor) {
    return fail(Errc::protocol, "the server speaks another version");
  }
  const auto& theirs = agreed->capabilities;
  limits = {agreed->minor,
            static_cast<std::size_t>(std::clamp<std::uint64_t>(theirs.max_msg_fds, 1, 253)),
            static_cast<std::size_t>(std::min<std::uint64_t>(theirs.max_data_xfer_size, 1u << 30)),
            static_cast<std::size_t>(theirs.max_dma_maps),
            theirs.pgsizes,
            theirs.write_multiple,
            theirs.twin_socket};
  return take_twin(theirs, reply->fds);
}

/// "Otherwise, the reply from the server is inconsistent. The client must abort and close the connection."
Result<void> Client::Impl::take_twin(const wire::vfio_user::Capabilities& theirs, std::span<UniqueFd> fds) {
  if (!theirs.twin_socket) return {};
  if (!options.twin_socket || !theirs.twin_fd_index || *theirs.twin_fd_index >= fds.size()) {
    return fail(Errc::protocol, "the server's second socket is not there, or was not asked for");
  }
  twin.emplace(ipc::Connection{std::move(fds[static_cast<std::size_t>(*theirs.twin_fd_index)])},
               options.max_transfer + kOverhead);
  return {};
}

Client::Client(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::connect(const std::string& path, ClientOptions options) {
  auto socket = ipc::connect_to(path);
  if (!socket) return tl::unexpected(socket.error());
  return Impl::make(std::move(*socket), options);
}

Result<std::unique_ptr<Client>> Client::adopt(UniqueFd socket, ClientOptions options) {
  return Impl::make(ipc::Connection{std::move(socket)}, options);
}

Result<std::unique_ptr<Client>> Client::Impl::make(ipc::Connection socket, ClientOptions options) {
  auto impl = std::make_unique<Impl>(std::move(socket), options);
  if (auto agreed = impl->negotiate(); !agreed) return tl::unexpected(agreed.error());
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

void Client::let_go() noexcept {
  impl_->transport.let_go();
  if (impl_->twin) impl_->twin->let_go();
}

const ServerLimits& Client::limits() const noexcept { return impl_->limits; }
int Client::fd() const noexcept { return impl_->transport.fd(); }
int Client::twin_fd() const noexcept { return impl_->twin ? impl_->twin->fd() : -1; }
void Client::set_dma_target(DmaTarget* target) noexcept { impl_->dma_target = target; }

Result<void> Client::serve() {
  const auto io = impl_->transport.receive();
  const auto beside = impl_->twin ? impl_->twin->receive() : Transport::Io::would_block;
  if (io == Transport::Io::closed || beside == Transport::Io::closed) return tl::unexpected(gone());
  if (auto taken = impl_->take_messages(); !taken) return taken;
  return impl_->send_all();
}

}  // namespace vmux::vfio_user
