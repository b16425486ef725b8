// SPDX-License-Identifier: BSD-3-Clause
// One device at one socket: a vfu_ctx_t whose callbacks are methods of a Python object.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "errors.hpp"
#include "vfio-user/libvfio-user.h"

namespace vmux::python {

/// The Python object ("handlers", of which only a weak reference is kept, since it owns this one) has the methods
///   _read(region, offset, size) -> bytes      _write(region, offset, data)      _reset(kind)      _quiesce()
///   _mapped(iova, size, has_descriptor)       _unmapped(iova, size)             _masked(kind, first, count, is_masked)
///   _transition(state)    _saved(count) -> bytes    _loaded(data)    _log(level, text)    _failed(exception)
/// An exception in one of them goes to _failed(), and its errno to the client; one that is no Exception (Ctrl-C) comes
/// out of run() as well.
///
/// Threads: one at a time serves, which is checked, and runs without the GIL but for the callbacks. trigger(), and
/// read_memory() and write_memory() where the client gave a descriptor, are for any thread; they keep the GIL, so that
/// the context cannot be closed meanwhile.
class Context {
 public:
  Context(const std::string& path, py::object handlers);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  void init_pci(bool is_express, int revision);
  void set_ids(std::uint16_t vendor, std::uint16_t device, std::uint16_t subsystem_vendor, std::uint16_t subsystem);
  void set_class(std::uint8_t base, std::uint8_t sub, std::uint8_t interface);
  /// `areas`: offset and size of what clients may map of `fd`, which stays the caller's.
  void add_region(int region, std::size_t size, int flags,
                  const std::vector<std::pair<std::size_t, std::size_t>>& areas, int fd);
  std::size_t add_capability(const py::bytes& bytes, int flags);
  void set_irqs(int kind, std::uint32_t count);
  void use_migration();
  void realize();

  /// False: nobody is there yet.
  bool attach();
  /// Serves what has come. False: the client has gone.
  bool run();
  [[nodiscard]] int poll_fd();
  void quiesced(int error);
  /// Ends the client. RuntimeError while it is served.
  void close();

  /// False: nobody listens.
  bool trigger(std::uint32_t vector);
  py::bytes read_memory(std::uint64_t at, std::size_t size);
  void write_memory(std::uint64_t at, const py::buffer& data);
  py::bytes read_config(std::size_t at, std::size_t size);
  void write_config(std::size_t at, const py::bytes& data);

 private:
  friend struct Callbacks;
  class Serving;
  /// A part of one range of memory.
  struct Piece {
    std::uint64_t at;
    std::size_t size;
  };

  vfu_ctx_t* open() const;
  void check_config(std::size_t at, std::size_t size);
  std::vector<Piece> pieces(std::uint64_t at, std::size_t size) const;
  void copy_piece(const Piece& piece, char* bytes, bool is_write);
  void raise_pending();
  /// The method's result, or nothing and errno after an exception.
  std::optional<py::object> call(const char* name, const py::tuple& arguments) noexcept;
  int fail(py::error_already_set& raised) noexcept;

  vfu_ctx_t* ctx_ = nullptr;
  py::weakref handlers_;
  std::map<std::uint64_t, std::uint64_t> ranges_;  // start and size; under the GIL
  std::thread::id server_;                         // who is in attach() or run(); under the GIL
  std::size_t config_size_ = 0;
  py::object pending_;  // an exception that is no Exception
};

}  // namespace vmux::python
