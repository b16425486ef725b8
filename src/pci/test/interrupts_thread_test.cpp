// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "pci/test/test_support.hpp"
#include "rigs/allocations.hpp"

namespace vmux::pci {
namespace {

using namespace test;

FunctionSpec with_msix() {
  FunctionSpec spec;
  spec.intx = true;
  spec.bars[0] = BarSpec{.size = 65536};
  spec.capabilities = {Msix{.vectors = 2, .pba_offset = 2048}};
  return spec;
}

/// Calls `action` again and again on a thread of its own while `body` runs on this one.
template <class Action, class Body>
void beside(Action action, Body body) {
  std::atomic<bool> is_stopped{false};
  std::thread thread{[&] {
    while (!is_stopped.load(std::memory_order_acquire))
      action();
  }};
  body();
  is_stopped.store(true, std::memory_order_release);
  thread.join();
}

TEST(InterruptsThreads, TriggerAllocatesNothing) {
  auto irqs = std::move(*Interrupts::create(with_msix()));
  Event event;
  irqs->set_bus_master(true);
  ASSERT_TRUE(set_sinks(*irqs, Irq::msix, 0, 1, fds(event)));
  const rigs::CountAllocations allocations;
  irqs->trigger(0);
  irqs->trigger(1);
  irqs->set_level(true);
  EXPECT_EQ(allocations.seen(), 0u);
}

TEST(InterruptsThreads, SinksAreReplacedUnderTriggers) {
  auto irqs = std::move(*Interrupts::create(with_msix()));
  irqs->set_bus_master(true);
  Event first, second, last;
  beside([&] { irqs->trigger(0); },
         [&] {
           for (int i = 0; i < 200; ++i) {
             EXPECT_TRUE(set_sinks(*irqs, Irq::msix, 0, 1, fds(first)));
             EXPECT_TRUE(set_sinks(*irqs, Irq::msix, 0, 1, fds(second)));
             EXPECT_TRUE(set_irqs(*irqs, Irq::msix, IrqAction::trigger, 0, 0u));
           }
         });
  ASSERT_TRUE(set_sinks(*irqs, Irq::msix, 0, 1, fds(last)));
  irqs->trigger(0);
  EXPECT_GE(last.signals(), 1u);
}

// A trigger that meets a mask is never lost: it is either sent, or pending and sent by the unmask.
TEST(InterruptsThreads, MaskingLosesNoTrigger) {
  auto irqs = std::move(*Interrupts::create(with_msix()));
  irqs->set_bus_master(true);
  Event event;
  ASSERT_TRUE(set_sinks(*irqs, Irq::msix, 0, 1, fds(event)));
  beside(
      [&] {
        irqs->set_msix_vector_mask(0, true);
        irqs->set_msix_vector_mask(0, false);
      },
      [&] {
        for (int i = 0; i < 300; ++i) {
          irqs->trigger(0);
          while (event.signals() == 0)
            std::this_thread::yield();
        }
      });
  EXPECT_FALSE(irqs->is_pending(0));
}

TEST(InterruptsThreads, LevelIsNeverForgotten) {
  auto irqs = std::move(*Interrupts::create(with_msix()));
  Event event;
  ASSERT_TRUE(set_sinks(*irqs, Irq::intx, 0, 1, fds(event)));
  beside([&] { irqs->unmask_intx(); },
         [&] {
           for (int i = 0; i < 300; ++i) {
             irqs->set_level(true);
             while (event.signals() == 0)
               std::this_thread::yield();
             irqs->set_level(false);
           }
         });
}

}  // namespace
}  // namespace vmux::pci
