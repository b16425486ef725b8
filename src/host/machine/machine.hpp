// SPDX-License-Identifier: BSD-3-Clause
// The seam to the machine: files below one root, programs, and the kernel's network tables. Everything else in this
// room is a function of what comes through here, so that a directory of files is a machine for its tests.
#pragma once

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/machine/network.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::host {

struct Ran {
  int status = -1;  ///< as a shell tells it; 127: there is no such program
  std::string out;  ///< standard output and error
};

class Machine {
 public:
  Machine() = default;
  /// A machine whose files lie below `root`.
  explicit Machine(std::string root) : root_(std::move(root)) {}
  virtual ~Machine() = default;
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // Looking. Paths are absolute and as on the machine.
  [[nodiscard]] Result<std::string> read(const std::string& path) const;
  /// Without the white space at its end; "" if it cannot be read.
  [[nodiscard]] std::string text(const std::string& path) const;
  [[nodiscard]] std::optional<std::uint64_t> number(const std::string& path) const;
  /// `size` bytes from `offset` on, fewer where the file ends.
  [[nodiscard]] Result<std::string> piece(const std::string& path, std::uint64_t offset, std::size_t size) const;
  /// Names in a directory, sorted; empty if there is none.
  [[nodiscard]] std::vector<std::string> list(const std::string& path) const;
  [[nodiscard]] bool exists(const std::string& path) const;
  /// What a symbolic link says, unfollowed; "" if it is none.
  [[nodiscard]] std::string target(const std::string& path) const;
  /// The last component of that.
  [[nodiscard]] std::string link(const std::string& path) const;
  /// What a path is once all symbolic links are followed; "" if it is nothing.
  [[nodiscard]] std::string resolve(const std::string& path) const;
  /// Whether this process may open it for reading and writing; 0 or an errno.
  [[nodiscard]] virtual int access(const std::string& path) const;
  /// Whether KVM makes a VM; 0 or an errno.
  [[nodiscard]] virtual int try_kvm() const;
  /// "8:1" of a device's file (of what it leads to), "" if it is none.
  [[nodiscard]] virtual std::string device_number(const std::string& path) const;
  /// A block device for this process alone, while the descriptor is open: EBUSY if the kernel or a program has it so.
  [[nodiscard]] virtual Result<UniqueFd> claim(const std::string& path) const;

  // Doing.
  /// Gives an attribute of the kernel its value: one write of the whole text.
  [[nodiscard]] virtual Result<> write(const std::string& path, std::string_view value);
  /// Replaces a file so that a crash leaves the old one or the new one; makes its directory.
  [[nodiscard]] virtual Result<> replace(const std::string& path, std::string_view content);
  [[nodiscard]] Result<> remove(const std::string& path);
  /// Waits for nobody: Errc::busy if another process has it. The file says which. Released when the descriptor closes.
  [[nodiscard]] Result<UniqueFd> lock(const std::string& path);
  /// Runs a program with nothing on its standard input, found by PATH, for `seconds` at most.
  [[nodiscard]] virtual Ran run(const std::vector<std::string>& arguments, unsigned seconds = 10);
  /// A hugetlbfs with pages of this size ("1G") at `path`, which is made if it is not there.
  [[nodiscard]] virtual Result<> mount_hugepages(const std::string& path, const std::string& size);
  /// And its directory goes, if it is empty then.
  [[nodiscard]] virtual Result<> unmount(const std::string& path);
  /// The kernel's network tables.
  [[nodiscard]] virtual Network& network() const;
  /// Lets time pass before something is tried again; whoever listens is told, once for each text, what is waited for.
  void wait(const std::string& for_what, std::chrono::milliseconds time);
  std::function<void(const std::string& for_what)> on_wait;
  /// What may still be waited, however many things are not ready.
  std::chrono::milliseconds timeout{60'000};

 protected:
  virtual void sleep(std::chrono::milliseconds time);

 private:
  [[nodiscard]] std::string at(const std::string& path) const { return root_ + path; }

  std::string root_;
  mutable std::unique_ptr<Network> network_;
  std::string waited_for_;
};

/// How long a driver or another process is waited for before its "try again later" is taken for an answer.
inline constexpr std::chrono::milliseconds kTimeout{10'000}, kBetweenTries{100};

/// Does `attempt` until it succeeds, fails otherwise than with EAGAIN or EBUSY, or timeout is over.
template <class Attempt>
[[nodiscard]] auto patiently(Machine& machine, const std::string& for_what, Attempt attempt) -> decltype(attempt()) {
  auto done = attempt();
  for (auto left = std::min(kTimeout, machine.timeout); left.count() > 0; left -= kBetweenTries) {
    if (done || (done.error().sys != EAGAIN && done.error().sys != EBUSY)) break;
    machine.wait(for_what, kBetweenTries);
    done = attempt();
  }
  return done;
}

}  // namespace vmux::host
