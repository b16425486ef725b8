// SPDX-License-Identifier: BSD-3-Clause
// VERSION: what this side offers, and what it takes from a client.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/text/format.hpp"
#include "capi/context.hpp"

namespace vmux::capi {
namespace {

namespace wire = wire::vfio_user;

constexpr std::uint64_t kOfferedFds = 8;
constexpr std::uint64_t kMaxClientFds = 1024;

std::uint64_t page_size() noexcept { return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)); }

/// The page size that a client names for its migration (an older form of the protocol): ours, or none.
bool is_page_size_known(std::span<const std::byte> payload) {
  const auto text = payload.subspan(sizeof(wire::Version));
  if (text.empty()) return true;
  const auto* const from = reinterpret_cast<const char*>(text.data());
  const auto object = nlohmann::json::parse(from, from + text.size() - 1, nullptr, /*allow_exceptions=*/false);
  const auto capabilities = object.find("capabilities");
  if (capabilities == object.end()) return true;
  const auto migration = capabilities->find("migration");
  if (migration == capabilities->end()) return true;
  if (!migration->is_object()) return false;
  const auto size = migration->find("pgsize");
  return size == migration->end() || (size->is_number_unsigned() && size->get<std::uint64_t>() == page_size());
}

std::string offer(const vfu_ctx& context, bool has_twin) {
  return fmt::format(R"({{"capabilities":{{"max_msg_fds":{},"max_data_xfer_size":{}{}{}{}}}}})", kOfferedFds,
                     kMaxTransfer, context.migration ? fmt::format(R"(,"migration":{{"pgsize":{}}})", page_size()) : "",
                     has_twin ? R"(,"twin_socket":{"supported":true,"fd_index":0})" : "",
                     context.write_multiple ? R"(,"write_multiple":true)" : "");
}

/// 0 and the client's version, or an errno.
int check(vfu_ctx& context, const Message& message, wire::VersionMessage& version) {
  if (message.header.command != static_cast<std::uint16_t>(wire::Command::version)) return EINVAL;
  if ((message.header.flags & wire::header_flags::kTypeMask) != wire::header_flags::kCommand) return EINVAL;
  if (!message.fds.empty() || message.lost_fds) return EINVAL;
  const auto decoded = wire::decode_version(message.payload);
  if (!decoded || decoded->major != LIB_VFIO_USER_MAJOR || !is_page_size_known(message.payload)) {
    vfu_log(&context, LOG_ERR, "the client's version cannot be agreed on");
    return EINVAL;
  }
  if (decoded->capabilities.max_msg_fds > kMaxClientFds) return EINVAL;
  version = *decoded;
  return 0;
}

}  // namespace

int negotiate(vfu_ctx& context, const Message& message) {
  wire::VersionMessage version;
  if (const int error = check(context, message, version); error != 0) {
    static_cast<void>(context.link.reply(message.header, {}, error));
    return error;
  }
  const auto& theirs = version.capabilities;
  UniqueFd ours, twin;
  if (theirs.twin_socket && theirs.max_msg_fds > 0) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return errno;
    ours.reset(ends[0]);
    twin.reset(ends[1]);
  }
  context.write_multiple = theirs.write_multiple;
  context.max_transfer = theirs.max_data_xfer_size;

  const std::string json = offer(context, static_cast<bool>(twin));
  Reply reply;
  reply.payload.resize(sizeof(wire::Version) + json.size() + 1);
  const auto minor = std::min<std::uint16_t>(version.minor, LIB_VFIO_USER_MINOR);
  const auto text = wire::put(std::span{reply.payload}, wire::Version{LIB_VFIO_USER_MAJOR, minor});
  std::transform(json.begin(), json.end(), text.begin(), [](char c) { return static_cast<std::byte>(c); });
  if (twin) reply.fds.push_back(twin.get());
  if (context.record != nullptr) context.record->set_changed();
  context.link.agreed(std::move(ours), context.max_transfer, /*may_be_qemu=*/version.minor == 0);
  return context.link.reply(message.header, reply, 0) ? 0 : ECONNRESET;
}

}  // namespace vmux::capi
