// SPDX-License-Identifier: BSD-3-Clause
// A server of cards on a switch that hands all of itself over to new objects with each SIGUSR1: poller, switch, cards
// and sessions are destroyed and made anew. What its guests notice of that, tests/e2e/handover_test.py looks at.
//
// handover-server MODEL:SOCKET...      Says "ready", and then, of each hand-over, what it took. MODEL is e1000, iavf,
// e810
//                                      or virtio-net, over vfio-user, or vhost-user: a virtio-net card over that. With
//                                      "-connect" behind it that one connects, and its front end listens.
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "device/e1000/nic.hpp"
#include "device/e810/nic.hpp"
#include "device/iavf/nic.hpp"
#include "device/virtio_net/pci_nic.hpp"
#include "switch/switch.hpp"
#include "vhost_user/server.hpp"
#include "vmux/base/clock.hpp"
#include "vmux/vfio_user/server.hpp"

namespace {

using namespace vmux;

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "handover-server: %s\n", why.c_str());
  std::exit(1);
}

template <class T, class E>
T need(tl::expected<T, E> value) {
  if (value) return std::move(*value);
  if constexpr (std::is_same_v<E, Error>) {
    die(value.error().text());
  } else {
    die(value.error());
  }
}

struct PortSpec {
  std::string model, socket;
  unsigned number;
};

/// A card and its server.
class Port {
 public:
  virtual ~Port() = default;
  [[nodiscard]] virtual port::Port& port() = 0;
  virtual void open() = 0;
  virtual void adopt(const state::Suspended& from) = 0;
  virtual state::Suspended suspend() = 0;
};

std::string name_of(const PortSpec& spec) { return "port" + std::to_string(spec.number); }
std::array<std::uint8_t, 6> mac_of(const PortSpec& spec) {
  return {0x52, 0x54, 0, 0, 1, static_cast<std::uint8_t>(spec.number)};
}

template <class Nic>
class PciPort final : public Port {
 public:
  PciPort(const PortSpec& spec, runtime::Poller& poller)
      : spec_(spec), poller_(poller), nic_(need(Nic::create({.name = name_of(spec), .mac = mac_of(spec)}, poller))) {}
  [[nodiscard]] port::Port& port() override { return nic_->port(); }
  void open() override { server_ = need(vfio_user::Server::create(poller_, nic_->function(), options())); }
  void adopt(const state::Suspended& from) override {
    server_ = need(vfio_user::Server::adopt(poller_, nic_->function(), options(), from));
  }
  state::Suspended suspend() override { return need(server_->suspend()); }

 private:
  [[nodiscard]] vfio_user::ServerOptions options() const {
    vfio_user::ServerOptions options;
    options.path = spec_.socket;
    return options;
  }
  const PortSpec& spec_;
  runtime::Poller& poller_;
  std::unique_ptr<Nic> nic_;
  std::unique_ptr<vfio_user::Server> server_;
};

class VhostPort final : public Port {
 public:
  VhostPort(const PortSpec& spec, runtime::Poller& poller)
      : spec_(spec), poller_(poller), nic_(need(Nic::create({.name = name_of(spec), .mac = mac_of(spec)}, poller))) {}
  [[nodiscard]] port::Port& port() override { return nic_->port(); }
  void open() override { server_ = need(vhost_user::Server::create(poller_, *nic_, options())); }
  void adopt(const state::Suspended& from) override {
    server_ = need(vhost_user::Server::adopt(poller_, *nic_, options(), from));
  }
  state::Suspended suspend() override { return need(server_->suspend()); }

 private:
  using Nic = device::virtio_net::Nic;
  [[nodiscard]] vhost_user::ServerOptions options() {
    return {.name = name_of(spec_),
            .path = spec_.socket,
            .connects = spec_.model == "vhost-user-connect",
            .announce = [this](const auto& station) { nic_->announce(station); }};
  }
  const PortSpec& spec_;
  runtime::Poller& poller_;
  std::unique_ptr<Nic> nic_;
  std::unique_ptr<vhost_user::Server> server_;
};

std::unique_ptr<Port> make_port(const PortSpec& spec, runtime::Poller& poller) {
  if (spec.model == "e1000") return std::make_unique<PciPort<device::e1000::Nic>>(spec, poller);
  if (spec.model == "iavf") return std::make_unique<PciPort<device::iavf::Nic>>(spec, poller);
  if (spec.model == "e810") return std::make_unique<PciPort<device::e810::Nic>>(spec, poller);
  if (spec.model == "virtio-net") return std::make_unique<PciPort<device::virtio_net::PciNic>>(spec, poller);
  if (spec.model.starts_with("vhost-user")) return std::make_unique<VhostPort>(spec, poller);
  die("no model " + spec.model);
}

/// All of it, while its poller runs; one follows the other.
class World {
 public:
  /// `from`: of each port what another world has left, or empty.
  World(const std::vector<PortSpec>& specs, const std::vector<state::Suspended>& from) {
    for (std::size_t i = 0; i < specs.size(); ++i) {
      Port& port = *ports_.emplace_back(make_port(specs[i], *poller_));
      need(switch_->attach(port.port(), *poller_, {.name = name_of(specs[i])}));
      from.empty() ? port.open() : port.adopt(from[i]);
    }
    if (auto started = poller_->start(); !started) die(started.error().text());
  }
  ~World() {
    stop();
    switch_.reset();
  }
  std::vector<state::Suspended> suspend() {
    stop();
    std::vector<state::Suspended> all;
    for (const auto& port : ports_)
      all.push_back(port->suspend());
    return all;
  }

 private:
  void stop() {
    poller_->stop();
    poller_->join();
  }
  std::unique_ptr<runtime::Poller> poller_ = need(runtime::Poller::create());
  std::vector<std::unique_ptr<Port>> ports_;
  std::unique_ptr<switching::Switch> switch_ = need(switching::Switch::create("handover"));
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<PortSpec> specs;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word{argv[i]};
    const auto colon = word.find(':');
    if (colon == word.npos) die("MODEL:SOCKET, not " + std::string{word});
    specs.push_back({std::string{word.substr(0, colon)}, std::string{word.substr(colon + 1)}, unsigned(i)});
  }
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGUSR1, SIGTERM, SIGINT})
    sigaddset(&signals, number);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // before any thread is made
  auto world = std::make_unique<World>(specs, std::vector<state::Suspended>{});
  std::puts("ready");
  std::fflush(stdout);
  for (unsigned count = 1;; ++count) {
    int number = 0;
    if (::sigwait(&signals, &number) != 0 || number != SIGUSR1) break;
    const std::uint64_t begin = monotonic_ns();
    const auto suspended = world->suspend();
    world.reset();
    world = std::make_unique<World>(specs, suspended);
    std::printf("handed over %u: %llu us\n", count, static_cast<unsigned long long>((monotonic_ns() - begin) / 1000));
    std::fflush(stdout);
  }
  return 0;
}
