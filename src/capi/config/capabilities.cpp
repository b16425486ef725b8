// SPDX-License-Identifier: BSD-3-Clause
// Capabilities: where they lie, how they are found, and what a guest may write to them.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "capi/config/config_space.hpp"
#include "capi/context.hpp"

namespace vmux::capi {

/// What is known of the capabilities with one number.
struct CapabilityKind {
  int id;
  bool is_extended;
  std::size_t header_size;                        ///< never written
  std::size_t (*size)(const std::uint8_t* data);  ///< of all of it
  int (*write)(vfu_ctx& context, const Capability& what, std::size_t into, std::span<const std::uint8_t> from);
};

namespace {

template <class T>
T* in_place(vfu_ctx& context, const Capability& what) noexcept {
  return reinterpret_cast<T*>(context.config.bytes().data() + what.at);
}

// Power Management 1.2, 3.2.4: control and status is what is written; the rest is asked for by mistake only.
int write_pm(vfu_ctx& context, const Capability& what, std::size_t into, std::span<const std::uint8_t> from) {
  struct Field {
    std::size_t at, size;
    bool is_writable;
  };
  constexpr auto kFields = std::to_array<Field>({
      {offsetof(pmcap, pc), 2, false},
      {offsetof(pmcap, pmcs), 2, true},
      {offsetof(pmcap, pmcsr_bse), 1, false},
      {offsetof(pmcap, data), 1, false},
  });
  const auto field = std::find_if(kFields.begin(), kFields.end(), [&](const Field& f) { return f.at == into; });
  if (field == kFields.end() || field->size != from.size()) return EINVAL;
  if (!field->is_writable) return ENOTSUP;
  std::memcpy(&in_place<pmcap>(context, what)->pmcs, from.data(), from.size());
  return 0;
}

// 3.0, 6.8.1: any bytes, of which the read-only fields keep their values. No more vectors can be enabled than there
// are.
int write_msi(vfu_ctx& context, const Capability& what, std::size_t into, std::span<const std::uint8_t> from) {
  msicap* const msi = in_place<msicap>(context, what);
  msicap written = *msi;
  std::memcpy(reinterpret_cast<std::uint8_t*>(&written) + into, from.data(), from.size());
  msi->mc.msie = written.mc.msie;
  if (written.mc.mme != msi->mc.mme) {
    constexpr unsigned kThirtyTwo = 5;
    if (written.mc.mme > kThirtyTwo || written.mc.mme > msi->mc.mmc) return EINVAL;
    msi->mc.mme = written.mc.mme;
  }
  msi->ma.addr = written.ma.addr;
  msi->mua = written.mua;
  msi->md = written.md;
  msi->mmask = written.mmask;
  return 0;
}

// 3.0, 6.8.2.3: the two bits at the end of message control.
int write_msix(vfu_ctx& context, const Capability& what, std::size_t into, std::span<const std::uint8_t> from) {
  msixcap* const msix = in_place<msixcap>(context, what);
  msixcap written = *msix;
  std::memcpy(reinterpret_cast<std::uint8_t*>(&written) + into, from.data(), from.size());
  msix->mxc.fm = written.mxc.fm;
  msix->mxc.mxe = written.mxc.mxe;
  return 0;
}

int write_device_control(vfu_ctx& context, const Capability& what, std::span<const std::uint8_t> from) {
  pxcap* const express = in_place<pxcap>(context, what);
  pxdc written;
  std::memcpy(&written, from.data(), sizeof written);
  const bool wants_reset = written.iflr != 0;
  written.iflr = 0;  // "always reads as zero"
  express->pxdc = written;
  if (!wants_reset) return 0;
  return express->pxdcap.flrc != 0 ? reset_device(context, VFU_RESET_PCI_FLR) : EINVAL;
}

// PCI Express Base, 7.8: 16-bit registers, each as a whole. The controls of links, slots and roots control nothing.
int write_express(vfu_ctx& context, const Capability& what, std::size_t into, std::span<const std::uint8_t> from) {
  if (from.size() != 2) return EINVAL;
  switch (into) {
    case offsetof(pxcap, pxdc):
      return write_device_control(context, what, from);
    case offsetof(pxcap, pxdc2):
    case offsetof(pxcap, pxlc2):
      std::memcpy(in_place<std::uint8_t>(context, what) + into, from.data(), from.size());
      return 0;
    case offsetof(pxcap, pxlc):
    case offsetof(pxcap, pxsc):
    case offsetof(pxcap, pxrc):
    case offsetof(pxcap, pxsc2):
      return 0;
    default:
      return EINVAL;
  }
}

int write_bytes(vfu_ctx& context, const Capability& what, std::size_t into, std::span<const std::uint8_t> from) {
  std::memcpy(in_place<std::uint8_t>(context, what) + into, from.data(), from.size());
  return 0;
}
int write_nothing(vfu_ctx&, const Capability&, std::size_t, std::span<const std::uint8_t>) { return EPERM; }

template <std::size_t Size>
std::size_t fixed(const std::uint8_t*) {
  return Size;
}
std::size_t vendor_size(const std::uint8_t* data) { return data[offsetof(vsc, size)]; }
std::size_t extended_vendor_size(const std::uint8_t* data) {
  pcie_ext_cap_vsc_hdr header;
  std::memcpy(&header, data, sizeof header);
  return header.len;
}

constexpr auto kKinds = std::to_array<CapabilityKind>({
    {PCI_CAP_ID_PM, false, sizeof(cap_hdr), fixed<sizeof(pmcap)>, write_pm},
    {PCI_CAP_ID_EXP, false, sizeof(cap_hdr), fixed<sizeof(pxcap)>, write_express},
    {PCI_CAP_ID_MSI, false, sizeof(cap_hdr), fixed<sizeof(msicap)>, write_msi},
    {PCI_CAP_ID_MSIX, false, sizeof(cap_hdr), fixed<sizeof(msixcap)>, write_msix},
    {PCI_CAP_ID_VNDR, false, sizeof(vsc), vendor_size, write_bytes},
    {PCI_EXT_CAP_ID_DSN, true, sizeof(pcie_ext_cap_hdr), fixed<sizeof(dsncap)>, write_nothing},
    {PCI_EXT_CAP_ID_VNDR, true, sizeof(pcie_ext_cap_vsc_hdr), extended_vendor_size, write_bytes},
});

pcie_ext_cap_hdr extended_header(const std::uint8_t* at) noexcept {
  pcie_ext_cap_hdr header;
  std::memcpy(&header, at, sizeof header);
  return header;
}

constexpr std::size_t kAlignment = 4;

}  // namespace

int write_capability(vfu_ctx& context, const Capability& what, std::size_t at, std::span<const std::uint8_t> from) {
  const std::size_t into = at - what.at;
  return into < what.kind->header_size ? EPERM : what.kind->write(context, what, into, from);
}

std::size_t ConfigSpace::first_of(bool is_extended) noexcept {
  if (!is_extended) return header().cap;
  return extended_header(bytes_ + PCI_CFG_SPACE_SIZE).id != 0 ? PCI_CFG_SPACE_SIZE : 0;
}
std::size_t ConfigSpace::next_of(std::size_t at, bool is_extended) noexcept {
  return is_extended ? extended_header(bytes_ + at).next : bytes_[at + PCI_CAP_LIST_NEXT];
}
int ConfigSpace::id_of(std::size_t at, bool is_extended) noexcept {
  return is_extended ? static_cast<int>(extended_header(bytes_ + at).id) : bytes_[at + PCI_CAP_LIST_ID];
}

// The list as the library made it: what the program did to the bytes since does not lead it astray.
std::size_t ConfigSpace::last_of(bool is_extended) noexcept {
  const auto last = std::find_if(capabilities_.rbegin(), capabilities_.rend(),
                                 [&](const Capability& one) { return one.is_extended() == is_extended; });
  return last == capabilities_.rend() ? 0 : last->at;
}

const Capability* ConfigSpace::first_in(std::size_t at, std::size_t count) const noexcept {
  const Capability* first = nullptr;
  for (const Capability& one : capabilities_) {
    const bool meets = at < one.at + one.size && one.at < at + count;
    if (meets && (first == nullptr || one.at < first->at)) first = &one;
  }
  return first;
}

std::size_t ConfigSpace::device_control() const noexcept {
  for (const Capability& one : capabilities_) {
    if (!one.is_extended() && one.kind->id == PCI_CAP_ID_EXP) return one.at + offsetof(pxcap, pxdc);
  }
  return 0;
}

int ConfigSpace::add(std::size_t& at, int flags, const std::uint8_t* data, std::size_t size) {
  if ((flags & ~(VFU_CAP_FLAG_EXTENDED | VFU_CAP_FLAG_CALLBACK | VFU_CAP_FLAG_READONLY)) != 0) return EINVAL;
  const bool is_extended = (flags & VFU_CAP_FLAG_EXTENDED) != 0;
  if (is_extended && !may_extend_) return EINVAL;
  const int id = is_extended ? static_cast<int>(extended_header(data).id) : data[PCI_CAP_LIST_ID];
  const auto kind = std::find_if(kKinds.begin(), kKinds.end(), [&](const CapabilityKind& one) {
    return one.is_extended == is_extended && one.id == id;
  });
  if (kind == kKinds.end()) return ENOTSUP;
  Capability what{&*kind, at, kind->size(data), flags};
  if (what.size < kind->header_size || what.at >= size || what.at + what.size >= size) return EINVAL;
  if (const int error = place(what, size); error != 0) return error;
  std::memcpy(bytes_ + what.at, data, what.size);
  link(what);
  capabilities_.push_back(what);
  header().sts.cl = 1;
  at = what.at;
  return 0;
}

int ConfigSpace::place(Capability& what, std::size_t size) {
  const std::size_t lowest = what.is_extended() ? PCI_CFG_SPACE_SIZE : PCI_STD_HEADER_SIZEOF;
  const std::size_t last = last_of(what.is_extended());
  if (what.at == 0) {
    const Capability* const before = last == 0 ? nullptr : first_in(last, 1);
    what.at = before == nullptr ? lowest : (before->at + before->size + kAlignment - 1) / kAlignment * kAlignment;
    return what.at + what.size > size ? ENOSPC : 0;
  }
  if (what.at < lowest || first_in(what.at, what.size) != nullptr) return EINVAL;
  return what.is_extended() && last == 0 && what.at != lowest ? EINVAL : 0;  // extended ones start at 256
}

// At the end of its list.
void ConfigSpace::link(const Capability& what) noexcept {
  const std::size_t last = last_of(what.is_extended());
  if (!what.is_extended()) {
    bytes_[what.at + PCI_CAP_LIST_NEXT] = 0;
    (last == 0 ? header().cap : bytes_[last + PCI_CAP_LIST_NEXT]) = static_cast<std::uint8_t>(what.at);
    return;
  }
  const auto point = [&](std::size_t from, std::size_t to) {
    auto changed = extended_header(bytes_ + from);
    changed.next = static_cast<std::uint32_t>(to) & 0xfff;
    std::memcpy(bytes_ + from, &changed, sizeof changed);
  };
  point(what.at, 0);
  if (last != 0) point(last, what.at);
}

std::size_t ConfigSpace::find(bool is_extended, std::size_t after, int id, std::size_t size) noexcept {
  // The last byte of a header is what is looked at, and the last byte of the space belongs to none.
  const std::size_t reach = is_extended ? sizeof(pcie_ext_cap_hdr) : PCI_CAP_LIST_NEXT;
  if (after + reach >= size) return errno = EINVAL, 0;
  std::size_t at = after == 0 ? first_of(is_extended) : next_of(after, is_extended);
  for (std::size_t steps = 0; at != 0; ++steps) {
    if (at + reach >= size || steps > size) return errno = EINVAL, 0;
    if (id_of(at, is_extended) == id) return at;
    at = next_of(at, is_extended);
  }
  return errno = ENOENT, 0;
}

}  // namespace vmux::capi
