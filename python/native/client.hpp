// SPDX-License-Identifier: BSD-3-Clause
// The other end: vfio_user::Client for Python, which lets go of the GIL while it waits for a server.
#pragma once

#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <memory>
#include <mutex>
#include <vector>

#include "errors.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::python {

/// Memory that a server reaches by message: two functions of Python, which are called within the client's calls.
class PythonMemory final : public vfio_user::DmaTarget {
 public:
  PythonMemory(py::function read, py::function write) : read_(std::move(read)), write_(std::move(write)) {}
  bool read(Iova from, std::span<std::byte> into) noexcept override;
  bool write(Iova to, std::span<const std::byte> from) noexcept override;

 private:
  py::function read_, write_;
};

/// Calls from several threads wait for each other. Descriptors that are returned belong to the caller.
class Client {
 public:
  Client(const std::string& path, double timeout, bool twin_socket);

  py::dict limits();
  py::dict device_info();
  py::dict region_info(std::uint32_t index);
  py::dict irq_info(std::uint32_t index);
  py::bytes read(std::uint32_t region, std::uint64_t offset, std::size_t size);
  void write(std::uint32_t region, std::uint64_t offset, const py::buffer& data, bool is_posted);
  void map_memory(std::uint64_t at, std::uint64_t size, int access, int fd, std::uint64_t offset);
  void unmap_memory(std::uint64_t at, std::uint64_t size);
  void unmap_all();
  void set_irqs(std::uint32_t kind, int action, int data, std::uint32_t first, std::uint32_t count,
                const std::vector<int>& eventfds);
  void reset();
  py::bytes feature(std::uint32_t flags, const py::buffer& data, std::size_t room);
  std::uint32_t migration_state();
  void set_migration_state(std::uint32_t state);
  py::bytes migration_read(std::size_t size);
  void migration_write(const py::buffer& data);
  void set_memory(const py::object& read, const py::object& write);
  void serve();
  int fd();
  int twin_fd();
  void close();

 private:
  /// Runs `act` on the client without the GIL, one thread at a time; raises what it says.
  auto call(auto act);

  std::mutex mutex_;  // taken without the GIL only
  std::unique_ptr<vfio_user::Client> client_;
  std::unique_ptr<PythonMemory> memory_;
};

}  // namespace vmux::python
