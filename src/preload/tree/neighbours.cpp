// SPDX-License-Identifier: BSD-3-Clause
#include "preload/tree/neighbours.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/text/format.hpp"

namespace vmux::preload {
namespace {

namespace fs = std::filesystem;

/// Which server it is: a restarted one has a socket of its own. Empty when there is none.
std::string name_of(const std::string& socket) {
  struct stat status {};
  if (::stat(socket.c_str(), &status) != 0) return {};
  return fmt::format("{:x}:{:x}", status.st_dev, status.st_ino);
}

std::string record_path(const std::string& root, const PciAddress& address) { return root + "/." + address.text(); }

std::optional<Identity> read_record(const std::string& root, const DeviceSetting& setting, const std::string& server) {
  Identity identity{setting.address, setting.socket, {}, {}, 0};
  std::ifstream record(record_path(root, setting.address));
  std::string name;
  if (!(record >> name) || name != server) return std::nullopt;
  for (std::uint64_t& size : identity.region_sizes)
    record >> size;
  std::ifstream config(root + "/sys/bus/pci/devices/" + setting.address.text() + "/config", std::ios::binary);
  identity.config.assign(std::istreambuf_iterator<char>{config}, {});
  if (!record || identity.config.empty()) return std::nullopt;
  return identity;
}

}  // namespace

UniqueFd take_claim(const std::string& socket) noexcept {
  const std::string name = "vmux-vfio/" + name_of(socket);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path + 1, sizeof address.sun_path - 1);  // the first byte stays 0: abstract
  UniqueFd fd{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (fd && ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) fd.reset();
  return fd;
}

bool is_claimed(const std::string& socket) noexcept {
  const UniqueFd claim = take_claim(socket);
  return !claim && errno == EADDRINUSE;
}

void write_record(const std::string& root, const Identity& identity) {
  std::ofstream record(record_path(root, identity.address));
  record << name_of(identity.socket) << ' ' << fmt::format("{}", fmt::join(identity.region_sizes, " ")) << '\n';
}

std::optional<Identity> find_record(const std::string& directory, const DeviceSetting& setting) {
  const std::string server = name_of(setting.socket);
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    const std::string root = entry.path();
    struct stat status {};
    if (!entry.path().filename().string().starts_with(kTreeName) || server.empty()) continue;
    // One's own only: in a directory that all may write, others may leave anything.
    if (::lstat(root.c_str(), &status) != 0 || status.st_uid != ::geteuid() || !S_ISDIR(status.st_mode)) continue;
    if (auto identity = read_record(root, setting, server)) return identity;
  }
  return std::nullopt;
}

}  // namespace vmux::preload
