// SPDX-License-Identifier: BSD-3-Clause
#include "preload/tree/paths.hpp"

#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace vmux::preload {
namespace {

bool starts_with_path(std::string_view path, std::string_view prefix) {
  return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}

/// Only a directory goes by such a name, and a link is followed.
bool names_directory(std::string_view path) { return path.ends_with('/') || path.ends_with("/."); }

}  // namespace

std::optional<Node> node_of(dev_t number) noexcept {
  const unsigned low = minor(number);
  if (number == makedev(kMiscMajor, kVfioMinor)) return Node{Node::Kind::container};
  if (number == makedev(kMiscMajor, kIommuMinor)) return Node{Node::Kind::iommufd};
  if (major(number) == kGroupMajor) return Node{Node::Kind::group, low};
  if (major(number) == kCdevMajor) return Node{Node::Kind::cdev, low};
  return std::nullopt;
}

std::string tidy(std::string_view path) {
  std::string out;
  out.reserve(path.size());
  while (!path.empty()) {
    const std::size_t slash = path.find_first_not_of('/');
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash);
    const std::string_view part = path.substr(0, path.find('/'));
    path.remove_prefix(part.size());
    if (part != ".") out.append("/").append(part);
  }
  return out.empty() ? "/" : out;
}

std::string join_paths(std::string_view base, std::string_view relative) {
  for (;;) {
    if (base.ends_with('/')) base.remove_suffix(1);
    const std::string_view first = relative.substr(0, relative.find('/'));
    if (first != "." && first != "..") break;
    relative.remove_prefix(std::min(relative.size(), first.size() + 1));
    while (relative.starts_with('/'))
      relative.remove_prefix(1);
    if (first == "..") base = base.substr(0, base.rfind('/') == std::string_view::npos ? 0 : base.rfind('/'));
  }
  return std::string{base}.append("/").append(relative);
}

Paths::Paths(std::string root, const std::string& host_root, const std::vector<Identity>& identities)
    : root_(std::move(root)) {
  for (const Identity& identity : identities) {
    // A host bridge that the machine does not have is ours as a whole: some programs walk a path link by link.
    const std::string bridge = "/sys/devices/" + bus_name(identity.address);
    std::error_code ignored;
    if (!std::filesystem::exists(host_root + bridge, ignored)) owned_.push_back(bridge);
    const std::string bdf = identity.address.text(), group = std::to_string(identity.group);
    owned_.insert(owned_.end(),
                  {"/sys/bus/pci/devices/" + bdf, "/sys/bus/pci/drivers/vfio-pci/" + bdf,
                   "/sys/devices/" + bus_name(identity.address) + "/" + bdf, "/sys/kernel/iommu_groups/" + group,
                   "/sys/class/vfio-dev/vfio" + group, "/dev/vfio/" + group, "/dev/vfio/devices/vfio" + group});
    groups_.push_back(identity.group);
  }
  for (const char* module : {"vfio", "vfio_pci", "vfio_pci_core", "vfio_iommu_type1", "iommufd"}) {
    owned_.push_back(std::string{"/sys/module/"} + module);
  }
  owned_.insert(owned_.end(), {"/dev/vfio/vfio", "/dev/iommu"});
  merged_ = {"/sys/bus/pci/devices",     "/sys/bus/pci/drivers", "/sys/bus/pci/drivers/vfio-pci",
             "/sys/kernel/iommu_groups", "/sys/class/vfio-dev",  "/dev/vfio",
             "/dev/vfio/devices"};
}

bool Paths::may_concern(std::string_view path) noexcept {
  // Of /dev not what every shell script opens: a look at the servers is not for nothing.
  if (path.starts_with("/sys") || path.starts_with("/dev/vfio") || path.starts_with("/dev/iommu")) return true;
  const auto has = [&](std::string_view part) { return path.find(part) != std::string_view::npos; };
  return path.starts_with("/") && (has("/..") || ((has("//") || has("/./")) && (has("/sys") || has("/dev"))));
}

std::optional<std::string> Paths::redirect(std::string_view path) const {
  if (root_.empty() || !path.starts_with('/')) return std::nullopt;
  const std::string clean = tidy(path);
  const auto owns = [&](const std::string& prefix) { return starts_with_path(clean, prefix); };
  const bool is_ours = std::any_of(owned_.begin(), owned_.end(), owns) ||
                       std::find(merged_.begin(), merged_.end(), clean) != merged_.end();
  if (!is_ours) return std::nullopt;
  return root_ + clean + (names_directory(path) ? "/" : "");
}

std::string_view Paths::conceal(std::string_view real) const noexcept {
  return !root_.empty() && starts_with_path(real, root_) ? real.substr(root_.size()) : real;
}

std::optional<Node> Paths::node(std::string_view path) const {
  if (root_.empty() || !path.starts_with('/') || names_directory(path)) return std::nullopt;
  const std::string clean = tidy(path);
  if (clean == "/dev/vfio/vfio") return Node{Node::Kind::container};
  if (clean == "/dev/iommu") return Node{Node::Kind::iommufd};
  for (const unsigned group : groups_) {
    if (clean == "/dev/vfio/" + std::to_string(group)) return Node{Node::Kind::group, group};
    if (clean == "/dev/vfio/devices/vfio" + std::to_string(group)) return Node{Node::Kind::cdev, group};
  }
  return std::nullopt;
}

}  // namespace vmux::preload
