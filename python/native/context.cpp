// SPDX-License-Identifier: BSD-3-Clause
#include "context.hpp"

#include <sys/mman.h>

#include <algorithm>

#include "callbacks.hpp"

namespace vmux::python {

/// Holds the context for this thread while it is without the GIL.
class Context::Serving {
 public:
  explicit Serving(Context& context) : context_(context), before_(context.server_) {
    if (before_ != std::thread::id{}) {
      throw std::runtime_error(before_ == std::this_thread::get_id() ? "a handler cannot serve its own device"
                                                                     : "another thread serves this device");
    }
    context.server_ = std::this_thread::get_id();
  }
  ~Serving() { context_.server_ = before_; }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;

 private:
  Context& context_;
  std::thread::id before_;
};

Context::Context(const std::string& path, py::object handlers) : handlers_(handlers) {
  ctx_ = vfu_create_ctx(VFU_TRANS_SOCK, path.c_str(), LIBVFIO_USER_FLAG_ATTACH_NB, this, VFU_DEV_TYPE_PCI);
  if (ctx_ == nullptr) raise_errno(("cannot listen at " + path).c_str());
  vfu_setup_log(ctx_, Callbacks::log, LOG_DEBUG);
}

Context::~Context() {
  if (ctx_ != nullptr) vfu_destroy_ctx(ctx_);
}

vfu_ctx_t* Context::open() const {
  if (ctx_ == nullptr) throw std::runtime_error("the device's socket is closed");
  return ctx_;
}

void Context::init_pci(bool is_express, int revision) {
  const auto type = is_express ? VFU_PCI_TYPE_EXPRESS : VFU_PCI_TYPE_CONVENTIONAL;
  if (vfu_pci_init(open(), type, PCI_HEADER_TYPE_NORMAL, revision) != 0) raise_errno("cannot set up config space");
  config_size_ = is_express ? 4096 : 256;
}

void Context::set_ids(std::uint16_t vendor, std::uint16_t device, std::uint16_t subsystem_vendor,
                      std::uint16_t subsystem) {
  vfu_pci_set_id(open(), vendor, device, subsystem_vendor, subsystem);
}

void Context::set_class(std::uint8_t base, std::uint8_t sub, std::uint8_t interface) {
  vfu_pci_set_class(open(), base, sub, interface);
}

void Context::add_region(int region, std::size_t size, int flags,
                         const std::vector<std::pair<std::size_t, std::size_t>>& areas, int fd) {
  std::vector<iovec> parts;
  for (const auto& [offset, length] : areas) {
    parts.push_back({reinterpret_cast<void*>(offset), length});
  }
  if (vfu_setup_region(open(), region, size, Callbacks::access_of(region), flags,
                       parts.empty() ? nullptr : parts.data(), static_cast<std::uint32_t>(parts.size()), fd, 0) != 0) {
    raise_errno("cannot set up the region");
  }
}

std::size_t Context::add_capability(const py::bytes& bytes, int flags) {
  std::string copy = bytes;
  copy.resize(std::max<std::size_t>(copy.size(), 256));  // the library reads as much as the capability says that it has
  const ssize_t at = vfu_pci_add_capability(open(), 0, flags, copy.data());
  if (at < 0) raise_errno("cannot add the capability");
  return static_cast<std::size_t>(at);
}

void Context::set_irqs(int kind, std::uint32_t count) {
  if (kind < 0 || kind >= VFU_DEV_NUM_IRQS) throw std::out_of_range("no such kind of interrupt");
  if (vfu_setup_device_nr_irqs(open(), static_cast<vfu_dev_irq_type>(kind), count) != 0 ||
      vfu_setup_irq_state_callback(open(), static_cast<vfu_dev_irq_type>(kind), Callbacks::mask_of(kind)) != 0) {
    raise_errno("cannot set up interrupts");
  }
}

void Context::use_migration() {
  if (vfu_setup_device_migration_callbacks(open(), &Callbacks::kMigration) != 0) raise_errno("cannot offer migration");
}

void Context::realize() {
  vfu_setup_device_quiesce_cb(open(), Callbacks::quiesce);
  if (vfu_setup_device_reset_cb(open(), Callbacks::reset) != 0 ||
      vfu_setup_device_dma(open(), LIBVFIO_USER_MAX_DMA_REGIONS, Callbacks::mapped, Callbacks::unmapped) != 0 ||
      vfu_realize_ctx(open()) != 0) {
    raise_errno("the description of the device is not complete");
  }
}

bool Context::attach() {
  const Serving serving{*this};
  int result = 0, error = 0;
  {
    const py::gil_scoped_release unlocked;
    result = vfu_attach_ctx(open());
    error = errno;
  }
  raise_pending();
  // EINVAL: a client whose version was refused is gone already, and the next one may come.
  if (result != 0 && error != EAGAIN && error != EWOULDBLOCK && error != EINVAL && error != ENOTCONN &&
      error != ECONNRESET && error != EINTR) {
    raise_errno(error, "cannot take a client");
  }
  return result == 0;
}

bool Context::run() {
  const Serving serving{*this};
  int done = 0, error = 0;
  {
    const py::gil_scoped_release unlocked;
    done = vfu_run_ctx(open());
    error = errno;
  }
  raise_pending();
  if (done >= 0 || error == EBUSY || error == EINTR || error == EAGAIN) return true;
  if (error == ENOTCONN) return false;
  raise_errno(error, "cannot serve the client");
}

int Context::poll_fd() { return vfu_get_poll_fd(open()); }

void Context::quiesced(int error) {
  if (server_ != std::thread::id{} && server_ != std::this_thread::get_id()) {
    throw std::runtime_error("another thread serves this device");
  }
  if (vfu_device_quiesced(open(), error) != 0) raise_errno("nobody waits for the device to stop");
  raise_pending();
}

void Context::close() {
  if (server_ != std::thread::id{}) throw std::runtime_error("the device is being served");
  if (vfu_ctx_t* const closing = std::exchange(ctx_, nullptr); closing != nullptr) vfu_destroy_ctx(closing);
  ranges_.clear();
}

bool Context::trigger(std::uint32_t vector) {
  if (vfu_irq_trigger(open(), vector) == 0) return true;
  if (errno == ENOENT) return false;
  raise_errno("cannot signal the interrupt");
}

void Context::check_config(std::size_t at, std::size_t size) {
  open();
  if (at > config_size_ || size > config_size_ - at) throw std::out_of_range("beyond the end of config space");
}

py::bytes Context::read_config(std::size_t at, std::size_t size) {
  check_config(at, size);
  return py::bytes(reinterpret_cast<const char*>(vfu_pci_get_config_space(ctx_)->raw) + at, size);
}

void Context::write_config(std::size_t at, const py::bytes& data) {
  const std::string_view bytes = data;
  check_config(at, bytes.size());
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(vfu_pci_get_config_space(ctx_)->raw) + at);
}

void Context::raise_pending() {
  if (!pending_) return;
  const py::object exception = std::exchange(pending_, py::object{});
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
  throw py::error_already_set();
}

int Context::fail(py::error_already_set& raised) noexcept {
  const int error = errno_of(raised.value());
  if (raised.trace()) PyException_SetTraceback(raised.value().ptr(), raised.trace().ptr());
  if (!raised.matches(PyExc_Exception)) pending_ = raised.value();
  try {
    if (const py::object handlers = handlers_(); !handlers.is_none()) handlers.attr("_failed")(raised.value());
  } catch (py::error_already_set& again) {
    again.discard_as_unraisable("a handler's exception could not be logged");
  }
  return error;
}

std::optional<py::object> Context::call(const char* name, const py::tuple& arguments) noexcept {
  try {
    const py::object handlers = handlers_();
    if (!handlers.is_none()) return handlers.attr(name)(*arguments);
    errno = ENOTCONN;  // the object goes, and its context with it
  } catch (py::error_already_set& raised) {
    errno = fail(raised);
  }
  return std::nullopt;
}

}  // namespace vmux::python
