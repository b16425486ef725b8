// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/state_methods.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <span>
#include <utility>
#include <vector>

#include "base/text/format.hpp"

namespace vmux::control {
namespace {

constexpr std::size_t kMostBytes = std::size_t{4} << 20;  // of a state: no device's is larger

Outcome<std::string> port_of(Controller& controller, const Json& object) {
  Params params{object};
  std::string name = params.required_name("name");
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  if (controller.inventory().find<PortSpec>(name) == nullptr)
    return refuse(ProblemKind::not_found, "name", fmt::format("there is no port named {}", name));
  return name;
}

/// Memory only: any other file may be on a file system that lets the daemon wait for as long as it likes.
Outcome<> check(const UniqueFd& file) {
  if (!file) return refuse(ProblemKind::invalid, "", "a memory file goes with this call, as vmuxctl sends one");
  struct stat status {};
  const bool is_file = ::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode);
  if (!is_file || ::fcntl(file.get(), F_GET_SEALS) < 0) {
    return refuse(ProblemKind::invalid, "", "what came with the call is not a memory file (memfd_create)");
  }
  return {};
}

Outcome<std::vector<std::byte>> read_all(const UniqueFd& file) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return refuse("", "look at the state", Error{Errc::system, "fstat", errno});
  if (status.st_size <= 0 || static_cast<std::uint64_t>(status.st_size) > kMostBytes) {
    return refuse(
        ProblemKind::invalid, "",
        fmt::format("a saved state has 1 to {} bytes, and this file has {}", kMostBytes, std::int64_t{status.st_size}));
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(status.st_size));
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t got = ::pread(file.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return refuse("", "read the state", Error{Errc::system, "pread", errno});
    if (got == 0) return refuse(ProblemKind::invalid, "", "the file became shorter while it was read");
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

Outcome<> write_all(const UniqueFd& file, std::span<const std::byte> bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t sent = ::pwrite(file.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return refuse("", "write the state", Error{Errc::system, "pwrite", errno});
    done += static_cast<std::size_t>(sent);
  }
  if (::ftruncate(file.get(), static_cast<off_t>(bytes.size())) != 0) {
    return refuse("", "write the state", Error{Errc::system, "ftruncate", errno});
  }
  return {};
}

Outcome<Json> port_save(Controller& controller, const Json& params, const UniqueFd& file) {
  const auto name = port_of(controller, params);
  if (!name) return tl::unexpected<Problem>(name.error());
  if (auto checked = check(file); !checked) return tl::unexpected<Problem>(checked.error());
  const auto state = controller.save_state(*name);
  if (!state) return tl::unexpected<Problem>(state.error());
  if (auto written = write_all(file, *state); !written) return tl::unexpected<Problem>(written.error());
  return Json{{"name", *name}, {"bytes", state->size()}};
}

Outcome<Json> port_restore(Controller& controller, const Json& params, const UniqueFd& file) {
  const auto name = port_of(controller, params);
  if (!name) return tl::unexpected<Problem>(name.error());
  if (auto checked = check(file); !checked) return tl::unexpected<Problem>(checked.error());
  const auto state = read_all(file);
  if (!state) return tl::unexpected<Problem>(state.error());
  if (auto done = controller.restore_state(*name, *state); !done) return tl::unexpected<Problem>(done.error());
  return Json{{"name", *name}, {"bytes", state->size()}};
}

}  // namespace

void add_state_methods(Methods& methods, Controller& controller) {
  methods.add_with_file(
      "port.save",
      [&controller](const Json& params, const UniqueFd& file) { return port_save(controller, params, file); },
      {Role::operate});
  methods.add_with_file(
      "port.restore",
      [&controller](const Json& params, const UniqueFd& file) { return port_restore(controller, params, file); },
      {Role::operate});
}

}  // namespace vmux::control
