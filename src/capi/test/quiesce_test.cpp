// SPDX-License-Identifier: BSD-3-Clause
// Quiescence, and migration: what waits for the device, and in which order things happen.
#include "capi/test/rig.hpp"

namespace capi_test {
namespace {

using Calls = std::vector<std::string>;

std::string map_message() { return Bytes{}.u32(32).u32(3).u64(0).u64(0x1000).u64(0x1000); }

TEST(CapiQuiesce, ComesBeforeWhatChangesTheDevice) {
  Device one;
  one.with_bar0().with_quiesce().with_migration().attach();
  EXPECT_EQ(one.error_of(2, map_message()), 0u);
  EXPECT_EQ(one.error_of(13, ""), 0u);
  EXPECT_EQ(one.error_of(16, Bytes{}.u32(16).u32(1u << 17 | 2).u32(6).u32(0)), 0u);
  EXPECT_EQ(one.error_of(16, Bytes{}.u32(16).u32(1u << 16 | 2)), 0u);  // a question changes nothing
  EXPECT_EQ(one.write(0, 0, "a"), 0u);
  EXPECT_EQ(one.unmap(0x1000, 0x1000), 0u);
  EXPECT_EQ(one.device.calls, (Calls{"quiesce", "register 4096", "quiesce", "reset 0", "quiesce", "state 3",
                                     "write 0+1", "quiesce", "unregister 4096"}));
}

TEST(CapiQuiesce, LetsARequestWait) {
  Device one;
  one.with_quiesce().attach();
  one.device.quiesce_errno = EBUSY;
  one.client.send(2, map_message());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
    EXPECT_EQ(errno, EBUSY);
  }
  EXPECT_EQ(one.device.calls, Calls{"quiesce"});
  EXPECT_FALSE(one.client.has_input());
  EXPECT_EQ(vfu_device_quiesced(one.ctx, 0), 0);
  EXPECT_EQ(one.device.calls, (Calls{"quiesce", "register 4096"}));
  EXPECT_EQ(one.client.receive().error, 0u);
  EXPECT_EQ(vfu_run_ctx(one.ctx), 0);
  EXPECT_EQ(vfu_device_quiesced(one.ctx, 0), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST(CapiQuiesce, FailsARequestAtOnceOrLater) {
  Device one;
  one.with_quiesce().attach();
  one.device.quiesce_errno = EXDEV;
  EXPECT_EQ(one.error_of(2, map_message()), static_cast<unsigned>(EXDEV));
  EXPECT_EQ(one.device.calls, Calls{"quiesce"});
  one.device.quiesce_errno = EBUSY;
  one.client.send(2, map_message());
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_EQ(vfu_device_quiesced(one.ctx, ENOTTY), 0);
  EXPECT_EQ(one.client.receive().error, static_cast<unsigned>(ENOTTY));
  EXPECT_EQ(one.device.calls, (Calls{"quiesce", "quiesce", "reset 0"}));
}

int quiet_inside(vfu_ctx_t* ctx) {
  EXPECT_EQ(vfu_device_quiesced(ctx, seen(ctx).quiesce_errno), 0);
  return errno = EBUSY, -1;
}

TEST(CapiQuiesce, MayEndInsideItsCallback) {
  Device one;
  vfu_setup_device_quiesce_cb(one.ctx, quiet_inside);
  one.attach();
  EXPECT_EQ(one.error_of(2, map_message()), 0u);
  EXPECT_EQ(one.device.calls, Calls{"register 4096"});
  one.device.quiesce_errno = EXDEV;
  EXPECT_EQ(one.error_of(13, ""), static_cast<unsigned>(EXDEV));
}

TEST(CapiQuiesce, ComesBeforeAClientIsForgotten) {
  Device one;
  one.with_quiesce().attach();
  ASSERT_EQ(one.error_of(2, map_message()), 0u);
  one.device.calls.clear();
  one.device.quiesce_errno = EBUSY;
  one.client.close();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
    EXPECT_EQ(errno, EBUSY);
  }
  EXPECT_EQ(one.device.calls, Calls{"quiesce"});
  EXPECT_EQ(vfu_device_quiesced(one.ctx, 0), 0);
  EXPECT_EQ(one.device.calls, (Calls{"quiesce", "unregister 4096", "reset 1"}));
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_EQ(errno, ENOTCONN);
}

TEST(CapiQuiesce, OnceCoversAClientThatGoesMeanwhile) {
  Device one;
  one.with_quiesce().attach();
  one.device.quiesce_errno = EBUSY;
  one.client.send(2, map_message());
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  one.client.close();
  EXPECT_EQ(vfu_device_quiesced(one.ctx, 0), 0);
  EXPECT_EQ(one.device.calls, (Calls{"quiesce", "register 4096", "unregister 4096", "reset 1"}));
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_EQ(errno, ENOTCONN);
}

TEST(CapiQuiesce, IsNotAskedForAtTheEnd) {
  Seen device;
  {
    Device one;
    one.with_quiesce().attach();
    ASSERT_EQ(one.error_of(2, map_message()), 0u);
    one.device.calls.clear();
    vfu_destroy_ctx(std::exchange(one.ctx, nullptr));
    device = one.device;
  }
  EXPECT_EQ(device.calls, (Calls{"unregister 4096", "reset 1"}));
}

class CapiMigration : public testing::Test {
 protected:
  CapiMigration() { one.with_migration().attach(R"({"capabilities":{"max_data_xfer_size":4}})"); }
  unsigned go(unsigned state) { return one.error_of(16, Bytes{}.u32(16).u32(1u << 17 | 2).u32(state).u32(0)); }
  std::uint64_t state() { return number(one.call(16, Bytes{}.u32(16).u32(1u << 16 | 2)).payload, 8, 4); }
  Device one;
};

TEST_F(CapiMigration, GoesTheShortestWay) {
  EXPECT_EQ(go(3), 0u);
  EXPECT_EQ(one.device.calls, (Calls{"state 0", "state 2"}));
  EXPECT_EQ(go(6), kInvalid);  // back to copying ahead
  EXPECT_EQ(go(4), 0u);
  EXPECT_EQ(go(2), 0u);
  EXPECT_EQ(go(6), 0u);
  EXPECT_EQ(one.device.calls, (Calls{"state 0", "state 2", "state 0", "state 4", "state 0", "state 1", "state 3"}));
  for (const unsigned other : {0u, 5u, 7u, 8u, 0xabcdu})
    EXPECT_EQ(go(other), kInvalid);
  EXPECT_EQ(state(), 6u);
}

TEST_F(CapiMigration, StaysWhereItIsWhenTheDeviceRefuses) {
  const vfu_migration_callbacks_t callbacks{VFU_MIGR_CALLBACKS_VERS,
                                            [](vfu_ctx_t*, vfu_migr_state_t) { return errno = EXDEV, -1; },
                                            on_read_data, on_write_data};
  ASSERT_EQ(vfu_setup_device_migration_callbacks(one.ctx, &callbacks), 0);
  EXPECT_EQ(go(1), static_cast<unsigned>(EXDEV));
  EXPECT_EQ(errno, EXDEV);
  EXPECT_EQ(state(), 2u);
}

TEST_F(CapiMigration, NeedsWholeCallbacksOfItsVersion) {
  vfu_migration_callbacks_t callbacks{1, on_transition, on_read_data, on_write_data};
  EXPECT_EQ(vfu_setup_device_migration_callbacks(one.ctx, &callbacks), -1);
  EXPECT_EQ(errno, EINVAL);
  callbacks = {VFU_MIGR_CALLBACKS_VERS, on_transition, nullptr, on_write_data};
  EXPECT_EQ(vfu_setup_device_migration_callbacks(one.ctx, &callbacks), -1);
}

TEST_F(CapiMigration, MovesTheStateInPieces) {
  one.device.saved = "abcdef";
  const auto read = [&](unsigned size) { return one.call(17, Bytes{}.u32(8 + size).u32(size)); };
  EXPECT_EQ(read(4).error, kInvalid);  // it runs
  ASSERT_EQ(go(6), 0u);
  EXPECT_EQ(read(4).payload, Bytes{}.u32(12).u32(4).text("abcd").str());
  EXPECT_EQ(read(4).payload, Bytes{}.u32(10).u32(2).text("ef").u16(0).str());
  EXPECT_EQ(read(4).payload, Bytes{}.u32(8).u32(0).u32(0).str());
  EXPECT_EQ(read(5).error, kInvalid);  // more than the client takes
  const auto write = [&](unsigned size, const std::string& data) {
    return one.error_of(18, Bytes{}.u32(8 + size).u32(size).text(data));
  };
  EXPECT_EQ(write(4, "1234"), kInvalid);
  ASSERT_EQ(go(4), 0u);
  EXPECT_EQ(write(4, "1234"), 0u);
  EXPECT_EQ(write(4, "123"), kInvalid);
  EXPECT_EQ(one.device.saved, "1234");
}

TEST_F(CapiMigration, LetsAStoppedDeviceBe) {
  ASSERT_EQ(go(1), 0u);
  EXPECT_EQ(one.error_of(13, ""), kInvalid);
  EXPECT_EQ(one.map(0x1000, 0x1000, -1), kInvalid);
  EXPECT_EQ(one.error_of(4, Bytes{}.u32(16).u32(0).u32(0).u32(0)), kInvalid);
  ASSERT_EQ(go(2), 0u);
  EXPECT_EQ(one.map(0x1000, 0x1000, -1), 0u);
}

TEST_F(CapiMigration, AnswersFeatures) {
  EXPECT_EQ(one.call(16, Bytes{}.u32(16).u32(1u << 16 | 1)).payload, Bytes{}.u32(16).u32(1u << 16 | 1).u64(5).str());
  EXPECT_EQ(one.error_of(16, Bytes{}.u32(15).u32(1u << 16 | 1)), kInvalid);
  EXPECT_EQ(one.error_of(16, Bytes{}.u32(16).u32(1u << 17 | 1)), kInvalid);  // cannot be set
  EXPECT_EQ(one.error_of(16, Bytes{}.u32(16).u32(1u << 16 | 9)), kInvalid);  // unknown
  EXPECT_EQ(one.error_of(16, Bytes{}.u32(16).u32(1)), kInvalid);             // neither
  const std::string probe = Bytes{}.u32(8).u32(1u << 18 | 1u << 16 | 8);
  EXPECT_EQ(one.call(16, probe).payload, probe);
  Device other;
  other.attach();
  EXPECT_EQ(other.error_of(16, Bytes{}.u32(16).u32(1u << 16 | 1)), kInvalid);
}

}  // namespace
}  // namespace capi_test
