// SPDX-License-Identifier: BSD-3-Clause
// For tests: a machine that is a directory of files, with as much of the kernel's behaviour behind them as this room
// relies on (drivers and their binding, SR-IOV, huge pages).
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "host/machine/machine.hpp"
#include "host/machine/values.hpp"

namespace vmux::host::fake {

class FakeNetwork final : public Network {
 public:
  Result<std::vector<InterfaceAddress>> addresses() override { return all_addresses; }
  Result<std::vector<Route>> routes() override { return all_routes; }
  Result<Link> link(const std::string& name) override;
  Result<std::vector<XdpSocket>> xdp_sockets() override { return all_xdp_sockets; }
  Result<std::vector<VfSettings>> vfs(const std::string& interface) override { return all_vfs[interface]; }
  Result<> set_vf(const std::string& interface, unsigned vf, const VfSettings& settings) override;
  Result<> set_up(const std::string& interface, bool up) override;

  std::vector<InterfaceAddress> all_addresses;
  std::vector<Route> all_routes;
  std::map<std::string, std::vector<VfSettings>> all_vfs;
  std::vector<Link> all_links;  ///< those with altnames or XDP
  std::vector<XdpSocket> all_xdp_sockets;
  int refuses_vf = 0;          ///< errno of the next set_vf, if not 0
  unsigned refusals_left = 1;  ///< how many of them
  std::function<void(const std::string&, bool)> on_up;
};

struct FunctionSpec {
  std::uint32_t class_code = 0x020000;
  std::string driver = "igb";  ///< bound to it, and the one that the kernel would choose; "" for none
  int group = -1;
  int numa_node = -1;
  unsigned max_vfs = 0;
  std::string interface;  ///< what its driver makes, "" for nothing
  std::string bridge;     ///< the bridge that it is behind
};

struct Crash {};

class FakeMachine final : public Machine {
 public:
  FakeMachine() : FakeMachine(make_root()) {}
  ~FakeMachine() override;

  // Building.
  void put(const std::string& path, const std::string& content);
  void put_link(const std::string& path, const std::string& target);
  void take(const std::string& path);
  void add_driver(const std::string& name);
  void add_function(const std::string& address, const FunctionSpec& spec);
  void add_node(unsigned node, const std::string& cpus, const std::map<unsigned, unsigned>& pages_by_kib);
  /// A block device of a function, with one partition.
  void add_disk(const std::string& address, const std::string& name, const std::string& number);

  // Machine.
  Result<> write(const std::string& path, std::string_view value) override;
  Result<> replace(const std::string& path, std::string_view content) override;
  Ran run(const std::vector<std::string>& arguments, unsigned seconds) override;
  Result<> mount_hugepages(const std::string& path, const std::string& size) override;
  Result<> unmount(const std::string& path) override;
  Network& network() const override { return net; }
  std::string device_number(const std::string& path) const override;
  Result<UniqueFd> claim(const std::string& path) const override;
  int access(const std::string& path) const override;
  int try_kvm() const override { return kvm_error; }

  /// Whether somebody holds what claim() gave.
  bool is_claimed(const std::string& path) const;
  /// The driver that the kernel chooses for a function.
  void prefer(const std::string& address, const std::string& driver) { natives_[address].chosen = driver; }

  mutable FakeNetwork net;
  std::vector<std::string> written;                           ///< "value > path", in order
  std::map<std::string, int> refuses;                         ///< path -> errno of writes to it
  std::map<std::string, int> inaccessible;                    ///< path -> errno of access()
  int kvm_error = 0;                                          ///< errno of try_kvm()
  std::map<std::string, Ran> programs;                        ///< command line -> what comes out
  std::set<std::string> picky;                                ///< drivers that take nothing
  int crashes_at = -1;                                        ///< throws Crash instead of this write (0 is the next)
  unsigned most_pages = 1000;                                 ///< of a node and size
  std::map<std::string, std::uint64_t> pages_in_use;          ///< nr_hugepages file -> of its pages
  std::set<std::string> claimed;                              ///< block devices that the kernel has to itself
  std::map<std::string, std::string> device_numbers;          ///< by path
  std::function<void(const std::string& path)> before_write;  ///< if set
  std::function<void()> on_sleep;                             ///< if set: what happens meanwhile
  std::chrono::milliseconds slept{0};

 protected:
  void sleep(std::chrono::milliseconds time) override;

 private:
  struct Native {
    std::string driver, interface;
    std::optional<std::string> chosen{};  ///< by the kernel, if not that driver
  };

  explicit FakeMachine(std::string root) : Machine(root), root_(std::move(root)) { begin(); }
  static std::string make_root();
  void begin();
  void attach(const std::string& address, const std::string& driver, bool is_boot = false);
  void detach(const std::string& address);
  void probe(const std::string& address);
  Result<> bind(const std::string& driver, const std::string& address);
  Result<> set_vfs(const std::string& address, const std::string& value);
  void remove_function(const std::string& address);
  std::string set_pages(const std::string& path, std::uint64_t wanted);
  Result<> act(const std::string& path, const std::string& value);

  std::string root_;
  std::map<std::string, Native> natives_;
};

/// A machine with an IOMMU and two cards: 0000:01:00.0 (igb, ens1, group 13, node 0, 7 VFs behind bridge 0000:00:02.0)
/// and 0000:02:00.0 (e1000e, ens2, group 14, node 1), a SATA disk at 0000:00:1f.2 in group 5 with the SMBus at
/// 0000:00:1f.3.
void make_good_host(FakeMachine& machine);

}  // namespace vmux::host::fake
