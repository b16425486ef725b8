// SPDX-License-Identifier: BSD-3-Clause
#include "base/build_id.hpp"

#include <elf.h>
#include <link.h>

#include <cstdint>
#include <cstring>

namespace vmux {
namespace {

constexpr std::size_t kShown = 8;  // bytes of 20

std::size_t padded(std::size_t size) noexcept { return (size + 3) & ~std::size_t{3}; }

/// elf(5), notes: a header, a name, a description, each padded to four bytes.
std::string id_in(const char* at, std::size_t size) {
  ElfW(Nhdr) note{};
  while (size >= sizeof note) {
    std::memcpy(&note, at, sizeof note);
    const std::size_t name = padded(note.n_namesz), description = padded(note.n_descsz);
    if (size - sizeof note < name + description) break;
    const char* const bytes = at + sizeof note + name;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof ELF_NOTE_GNU &&
        std::memcmp(at + sizeof note, ELF_NOTE_GNU, sizeof ELF_NOTE_GNU) == 0) {
      constexpr char kDigits[] = "0123456789abcdef";
      std::string text;
      for (std::size_t i = 0; i < note.n_descsz && i < kShown; ++i) {
        const auto byte = static_cast<std::uint8_t>(bytes[i]);
        text += kDigits[byte >> 4];
        text += kDigits[byte & 15];
      }
      return text;
    }
    at += sizeof note + name + description;
    size -= sizeof note + name + description;
  }
  return "";
}

}  // namespace

std::string build_id() {
  std::string found;
  const auto visit = [](dl_phdr_info* object, std::size_t, void* into) {
    for (int i = 0; i < object->dlpi_phnum; ++i) {
      const ElfW(Phdr)& part = object->dlpi_phdr[i];
      if (part.p_type != PT_NOTE) continue;
      auto& text = *static_cast<std::string*>(into);
      text = id_in(reinterpret_cast<const char*>(object->dlpi_addr + part.p_vaddr), part.p_memsz);
      if (!text.empty()) break;
    }
    return 1;  // the program itself is the first, and the others are not asked
  };
  ::dl_iterate_phdr(visit, &found);
  return found;
}

}  // namespace vmux
