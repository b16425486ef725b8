// SPDX-License-Identifier: BSD-3-Clause
#include "keeper/messages.hpp"

#include <cstring>

#include "ipc/packet.hpp"

namespace vmux::keeper {
namespace {

struct Head {
  std::uint32_t say, value;
};

}  // namespace

Result<void> send_message(int socket, Say say, std::uint32_t value, std::string_view text,
                          const std::vector<int>& fds) {
  const Head head{static_cast<std::uint32_t>(say), value};
  text = text.substr(0, kMaxText);
  std::vector<std::byte> bytes(sizeof head + text.size());
  std::memcpy(bytes.data(), &head, sizeof head);
  if (!text.empty()) std::memcpy(bytes.data() + sizeof head, text.data(), text.size());
  return ipc::send_packet(socket, bytes, fds);
}

Result<Message> receive_message(int socket, bool may_wait) {
  std::vector<std::byte> bytes(sizeof(Head) + kMaxText);
  auto packet = ipc::receive_packet(socket, bytes, may_wait);
  if (!packet) return tl::unexpected(packet.error());
  if (packet->size == 0) return fail(Errc::disconnected, "the other process is gone");
  if (packet->size < sizeof(Head)) return fail(Errc::protocol, "half a message from another process of ours");
  Head head;
  std::memcpy(&head, bytes.data(), sizeof head);
  if (head.say > static_cast<std::uint32_t>(Say::adopt)) return fail(Errc::protocol, "a message of a newer version");
  Message message;
  message.say = static_cast<Say>(head.say);
  message.value = head.value;
  message.text.assign(reinterpret_cast<const char*>(bytes.data()) + sizeof head, packet->size - sizeof head);
  message.fds = std::move(packet->fds);
  return message;
}

}  // namespace vmux::keeper
