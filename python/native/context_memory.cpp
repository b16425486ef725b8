// SPDX-License-Identifier: BSD-3-Clause
// Guest memory by copy. A view of it would outlive its mapping: Python cannot be told to drop one.
#include <sys/mman.h>

#include <cstring>

#include "context.hpp"

namespace vmux::python {
namespace {

vfu_dma_addr_t address(std::uint64_t at) { return reinterpret_cast<vfu_dma_addr_t>(static_cast<std::uintptr_t>(at)); }

[[noreturn]] void raise_fault(std::uint64_t at) {
  char text[64];
  std::snprintf(text, sizeof text, "no memory of the client at %#llx", static_cast<unsigned long long>(at));
  raise_errno(EFAULT, text);
}

}  // namespace

std::vector<Context::Piece> Context::pieces(std::uint64_t at, std::size_t size) const {
  std::vector<Piece> found;
  while (size > 0) {
    auto range = ranges_.upper_bound(at);
    if (range == ranges_.begin()) raise_fault(at);
    --range;
    const std::uint64_t into = at - range->first;
    if (into >= range->second) raise_fault(at);
    const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(size, range->second - into));
    found.push_back({at, part});
    at += part;
    size -= part;
  }
  return found;
}

void Context::copy_piece(const Piece& piece, char* bytes, bool is_write) {
  std::vector<std::max_align_t> space(dma_sg_size() / sizeof(std::max_align_t) + 1);
  auto* const sg = reinterpret_cast<dma_sg_t*>(space.data());
  if (vfu_addr_to_sgl(ctx_, address(piece.at), piece.size, sg, 1, is_write ? PROT_WRITE : PROT_READ) != 1) {
    if (errno == ENOENT) raise_fault(piece.at);
    raise_errno("the client's memory");
  }
  if (vfu_sg_is_mappable(ctx_, sg)) {
    iovec view{};
    if (vfu_sgl_get(ctx_, sg, &view, 1, 0) != 0) raise_errno("the client's memory");
    std::memcpy(is_write ? view.iov_base : bytes, is_write ? bytes : view.iov_base, piece.size);
    vfu_sgl_put(ctx_, sg, &view, 1);
    return;
  }
  if (server_ != std::this_thread::get_id()) {
    raise_errno(EDEADLK, "memory without a descriptor is for handlers only");
  }
  int result = 0, error = 0;
  {
    const py::gil_scoped_release unlocked;
    result = is_write ? vfu_sgl_write(ctx_, sg, 1, bytes, 0) : vfu_sgl_read(ctx_, sg, 1, bytes, 0);
    error = errno;
  }
  if (result != 0) raise_errno(error, "the client does not give its memory");
}

py::bytes Context::read_memory(std::uint64_t at, std::size_t size) {
  open();
  const auto parts = pieces(at, size);  // before anything is allocated: the size may be a guest's
  py::bytes result = py::reinterpret_steal<py::bytes>(PyBytes_FromStringAndSize(nullptr, static_cast<ssize_t>(size)));
  if (!result) throw py::error_already_set();
  char* bytes = PyBytes_AS_STRING(result.ptr());
  for (const Piece& piece : parts) {
    copy_piece(piece, bytes, false);
    bytes += piece.size;
  }
  return result;
}

void Context::write_memory(std::uint64_t at, const py::buffer& data) {
  open();
  // A copy: what it is of may change while a message is under way.
  const auto copy = py::reinterpret_steal<py::bytes>(PyBytes_FromObject(data.ptr()));
  if (!copy) throw py::error_already_set();
  char* next = PyBytes_AS_STRING(copy.ptr());
  for (const Piece& piece : pieces(at, std::string_view{copy}.size())) {
    copy_piece(piece, next, true);
    next += piece.size;
  }
}

}  // namespace vmux::python
