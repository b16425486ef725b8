// SPDX-License-Identifier: BSD-3-Clause
// The module vmux._vmux: what device.py and client.py rest on. Its types are in vmux/_vmux.pyi.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "client.hpp"
#include "context.hpp"
#include "vmux/base/unique_fd.hpp"

namespace py = pybind11;

namespace {

void bind_context(py::module_& module) {
  using vmux::python::Context;
  py::class_<Context>(module, "Context")
      .def(py::init<const std::string&, py::object>(), py::arg("path"), py::arg("handlers"))
      .def("init_pci", &Context::init_pci, py::arg("is_express"), py::arg("revision"))
      .def("set_ids", &Context::set_ids)
      .def("set_class", &Context::set_class)
      .def("add_region", &Context::add_region, py::arg("region"), py::arg("size"), py::arg("flags"), py::arg("areas"),
           py::arg("fd"))
      .def("add_capability", &Context::add_capability, py::arg("capability"), py::arg("flags"))
      .def("set_irqs", &Context::set_irqs, py::arg("kind"), py::arg("count"))
      .def("use_migration", &Context::use_migration)
      .def("realize", &Context::realize)
      .def("attach", &Context::attach)
      .def("run", &Context::run)
      .def("poll_fd", &Context::poll_fd)
      .def("quiesced", &Context::quiesced, py::arg("error"))
      .def("close", &Context::close)
      .def("trigger", &Context::trigger, py::arg("vector"))
      .def("read_memory", &Context::read_memory, py::arg("address"), py::arg("size"))
      .def("write_memory", &Context::write_memory, py::arg("address"), py::arg("data"))
      .def("read_config", &Context::read_config, py::arg("offset"), py::arg("size"))
      .def("write_config", &Context::write_config, py::arg("offset"), py::arg("data"));
}

void bind_client(py::module_& module) {
  using vmux::python::Client;
  py::class_<Client>(module, "Client")
      .def(py::init<const std::string&, double, bool>(), py::arg("path"), py::arg("timeout"), py::arg("twin_socket"))
      .def("limits", &Client::limits)
      .def("device_info", &Client::device_info)
      .def("region_info", &Client::region_info)
      .def("irq_info", &Client::irq_info)
      .def("read", &Client::read)
      .def("write", &Client::write)
      .def("map_memory", &Client::map_memory)
      .def("unmap_memory", &Client::unmap_memory)
      .def("unmap_all", &Client::unmap_all)
      .def("set_irqs", &Client::set_irqs)
      .def("reset", &Client::reset)
      .def("feature", &Client::feature)
      .def("migration_state", &Client::migration_state)
      .def("set_migration_state", &Client::set_migration_state)
      .def("migration_read", &Client::migration_read)
      .def("migration_write", &Client::migration_write)
      .def("set_memory", &Client::set_memory)
      .def("serve", &Client::serve)
      .def("fd", &Client::fd)
      .def("twin_fd", &Client::twin_fd)
      .def("close", &Client::close);
}

}  // namespace

PYBIND11_MODULE(_vmux, module) {
  module.doc() = "PCI devices in userspace, and clients of them: use the package vmux.";
  module.def("make_eventfd", [] { return vmux::python::value_of(vmux::make_eventfd()).release(); });
  bind_context(module);
  bind_client(module);
}
