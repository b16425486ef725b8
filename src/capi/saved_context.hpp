// SPDX-License-Identifier: BSD-3-Clause
// The library's part of a context as plain values: what a client could tell the difference by. Descriptors are numbers
// of the process that has died.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vmux/pci/device.hpp"

struct vfu_ctx;

namespace vmux::capi {

struct SavedContext {
  static constexpr std::string_view kSection = "capi.context";
  static constexpr std::uint16_t kVersion = 1;
  static constexpr std::uint32_t kNone = ~0u;  // of descriptors

  struct Range {
    std::uint64_t start = 0, size = 0, offset = 0;
    std::uint8_t prot = 0, mode = 0;
    std::uint32_t fd = kNone;
    static void describe(auto& fields, auto& self) {
      fields("start", self.start);
      fields("size", self.size);
      fields("offset", self.offset);
      fields("prot", self.prot);
      fields("mode", self.mode);
      fields("fd", self.fd);
    }
  };
  struct Listener {
    std::string name;
    std::uint32_t fd = kNone;
    static void describe(auto& fields, auto& self) {
      fields.text("name", self.name, 64);
      fields("fd", self.fd);
    }
  };
  struct Counted {
    std::uint32_t region = 0;
    std::uint64_t offset = 0;
    std::uint32_t fd = kNone;
    static void describe(auto& fields, auto& self) {
      fields("region", self.region);
      fields("offset", self.offset);
      fields("fd", self.fd);
    }
  };
  std::vector<std::uint8_t> description;  // see description_of()
  std::uint32_t listener = kNone, connection = kNone, twin = kNone;
  bool has_client = false;
  std::uint64_t first_request = 1;  // number of the one at the stream's first byte
  bool write_multiple = false, may_be_qemu = false;
  std::uint64_t max_transfer = 0;
  std::vector<std::uint8_t> config;
  pci::MigrationState migration = pci::MigrationState::running;
  std::uint64_t log_page_size = 0;
  std::vector<Range> ranges;
  std::vector<Listener> listeners;
  std::vector<std::uint8_t> irqs;  // EmulatedIrqs::save()
  std::vector<Counted> counted;    // words of pages whose eventfds the client has

  static void describe(auto& fields, auto& self) {
    fields.list("description", self.description, 65536);
    fields("listener", self.listener);
    fields("connection", self.connection);
    fields("twin", self.twin);
    fields("has_client", self.has_client);
    fields("first_request", self.first_request);
    fields("write_multiple", self.write_multiple);
    fields("may_be_qemu", self.may_be_qemu);
    fields("max_transfer", self.max_transfer);
    fields.list("config", self.config, 4096);
    fields.one_of("migration", self.migration, pci::MigrationState::pre_copy_p2p);
    fields("log_page_size", self.log_page_size);
    fields.list("ranges", self.ranges, kMostRanges);
    fields.list("listeners", self.listeners, kMostListeners);
    fields.list("irqs", self.irqs, 65536);
    fields.list("counted", self.counted, 4096);
  }
  static constexpr std::size_t kMostRanges = 65536, kMostListeners = 8192;
};

/// What has to be the same of the device that takes over: regions, interrupts, capabilities, identity.
[[nodiscard]] std::vector<std::uint8_t> description_of(vfu_ctx& context);

}  // namespace vmux::capi
