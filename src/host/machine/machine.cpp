// SPDX-License-Identifier: BSD-3-Clause
#include "host/machine/machine.hpp"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <thread>

#include "host/failure.hpp"
#include "host/machine/values.hpp"

namespace vmux::host {
namespace {

namespace fs = std::filesystem;

Result<> write_all(int fd, std::string_view content, const char* what) {
  while (!content.empty()) {
    const ssize_t done = ::write(fd, content.data(), content.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return fail_errno(what);
    content.remove_prefix(static_cast<std::size_t>(done));
  }
  return {};
}

}  // namespace

tl::unexpected<Failure> refuse(const std::string& doing, const Error& error) {
  std::string text = "cannot " + doing + ": " + error.text();
  // With EPERM root is refused as well: by a driver, by a kernel that is locked down.
  if (error.sys == EACCES || (error.sys == EPERM && ::geteuid() != 0)) text += ", run it as root";
  return refuse(error.code, std::move(text));
}

Result<std::string> Machine::read(const std::string& path) const {
  const UniqueFd fd{::open(at(path).c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd) return fail_errno("open");
  std::string content;
  char piece[4096];
  while (true) {
    const ssize_t got = ::read(fd.get(), piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read");
    if (got == 0) return content;
    content.append(piece, static_cast<std::size_t>(got));
  }
}

Result<std::string> Machine::piece(const std::string& path, std::uint64_t offset, std::size_t size) const {
  const UniqueFd fd{::open(at(path).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
  if (!fd) return fail_errno("open");
  std::string content(size, '\0');
  const ssize_t got = ::pread(fd.get(), content.data(), size, static_cast<off_t>(offset));
  if (got < 0) return fail_errno("read");
  content.resize(static_cast<std::size_t>(got));
  return content;
}

std::string Machine::text(const std::string& path) const {
  std::string content = read(path).value_or("");
  const std::size_t last = content.find_last_not_of(" \t\n");
  content.resize(last == std::string::npos ? 0 : last + 1);
  return content;
}

std::optional<std::uint64_t> Machine::number(const std::string& path) const { return parse_decimal(text(path)); }

std::vector<std::string> Machine::list(const std::string& path) const {
  std::vector<std::string> names;
  std::error_code error;
  for (auto entry = fs::directory_iterator{at(path), error}; !error && entry != fs::directory_iterator{};
       entry.increment(error))
    names.push_back(entry->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

bool Machine::exists(const std::string& path) const {
  struct stat ignored;
  return ::stat(at(path).c_str(), &ignored) == 0;
}

std::string Machine::target(const std::string& path) const {
  std::error_code error;
  const fs::path found = fs::read_symlink(at(path), error);
  return error ? "" : found.string();
}

std::string Machine::link(const std::string& path) const { return fs::path{target(path)}.filename().string(); }

std::string Machine::resolve(const std::string& path) const {
  std::error_code error;
  const std::string found = fs::canonical(at(path), error).string();
  if (error) return "";
  const std::string root = root_.empty() ? "" : fs::canonical(root_, error).string();
  return found.substr(0, root.size()) == root ? found.substr(root.size()) : "";
}

int Machine::access(const std::string& path) const { return ::access(at(path).c_str(), R_OK | W_OK) == 0 ? 0 : errno; }

int Machine::try_kvm() const {
  const UniqueFd kvm{::open(at("/dev/kvm").c_str(), O_RDWR | O_CLOEXEC)};
  if (!kvm) return errno;
  const UniqueFd vm{::ioctl(kvm.get(), KVM_CREATE_VM, 0)};
  return vm ? 0 : errno;
}

std::string Machine::device_number(const std::string& path) const {
  struct stat found;
  if (::stat(at(path).c_str(), &found) != 0 || (!S_ISBLK(found.st_mode) && !S_ISCHR(found.st_mode))) return "";
  return std::to_string(major(found.st_rdev)) + ":" + std::to_string(minor(found.st_rdev));
}

Result<UniqueFd> Machine::claim(const std::string& path) const {
  // Without O_NONBLOCK a drive with removable media may pull its tray in.
  UniqueFd fd{::open(at(path).c_str(), O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC)};
  if (!fd) return fail_errno("open exclusively");
  return fd;
}

Result<> Machine::write(const std::string& path, std::string_view value) {
  const UniqueFd fd{::open(at(path).c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC)};
  if (!fd) return fail_errno("open");
  const ssize_t done = ::write(fd.get(), value.data(), value.size());
  if (done < 0) return fail_errno("write");
  if (static_cast<std::size_t>(done) != value.size()) return fail(Errc::system, "not written as a whole", EIO);
  return {};
}

Result<> Machine::replace(const std::string& path, std::string_view content) {
  const fs::path target = at(path);
  std::error_code error;
  fs::create_directories(target.parent_path(), error);
  if (error) return fail(Errc::system, "make its directory", error.value());
  const std::string fresh = target.string() + ".new";
  {
    const UniqueFd fd{::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (!fd) return fail_errno("open");
    if (auto done = write_all(fd.get(), content, "write"); !done) return done;
    if (::fsync(fd.get()) != 0) return fail_errno("fsync");
  }
  if (::rename(fresh.c_str(), target.c_str()) != 0) return fail_errno("rename");
  const UniqueFd directory{::open(target.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!directory || ::fsync(directory.get()) != 0) return fail_errno("fsync of the directory");
  return {};
}

Result<> Machine::remove(const std::string& path) {
  if (::unlink(at(path).c_str()) != 0 && errno != ENOENT) return fail_errno("remove");
  return {};
}

Result<> Machine::mount_hugepages(const std::string& path, const std::string& size) {
  std::error_code error;
  fs::create_directories(at(path), error);
  if (error) return fail(Errc::system, "make its directory", error.value());
  const std::string options = "pagesize=" + size;
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_RELATIME;
  if (::mount("hugetlbfs", at(path).c_str(), "hugetlbfs", kFlags, options.c_str()) != 0) return fail_errno("mount");
  return {};
}

Result<> Machine::unmount(const std::string& path) {
  if (::umount2(at(path).c_str(), UMOUNT_NOFOLLOW) != 0) return fail_errno("umount");
  static_cast<void>(::rmdir(at(path).c_str()));
  return {};
}

Result<UniqueFd> Machine::lock(const std::string& path) {
  const fs::path target = at(path);
  std::error_code error;
  fs::create_directories(target.parent_path(), error);
  if (error) return fail(Errc::system, "make its directory", error.value());
  UniqueFd fd{::open(target.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)};
  if (!fd) return fail_errno("open");
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) {
    const std::string owner = std::to_string(::getpid()) + "\n";
    if (::ftruncate(fd.get(), 0) != 0) return fail_errno("write");
    if (auto done = write_all(fd.get(), owner, "write"); !done) return tl::unexpected<Error>(done.error());
    return fd;
  }
  if (errno == EWOULDBLOCK) return fail(Errc::busy, "another process is changing this host");
  return fail_errno("lock");
}

Network& Machine::network() const {
  if (!network_) network_ = make_rtnetlink();
  return *network_;
}

void Machine::wait(const std::string& for_what, std::chrono::milliseconds time) {
  if (on_wait && for_what != waited_for_) on_wait(for_what);
  waited_for_ = for_what;
  timeout -= time;
  sleep(time);
}

void Machine::sleep(std::chrono::milliseconds time) { std::this_thread::sleep_for(time); }

}  // namespace vmux::host
