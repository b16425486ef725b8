// SPDX-License-Identifier: BSD-3-Clause
// Stands in for Google Benchmark where instructions are counted and no time is taken: the same benchmarks, each run for
// a fixed number of iterations, of which callgrind counts those behind the warm-up. Only what our benchmarks use, by
// Google's names.
// NOLINTBEGIN(readability-identifier-naming)
#pragma once

#include <valgrind/callgrind.h>

#include <cstdint>
#include <cstdio>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace benchmark {

/// Rings of 1024 descriptors and pools of 8192 buffers are gone through once in this many bursts of 32.
inline constexpr std::int64_t kWarmUp = 64, kCounted = 256;

using Counters = std::map<std::string, double>;

class State {
 public:
  State(std::string name, std::vector<std::int64_t> arguments)
      : name_(std::move(name)), arguments_(std::move(arguments)) {}

  [[nodiscard]] std::int64_t range(std::size_t index = 0) const { return arguments_.at(index); }
  [[nodiscard]] std::int64_t iterations() const noexcept { return kWarmUp + kCounted; }
  void SetItemsProcessed(std::int64_t items) noexcept { items_ = items; }
  void SetBytesProcessed(std::int64_t) noexcept {}
  void SkipWithError(const char* why) { error_ = why; }
  Counters counters;

  class Iterator {
   public:
    explicit Iterator(State& state) noexcept : state_(state) {}
    bool operator!=(const Iterator&) noexcept {
      if (left_ != kCounted && left_ != 0) [[likely]]
        return true;
      return state_.turn(left_);
    }
    Iterator& operator++() noexcept {
      --left_;
      return *this;
    }
    int operator*() const noexcept { return 0; }

   private:
    State& state_;
    std::int64_t left_ = kWarmUp + kCounted;
  };
  Iterator begin() noexcept {
    CALLGRIND_START_INSTRUMENTATION;
    return Iterator{*this};
  }
  Iterator end() noexcept { return Iterator{*this}; }

  /// What was counted is in a dump of this name; here is what it is to be divided by.
  [[nodiscard]] bool report() const {
    const double items = items_ == 0 ? 1.0 : static_cast<double>(items_) / static_cast<double>(iterations());
    if (error_ != nullptr) std::fprintf(stderr, "%s: %s\n", name_.c_str(), error_);
    std::printf("%s %lld %.6f\n", name_.c_str(), static_cast<long long>(kCounted), items);
    return error_ == nullptr;
  }

 private:
  bool turn(std::int64_t left) noexcept {
    if (left == kCounted) {
      CALLGRIND_ZERO_STATS;
      return true;
    }
    CALLGRIND_DUMP_STATS_AT(name_.c_str());
    CALLGRIND_STOP_INSTRUMENTATION;
    return false;
  }

  std::string name_;
  std::vector<std::int64_t> arguments_;
  std::int64_t items_ = 0;
  const char* error_ = nullptr;
};

/// A benchmark with the arguments that it is run with.
class Benchmark {
 public:
  Benchmark(const char* name, void (*function)(State&)) : name_(name), function_(function) {}
  Benchmark* Arg(std::int64_t value) { return Args({value}); }
  Benchmark* Args(std::vector<std::int64_t> values) {
    runs_.push_back(std::move(values));
    return this;
  }
  Benchmark* ArgNames(std::vector<std::string> names) {
    argument_names_ = std::move(names);
    return this;
  }
  [[nodiscard]] bool run() const {
    bool ok = true;
    for (const auto& arguments : runs_.empty() ? std::vector<std::vector<std::int64_t>>{{}} : runs_) {
      std::string name = name_;
      for (std::size_t i = 0; i < arguments.size(); ++i) {
        name += "/" + (i < argument_names_.size() ? argument_names_[i] + ":" : std::string{});
        name += std::to_string(arguments[i]);
      }
      State state{name, arguments};
      function_(state);
      ok = state.report() && ok;
    }
    return ok;
  }

 private:
  const char* name_;
  void (*function_)(State&);
  std::vector<std::string> argument_names_;
  std::vector<std::vector<std::int64_t>> runs_;
};

/// In the order of their definition.
inline std::deque<Benchmark>& all() {
  static std::deque<Benchmark> benchmarks;
  return benchmarks;
}
inline Benchmark* add(const char* name, void (*function)(State&)) { return &all().emplace_back(name, function); }

template <class T>
inline void DoNotOptimize(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}
inline void ClobberMemory() { asm volatile("" : : : "memory"); }

}  // namespace benchmark

#define BENCHMARK(function) \
  [[maybe_unused]] static benchmark::Benchmark* const benchmark_of_##function = benchmark::add(#function, function)
// NOLINTEND(readability-identifier-naming)
