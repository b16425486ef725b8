// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/keeper_methods.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "base/logf.hpp"
#include "base/text/format.hpp"
#include "control/rpc/params.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::control {
namespace {

constexpr std::uint64_t kStatusWait_ns = 2'000'000'000;
constexpr std::uint64_t kUpgradeWait_ns = 30'000'000'000;  // longer than the keeper gives the new program

Outcome<Json> nothing_to(const Json& object) {
  Params params{object};
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  return Json::object();
}

/// The keeper's next word that is `wanted`, or that it wants this process to make room: then this does not return.
Outcome<keeper::Message> hear(Controller& controller, keeper::Say wanted, std::uint64_t wait_ns) {
  keeper::Lifeline& lifeline = *controller.lifeline();
  const keeper::Lifeline::HostCall waits{&lifeline};
  const std::uint64_t until = monotonic_ns() + wait_ns;
  for (std::uint64_t now = monotonic_ns(); now < until; now = monotonic_ns()) {
    pollfd what{lifeline.fd(), POLLIN, 0};
    if (::poll(&what, 1, static_cast<int>((until - now) / 1'000'000 + 1)) != 1) continue;
    auto message = lifeline.take();
    if (!message) return refuse("", "hear of the keeper", message.error());
    if (message->say == keeper::Say::freeze) make_room(controller);
    if (message->say == wanted) return std::move(*message);
  }
  return refuse(ProblemKind::host, "", "the keeper does not answer");
}

Outcome<Json> status(Controller& controller, const Json& params) {
  if (auto none = nothing_to(params); !none) return none;
  return status_of_keeper(controller);
}

/// The keeper kills as soon as it hears of it, so it hears of it in the round behind the answer.
Outcome<Json> take_over(Controller& controller, runtime::Poller& control, const Json& params) {
  if (auto none = nothing_to(params); !none) return none;
  const auto posted = control.post([&controller] {
    logf(LogLevel::warning, "a drill: this process is about to be killed");
    if (auto said = controller.lifeline()->say(keeper::Say::take_over); !said) {
      logf(LogLevel::error, "no drill: the keeper cannot be told: {}", said.error().text());
    }
  });
  if (!posted) return refuse("", "begin the drill", posted.error());
  return Json{{"pid", ::getpid()}};
}

bool is_trusted(const struct stat& status) noexcept {
  return (status.st_uid == 0 || status.st_uid == ::geteuid()) && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/// A program that nobody but root or this user could have put there: neither the file nor a directory above it. A
/// directory in which only owners may rename (the sticky bit) is as good.
Outcome<UniqueFd> open_program(const std::string& path) {
  const auto bad = [&path](std::string_view why) {
    return refuse(ProblemKind::invalid, "binary", fmt::format("{} {}", path, why));
  };
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  if (error || !std::filesystem::path{path}.is_absolute()) return bad("is no absolute path of a file");
  UniqueFd file{::open(real.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0) return bad("cannot be opened");
  if (!S_ISREG(status.st_mode) || (status.st_mode & S_IXUSR) == 0) return bad("is no program");
  if (!is_trusted(status)) return bad("can be written by somebody else than root and the user of vmux");
  for (auto above = real.parent_path();; above = above.parent_path()) {
    const bool found = ::stat(above.c_str(), &status) == 0;
    if (!found || (!is_trusted(status) && (status.st_mode & S_ISVTX) == 0)) {
      return bad(fmt::format("lies under {}, in which somebody else may put files", above.string()));
    }
    if (above == above.root_path()) break;
  }
  return file;
}

struct UpgradeParams {
  std::optional<std::string> binary;
  bool is_rehearsal = false, is_forced = false;
};
Outcome<UpgradeParams> upgrade_params(const Json& object) {
  Params params{object};
  UpgradeParams read;
  read.binary = params.text("binary");
  read.is_rehearsal = params.flag("dry_run").value_or(false);
  read.is_forced = params.flag("force").value_or(false);
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  return read;
}

Outcome<Json> upgrade(Controller& controller, const Json& object) {
  const auto params = upgrade_params(object);
  if (!params) return tl::unexpected<Problem>(params.error());
  const auto& [binary, is_rehearsal, is_forced] = *params;
  if (const auto names = controller.ports_that_stay_behind(); !names.empty() && !is_forced) {
    return refuse(
        ProblemKind::busy, "",
        fmt::format("nothing was changed: {} cannot be handed over (physical functions can, by kernels from "
                    "Linux 6.0 on), and the VMs behind would lose the card until they attach anew; with force "
                    "it is done all the same",
                    fmt::join(names, ", ")));
  }
  std::vector<int> fds;
  UniqueFd program;
  if (binary) {
    auto opened = open_program(*binary);
    if (!opened) return tl::unexpected<Problem>(opened.error());
    program = std::move(*opened);
    fds.push_back(program.get());
  }
  logf(LogLevel::info, "upgrade{} to {}", is_rehearsal ? ", dry run," : "", binary.value_or("the same program"));
  if (auto said = controller.lifeline()->say(keeper::Say::upgrade, is_rehearsal ? 1 : 0, binary.value_or(""), fds);
      !said) {
    return refuse("", "tell the keeper", said.error());
  }
  auto message = hear(controller, keeper::Say::refused, kUpgradeWait_ns);
  if (!message) return tl::unexpected<Problem>(message.error());
  if (message->value == 0) return refuse(ProblemKind::not_supported, "", "nothing was changed: " + message->text);
  return Json{{"would", message->text}};
}

tl::unexpected<Problem> no_keeper() {
  return refuse(ProblemKind::not_supported, "",
                "this daemon has no keeper: it was started without `vmux --keeper`, so nobody would go on for it");
}

constexpr Access kLook{Role::read}, kAdmin{Role::admin};

}  // namespace

Outcome<Json> status_of_keeper(Controller& controller) {
  if (auto said = controller.lifeline()->say(keeper::Say::ask_status); !said) {
    return refuse(ProblemKind::busy, "",
                  fmt::format("cannot ask the keeper: {}; it is about to go on as another program, or to be started "
                              "again: ask once more",
                              said.error().text()));
  }
  auto message = hear(controller, keeper::Say::status, kStatusWait_ns);
  if (!message) return tl::unexpected<Problem>(message.error());
  return Json::parse(message->text, nullptr, /*allow_exceptions=*/false);
}

void make_room(Controller& controller) noexcept {
  controller.freeze();
  ::_exit(0);  // whatever a destructor would do is for the next daemon
}

void add_keeper_methods(Methods& methods, Controller& controller, runtime::Poller& control) {
  const auto add = [&](const char* name, auto handle, Access access) {
    methods.add(
        name, [&controller, handle](const Json& params) { return handle(controller, params); }, access);
  };
  add("keeper.status", status, kLook);
  methods.add(
      "keeper.take_over",
      [&controller, &control](const Json& params) { return take_over(controller, control, params); }, kAdmin);
  add("daemon.upgrade", upgrade, kAdmin);
}

void add_keeper_methods(Methods& methods) {
  const auto missing = [](const Json& params) -> Outcome<Json> {
    if (auto none = nothing_to(params); !none) return none;
    return no_keeper();
  };
  methods.add("keeper.status", missing, kLook);
  methods.add("keeper.take_over", missing, kAdmin);
  methods.add(
      "daemon.upgrade",
      [](const Json& object) -> Outcome<Json> {
        if (auto params = upgrade_params(object); !params) return tl::unexpected<Problem>(params.error());
        return no_keeper();
      },
      kAdmin);
}

}  // namespace vmux::control
