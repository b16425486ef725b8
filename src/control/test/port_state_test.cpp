// SPDX-License-Identifier: BSD-3-Clause
// The state of a port's card in files, with real models on real pollers.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>

#include "control/live/controller.hpp"
#include "control/model/catalogue.hpp"
#include "control/model/hardware.hpp"
#include "control/rpc/methods.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::control {
namespace {

using Bytes = std::vector<std::byte>;

UniqueFd memory_file(const Bytes& content = {}) {
  UniqueFd file{::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  EXPECT_EQ(::pwrite(file.get(), content.data(), content.size(), 0), static_cast<ssize_t>(content.size()));
  return file;
}

Bytes content_of(const UniqueFd& file) {
  Bytes bytes(static_cast<std::size_t>(::lseek(file.get(), 0, SEEK_END)));
  EXPECT_EQ(::pread(file.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  return bytes;
}

class PortState : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / ("vmux-port-state-" + std::to_string(::getpid()));
    std::filesystem::create_directory(directory_);
    controller_ = std::move(*Controller::create(builtin_catalogue(), hardware_, events_, {}));
    add_methods(methods_, *controller_);
    add("vm0", "e1000");
  }
  void TearDown() override {
    controller_.reset();
    std::filesystem::remove_all(directory_);
  }
  [[nodiscard]] std::string socket(const std::string& name) const { return directory_ / name; }
  void add(const std::string& name, const char* model, const Json& more = Json::object()) {
    Json params{{"name", name}, {"model", model}, {"socket", socket(name)}};
    params.update(more);
    const auto added = methods_.call("port.add", params);
    ASSERT_TRUE(added) << added.error().text;
  }
  Outcome<Json> call(const char* method, const char* port, const UniqueFd& file) {
    return methods_.call(method, Json{{"name", port}}, [&] { return UniqueFd{::dup(file.get())}; });
  }
  [[nodiscard]] Bytes saved(const char* port = "vm0") {
    const UniqueFd file = memory_file();
    const auto done = call("port.save", port, file);
    EXPECT_TRUE(done) << done.error().text;
    const Bytes bytes = content_of(file);
    EXPECT_EQ((*done)["bytes"], bytes.size());
    return bytes;
  }
  /// A register that keeps what is written to it: FCAL of an e1000.
  static void set_register(vfio_user::Client& client, std::uint32_t value) {
    ASSERT_TRUE(client.write(pci::Region::bar0, {0x28}, std::as_bytes(std::span{&value, 1})));
  }
  [[nodiscard]] static std::uint32_t register_of(vfio_user::Client& client) {
    std::uint32_t value = 0;
    EXPECT_TRUE(client.read(pci::Region::bar0, {0x28}, std::as_writable_bytes(std::span{&value, 1})));
    return value;
  }

  std::filesystem::path directory_;
  Hardware hardware_;
  EventRing events_;
  std::unique_ptr<Controller> controller_;
  Methods methods_;
};

TEST_F(PortState, IsSavedWhileItsClientGoesOnAndRestoredBeforeTheNextOneComes) {
  Bytes state;
  {
    const auto client = std::move(*vfio_user::Client::connect(socket("vm0")));
    set_register(*client, 0x1234'5678);
    state = saved();
    EXPECT_EQ(register_of(*client), 0x1234'5678u);
    EXPECT_EQ(*client->migration_state(), pci::MigrationState::running);
  }
  const auto check = [&] { return vfio_user::Client::connect(socket("vm0")); };
  {
    const auto client = std::move(*check());  // once it is there, the first one is gone and the card reset
    EXPECT_NE(register_of(*client), 0x1234'5678u);
    ASSERT_TRUE(client->set_migration_state(pci::MigrationState::stop));
    const auto restored = call("port.restore", "vm0", memory_file(state));
    ASSERT_TRUE(restored) << restored.error().text;
    EXPECT_EQ(*restored, Json({{"name", "vm0"}, {"bytes", state.size()}}));
    EXPECT_EQ(register_of(*client), 0x1234'5678u);
    ASSERT_TRUE(client->set_migration_state(pci::MigrationState::running));
    EXPECT_EQ(saved(), state);
  }
}

TEST_F(PortState, IsRefusedUnderAClientWhoseDeviceRuns) {
  const auto client = std::move(*vfio_user::Client::connect(socket("vm0")));
  set_register(*client, 7);
  const auto refused = call("port.restore", "vm0", memory_file(saved()));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ProblemKind::busy);
  EXPECT_EQ(refused.error().text, "the client of vm0 has not stopped the device, and its guest would see it change");
}

TEST_F(PortState, OfAnotherCardOrModelIsRefusedByName) {
  add("vm1", "e1000", {{"mac", "52:54:00:00:00:08"}});
  add("vm2", "iavf", {{"mac", "52:54:00:00:00:09"}});
  const Bytes state = saved();
  const auto other_mac = call("port.restore", "vm1", memory_file(state));
  ASSERT_FALSE(other_mac);
  EXPECT_EQ(other_mac.error().text, "the saved state is of a card with another MAC address than vm1");
  const auto other_model = call("port.restore", "vm2", memory_file(state));
  ASSERT_FALSE(other_model);
  EXPECT_EQ(other_model.error().kind, ProblemKind::host);
  EXPECT_EQ(other_model.error().text, "the saved state is of another kind of device than vm2");
}

TEST_F(PortState, ThatIsHostileChangesNothing) {
  const Bytes state = saved();
  for (std::size_t size = 1; size < state.size(); size += 1 + size / 16) {
    EXPECT_FALSE(call("port.restore", "vm0", memory_file({state.begin(), state.begin() + std::ptrdiff_t(size)})));
  }
  for (std::size_t at = 0; at < state.size(); at += 7) {
    Bytes changed = state;
    changed[at] ^= std::byte{0x81};
    // A section's version may be a later one: what is known of it is the same then.
    static_cast<void>(call("port.restore", "vm0", memory_file(changed)));
    ASSERT_EQ(saved(), state) << at;
  }
}

TEST_F(PortState, TakesMemoryOfASaneSizeOnly) {
  const auto empty = call("port.restore", "vm0", memory_file());
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().text, "a saved state has 1 to 4194304 bytes, and this file has 0");
  EXPECT_FALSE(call("port.restore", "vm0", memory_file(Bytes(4 << 20 | 1))));
  const UniqueFd on_disk{::open((directory_ / "file").c_str(), O_RDWR | O_CREAT, 0600)};
  const auto refused = call("port.save", "vm0", on_disk);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().text, "what came with the call is not a memory file (memfd_create)");
  int pipes[2];
  ASSERT_EQ(::pipe(pipes), 0);
  const UniqueFd out{pipes[0]}, in{pipes[1]};
  EXPECT_FALSE(call("port.save", "vm0", in));
  EXPECT_FALSE(call("port.restore", "vm0", out));
}

TEST_F(PortState, NeedsAFileAndAPort) {
  const auto none = methods_.call("port.save", Json{{"name", "vm0"}});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().text, "a memory file goes with this call, as vmuxctl sends one");
  const auto stranger = call("port.save", "vm7", memory_file());
  ASSERT_FALSE(stranger);
  EXPECT_EQ(stranger.error().kind, ProblemKind::not_found);
  EXPECT_FALSE(methods_.call("port.save", Json{{"name", "vm0"}, {"path", "/tmp/x"}}));
}

TEST_F(PortState, OfAVhostUserPortIsItsVmms) {
  add("vm3", "virtio-net", {{"transport", "vhost-user"}, {"mac", "52:54:00:00:00:0a"}});
  const auto refused = call("port.save", "vm3", memory_file());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ProblemKind::not_supported);
  EXPECT_EQ(refused.error().text, "the card of vm3 belongs to its VMM, which saves its state itself (vhost-user)");
}

}  // namespace
}  // namespace vmux::control
