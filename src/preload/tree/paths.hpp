// SPDX-License-Identifier: BSD-3-Clause
// Which paths of a program lead into the generated tree, and which are character devices of ours.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "preload/tree/sysfs.hpp"

namespace vmux::preload {

/// What a path of /dev stands for.
struct Node {
  enum class Kind { container, group, cdev, iommufd } kind;
  unsigned number = 0;  ///< of the group, for group and cdev
};

/// The one that has a device number of ours.
[[nodiscard]] std::optional<Node> node_of(dev_t number) noexcept;

/// Pure: a table of prefixes. Thread-safe, as it never changes.
class Paths {
 public:
  Paths() = default;
  /// `host_root` as for build_tree().
  Paths(std::string root, const std::string& host_root, const std::vector<Identity>& identities);

  /// Cheap first look: false for every path that can have nothing to do with us.
  [[nodiscard]] static bool may_concern(std::string_view path) noexcept;
  /// Where `path` really lies, or nullopt when it is the machine's.
  [[nodiscard]] std::optional<std::string> redirect(std::string_view path) const;
  /// The other way round: what to tell the program for a path inside the tree.
  [[nodiscard]] std::string_view conceal(std::string_view real) const noexcept;
  [[nodiscard]] std::optional<Node> node(std::string_view path) const;

 private:
  std::string root_;
  std::vector<std::string> owned_;   ///< these and all below them
  std::vector<std::string> merged_;  ///< these directories themselves, not what is in them
  std::vector<unsigned> groups_;
};

/// A relative path from a directory whose name has no links: leading ".." are taken away with what they leave.
[[nodiscard]] std::string join_paths(std::string_view base, std::string_view relative);
/// Collapses repeated slashes, "/./" and a slash at the end. ".." stays: what it means depends on links.
[[nodiscard]] std::string tidy(std::string_view path);

}  // namespace vmux::preload
