// SPDX-License-Identifier: BSD-3-Clause
// How failures cross between C++ and Python: OSError with an errno on one side, errno or Error on the other.
#pragma once

#include <pybind11/pybind11.h>

#include <cerrno>
#include <string>

#include "vmux/base/result.hpp"

namespace vmux::python {

namespace py = pybind11;

/// Raises the OSError of that number (Python chooses the subclass: TimeoutError, PermissionError, ...). With the GIL.
[[noreturn]] void raise_errno(int error, const std::string& text);
[[noreturn]] inline void raise_errno(const char* text) { raise_errno(errno, text); }
[[noreturn]] void raise_error(const Error& error);

/// The value, or its error raised. With the GIL.
template <class T>
T value_of(Result<T> result) {
  if (!result) raise_error(result.error());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// What a Python exception means to a client: EBUSY for BlockingIOError, the errno of another OSError, else EIO.
[[nodiscard]] int errno_of(py::handle exception) noexcept;

}  // namespace vmux::python
