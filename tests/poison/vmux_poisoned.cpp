// SPDX-License-Identifier: BSD-3-Clause
// vmux-poisoned: vmux, but that an e1000 kills it in three ways: by a frame of one ethertype that its guest sends, by
// one of another that is delivered to it, and by one value in one register. What is deadly to a program cannot be had
// of one that has no such bug.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "app/vmux/run.hpp"
#include "port/port.hpp"

namespace {

using namespace vmux;

using Ethertype = std::array<std::byte, 2>;
// IEEE 802 clause 9.2: for experiments, but for 0x88b5, which is that of the crowd's other frames.
constexpr Ethertype kDeadlyToTake = {std::byte{0x88}, std::byte{0xb6}};
constexpr Ethertype kDeadlyToDeliver = {std::byte{0x88}, std::byte{0xb7}};
constexpr std::uint64_t kRegister = 0x38, kValue = 0xdead;  // VET, which a driver sets to 0x8100

void die_of(const Ethertype& ethertype, std::span<const packet::FrameView> frames) noexcept {
  for (const packet::FrameView& view : frames) {
    if (view.header.size() >= 14 && std::ranges::equal(view.header.subspan(12, 2), ethertype)) std::abort();
  }
}

class PoisonedPort final : public port::Port {
 public:
  explicit PoisonedPort(port::Port& inner) noexcept : inner_(inner) {}
  void begin_round() noexcept override { inner_.begin_round(); }
  void end_round() noexcept override { inner_.end_round(); }
  std::size_t take(std::span<packet::FrameView> into) noexcept override {
    const std::size_t count = inner_.take(into);
    die_of(kDeadlyToTake, into.first(count));
    return count;
  }
  void finish(std::span<const port::FrameResult> results) noexcept override { inner_.finish(results); }
  port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept override {
    die_of(kDeadlyToDeliver, frames);
    return inner_.deliver(frames);
  }
  [[nodiscard]] packet::Accepts accepts() const noexcept override { return inner_.accepts(); }
  [[nodiscard]] bool needs_polling() const noexcept override { return inner_.needs_polling(); }
  [[nodiscard]] bool is_ready() const noexcept override { return inner_.is_ready(); }
  void released() noexcept override { inner_.released(); }

 private:
  port::Port& inner_;
};

class PoisonedDevice final : public control::Device, private Tracer {
 public:
  explicit PoisonedDevice(std::unique_ptr<control::Device> inner) : inner_(std::move(inner)) {
    for (port::Port* each : inner_->lanes())
      ports_.push_back(std::make_unique<PoisonedPort>(*each));
    inner_->set_tracer(this);
  }
  [[nodiscard]] pci::Endpoint* endpoint() noexcept override { return inner_->endpoint(); }
  [[nodiscard]] std::vector<port::Port*> lanes() override {
    std::vector<port::Port*> all;
    for (const auto& each : ports_)
      all.push_back(each.get());
    return all;
  }
  void set_link(control::Link link) noexcept override { inner_->set_link(link); }
  [[nodiscard]] bool is_ready() noexcept override { return inner_->is_ready(); }
  void report(control::CounterReport& into) const override { inner_->report(into); }
  void set_tracer(Tracer*) noexcept override {}

 private:
  void record(const TraceRecord& record) noexcept override {
    const bool is_poison = record.what == TraceRecord::What::write && record.region == 0 &&
                           record.offset == kRegister && record.value == kValue;
    if (is_poison) std::abort();
  }
  std::unique_ptr<control::Device> inner_;
  std::vector<std::unique_ptr<PoisonedPort>> ports_;
};

control::MakeDevice make_e1000 = nullptr;

Result<std::unique_ptr<control::Device>> make_poisoned(const control::DeviceRequest& request, runtime::Poller& poller) {
  auto made = make_e1000(request, poller);
  if (!made) return made;
  return std::make_unique<PoisonedDevice>(std::move(*made));
}

}  // namespace

int main(int argc, char** argv) {
  control::Catalogue catalogue = control::builtin_catalogue();
  std::vector<control::ModelEntry> models{catalogue.models.begin(), catalogue.models.end()};
  for (control::ModelEntry& model : models) {
    if (model.name == std::string_view{"e1000"}) make_e1000 = std::exchange(model.make, make_poisoned);
  }
  catalogue.models = models;
  return app::run_vmux({argv + 1, argv + argc}, catalogue);
}
