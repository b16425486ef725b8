// SPDX-License-Identifier: BSD-3-Clause
#include "control/look/client_maps.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <future>
#include <optional>
#include <system_error>
#include <thread>

#include "base/text/format.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::control {
namespace {

using Answer = std::shared_ptr<const Mappings>;

std::atomic<bool> is_reading{false};  // some thread does, and nobody may be waiting for it any more

/// The next word of a line; empty: there is none.
std::string_view take_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(word.size());
  return word;
}

template <class Number>
std::optional<Number> number(std::string_view word, int base) {
  Number value{};
  const char* const end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(word.data(), end, value, base);
  return error == std::errc{} && stop == end ? std::optional{value} : std::nullopt;
}

struct Line {
  std::uint64_t device = 0, inode = 0;
  bool is_shared = false;
};
/// "7f0000000000-7f0000001000 rw-s 00000000 00:01 100  /memfd:ram (deleted)"; nullopt: it is of no file.
std::optional<Line> parse(std::string_view line) {
  take_word(line);
  const std::string_view access = take_word(line);
  take_word(line);
  const std::string_view device = take_word(line);
  const std::size_t colon = std::min(device.find(':'), device.size());
  const auto major = number<unsigned>(device.substr(0, colon), 16);
  const auto minor = number<unsigned>(device.substr(std::min(colon + 1, device.size())), 16);
  const auto inode = number<std::uint64_t>(take_word(line), 10);
  if (access.size() != 4 || !major || !minor || !inode || *inode == 0) return std::nullopt;
  return Line{makedev(*major, *minor), *inode, access[3] == 's'};
}

/// Null: they cannot be read. The kernel opens the file for whoever may trace the process, and it reads as empty once
/// that is gone.
Answer read_mappings(const std::string& path) {
  const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file) return nullptr;
  std::string text;
  std::array<char, 16 << 10> some;
  while (text.size() < Mappings::kMostBytes) {
    const ssize_t count = ::read(file.get(), some.data(), some.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 || (count == 0 && text.empty())) return nullptr;
    if (count == 0) return std::make_shared<const Mappings>(text, true);
    text.append(some.data(), static_cast<std::size_t>(count));
  }
  return std::make_shared<const Mappings>(std::string_view{text}.substr(0, text.rfind('\n') + 1), false);
}

/// On a thread of its own, which nobody joins: it may wait for ever. Invalid: another one waits, or there is no thread
/// to be had.
std::future<Answer> begin_reading(std::string path) {
  if (is_reading.exchange(true)) return {};
  try {
    std::promise<Answer> promise;
    auto answer = promise.get_future();
    std::thread{[promise = std::move(promise), path = std::move(path)]() mutable {
      ::pthread_setname_np(::pthread_self(), "client-maps");
      Answer read;
      try {
        read = read_mappings(path);
      } catch (...) {  // without memory nothing can be told
      }
      is_reading = false;
      promise.set_value(std::move(read));
    }}.detach();
    return answer;
  } catch (...) {
    is_reading = false;
    return {};
  }
}

}  // namespace

Mappings::Mappings(std::string_view text, bool is_whole) : of_others_(is_whole ? Sharing::none : Sharing::unknown) {
  while (!text.empty()) {
    const std::string_view row = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(row.size() + 1, text.size()));
    const auto line = parse(row);
    if (!line) continue;
    Sharing& found = files_.try_emplace({line->device, line->inode}, Sharing::private_).first->second;
    if (line->is_shared) found = Sharing::shared;
  }
}

Sharing Mappings::of(const MemoryFile& file) const {
  if (file.inode == 0) return Sharing::unknown;
  const auto found = files_.find({file.device, file.inode});
  if (found == files_.end()) return of_others_;
  // A shared mapping of it may be in the part that was not read.
  return found->second == Sharing::private_ && of_others_ == Sharing::unknown ? Sharing::unknown : found->second;
}

ClientMaps::ClientMaps(std::string proc, std::chrono::milliseconds patience)
    : proc_(std::move(proc)), until_(std::chrono::steady_clock::now() + patience) {}

const Mappings* ClientMaps::of(pid_t client) {
  const auto [at, is_new] = known_.try_emplace(client);
  if (!is_new || client <= 0) return at->second.get();
  auto answer = begin_reading(fmt::format("{}/{}/maps", proc_, client));
  if (answer.valid() && answer.wait_until(until_) == std::future_status::ready) at->second = answer.get();
  return at->second.get();
}

std::vector<Sharing> ClientMaps::sharing_of(const std::vector<MemoryFile>& files, pid_t client) {
  std::vector<Sharing> found(files.size(), Sharing::unknown);
  if (files.empty()) return found;
  if (const Mappings* const mappings = of(client); mappings != nullptr)
    std::transform(files.begin(), files.end(), found.begin(),
                   [&](const MemoryFile& file) { return mappings->of(file); });
  return found;
}

}  // namespace vmux::control
