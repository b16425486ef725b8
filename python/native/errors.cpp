// SPDX-License-Identifier: BSD-3-Clause
#include "errors.hpp"

namespace vmux::python {

void raise_errno(int error, const std::string& text) {
  const py::object exception = py::reinterpret_borrow<py::object>(PyExc_OSError)(error, text);
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
  throw py::error_already_set();
}

void raise_error(const Error& error) {
  // OSError chooses its subclass by errno, so these two become TimeoutError and ConnectionResetError.
  const int number = error.code == Errc::timed_out      ? ETIMEDOUT
                     : error.code == Errc::disconnected ? ECONNRESET
                     : error.code == Errc::protocol     ? EPROTO
                                                        : error.as_errno();
  raise_errno(number, error.text());
}

int errno_of(py::handle exception) noexcept {
  if (PyObject_IsInstance(exception.ptr(), PyExc_BlockingIOError) == 1) return EBUSY;
  if (PyObject_IsInstance(exception.ptr(), PyExc_OSError) != 1) return EIO;
  try {
    const py::object number = exception.attr("errno");
    const int error = number.is_none() ? EIO : number.cast<int>();
    return error > 0 ? error : EIO;
  } catch (const std::exception&) {
    return EIO;
  }
}

}  // namespace vmux::python
