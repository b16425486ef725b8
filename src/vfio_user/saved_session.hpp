// SPDX-License-Identifier: BSD-3-Clause
// What a suspended session holds: all that its client could tell the difference by, as plain values, and nothing else.
// Descriptors, by name: `connection`; `connection/in/N` and `connection/out/N`, which came with bytes that are not
// served yet, or go with bytes that are not sent; `twin` and the like; `io/REGION/N`, eventfds that stand for writes.
// Memory and interrupts are the function's (pci/function_suspend.cpp).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "ipc/left_behind.hpp"
#include "vfio_user/dma_channel.hpp"
#include "vfio_user/migration.hpp"
#include "vmux/pci/spec.hpp"

namespace vmux::vfio_user {

using ipc::LeftStream;
using ipc::SavedStream;

/// Requests to the client: what the device has asked for, and where the oldest of them stands.
struct SavedDma {
  static constexpr std::size_t kMostTransfers = 65536;
  static constexpr std::size_t kMostBytes = std::size_t{64} << 20;

  struct Transfer {
    bool is_write = false;
    std::uint64_t address = 0, size = 0, moved = 0;
    std::vector<std::uint8_t> bytes;  ///< of a write all, of a read those that have come
    static void describe(auto& fields, auto& self) {
      fields("is_write", self.is_write);
      fields("address", self.address);
      fields("size", self.size);
      fields("moved", self.moved);
      fields.list("bytes", self.bytes, kMostBytes);
    }
  };
  DmaChannel::Layout layout = DmaChannel::Layout::unknown;
  DmaChannel::Flight flight = DmaChannel::Flight::none;
  std::uint64_t max_count = 0, chunk = 0;
  std::uint16_t next_id = 0;
  std::vector<Transfer> transfers;
  static void describe(auto& fields, auto& self) {
    fields.one_of("layout", self.layout, DmaChannel::Layout::qemu);
    fields.one_of("flight", self.flight, DmaChannel::Flight::chunk);
    fields("max_count", self.max_count);
    fields("chunk", self.chunk);
    fields("next_id", self.next_id);
    fields.list("transfers", self.transfers, kMostTransfers);
  }
};

/// An UNMAP whose reply waits for readers, as it is to be answered.
struct SavedUnmap {
  std::uint16_t id = 0;
  std::uint32_t flags = 0, argsz = 0, body_flags = 0;
  std::uint64_t address = 0, size = 0;
  static void describe(auto& fields, auto& self) {
    fields("id", self.id);
    fields("flags", self.flags);
    fields("argsz", self.argsz);
    fields("body_flags", self.body_flags);
    fields("address", self.address);
    fields("size", self.size);
  }
};

struct SavedSession {
  static constexpr std::string_view kSection = "vfio_user.session";
  static constexpr std::uint16_t kVersion = 1;

  using Unmap = SavedUnmap;

  bool is_negotiated = false, has_full_size_errors = false, has_write_multiple = false;
  std::uint64_t peer_max_fds = 1;
  std::optional<std::uint64_t> version_due_ns;  ///< what is left of the time for VERSION
  std::optional<Unmap> unmap;
  MigrationState migration = MigrationState::running;
  std::array<std::uint16_t, pci::kRegionCount> io_events{};
  SavedDma dma;
  SavedStream stream;
  std::optional<SavedStream> twin;

  static void describe(auto& fields, auto& self) {
    fields("is_negotiated", self.is_negotiated);
    fields("has_full_size_errors", self.has_full_size_errors);
    fields("has_write_multiple", self.has_write_multiple);
    fields("peer_max_fds", self.peer_max_fds);
    fields("version_due_ns", self.version_due_ns);
    fields("unmap", self.unmap);
    fields.one_of("migration", self.migration, MigrationState::pre_copy_p2p);
    fields("io_events", self.io_events);
    fields("dma", self.dma);
    fields("stream", self.stream);
    fields("twin", self.twin);
  }
};

/// Of the server, whether it has a client or not.
struct SavedServer {
  static constexpr std::string_view kSection = "vfio_user.server";
  static constexpr std::uint16_t kVersion = 1;
  bool has_session = false;
  bool listens = false;
  std::uint64_t connections = 0, requests = 0, errors = 0, dma_maps = 0, dma_unmaps = 0;
  static void describe(auto& fields, auto& self) {
    fields("has_session", self.has_session);
    fields("listens", self.listens);
    fields("connections", self.connections);
    fields("requests", self.requests);
    fields("errors", self.errors);
    fields("dma_maps", self.dma_maps);
    fields("dma_unmaps", self.dma_unmaps);
  }
};

}  // namespace vmux::vfio_user
