// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux/limits.hpp"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/descriptor_limit.hpp"
#include "base/logf.hpp"
#include "base/text/format.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::app {
namespace {

// A daemon hands its descriptors over in messages of 253, and some of these are under way at once. Without
// CAP_SYS_RESOURCE the kernel allows a user as many under way as a process of it may have open (net/unix/scm.c).
constexpr std::uint64_t kUnderWay = 1024;
constexpr std::uint64_t kLockedForAVm = 1ull << 30;

std::uint64_t soft_limit(int resource) noexcept {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) return ~0ull;
  return limit.rlim_cur == RLIM_INFINITY ? ~0ull : limit.rlim_cur;
}

/// What stands behind `key` in a file of lines "KEY:\tVALUE"; empty: nothing does.
std::string value_in(const std::string& path, const std::string& key) {
  std::ifstream file{path};
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) != 0) continue;
    const std::size_t at = line.find_first_not_of(" \t", key.size());
    return at == std::string::npos ? "" : line.substr(at);
  }
  return "";
}

/// In a unified hierarchy (cgroups(7), version 2): of our group, or of one above it that is killed with all below.
bool is_killed_as_one(const std::string& root) {
  std::filesystem::path group = value_in(root + "/proc/self/cgroup", "0::");
  for (; !group.empty(); group = group.parent_path()) {
    std::ifstream file{root + "/sys/fs/cgroup" + group.string() + "/memory.oom.group"};
    int value = 0;
    if (file >> value && value != 0) return true;
    if (group == group.root_path()) break;
  }
  return false;
}

}  // namespace

Surroundings look_around(const std::string& root) {
  Surroundings found;
  const std::string status = root + "/proc/self/status";
  found.descriptors = soft_limit(RLIMIT_NOFILE);
  found.locked_memory = soft_limit(RLIMIT_MEMLOCK);
  const std::uint64_t capabilities = std::strtoull(value_in(status, "CapEff:").c_str(), nullptr, 16);
  found.may_exceed = (capabilities >> CAP_SYS_RESOURCE & 1) != 0;
  found.may_lock = (capabilities >> CAP_IPC_LOCK & 1) != 0;
  found.kills_as_one = is_killed_as_one(root);
  found.has_pidfd = UniqueFd{static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0))}.get() >= 0;
  found.has_seccomp = value_in(status, "Seccomp:") == "2";
  found.is_first_process = ::getpid() == 1;
  return found;
}

std::vector<std::string> limits_of(const Surroundings& found) {
  std::vector<std::string> sentences;
  if (found.descriptors < kUnderWay) {
    sentences.push_back(fmt::format(
        "{} file descriptors a process are room for some {} ports, before and behind a take-over: raise the "
        "limit (LimitNOFILE=, ulimit -n, --ulimit nofile=)",
        found.descriptors, found.descriptors / kDescriptorsPerPort));
  }
  if (found.descriptors < kUnderWay && !found.may_exceed) {
    sentences.push_back(
        fmt::format("only {} descriptors may be under way between processes at once, and a take-over of many ports may "
                    "fail: raise the limit on descriptors, or add CAP_SYS_RESOURCE",
                    found.descriptors));
  }
  if (found.locked_memory < kLockedForAVm && !found.may_lock) {
    sentences.push_back(
        fmt::format("{} KiB of memory may be locked: VMs with physical functions need all of theirs, also behind a "
                    "take-over (LimitMEMLOCK=infinity, ulimit -l, --ulimit memlock=-1)",
                    found.locked_memory >> 10));
  }
  if (found.kills_as_one) {
    sentences.emplace_back(
        "memory.oom.group is set: when memory runs out the kernel kills keeper, daemon and twin at once, and nothing "
        "survives that (OOMPolicy=continue of systemd leaves it unset)");
  }
  if (!found.has_pidfd) {
    sentences.push_back(fmt::format(
        "pidfd_open() {}: that a process ends is seen by its threads alone",
        found.has_seccomp ? "is refused by a filter of system calls (seccomp)" : "is not there (Linux before 5.3)"));
  }
  if (found.is_first_process) {
    sentences.emplace_back(
        "the keeper is process 1: when it dies, the kernel ends all processes of this PID namespace with it, so a "
        "daemon "
        "survives its own death and not the keeper's (docker run --init)");
  }
  return sentences;
}

void warn_of_limits() {
  for (const std::string& sentence : limits_of(look_around()))
    logf(LogLevel::warning, "keeper: {}", sentence);
}

}  // namespace vmux::app
