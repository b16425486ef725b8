// SPDX-License-Identifier: BSD-3-Clause
// A thread that is cancelled while it serves. A program of its own, without sanitizers: AddressSanitizer does not know
// stacks that are unwound by force.
#include <pthread.h>

#include "capi/test/rig.hpp"

namespace capi_test {
namespace {

void* attach_and_run(void* context) {
  auto* const ctx = static_cast<vfu_ctx_t*>(context);
  if (vfu_attach_ctx(ctx) == 0) static_cast<void>(vfu_run_ctx(ctx));
  return nullptr;
}

TEST(CapiContext, LetsItsThreadBeCancelledWhereItWaits) {
  for (const bool is_attached : {false, true}) {
    Device one{0};
    ASSERT_EQ(vfu_realize_ctx(one.ctx), 0);
    pthread_t thread{};
    ASSERT_EQ(::pthread_create(&thread, nullptr, attach_and_run, one.ctx), 0);
    if (is_attached) {
      ASSERT_TRUE(one.client.connect(one.path));
      one.client.send(1, version());
      EXPECT_EQ(one.client.receive().error, 0u);
    }
    ASSERT_EQ(::pthread_cancel(thread), 0);
    void* result = nullptr;
    ASSERT_EQ(::pthread_join(thread, &result), 0);
    EXPECT_EQ(result, PTHREAD_CANCELED);
  }
}

}  // namespace
}  // namespace capi_test
