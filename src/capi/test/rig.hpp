// SPDX-License-Identifier: BSD-3-Clause
// A device by the C interface and a client that speaks bytes, in one thread: the numbers here are a second reading of
// the protocol, and share no code with the library.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "vfio-user/libvfio-user.h"

namespace capi_test {

inline const auto kInvalid = static_cast<unsigned>(EINVAL);
inline constexpr int kMem = VFU_REGION_FLAG_RW | VFU_REGION_FLAG_MEM, kWide = kMem | VFU_REGION_FLAG_64_BITS;

/// Bytes of a message, put together from values.
class Bytes {
 public:
  Bytes& u8(std::uint64_t value) { return add(value, 1); }
  Bytes& u16(std::uint64_t value) { return add(value, 2); }
  Bytes& u32(std::uint64_t value) { return add(value, 4); }
  Bytes& u64(std::uint64_t value) { return add(value, 8); }
  Bytes& text(const std::string& value) {
    bytes_ += value;
    return *this;
  }
  [[nodiscard]] const std::string& str() const { return bytes_; }
  operator const std::string&() const { return bytes_; }  // NOLINT: that is what it is for

 private:
  Bytes& add(std::uint64_t value, std::size_t size) {
    bytes_.append(reinterpret_cast<const char*>(&value), size);
    return *this;
  }
  std::string bytes_;
};

inline std::uint64_t number(const std::string& from, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  if (at + size <= from.size()) std::memcpy(&value, from.data() + at, size);
  return value;
}

struct Received {
  bool is_end = true;
  unsigned id = 0, command = 0, flags = 0, error = 0;
  std::string payload;
  std::vector<int> fds;
};

/// One end of a socket as messages.
class Peer {
 public:
  explicit Peer(int fd = -1) : fd_(fd) {}
  Peer(Peer&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Peer& operator=(Peer&& other) noexcept {
    close();
    fd_ = std::exchange(other.fd_, -1);
    return *this;
  }
  ~Peer() { close(); }
  [[nodiscard]] int fd() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  [[nodiscard]] bool connect(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  void raw(const std::string& bytes, const std::vector<int>& fds = {}) const {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    char control[CMSG_SPACE(16 * sizeof(int))]{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
      cmsghdr* const head = CMSG_FIRSTHDR(&message);
      head->cmsg_level = SOL_SOCKET;
      head->cmsg_type = SCM_RIGHTS;
      head->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(head), fds.data(), fds.size() * sizeof(int));
    }
    static_cast<void>(::sendmsg(fd_, &message, MSG_NOSIGNAL));
  }
  void send(unsigned command, const std::string& payload, const std::vector<int>& fds = {}, unsigned flags = 0,
            unsigned id = 7) const {
    raw(Bytes{}.u16(id).u16(command).u32(16 + payload.size()).u32(flags).u32(0).text(payload), fds);
  }
  [[nodiscard]] Received receive() const {
    Received got;
    std::string head(16, '\0');
    if (!all(head, &got.fds)) return got;
    got.is_end = false;
    got.id = static_cast<unsigned>(number(head, 0, 2));
    got.command = static_cast<unsigned>(number(head, 2, 2));
    got.flags = static_cast<unsigned>(number(head, 8, 4));
    got.error = static_cast<unsigned>(number(head, 12, 4));
    got.payload.resize(number(head, 4, 4) - 16);
    if (!got.payload.empty() && !all(got.payload, nullptr)) got.is_end = true;
    return got;
  }
  [[nodiscard]] bool has_input() const {
    char byte = 0;
    return ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
  }

 private:
  [[nodiscard]] bool all(std::string& into, std::vector<int>* fds) const {
    for (std::size_t done = 0; done < into.size();) {
      iovec part{into.data() + done, into.size() - done};
      char control[CMSG_SPACE(16 * sizeof(int))];
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      const ssize_t got = ::recvmsg(fd_, &message, MSG_CMSG_CLOEXEC);
      if (got <= 0) return false;
      done += static_cast<std::size_t>(got);
      const cmsghdr* const head = CMSG_FIRSTHDR(&message);
      if (head == nullptr || fds == nullptr) continue;
      fds->resize((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
      std::memcpy(fds->data(), CMSG_DATA(head), fds->size() * sizeof(int));
    }
    return true;
  }
  int fd_;
};

inline std::string version(const std::string& json = "{}") { return Bytes{}.u16(0).u16(1).text(json).u8(0); }

/// A temporary file of `size` bytes, without a name.
inline int memory_file(std::size_t size) {
  const int fd = ::memfd_create("capi_test", MFD_CLOEXEC);
  EXPECT_EQ(::ftruncate(fd, static_cast<off_t>(size)), 0);
  return fd;
}

/// What the callbacks saw, and what they are to answer. Found by vfu_get_private().
struct Seen {
  std::vector<std::string> calls;
  int quiesce_errno = 0;  // 0: it is quiet at once
  std::string region = std::string(4096, '\0');
  int access_errno = 0;
  std::string saved;
};

inline Seen& seen(vfu_ctx_t* ctx) { return *static_cast<Seen*>(vfu_get_private(ctx)); }

inline ssize_t on_access(vfu_ctx_t* ctx, char* bytes, size_t count, loff_t at, bool is_write) {
  Seen& device = seen(ctx);
  if (device.access_errno != 0) return errno = device.access_errno, -1;
  char* const place = device.region.data() + at;
  std::memcpy(is_write ? place : bytes, is_write ? bytes : place, count);
  device.calls.push_back((is_write ? "write " : "read ") + std::to_string(at) + "+" + std::to_string(count));
  return static_cast<ssize_t>(count);
}
inline int on_reset(vfu_ctx_t* ctx, vfu_reset_type_t type) {
  seen(ctx).calls.push_back("reset " + std::to_string(type));
  return 0;
}
inline int on_quiesce(vfu_ctx_t* ctx) {
  seen(ctx).calls.emplace_back("quiesce");
  const int error = seen(ctx).quiesce_errno;
  return error == 0 ? 0 : (errno = error, -1);
}
inline void on_register(vfu_ctx_t* ctx, vfu_dma_info_t* info) {
  seen(ctx).calls.push_back("register " + std::to_string(reinterpret_cast<std::uint64_t>(info->iova.iov_base)));
}
inline void on_unregister(vfu_ctx_t* ctx, vfu_dma_info_t* info) {
  seen(ctx).calls.push_back("unregister " + std::to_string(reinterpret_cast<std::uint64_t>(info->iova.iov_base)));
}
inline void on_irq_state(vfu_ctx_t* ctx, std::uint32_t start, std::uint32_t count, bool mask) {
  seen(ctx).calls.push_back((mask ? "mask " : "unmask ") + std::to_string(start) + "+" + std::to_string(count));
}
inline int on_transition(vfu_ctx_t* ctx, vfu_migr_state_t state) {
  seen(ctx).calls.push_back("state " + std::to_string(state));
  return 0;
}
inline ssize_t on_read_data(vfu_ctx_t* ctx, void* into, std::uint64_t count) {
  std::string& saved = seen(ctx).saved;
  const std::size_t part = std::min<std::size_t>(count, saved.size());
  std::memcpy(into, saved.data(), part);
  saved.erase(0, part);
  return static_cast<ssize_t>(part);
}
inline ssize_t on_write_data(vfu_ctx_t* ctx, void* from, std::uint64_t count) {
  seen(ctx).saved.append(static_cast<const char*>(from), count);
  return static_cast<ssize_t>(count);
}

/// A device with everything, not realized yet, and room for a client.
class Device {
 public:
  explicit Device(int flags = LIBVFIO_USER_FLAG_ATTACH_NB) {
    static int count = 0;
    path = "/tmp/capi_test." + std::to_string(::getpid()) + "." + std::to_string(++count);
    ctx = vfu_create_ctx(VFU_TRANS_SOCK, path.c_str(), flags, &device, VFU_DEV_TYPE_PCI);
    vfu_setup_device_reset_cb(ctx, on_reset);
    vfu_setup_device_dma(ctx, 64, on_register, on_unregister);
  }
  ~Device() { vfu_destroy_ctx(ctx); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  Device& with_quiesce() {
    vfu_setup_device_quiesce_cb(ctx, on_quiesce);
    return *this;
  }
  Device& with_migration() {
    const vfu_migration_callbacks_t callbacks{VFU_MIGR_CALLBACKS_VERS, on_transition, on_read_data, on_write_data};
    EXPECT_EQ(vfu_setup_device_migration_callbacks(ctx, &callbacks), 0);
    return *this;
  }
  Device& with_bar0() {
    EXPECT_EQ(vfu_setup_region(ctx, VFU_PCI_DEV_BAR0_REGION_IDX, 4096, on_access,
                               VFU_REGION_FLAG_RW | VFU_REGION_FLAG_MEM, nullptr, 0, -1, 0),
              0);
    return *this;
  }
  /// Realizes it and attaches a client; the reply to VERSION is left in `greeting`.
  Device& attach(const std::string& json = "{}") {
    EXPECT_EQ(vfu_realize_ctx(ctx), 0);
    EXPECT_TRUE(client.connect(path));
    client.send(1, version(json));
    EXPECT_EQ(vfu_attach_ctx(ctx), 0) << std::strerror(errno);
    greeting = client.receive();
    EXPECT_EQ(greeting.error, 0u);
    return *this;
  }
  Received call(unsigned command, const std::string& payload, const std::vector<int>& fds = {}) {
    client.send(command, payload, fds);
    EXPECT_EQ(vfu_run_ctx(ctx), 1) << std::strerror(errno);
    return client.receive();
  }
  /// A call that is refused before it reaches the device counts as none.
  unsigned error_of(unsigned command, const std::string& payload, const std::vector<int>& fds = {}) {
    client.send(command, payload, fds);
    EXPECT_GE(vfu_run_ctx(ctx), 0) << std::strerror(errno);
    return client.receive().error;
  }
  Received read(unsigned region, std::uint64_t at, std::uint32_t count) {
    return call(9, Bytes{}.u64(at).u32(region).u32(count));
  }
  unsigned write(unsigned region, std::uint64_t at, const std::string& bytes) {
    return error_of(10, Bytes{}.u64(at).u32(region).u32(bytes.size()).text(bytes));
  }
  unsigned map(std::uint64_t start, std::uint64_t size, int fd, unsigned flags = 3, std::uint64_t offset = 0) {
    return error_of(2, Bytes{}.u32(32).u32(flags).u64(offset).u64(start).u64(size),
                    fd < 0 ? std::vector<int>{} : std::vector<int>{fd});
  }
  unsigned unmap(std::uint64_t start, std::uint64_t size, unsigned flags = 0) {
    return error_of(3, Bytes{}.u32(24).u32(flags).u64(start).u64(size));
  }

  std::string path;
  Seen device;
  vfu_ctx_t* ctx = nullptr;
  Peer client;
  Received greeting;
};

inline vfu_dma_addr_t dma_address(std::uint64_t value) { return reinterpret_cast<vfu_dma_addr_t>(value); }

}  // namespace capi_test
