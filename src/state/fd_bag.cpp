// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/state/fd_bag.hpp"

#include <fcntl.h>

#include <algorithm>

namespace vmux::state {
namespace {

bool is_name(std::string_view name) noexcept {
  const auto is_ordinary = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '/' || c == '-' || c == '_';
  };
  return !name.empty() && name.size() <= FdBag::kMaxName && std::all_of(name.begin(), name.end(), is_ordinary);
}

Result<UniqueFd> duplicate(int fd) noexcept {
  UniqueFd copy{::fcntl(fd, F_DUPFD_CLOEXEC, 0)};
  if (!copy) return fail_errno("cannot duplicate a descriptor");
  return copy;
}

}  // namespace

FdBag::~FdBag() {
  for (const auto& [name, fd] : fds_) {
    if (owns_) UniqueFd{fd}.reset();
  }
}

Result<void> FdBag::check(std::string_view name, int fd) const noexcept {
  if (!is_name(name) || fd < 0) return fail(Errc::invalid_argument, "a descriptor without a proper name");
  if (fds_.size() >= kMaxFds) return fail(Errc::no_space, "too many descriptors for one saved state");
  if (fds_.find(name) != fds_.end()) return fail(Errc::already_exists, "two descriptors of one name");
  return {};
}

Result<void> FdBag::put(std::string name, UniqueFd fd) {
  if (auto good = check(name, fd.get()); !good) return good;
  fds_.emplace(std::move(name), fd.release());
  return {};
}

Result<void> FdBag::put_copy(std::string name, int fd) {
  if (!owns_) {
    if (auto good = check(name, fd); !good) return good;
    fds_.emplace(std::move(name), fd);
    return {};
  }
  auto copy = duplicate(fd);
  if (!copy) return tl::unexpected(copy.error());
  return put(std::move(name), std::move(*copy));
}

int FdBag::get(std::string_view name) const noexcept {
  const auto found = fds_.find(name);
  return found == fds_.end() ? -1 : found->second;
}

Result<UniqueFd> FdBag::copy(std::string_view name) const {
  const int fd = get(name);
  if (fd < 0) return fail(Errc::not_found, "a descriptor of the saved state is missing");
  return duplicate(fd);
}

FdNumbers numbers_of(const FdBag& bag) {
  FdNumbers numbers;
  bag.for_each([&numbers](const std::string& name, int fd) {
    numbers.entries.push_back({name, static_cast<std::uint32_t>(fd)});
  });
  return numbers;
}

std::string fd_name(std::string_view kind, std::uint64_t index) {
  return std::string{kind}.append("/").append(std::to_string(index));
}

}  // namespace vmux::state
