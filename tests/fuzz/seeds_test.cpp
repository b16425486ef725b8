// SPDX-License-Identifier: BSD-3-Clause
// The seeds of a fuzz target, with all checks after each step: as if each prefix of each of them were an input.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "fuzz/steps.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace vmux::fuzz {
namespace {

constexpr unsigned kMadeUp = 300;

TEST(FuzzSeeds, PassTheChecksAfterEveryStep) {
  checks_each_step = true;
  unsigned seeds = 0;
  for (const auto& entry : std::filesystem::directory_iterator{VMUX_SEEDS}) {
    std::ifstream file{entry.path(), std::ios::binary};
    const std::vector<char> bytes{std::istreambuf_iterator<char>{file}, {}};
    SCOPED_TRACE(entry.path());
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    ++seeds;
  }
  EXPECT_GT(seeds, 0u);
  EXPECT_GE(steps_checked, seeds);
}

// Seeds are short: each is there for one fault.
TEST(FuzzSeeds, SoDoMadeUpInputs) {
  checks_each_step = true;
  steps_checked = 0;
  std::minstd_rand random{1};
  for (unsigned input = 0; input < kMadeUp; ++input) {
    std::vector<std::uint8_t> bytes(random() % 2000 + 100);
    for (std::uint8_t& byte : bytes)
      byte = static_cast<std::uint8_t>(random() >> 8);
    SCOPED_TRACE(input);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  EXPECT_GE(steps_checked, kMadeUp);
}

}  // namespace
}  // namespace vmux::fuzz
