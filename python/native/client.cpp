// SPDX-License-Identifier: BSD-3-Clause
#include "client.hpp"

#include <cstring>
#include <thread>

namespace vmux::python {
namespace {

// Whose call a thread is in: a function of its memory must not call the client again.
thread_local const Client* calling = nullptr;

std::vector<std::byte> bytes_of(const py::buffer& data) {
  const auto copy = py::reinterpret_steal<py::bytes>(PyBytes_FromObject(data.ptr()));
  if (!copy) throw py::error_already_set();
  const std::string_view text = copy;
  std::vector<std::byte> bytes(text.size());
  if (!bytes.empty()) std::memcpy(bytes.data(), text.data(), bytes.size());
  return bytes;
}

py::bytes to_python(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void tell_unraisable(py::error_already_set& raised) {
  raised.discard_as_unraisable("memory that a server reaches by message");
}

}  // namespace

bool PythonMemory::read(Iova from, std::span<std::byte> into) noexcept {
  const py::gil_scoped_acquire locked;
  try {
    const auto bytes = py::reinterpret_steal<py::bytes>(PyBytes_FromObject(read_(from.raw, into.size()).ptr()));
    if (!bytes) throw py::error_already_set();
    const std::string_view text = bytes;
    if (text.size() != into.size()) return false;
    std::memcpy(into.data(), text.data(), text.size());
    return true;
  } catch (py::error_already_set& raised) {
    tell_unraisable(raised);
    return false;
  }
}

bool PythonMemory::write(Iova to, std::span<const std::byte> from) noexcept {
  const py::gil_scoped_acquire locked;
  try {
    write_(to.raw, to_python(from));
    return true;
  } catch (py::error_already_set& raised) {
    tell_unraisable(raised);
    return false;
  }
}

Client::Client(const std::string& path, double timeout, bool twin_socket) {
  if (!(timeout > 0) || timeout > 1e6) throw py::value_error("timeout: seconds, more than 0 and at most a million");
  vfio_user::ClientOptions options;
  options.timeout_ns = static_cast<std::uint64_t>(timeout * 1e9);
  options.twin_socket = twin_socket;
  auto connected = [&] {
    const py::gil_scoped_release unlocked;
    return vfio_user::Client::connect(path, options);
  }();
  client_ = value_of(std::move(connected));
}

auto Client::call(auto act) {
  if (calling == this) throw std::runtime_error("a client is not called from within its own calls");
  auto done = [&] {
    const py::gil_scoped_release unlocked;
    const std::lock_guard lock{mutex_};
    using Done = decltype(act(*client_));
    if (!client_) return Done{fail(Errc::disconnected, "the client is closed")};
    calling = this;
    Done result = act(*client_);
    calling = nullptr;
    return result;
  }();
  return value_of(std::move(done));
}

py::dict Client::limits() {
  const auto limits = call([](auto& client) { return Result<vfio_user::ServerLimits>{client.limits()}; });
  py::dict into;
  into["minor"] = limits.minor;
  into["max_fds"] = limits.max_fds;
  into["max_transfer"] = limits.max_transfer;
  into["max_dma_maps"] = limits.max_dma_maps;
  into["page_sizes"] = limits.page_sizes;
  into["write_multiple"] = limits.write_multiple;
  into["twin_socket"] = limits.twin_socket;
  return into;
}

py::dict Client::device_info() {
  const auto info = call([](auto& client) { return client.device_info(); });
  py::dict into;
  into["is_pci"] = info.is_pci;
  into["is_resettable"] = info.is_resettable;
  into["regions"] = info.regions;
  into["irqs"] = info.irqs;
  return into;
}

py::dict Client::region_info(std::uint32_t index) {
  auto info = call([&](auto& client) { return client.region_info(index); });
  py::list areas;
  for (const auto& area : info.areas) {
    areas.append(py::make_tuple(area.offset, area.size));
  }
  py::dict into;
  into["size"] = info.size;
  into["readable"] = info.readable;
  into["writable"] = info.writable;
  into["mappable"] = info.mappable;
  into["areas"] = areas;
  into["fd_offset"] = info.fd_offset;
  into["fd"] = info.fd.release();
  return into;
}

py::dict Client::irq_info(std::uint32_t index) {
  const auto info = call([&](auto& client) { return client.irq_info(index); });
  py::dict into;
  into["count"] = info.count;
  into["eventfd"] = info.eventfd;
  into["maskable"] = info.maskable;
  into["automasked"] = info.automasked;
  into["noresize"] = info.noresize;
  return into;
}

py::bytes Client::read(std::uint32_t region, std::uint64_t offset, std::size_t size) {
  std::vector<std::byte> into(size);
  call([&](auto& client) { return client.read(pci::Region{region}, RegionOffset{offset}, into); });
  return to_python(into);
}

void Client::write(std::uint32_t region, std::uint64_t offset, const py::buffer& data, bool is_posted) {
  const auto bytes = bytes_of(data);
  call([&](auto& client) {
    return is_posted ? client.write_posted(pci::Region{region}, RegionOffset{offset}, bytes)
                     : client.write(pci::Region{region}, RegionOffset{offset}, bytes);
  });
}

void Client::map_memory(std::uint64_t at, std::uint64_t size, int access, int fd, std::uint64_t offset) {
  if (access < 0 || access > 3) throw py::value_error("access: 1 (read), 2 (write) or 3");
  const auto what = static_cast<memory::Access>(access);
  call([&](auto& client) { return client.dma_map(Iova{at}, ByteCount{size}, what, fd, offset); });
}

void Client::unmap_memory(std::uint64_t at, std::uint64_t size) {
  call([&](auto& client) { return client.dma_unmap(Iova{at}, ByteCount{size}); });
}

void Client::unmap_all() {
  call([](auto& client) { return client.dma_unmap_all(); });
}

void Client::set_irqs(std::uint32_t kind, int action, int data, std::uint32_t first, std::uint32_t count,
                      const std::vector<int>& eventfds) {
  if (action < 0 || action > 2 || data < 0 || data > 2) throw py::value_error("action and data: 0 to 2");
  call([&](auto& client) {
    return client.set_irqs(pci::Irq{kind}, static_cast<pci::IrqAction>(action), static_cast<pci::IrqData>(data), first,
                           count, eventfds);
  });
}

void Client::reset() {
  call([](auto& client) { return client.reset(); });
}

py::bytes Client::feature(std::uint32_t flags, const py::buffer& data, std::size_t room) {
  const auto bytes = bytes_of(data);
  std::vector<std::byte> into(room);
  const auto filled = call([&](auto& client) { return client.device_feature(flags, bytes, into); });
  return to_python(std::span{into}.first(std::min(filled, into.size())));
}

std::uint32_t Client::migration_state() {
  return static_cast<std::uint32_t>(call([](auto& client) { return client.migration_state(); }));
}

void Client::set_migration_state(std::uint32_t state) {
  call([&](auto& client) { return client.set_migration_state(pci::MigrationState{state}); });
}

py::bytes Client::migration_read(std::size_t size) {
  std::vector<std::byte> into(size);
  const auto filled = call([&](auto& client) { return client.migration_read(into); });
  return to_python(std::span{into}.first(filled));
}

void Client::migration_write(const py::buffer& data) {
  const auto bytes = bytes_of(data);
  call([&](auto& client) { return client.migration_write(bytes); });
}

void Client::set_memory(const py::object& read, const py::object& write) {
  auto memory = read.is_none() ? nullptr : std::make_unique<PythonMemory>(read, write);
  call([&](auto& client) {
    client.set_dma_target(memory.get());
    memory_.swap(memory);  // the one before goes below, with the GIL
    return Result<void>{};
  });
}

void Client::serve() {
  call([](auto& client) { return client.serve(); });
}

int Client::fd() {
  return call([](auto& client) { return Result<int>{client.fd()}; });
}

int Client::twin_fd() {
  return call([](auto& client) { return Result<int>{client.twin_fd()}; });
}

void Client::close() {
  if (calling == this) throw std::runtime_error("a client is not closed from within its own calls");
  std::unique_ptr<vfio_user::Client> closing;
  {
    const py::gil_scoped_release unlocked;
    const std::lock_guard lock{mutex_};
    closing = std::move(client_);
  }
}

}  // namespace vmux::python
