// SPDX-License-Identifier: BSD-3-Clause
// The part of the kernel's network tables that this room needs: who has addresses and routes, and what a physical
// function is told about its virtual ones (rtnetlink, IFLA_VFINFO_LIST).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vmux/base/result.hpp"

namespace vmux::host {

struct InterfaceAddress {
  std::string interface;
  std::string address;        ///< "10.0.0.1/24"
  bool is_automatic = false;  ///< IPv6 link-local: every interface that is up has one, nobody gave it
};

struct Route {
  std::string interface;
  std::string destination;  ///< "default" or "10.0.0.0/24"
};

enum class VfLink : std::uint8_t { automatic, up, down };  // IFLA_VF_LINK_STATE_*: 0, 1, 2

/// What a physical function does with frames of one of its virtual functions. A member without a value: the driver does
/// not tell (reading), leave it as it is (setting).
struct VfSettings {
  std::optional<std::string> mac;
  std::optional<std::uint16_t> vlan;  ///< 0: none
  std::optional<std::uint8_t> qos;
  std::optional<bool> is_trusted;
  std::optional<bool> checks_spoofing;
  std::optional<VfLink> link;
  friend bool operator==(const VfSettings&, const VfSettings&) = default;
  /// Whether the kernel left it out: of one that it tells about it always has an address.
  [[nodiscard]] bool is_left_out() const noexcept { return !mac; }
};

/// An interface, and who has an eye on its frames past the stack of the kernel.
struct Link {
  std::string name;
  std::vector<std::string> other_names;  ///< altnames, as udev gives them
  unsigned index = 0;
  bool has_xdp = false;  ///< an XDP program is attached
};

/// An AF_XDP socket that is bound to an interface's queue.
struct XdpSocket {
  unsigned interface = 0;  ///< index
  unsigned queue = 0;
  std::uint64_t inode = 0;  ///< /proc/PID/fd/N leads to "socket:[inode]"
};

class Network {
 public:
  virtual ~Network() = default;
  [[nodiscard]] virtual Result<std::vector<InterfaceAddress>> addresses() = 0;
  /// Of the main table and others, without those that the kernel makes for each address by itself.
  [[nodiscard]] virtual Result<std::vector<Route>> routes() = 0;
  /// By name or altname; ENODEV if there is none.
  [[nodiscard]] virtual Result<Link> link(const std::string& name) = 0;
  /// Of this network namespace; empty where the kernel does not tell (CONFIG_XDP_SOCKETS_DIAG).
  [[nodiscard]] virtual Result<std::vector<XdpSocket>> xdp_sockets() = 0;
  /// By number of the virtual function. One that the kernel leaves out, as while it is being reset, has no settings at
  /// all.
  [[nodiscard]] virtual Result<std::vector<VfSettings>> vfs(const std::string& interface) = 0;
  [[nodiscard]] virtual Result<> set_vf(const std::string& interface, unsigned vf, const VfSettings& settings) = 0;
  [[nodiscard]] virtual Result<> set_up(const std::string& interface, bool up) = 0;
};

/// The kernel's own, of this process's network namespace.
[[nodiscard]] std::unique_ptr<Network> make_rtnetlink();

}  // namespace vmux::host
