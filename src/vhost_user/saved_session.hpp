// SPDX-License-Identifier: BSD-3-Clause
// What a suspended session holds: all that its front end could tell the difference by, as plain values. Descriptors, by
// name: `listener`; `connection`, and `connection/in/N`, which came with bytes that are not served yet; `log`; of ring
// N `kick/N`, `call/N` and `error/N`. The guest's memory is the address space's (memory/address_space_state.cpp), what
// is in the rings the device's.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "ipc/left_behind.hpp"
#include "vhost_user/memory_map.hpp"
#include "vhost_user/messages.hpp"
#include "virtio/queue.hpp"

namespace vmux::vhost_user {

/// Bytes under way on the socket. Positions are from the first byte that is not served.
struct SavedStream {
  static constexpr std::size_t kMostBytes = 1 << 20;
  static constexpr std::size_t kMostMessages = 8;  ///< with descriptors

  using WithFds = ipc::SavedStream::WithFds;
  std::vector<std::uint8_t> in, out;
  std::vector<WithFds> arrived;
  static void describe(auto& fields, auto& self) {
    fields.list("in", self.in, kMostBytes);
    fields.list("out", self.out, kMostBytes);
    fields.list("arrived", self.arrived, kMostMessages);
  }
};

struct SavedRingAddresses {
  std::uint32_t flags = 0;
  std::uint64_t descriptors = 0, used = 0, available = 0, log = 0;
  static void describe(auto& fields, auto& self) {
    fields("flags", self.flags);
    fields("descriptors", self.descriptors);
    fields("used", self.used);
    fields("available", self.available);
    fields("log", self.log);
  }
};

/// What has been said of a ring, and where it stands.
struct SavedRing {
  using Addresses = SavedRingAddresses;

  std::uint16_t size = 0;
  std::optional<Addresses> addresses;
  virtio::QueueState state;
  std::optional<std::uint32_t> base;
  std::optional<bool> enabled;
  bool has_kick = false, has_kick_fd = false, has_call = false, has_error = false, runs = false;
  static void describe(auto& fields, auto& self) {
    fields("ring.size", self.size);
    fields("ring.addresses", self.addresses);
    fields("ring.state", self.state);
    fields("ring.base", self.base);
    fields("ring.enabled", self.enabled);
    fields("ring.has_kick", self.has_kick);
    fields("ring.has_kick_fd", self.has_kick_fd);
    fields("ring.has_call", self.has_call);
    fields("ring.has_error", self.has_error);
    fields("ring.runs", self.runs);
  }
};

/// A region as the front end described it, and the file that it lies in: one that comes again keeps its mapping.
struct SavedRegion {
  Region region;
  std::uint64_t device = 0, inode = 0;
  static void describe(auto& fields, auto& self) {
    fields("region.guest", self.region.guest);
    fields("region.size", self.region.size);
    fields("region.user", self.region.user);
    fields("region.offset", self.region.offset);
    fields("region.device", self.device);
    fields("region.inode", self.inode);
  }
};

struct SavedLog {
  std::uint64_t offset = 0, size = 0;
  static void describe(auto& fields, auto& self) {
    fields("log.offset", self.offset);
    fields("log.size", self.size);
  }
};

/// A request that is done but for its answer.
struct SavedHeldUp {
  std::uint32_t request = 0, flags = 0;
  static void describe(auto& fields, auto& self) {
    fields("held_up.request", self.request);
    fields("held_up.flags", self.flags);
  }
};

struct SavedSession {
  static constexpr std::string_view kSection = "vhost_user.session";
  static constexpr std::uint16_t kVersion = 1;
  static constexpr std::size_t kMostRings = 256;
  using Log = SavedLog;
  using HeldUp = SavedHeldUp;

  std::uint64_t protocol_features = 0, features = 0;
  std::optional<std::uint64_t> accepted;
  std::uint8_t status = 0;
  bool has_spoken = false;
  std::optional<std::uint64_t> speak_by_ns;  ///< what is left of the time for its first request
  std::optional<HeldUp> held_up;
  std::optional<Log> log;
  std::vector<SavedRegion> regions;
  std::vector<SavedRing> rings;
  SavedStream stream;

  static void describe(auto& fields, auto& self) {
    fields("protocol_features", self.protocol_features);
    fields("features", self.features);
    fields("accepted", self.accepted);
    fields("status", self.status);
    fields("has_spoken", self.has_spoken);
    fields("speak_by_ns", self.speak_by_ns);
    fields("held_up", self.held_up);
    fields("log", self.log);
    fields.list("regions", self.regions, MemoryMap::kMaxRegions);
    fields.list("rings", self.rings, kMostRings);
    fields("stream", self.stream);
  }
};

/// Of the server, whether it has a front end or not.
struct SavedServer {
  static constexpr std::string_view kSection = "vhost_user.server";
  static constexpr std::uint16_t kVersion = 1;
  bool has_session = false, listens = false;
  std::uint64_t connections = 0, requests = 0, errors = 0, kicks = 0;
  std::uint64_t session_age_ns = 0;            ///< one that lasts was none of a loop
  std::uint32_t sessions = 0, connecting = 0;  ///< tries: see Patience
  static void describe(auto& fields, auto& self) {
    fields("has_session", self.has_session);
    fields("listens", self.listens);
    fields("connections", self.connections);
    fields("requests", self.requests);
    fields("errors", self.errors);
    fields("kicks", self.kicks);
    fields("session_age_ns", self.session_age_ns);
    fields("sessions", self.sessions);
    fields("connecting", self.connecting);
  }
};

}  // namespace vmux::vhost_user
