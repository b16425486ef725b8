// SPDX-License-Identifier: BSD-3-Clause
// The client's memory: what it gives, and takes back.
#include "base/logf.hpp"
#include "vfio_user/session/session.hpp"

namespace vmux::vfio_user {

using wire::vfio_user::put;

Result<Session::Outcome> Session::handle_dma_map(const Request& request) {
  const auto wanted = wire::vfio_user::decode_dma_map(request.payload);
  if (!wanted) return tl::unexpected(wanted.error());
  if (context_.endpoint.memory().size() >= context_.options.max_dma_maps)
    return fail(Errc::no_space, "max_dma_maps ranges are mapped");
  const bool has_fd = !request.fds.empty();
  if (!has_fd && !context_.options.accept_message_dma) {
    return fail(Errc::not_supported, "memory without a file descriptor is not taken");
  }
  const auto make = [&](UniqueFd fd) {
    const auto access = static_cast<memory::Access>((wanted->readable ? 1u : 0u) | (wanted->writable ? 2u : 0u));
    return memory::MapRequest{Iova{wanted->address}, ByteCount{wanted->size}, access, std::move(fd), wanted->offset};
  };
  auto done = context_.endpoint.map(make(has_fd ? std::move(request.fds.front()) : UniqueFd{}));
  const bool host_refused = !done && (done.error().code == Errc::system || done.error().code == Errc::permission);
  const bool by_message = context_.options.accept_message_dma && context_.endpoint.has_software_dma();
  if (host_refused && has_fd && by_message) {
    // A refused map at run time aborts a VM: memory that this host cannot map is like memory without a descriptor.
    logf(LogLevel::warning, "{}: memory at {:#x} is reached by message only: {}", context_.endpoint.name(),
         wanted->address, done.error().text());
    done = context_.endpoint.map(make({}));
  }
  if (!done) return tl::unexpected(done.error());
  context_.counters.dma_maps.add();
  reply(request.header, 0);
  return Outcome::replied;
}

Result<Session::Outcome> Session::handle_dma_unmap(const Request& request) {
  const auto wanted = wire::vfio_user::decode_dma_unmap(request.payload);
  if (!wanted) return tl::unexpected(wanted.error());
  pending_unmap_ = {request.header, *wire::vfio_user::peek<wire::vfio_user::DmaUnmap>(request.payload)};
  blocked_ = true;
  const auto quiet = [anchor = anchor_] {
    if (anchor->session != nullptr) anchor->session->on_quiet();
  };
  const auto done = wanted->all ? context_.endpoint.unmap_all(quiet)
                                : context_.endpoint.unmap(Iova{wanted->address}, ByteCount{wanted->size}, quiet);
  if (!done) {
    blocked_ = false;
    pending_unmap_.reset();
    return tl::unexpected(done.error());
  }
  pending_unmap_->body.size = done->raw;
  context_.counters.dma_unmaps.add();
  if (blocked_) return Outcome::deferred;
  reply_unmap(*std::exchange(pending_unmap_, std::nullopt));
  return Outcome::replied;
}

// "The server responds with the original DMA entry in the request", whose size becomes what was unmapped, as
// linux/vfio.h has it: the same for a range as it was mapped, and 0 where nothing is. QEMU unmaps all of a vIOMMU's
// space when that changes, and prints every refusal.
void Session::reply_unmap(const PendingUnmap& unmap) {
  if ((unmap.header.flags & wire::vfio_user::header_flags::kNoReply) != 0) return;
  put(reply(unmap.header, sizeof unmap.body), unmap.body);
}

// Replies to what the device asked for, and nothing else: commands have their own socket.
void Session::on_twin_ready() {
  in_event_ = true;
  Transport& twin = twin_->transport();
  if (twin.receive() == Transport::Io::closed) end(LogLevel::info, "the second socket was closed");
  while (!ended_) {
    const auto message = twin.next();
    if (message && !*message) break;
    if (!message) {
      end(LogLevel::warning, message.error().what);
    } else if (((*message)->header.flags & wire::vfio_user::header_flags::kTypeMask) !=
               wire::vfio_user::header_flags::kReply) {
      end(LogLevel::warning, "a command on the second socket");
    } else if (!dma_.take_reply((*message)->header, (*message)->payload)) {
      end(LogLevel::warning, "a reply to nothing on the second socket");
    }
  }
  finish_event();
}

}  // namespace vmux::vfio_user
