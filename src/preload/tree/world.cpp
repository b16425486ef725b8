// SPDX-License-Identifier: BSD-3-Clause
#include "preload/tree/world.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>

#include "preload/process/trace.hpp"
#include "preload/tree/neighbours.hpp"
#include "preload/vfio/fd_table.hpp"
#include "preload/vfio/iommu/iommufd.hpp"

namespace vmux::preload {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kUnfinished = "vmux-vfio-new.";
constexpr std::uint64_t kProbeTimeout = 2'000'000'000;

std::atomic<World*> the_world = nullptr;
std::mutex making_mutex;

/// Asks a server who its function is, and hangs up: the program may never open it.
Result<Identity> ask(const DeviceSetting& setting);

/// A server that has a client answers nobody else, but that client has left what it told.
Result<Identity> identify(const DeviceSetting& setting) {
  if (is_claimed(setting.socket)) {
    if (auto known = find_record(settings().directory, setting)) return std::move(*known);
  }
  return ask(setting);
}

Result<Identity> ask(const DeviceSetting& setting) {
  vfio_user::ClientOptions options;
  options.timeout_ns = kProbeTimeout;
  auto client = vfio_user::Client::connect(setting.socket, options);
  if (!client) return tl::unexpected(client.error());
  Identity identity{setting.address, setting.socket, {}, {}, 0};
  for (std::uint32_t index = 0; index <= VFIO_PCI_CONFIG_REGION_INDEX; ++index) {
    const auto region = (*client)->region_info(index);
    if (!region && index == VFIO_PCI_CONFIG_REGION_INDEX) return tl::unexpected(region.error());
    if (!region) continue;
    if (index < identity.region_sizes.size()) identity.region_sizes[index] = region->size;
    if (index == VFIO_PCI_CONFIG_REGION_INDEX) {
      identity.config.resize(region->size < 256 ? 0 : region->size >= 4096 ? 4096 : 256);
    }
  }
  if (identity.config.empty()) return fail(Errc::protocol, "the device has no PCI config space");
  const auto read =
      (*client)->read(pci::Region::config, RegionOffset{0}, std::as_writable_bytes(std::span{identity.config}));
  if (!read) return tl::unexpected(read.error());
  return identity;
}

UniqueFd lock_tree(const std::string& root, int kind) {
  UniqueFd fd{::open((root + "/.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  if (fd && flock(fd.get(), kind | LOCK_NB) != 0) fd.reset();
  return fd;
}

/// Takes away trees whose processes ended without doing so.
void sweep(const std::string& directory) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    const std::string path = entry.path();
    struct stat status {};
    if (!std::string_view{path}.substr(directory.size() + 1).starts_with(kTreeName)) continue;
    if (lstat(path.c_str(), &status) != 0 || status.st_uid != geteuid() || !S_ISDIR(status.st_mode)) continue;
    if (lock_tree(path, LOCK_EX)) fs::remove_all(path, ignored);
  }
}

}  // namespace

World* World::existing() noexcept { return the_world.load(std::memory_order_acquire); }

World* World::get() {
  if (World* world = existing()) return world;
  if (settings().devices.empty()) return nullptr;
  const std::lock_guard lock{making_mutex};
  if (World* world = existing()) return world;
  auto* world = new World(settings().devices);  // never destroyed: it serves until the very end of the process
  the_world.store(world, std::memory_order_release);
  return world;
}

World::World(const std::vector<DeviceSetting>& devices) {
  unsigned group = first_free_group("");
  for (const DeviceSetting& setting : devices) {
    auto identity = identify(setting);
    if (!identity) {
      say("{}: not shown, its vfio-user server at {} does not answer: {}", setting.address.text(), setting.socket,
          identity.error().text());
      continue;
    }
    identity->group = group++;
    trace("{}: group {}, server {}", setting.address.text(), identity->group, setting.socket);
    identities_.push_back(std::move(*identity));
  }
  make_tree();
}

void World::make_tree() {
  const std::string directory = settings().directory;
  sweep(directory);
  std::string unfinished = directory + "/" + std::string{kUnfinished} + "XXXXXX";
  if (mkdtemp(unfinished.data()) == nullptr) {
    say("cannot make a directory in {} (set {}): no device is shown", directory, kEnvDirectory);
    return;
  }
  hold_ = lock_tree(unfinished, LOCK_SH);
  FdTable::instance().hide(hold_.get());
  root_ = directory + "/" + std::string{kTreeName} + unfinished.substr(unfinished.size() - 6);
  std::error_code failed;
  fs::rename(unfinished, root_, failed);
  const auto built = failed ? fail(Errc::system, "cannot rename", failed.value()) : build_tree(root_, "", identities_);
  if (!built) {
    say("{} in {}: no device is shown", built.error().text(), root_);
    return;
  }
  for (const Identity& identity : identities_)
    write_record(root_, identity);
  paths_ = Paths{root_, "", identities_};
}

const Identity* World::identity_of(unsigned group) const noexcept {
  const auto found = std::find_if(identities_.begin(), identities_.end(),
                                  [&](const Identity& identity) { return identity.group == group; });
  return found == identities_.end() ? nullptr : &*found;
}

int World::open(const Node& node, int flags) {
  // As for any character device that is there and cannot be read past the page cache.
  if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) return -EEXIST;
  if ((flags & O_DIRECTORY) != 0) return -ENOTDIR;
  if ((flags & O_DIRECT) != 0) return -EINVAL;
  const std::lock_guard lock{state_mutex()};
  FdTable& table = FdTable::instance();
  if (node.kind == Node::Kind::container) return table.add(std::make_shared<Container>(), flags);
  if (node.kind == Node::Kind::iommufd) return table.add(std::make_shared<Iommufd>(), flags);
  const Identity* identity = identity_of(node.number);
  if (identity == nullptr) return -ENODEV;
  if (!open_[node.number].expired()) table.drop_closed();
  if (!open_[node.number].expired()) return -EBUSY;
  UniqueFd claim = take_claim(identity->socket);
  if (!claim && errno == EADDRINUSE) return -EBUSY;
  std::shared_ptr<Object> object;
  if (node.kind == Node::Kind::group) {
    object = std::make_shared<Group>(*identity);
  } else {
    auto opened = Device::open(*identity);
    if (opened.error != 0) return opened.error;
    opened.device->require_bind(makedev(kCdevMajor, identity->group));
    object = std::move(opened.device);
  }
  table.hide(claim.get());
  object->keep(std::move(claim));
  const int fd = table.add(object, flags);
  if (fd >= 0) open_[node.number] = object;
  return fd;
}

void World::lock_making() noexcept { making_mutex.lock(); }
void World::unlock_making() noexcept { making_mutex.unlock(); }

void World::before_fork() noexcept {
  if (!root_.empty()) next_hold_ = lock_tree(root_, LOCK_SH);
}

void World::after_fork(bool is_child) noexcept {
  if (is_child) hold_ = std::move(next_hold_);
  if (is_child) FdTable::instance().hide(hold_.get());
  next_hold_.reset();
}

void World::leave() noexcept {
  if (root_.empty() || !hold_ || flock(hold_.get(), LOCK_EX | LOCK_NB) != 0) return;
  std::error_code ignored;
  fs::remove_all(root_, ignored);
  hold_.reset();
  root_.clear();
}

}  // namespace vmux::preload
