// SPDX-License-Identifier: BSD-3-Clause
// What a session tells whoever looks: messages, and registers by their values.
#include <algorithm>
#include <cstring>

#include "vfio_user/session/session.hpp"

namespace vmux::vfio_user {
namespace {

using wire::vfio_user::Command;
using What = TraceRecord::What;

/// Told by register, with their values.
bool is_access(Command command) noexcept {
  return command == Command::region_read || command == Command::region_write || command == Command::region_write_multi;
}

}  // namespace

void Session::trace(const Incoming& message) noexcept {
  const auto command = static_cast<Command>(std::uint16_t{message.header.command});
  if (is_access(command)) return;
  TraceRecord record;
  record.code = message.header.command;
  record.bytes = static_cast<std::uint32_t>(message.payload.size());
  record.fds = static_cast<std::uint8_t>(message.fds.size());
  if (command == Command::dma_map) {
    if (const auto map = wire::vfio_user::peek<wire::vfio_user::DmaMap>(message.payload)) {
      record.offset = map->address;
      record.value = map->size;
    }
  } else if (command == Command::dma_unmap) {
    if (const auto unmap = wire::vfio_user::peek<wire::vfio_user::DmaUnmap>(message.payload)) {
      record.offset = unmap->address;
      record.value = unmap->size;
    }
  }
  context_.endpoint.tracer()->record(record);
}

void Session::trace_refusal(const Header& header, int error) noexcept {
  Tracer* const tracer = context_.endpoint.tracer();
  if (tracer == nullptr) return;
  TraceRecord record;
  record.what = What::refused;
  record.code = header.command;
  record.result = error;
  tracer->record(record);
}

void Session::trace(What what, std::uint32_t region, std::uint64_t offset, std::span<const std::byte> bytes) noexcept {
  TraceRecord record;
  record.what = what;
  record.region = static_cast<std::uint8_t>(region);
  record.offset = offset;
  record.bytes = static_cast<std::uint32_t>(bytes.size());
  std::memcpy(&record.value, bytes.data(), std::min(bytes.size(), sizeof record.value));
  context_.endpoint.tracer()->record(record);
}

}  // namespace vmux::vfio_user
