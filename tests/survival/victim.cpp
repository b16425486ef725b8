// SPDX-License-Identifier: BSD-3-Clause
// A server of a card that survival_test kills, and the next one that goes on.
//
// survival-victim MODEL NUMBER BEFORE      MODEL: e1000, e810, or vhost-user: a card over
//                                          that, whose frames come back to it. BEFORE: the number of the one whose
//                                          record is to be
// gone on with, or 0
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "device/e1000/nic.hpp"
#include "device/e810/nic.hpp"
#include "device/virtio_net/nic.hpp"
#include "keeper/twin.hpp"
#include "port/test/rounds.hpp"
#include "vhost_user/server.hpp"
#include "victim.hpp"
#include "vmux/base/log.hpp"
#include "vmux/base/mapping.hpp"
#include "vmux/vfio_user/server.hpp"

namespace {

using namespace vmux;
using namespace vmux::survival;

template <class T, class E>
T need(tl::expected<T, E> value) {
  if (value) return std::move(*value);
  if constexpr (std::is_same_v<E, Error>) {
    std::fprintf(stderr, "survival-victim: %s\n", value.error().text().c_str());
  } else {
    std::fprintf(stderr, "survival-victim: %s\n", value.error().c_str());
  }
  std::_Exit(1);
}

vfio_user::ServerOptions options() {
  vfio_user::ServerOptions options;
  options.keeps_record = true;
  return options;
}

/// What the two transports have in common.
template <class Server>
struct Life {
  std::uint32_t number, before;
  Stage& stage;
  std::unique_ptr<Server> server;

  [[nodiscard]] bool begins() const noexcept { return before == 0; }
  bool connect() { return server->adopt(UniqueFd{::fcntl(kConnectionFd, F_DUPFD_CLOEXEC, 0)}).has_value(); }
  static Result<std::map<int, UniqueFd>> fetch(const std::vector<int>& numbers) {
    return keeper::fetch_from_twin(kBeforeFd, numbers);
  }
  /// The descriptors of the record of the one before.
  std::pair<UniqueFd, UniqueFd> record_before() {
    const Stage::Record record = stage.records[before];
    auto fds = need(fetch({record.image, record.stream}));
    return {std::move(fds[record.image]), std::move(fds[record.stream])};
  }
  /// From here on it is this one that counts. The end of the stream is the end of the test.
  template <class F>
  int go_on(runtime::Poller& poller, std::uint64_t pause_ns, F&& round) {
    const auto record = server->record();
    stage.records[number] = {record.image, record.stream};
    stage.serving.store(number);
    if (!begins() && !server->go_on()) return 1;
    bool was_connected = server->stats().is_connected;
    for (;;) {
      poller.run_once(pause_ns);
      round();
      const bool is_connected = server->stats().is_connected;
      if (was_connected && !is_connected) return 0;
      was_connected |= is_connected;
    }
  }
};

constexpr std::array<std::uint8_t, 6> kMac{0x52, 0x54, 0, 0, 1, 1};

template <class Nic>
int serve(std::uint32_t number, std::uint32_t before, Stage& stage) {
  const auto poller = need(runtime::Poller::create());
  const auto nic = need(Nic::create({.name = "victim", .mac = kMac}, *poller));
  Life<vfio_user::Server> life{number, before, stage, nullptr};
  if (life.begins()) {
    life.server = need(vfio_user::Server::create(*poller, nic->function(), options()));
    if (!life.connect()) return 1;
  } else {
    auto [image, stream] = life.record_before();
    auto left = need(vfio_user::Server::left_behind(std::move(image), std::move(stream), options(), life.fetch));
    life.server = need(vfio_user::Server::adopt_paused(*poller, nic->function(), options(), left.state));
  }
  return life.go_on(*poller, 1'000'000'000, [] {});
}

/// Frames that the card sends come back to it before they are done: as a switch would have it, so none is lost.
void turn_around(port::Port& port) {
  std::array<packet::FrameView, port::kMaxBurst> views;
  const port::test::Round round{port};
  const std::size_t count = port.take(views);
  if (count == 0) return;
  const std::size_t taken = port.deliver(std::span{views}.first(count)).taken;
  port::test::finish(port, taken);
}

int serve_vhost(std::uint32_t number, std::uint32_t before, Stage& stage) {
  constexpr std::uint64_t kPause_ns = 2'000'000;
  const auto poller = need(runtime::Poller::create());
  const auto nic = need(device::virtio_net::Nic::create({.name = "victim", .mac = kMac}, *poller));
  vhost_user::ServerOptions options;
  options.keeps_record = true;
  Life<vhost_user::Server> life{number, before, stage, nullptr};
  if (life.begins()) {
    life.server = need(vhost_user::Server::create(*poller, *nic, options));
    if (!life.connect()) return 1;
  } else {
    auto [image, stream] = life.record_before();
    auto left = need(vhost_user::Server::left_behind(std::move(image), std::move(stream), life.fetch));
    life.server = need(vhost_user::Server::adopt_paused(*poller, *nic, options, left.state));
  }
  return life.go_on(*poller, kPause_ns, [&] { turn_around(nic->port()); });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const auto number = static_cast<std::uint32_t>(std::strtoul(argv[2], nullptr, 10));
  const auto before = static_cast<std::uint32_t>(std::strtoul(argv[3], nullptr, 10));
  ::signal(SIGPIPE, SIG_IGN);
  if (std::getenv("VMUX_SURVIVAL_LOG") != nullptr) {
    set_log_sink(
        [](LogLevel, std::string_view line) {
          std::fprintf(stderr, "%d: %.*s\n", ::getpid(), static_cast<int>(line.size()), line.data());
        },
        LogLevel::trace);
  }
  static_cast<void>(need(keeper::start_twin(kTwinFd)));
  const auto mapping = need(Mapping::create(kStageFd, 0, sizeof(Stage), true));
  auto& stage = *reinterpret_cast<Stage*>(mapping.data());
  const std::string_view model = argv[1];
  if (model == "vhost-user") return serve_vhost(number, before, stage);
  if (model == "e810") return serve<device::e810::Nic>(number, before, stage);
  return serve<device::e1000::Nic>(number, before, stage);
}
