// SPDX-License-Identifier: BSD-3-Clause
// What is known of ports, uplinks and pollers when somebody asks what is wrong with them: plain values, so that a test
// can say of each condition what is found there.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "control/model/counters.hpp"
#include "control/model/spec/spec.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::control {

/// Counters at two times: what there is, and what has come since.
struct Counts {
  std::map<std::string, std::uint64_t> before, now;

  [[nodiscard]] std::uint64_t get(const std::string& name) const;  ///< 0: no such counter
  /// How much it went up; 0 when it was not there before.
  [[nodiscard]] std::uint64_t rise(const std::string& name) const;
};

/// What configuration space says of a function.
struct ConfigFacts {
  bool is_all_ones = false;  ///< nobody answered
  bool is_bus_master = false, has_memory_space = false;
  unsigned power_state = 0;  ///< 0 to 3: D0 to D3hot
};
/// nullopt: there is none.
[[nodiscard]] std::optional<ConfigFacts> config_facts(std::span<const std::byte> config) noexcept;

/// Of what a client has given. Bytes.
struct MemoryFacts {
  std::uint64_t mapped = 0, by_message = 0;
  std::uint64_t private_bytes = 0;  ///< of those mapped: the client has them for itself
  std::uint64_t small_pages = 0;    ///< of those mapped: in pages of 4 KiB
  std::optional<unsigned> node;     ///< most of it, as far as it was used
};

/// Of a physical function that a port serves.
struct FunctionFacts {
  std::string address;
  std::vector<std::string> group_mates;  ///< other functions of its IOMMU group, bridges left out
  std::optional<unsigned> node;
};

struct PortFacts {
  PortSpec spec;  ///< completed
  Doorbell default_doorbell{};
  unsigned queues = 1;  ///< pairs
  bool is_connected = false, is_ready = false;
  pid_t client = 0;
  std::uint64_t faults = 0;
  std::vector<std::size_t> pollers;  ///< that move its frames
  Counts counters, model, transport;
  std::optional<ConfigFacts> config;
  MemoryFacts memory;
  std::optional<FunctionFacts> function;
};

struct UplinkFacts {
  UplinkSpec spec;
  bool is_ready = false;
  std::vector<std::size_t> pollers;
  Counts counters;
};

struct PollerFacts {
  std::size_t number = 0;
  std::optional<unsigned> cpu, node;  ///< that it is pinned to, and of that one
  bool is_busy = false;               ///< it never sleeps, whatever there is to do
  runtime::PollerStats before, now;
};

struct Facts {
  double seconds = 0;  ///< between the two looks; 0: there was one
  std::vector<PortFacts> ports;
  std::vector<UplinkFacts> uplinks;
  std::vector<PollerFacts> pollers;
  std::uint64_t descriptors = 0, most_descriptors = 0;  ///< of this process: open, and allowed
  bool has_hugepages = true;                            ///< the machine has set some aside
};

// --- from the files of the kernel; `sys` is where /sys is ---

/// The memory node that a CPU belongs to.
[[nodiscard]] std::optional<unsigned> node_of_cpu(unsigned cpu, const std::string& sys = "/sys");
[[nodiscard]] FunctionFacts function_facts(const std::string& address, const std::string& sys = "/sys");
/// Whether there are hugepages of any size, used or not.
[[nodiscard]] bool has_hugepages(const std::string& sys = "/sys");

}  // namespace vmux::control
