// SPDX-License-Identifier: BSD-3-Clause
// What the process sees through us: the functions, asked for once from their servers, and the tree made of the answers.
// Comes into being when a path first leads there, so a program that has nothing to do with VFIO never notices us.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "preload/tree/paths.hpp"
#include "preload/tree/sysfs.hpp"
#include "preload/vfio/iommu/container.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::preload {

class World {
 public:
  /// The process's world, made now if it is not there; nullptr when the settings name no device.
  [[nodiscard]] static World* get();
  /// The same for a path, without making one for paths that cannot concern us.
  [[nodiscard]] static World* get_for(std::string_view path) { return Paths::may_concern(path) ? get() : nullptr; }
  /// What there is already, or nullptr.
  [[nodiscard]] static World* existing() noexcept;

  [[nodiscard]] const Paths& paths() const noexcept { return paths_; }
  /// open() of one of our character devices: a descriptor, or a negated errno.
  [[nodiscard]] int open(const Node& node, int flags);

  // Around fork(): nobody is half way through making a world, and each process holds the tree by a lock of its own.
  static void lock_making() noexcept;
  static void unlock_making() noexcept;
  void before_fork() noexcept;
  void after_fork(bool is_child) noexcept;
  /// At exit: the last process that uses the tree takes it away.
  void leave() noexcept;

 private:
  explicit World(const std::vector<DeviceSetting>& devices);
  void make_tree();
  [[nodiscard]] const Identity* identity_of(unsigned group) const noexcept;

  std::vector<Identity> identities_;
  std::string root_;
  Paths paths_;
  UniqueFd hold_, next_hold_;
  std::map<unsigned, std::weak_ptr<Object>> open_;  // group number to what has it open: only one at a time
};

}  // namespace vmux::preload
