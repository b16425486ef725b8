// SPDX-License-Identifier: BSD-3-Clause
// Runs the benchmarks of a program under callgrind: scripts/check-instructions reads what it prints and the dumps.
#include <benchmark/benchmark.h>
#include <cpuid.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <string>

namespace {

/// The processor that the program believes to run on: code is chosen by it (ours, and the C library's).
std::string processor() {
  std::array<char, 49> name{};
  for (std::size_t leaf = 0; leaf < 3; ++leaf) {
    std::array<unsigned, 4> words{};
    __get_cpuid(0x8000'0002 + static_cast<unsigned>(leaf), &words[0], &words[1], &words[2], &words[3]);
    std::memcpy(name.data() + leaf * 16, words.data(), 16);
  }
  return name.data();
}

}  // namespace

int main() {
  std::printf("processor %s\n", processor().c_str());
  bool ok = true;
  for (const benchmark::Benchmark& each : benchmark::all())
    ok = each.run() && ok;
  return ok ? 0 : 1;
}
