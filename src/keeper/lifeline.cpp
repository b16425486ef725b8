// SPDX-License-Identifier: BSD-3-Clause
#include "keeper/lifeline.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "keeper/name.hpp"
#include "keeper/twin.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::keeper {
namespace {

struct SavedObjects {
  static constexpr std::string_view kSection = "daemon.objects";
  static constexpr std::uint16_t kVersion = 1;
  static constexpr std::size_t kLongest = std::size_t{16} << 20;
  std::uint32_t epoch = 0;
  std::string text;
  static void describe(auto& fields, auto& self) {
    fields("epoch", self.epoch);
    fields.text("text", self.text, kLongest);
  }
};

std::optional<int> socket_of_environment() noexcept {
  const char* const text = std::getenv(kSocketVariable);
  if (text == nullptr) return std::nullopt;
  int number = -1;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), number);
  return error == std::errc{} && *end == '\0' ? number : -1;
}

}  // namespace

Result<std::unique_ptr<Lifeline>> Lifeline::from_environment(const std::string& version) {
  const auto number = socket_of_environment();
  if (!number) return nullptr;
  ::unsetenv(kSocketVariable);
  if (*number < 0 || ::fcntl(*number, F_SETFD, FD_CLOEXEC) != 0) {
    return fail(Errc::invalid_argument, "the keeper's socket is none");
  }
  UniqueFd socket{*number};
  auto begin = receive_message(socket.get(), /*may_wait=*/true);
  if (!begin) return tl::unexpected(begin.error());
  if (begin->say != Say::begin || begin->fds.size() != 3) return fail(Errc::protocol, "the keeper speaks otherwise");
  auto segment = Segment::adopt(std::move(begin->fds[0]));
  if (!segment) return tl::unexpected(segment.error());
  auto slots = state::ControlSlots::adopt(std::move(begin->fds[1]));
  if (!slots) return tl::unexpected(slots.error());
  std::unique_ptr<Lifeline> lifeline{new Lifeline{std::move(socket), std::move(*segment), std::move(*slots)}};
  lifeline->epoch_ = begin->value;
  lifeline->twin_socket_ = begin->fds[2].release();
  lifeline->version_ = version;
  const auto twin = start_twin(lifeline->twin_socket_);
  if (!twin) return tl::unexpected(twin.error());
  lifeline->control_ = lifeline->segment_.begin_thread("control");
  if (auto said = lifeline->say(Say::begun, static_cast<std::uint32_t>(*twin), version); !said)
    return tl::unexpected(said.error());
  return lifeline;
}

Result<Lifeline::Task> Lifeline::wait_for_task(const Check& check) {
  for (;;) {
    auto message = receive_message(socket_.get(), /*may_wait=*/true);
    if (!message && message.error().code == Errc::disconnected) return Task::none;
    if (!message) return tl::unexpected(message.error());
    if (message->say != Say::go && message->say != Say::check && message->say != Say::farewell) continue;
    objects_.reset();
    if (auto known = learn(*message); !known) return tl::unexpected(known.error());
    if (message->say == Say::farewell) return Task::farewell;
    if (message->say == Say::go) {
      show_name("vmux", "vmux");  // one on standby was called otherwise
      return Task::serve;
    }
    const auto able = check(*this);
    if (auto said = say(Say::able, able ? 1 : 0, able ? *able : able.error()); !said) return Task::none;
  }
}

namespace {

std::vector<std::uint32_t> marks_in(const std::string& text) {
  std::vector<std::uint32_t> marks;
  const std::size_t behind = text.find(';');
  const char* at = text.c_str() + (behind == std::string::npos ? text.size() : behind + 1);
  for (char* end = nullptr;; at = end) {
    const auto mark = static_cast<std::uint32_t>(std::strtoul(at, &end, 10));
    if (end == at) return marks;
    marks.push_back(mark);
  }
}

}  // namespace

/// Several may have come before: one that died while it took over has a twin, too. The objects say whose they are.
Result<void> Lifeline::learn(const Message& go) {
  marks_ = marks_in(go.text);
  if (go.value == 0) return {};
  auto slots = state::ControlSlots::adopt(UniqueFd{::fcntl(slots_.fd(), F_DUPFD_CLOEXEC, 0)});
  if (!slots) return tl::unexpected(slots.error());
  slots_ = std::move(*slots);  // whoever wrote there last
  const auto newest = slots_.newest();
  if (!newest) return {};  // it died before it had any
  auto reader = state::Reader::open(*newest);
  SavedObjects saved;
  if (!reader) return fail(Errc::protocol, "the objects of the daemon before cannot be read");
  if (auto loaded = reader->load(saved); !loaded) {
    return fail(Errc::protocol, "the objects of the daemon before cannot be read");
  }
  const char* at = go.text.c_str();
  for (std::size_t i = 0; i < go.fds.size(); ++i) {
    char* end = nullptr;
    const auto epoch = static_cast<std::uint32_t>(std::strtoul(at, &end, 10));
    at = end;
    if (epoch != saved.epoch) continue;
    source_ = UniqueFd{::fcntl(go.fds[i].get(), F_DUPFD_CLOEXEC, 0)};
    objects_ = Objects{saved.epoch, std::move(saved.text)};
    return {};
  }
  return fail(Errc::not_found, "nobody has the descriptors of the daemon before");
}

Result<std::map<int, UniqueFd>> Lifeline::fetch(const std::vector<int>& numbers) const {
  return fetch_from_twin(source_.get(), numbers);
}

Result<void> Lifeline::keep_objects(const std::string& text) {
  state::Writer writer;
  writer.add(SavedObjects{epoch_, text});
  return slots_.write(std::move(writer).finish());
}

void Lifeline::watch_over(runtime::PollerOptions& options, bool may_block) {
  options.thread_begins = [this, name = options.name, may_block]() -> runtime::LifeSign* {
    ThreadSigns* const signs = segment_.begin_thread(name);
    if (signs == nullptr) return nullptr;
    signs->may_block.store(may_block ? 1 : 0);
    return &signs->life;
  };
  options.thread_ends = [](runtime::LifeSign* life) {
    if (life == nullptr) return;
    Segment::end_thread(*reinterpret_cast<ThreadSigns*>(reinterpret_cast<char*>(life) - offsetof(ThreadSigns, life)));
  };
}

Lifeline::HostCall::HostCall(Lifeline* lifeline) noexcept : signs_(lifeline == nullptr ? nullptr : lifeline->control_) {
  if (signs_ != nullptr) signs_->may_block.fetch_add(1);
}

Lifeline::HostCall::~HostCall() {
  if (signs_ != nullptr) signs_->may_block.fetch_sub(1);
}

void Lifeline::ready() {
  objects_.reset();
  source_.reset();
  static_cast<void>(say(Say::ready));
}

void Lifeline::stopping() { static_cast<void>(say(Say::stopping)); }

Result<void> Lifeline::say(Say what, std::uint32_t value, std::string_view text, const std::vector<int>& fds) {
  return send_message(socket_.get(), what, value, text, fds);
}

}  // namespace vmux::keeper
