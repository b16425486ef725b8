// SPDX-License-Identifier: BSD-3-Clause
// The package (DDP) that a driver downloads. What is in it stays opaque: of its buffers only the section that names it
// is looked at, since the driver asks for that name and version afterwards.
#include <cstring>

#include "device/e810/firmware/firmware.hpp"

namespace vmux::device::e810 {

namespace wi = wire::ice;

namespace {

/// Of the section that names the package, if it is in this buffer.
std::optional<Package> package_of(const Command& command) {
  const auto header = command.get<wi::PackageBufferHeader>();
  for (std::size_t i = 0; i < header.sections; ++i) {
    const std::size_t at = sizeof header + i * sizeof(wi::PackageSection);
    if (!command.has<wi::PackageSection>(at)) return std::nullopt;
    const auto section = command.get<wi::PackageSection>(at);
    if (section.type != wi::kMetadataSection || !command.has<wi::PackageMetadata>(section.offset)) continue;
    const auto metadata = command.get<wi::PackageMetadata>(section.offset);
    return Package{metadata.version, metadata.name, metadata.track_id};
  }
  return std::nullopt;
}

}  // namespace

Firmware::Status Firmware::download_package(Command& command) {
  if (active_) return Status::exists;
  auto request = command.params<wi::DownloadPackage>();
  const bool is_last = (request.flags & wi::kLastPackageBuffer) != 0;
  if (const auto package = package_of(command)) downloading_ = package;
  if (is_last) {
    active_ = downloading_;
    downloading_.reset();
  }
  request.error_offset = 0;
  command.set_params(request);
  return Status::ok;
}

/// Profiles of RSS and Flow Director: drivers put them together, and tell them in the package's own form. Accepted;
/// what is hashed is fixed (README.md).
Firmware::Status Firmware::update_package(Command& command) {
  auto request = command.params<wi::DownloadPackage>();
  request.error_offset = 0;
  command.set_params(request);
  return Status::ok;
}

Firmware::Status Firmware::get_package_info(Command& command) {
  const wi::U32 count = active_ ? 1u : 0u;
  std::size_t size = sizeof count;
  if (active_) {
    if (!command.has<wi::PackageInfo>(size)) return Status::no_memory;
    wi::PackageInfo info{};
    info.version = active_->version;
    info.name = active_->name;
    info.track_id = active_->track_id;
    info.is_active = 1;
    command.put(info, size);
    size += sizeof info;
  }
  command.put(count);
  command.reply = size;
  return Status::ok;
}

}  // namespace vmux::device::e810
