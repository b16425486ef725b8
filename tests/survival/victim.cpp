// SPDX-License-Identifier: BSD-3-Clause
// A server of a card that survival_test kills, and the next one that goes on.
//
// survival-victim MODEL NUMBER BEFORE      MODEL: e1000 or e810. BEFORE: the number of the one whose record is to be
// gone on with, or 0
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "device/e1000/nic.hpp"
#include "device/e810/nic.hpp"
#include "keeper/twin.hpp"
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

template <class Nic>
int serve(std::uint32_t number, std::uint32_t before) {
  const auto mapping = need(Mapping::create(kStageFd, 0, sizeof(Stage), true));
  auto& stage = *reinterpret_cast<Stage*>(mapping.data());
  const auto poller = need(runtime::Poller::create());
  const auto nic = need(Nic::create({.name = "victim", .mac = {0x52, 0x54, 0, 0, 1, 1}}, *poller));
  std::unique_ptr<vfio_user::Server> server;
  if (before == 0) {
    server = need(vfio_user::Server::create(*poller, nic->function(), options()));
    if (!server->adopt(UniqueFd{::fcntl(kConnectionFd, F_DUPFD_CLOEXEC, 0)})) return 1;
  } else {
    const auto fetch = [](const std::vector<int>& numbers) { return keeper::fetch_from_twin(kBeforeFd, numbers); };
    const Stage::Record record = stage.records[before];
    auto fds = need(fetch({record.image, record.stream}));
    auto left = need(
        vfio_user::Server::left_behind(std::move(fds[record.image]), std::move(fds[record.stream]), options(), fetch));
    server = need(vfio_user::Server::adopt_paused(*poller, nic->function(), options(), left.state));
  }
  const auto record = server->record();
  stage.records[number] = {record.image, record.stream};
  stage.serving.store(number);
  if (before != 0 && !server->go_on()) return 1;
  // The end of the stream is the end of the test.
  bool was_connected = server->stats().is_connected;
  for (;;) {
    poller->run_once(1'000'000'000);
    const bool is_connected = server->stats().is_connected;
    if (was_connected && !is_connected) return 0;
    was_connected |= is_connected;
  }
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
  return std::string_view{argv[1]} == "e810" ? serve<device::e810::Nic>(number, before)
                                             : serve<device::e1000::Nic>(number, before);
}
