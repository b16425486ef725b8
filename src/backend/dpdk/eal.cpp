// SPDX-License-Identifier: BSD-3-Clause
#include "backend/dpdk/eal.hpp"

#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <string_view>
#include <vector>

#include "base/text/text.hpp"
#include "vmux/base/log.hpp"

namespace vmux::backend::dpdk {
namespace {

// The EAL is global, cannot be started twice, and not again after a failure: so is what we know of it.
enum class Eal : unsigned char { not_started, without_pci, with_pci, broken };
Eal g_eal = Eal::not_started;

LogLevel level_of(int level) noexcept {
  if (level <= static_cast<int>(RTE_LOG_ERR)) return LogLevel::error;
  if (level <= static_cast<int>(RTE_LOG_WARNING)) return LogLevel::warning;
  return LogLevel::debug;  // its notices and infos are details to our users
}

// A stream for DPDK whose lines become ours.
ssize_t write_log(void*, const char* text, std::size_t size) {
  std::string_view line{text, size};
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r'))
    line.remove_suffix(1);
  if (!line.empty()) log_line(level_of(rte_log_cur_msg_loglevel()), line);
  return static_cast<ssize_t>(size);
}

void route_log() {
  std::FILE* const stream =
      ::fopencookie(nullptr, "w", {.read = nullptr, .write = write_log, .seek = nullptr, .close = nullptr});
  if (stream == nullptr) return;
  std::setvbuf(stream, nullptr, _IOLBF, 1024);
  rte_openlog_stream(stream);  // kept for the life of the process
}

bool has_free_hugepages() {
  std::ifstream info{"/proc/meminfo"};
  std::string key;
  std::uint64_t value = 0;
  while (info >> key) {
    if (key == "HugePages_Free:" && info >> value) return value > 0;
  }
  return false;
}

std::vector<std::string> arguments_for(const std::string& device, const cpu_set_t& allowed) {
  unsigned cpu = 0;
  while (cpu < CPU_SETSIZE - 1u && !CPU_ISSET(cpu, &allowed))
    ++cpu;
  // One lcore, which is us: no worker threads. Placed where we may run anyway.
  std::vector<std::string> out{"vmux", "--no-telemetry", "--lcores", "0@" + std::to_string(cpu)};
  if (is_pci(device)) {
    out.insert(out.end(), {"-a", device});
  } else {
    out.emplace_back("--no-pci");
  }
  // 22.11 refuses --in-memory together with --no-huge; --no-shconf is what is left of it then: no files, no lock.
  if (is_pci(device) && has_free_hugepages()) {
    out.emplace_back("--in-memory");
  } else {
    out.insert(out.end(), {"--no-huge", "--no-shconf", "-m", "256"});  // MiB of address space
  }
  return out;
}

}  // namespace

bool is_pci(const std::string& device) noexcept {
  return parse_pci_address(std::string_view{device}.substr(0, device.find(','))).has_value();
}

Result<void> start_eal(const std::string& device) {
  if (g_eal == Eal::broken) return fail(Errc::system, "DPDK could not be started in this process (see the log)");
  if (g_eal == Eal::without_pci && is_pci(device)) {
    return fail(Errc::not_supported, "DPDK runs without PCI: name the PCI uplink first, or restart with it");
  }
  if (g_eal != Eal::not_started) return {};

  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::pthread_getaffinity_np(::pthread_self(), sizeof allowed, &allowed) != 0) {
    return fail(Errc::system, "cannot read the allowed CPUs");
  }
  route_log();
  std::vector<std::string> arguments = arguments_for(device, allowed);
  std::vector<char*> argv;
  argv.reserve(arguments.size());
  for (std::string& argument : arguments)
    argv.push_back(argument.data());
  const int status = rte_eal_init(static_cast<int>(argv.size()), argv.data());
  ::pthread_setaffinity_np(::pthread_self(), sizeof allowed, &allowed);  // the EAL had pinned us
  if (status < 0) {
    g_eal = Eal::broken;
    return fail(Errc::system, "DPDK cannot be started (see the log)", rte_errno);
  }
  g_eal = is_pci(device) ? Eal::with_pci : Eal::without_pci;
  return {};
}

}  // namespace vmux::backend::dpdk
