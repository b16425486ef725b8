// SPDX-License-Identifier: BSD-3-Clause
// forward: what the model and the switch cost per frame, with no VMM, socket or interrupt in the way.
#include <algorithm>
#include <cstring>
#include <vector>

#include "app/bench/benches.hpp"
#include "app/bench/e1000_driver.hpp"
#include "device/e1000/nic.hpp"
#include "switch/switch.hpp"
#include "vmux/base/clock.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::bench {
namespace {

namespace e1000 = device::e1000;

constexpr std::uint32_t kBurst = 32;
constexpr std::uint64_t kFrames = 1'000'000;  // a sample
constexpr MacAddress kMacA{0x02, 0, 0, 0, 0, 0x0a}, kMacB{0x02, 0, 0, 0, 0, 0x0b};

std::vector<std::byte> frame_of(const MacAddress& to, const MacAddress& from, std::size_t size) {
  std::vector<std::byte> frame(size);
  std::memcpy(frame.data(), to.data(), to.size());
  std::memcpy(frame.data() + 6, from.data(), from.size());
  frame[12] = std::byte{0x88};  // an experimental ethertype (IEEE 802 clause 9.2.4): nobody parses further
  frame[13] = std::byte{0xb5};
  return frame;
}

/// Two cards on one switch on one poller, which this thread drives.
struct Lab {
  std::unique_ptr<runtime::Poller> poller;
  std::unique_ptr<e1000::Nic> nic_a, nic_b;
  std::unique_ptr<switching::Switch> middle;
  std::unique_ptr<E1000Driver> a, b;
  ~Lab() { middle.reset(); }

  static Result<std::unique_ptr<Lab>> create();
};

Result<std::unique_ptr<Lab>> Lab::create() {
  auto lab = std::make_unique<Lab>();
  auto poller = runtime::Poller::create();
  if (!poller) return tl::unexpected(poller.error());
  lab->poller = std::move(*poller);
  auto middle = switching::Switch::create("bench");
  if (!middle) return tl::unexpected(middle.error());
  lab->middle = std::move(*middle);
  const auto add = [&](const char* name, const MacAddress& mac, std::unique_ptr<e1000::Nic>& nic,
                       std::unique_ptr<E1000Driver>& driver) -> Result<void> {
    auto made = e1000::Nic::create({.name = name, .mac = mac}, *lab->poller);
    if (!made) return tl::unexpected(made.error());
    nic = std::move(*made);
    auto driven = E1000Driver::create(nic->function());
    if (!driven) return tl::unexpected(driven.error());
    driver = std::move(*driven);
    auto id = lab->middle->attach(nic->port(), *lab->poller, {.name = name});
    if (!id) return tl::unexpected(id.error());
    return {};
  };
  if (auto ok = add("a", kMacA, lab->nic_a, lab->a); !ok) return tl::unexpected(ok.error());
  if (auto ok = add("b", kMacB, lab->nic_b, lab->b); !ok) return tl::unexpected(ok.error());
  return lab;
}

/// Frames per second from a to b; 0 when they do not arrive.
template <class Carry>
double measure(Lab& lab, Carry&& carry) {
  std::uint64_t sent = 0, received = 0;
  unsigned fruitless = 0;
  const std::uint64_t start = monotonic_ns();
  while (received < kFrames && fruitless < 1000) {
    sent += lab.a->send(kBurst);
    carry();
    const std::uint32_t got = lab.b->receive();
    received += got;
    fruitless = got == 0 ? fruitless + 1 : 0;
  }
  const auto elapsed = static_cast<double>(monotonic_ns() - start);
  // What was sent and did not arrive was lost: this is a benchmark of forwarding, so losing is failing.
  return received < kFrames || sent - received > E1000Driver::kDescriptors
             ? 0
             : static_cast<double>(received) * 1e9 / elapsed;
}

/// The bare loop: descriptors and one copy.
void copy_ring_to_ring(E1000Driver& from, E1000Driver& to, std::uint32_t& rx_next) {
  const std::uint32_t tail = from.tx_tail();
  std::uint32_t head = from.tx_head();
  for (; head != tail; head = (head + 1) & E1000Driver::kMask) {
    RingDescriptor& source = from.tx(head);
    RingDescriptor& target = to.rx(rx_next++);
    const std::uint16_t length = source.length;
    std::memcpy(to.host(target.buffer), from.host(source.buffer), length);
    target.length = length;
    __atomic_store_n(&target.status, std::uint8_t{3}, __ATOMIC_RELEASE);
    source.status = 1;
  }
  from.set_tx_head(head);
}

struct Sample {
  double ours = 0, reference = 0;
};

Result<Sample> take_sample(std::size_t size) {
  Sample sample;
  for (const bool is_reference : {true, false}) {
    auto lab = Lab::create();
    if (!lab) return tl::unexpected(lab.error());
    Lab& l = **lab;
    // The switch is to know both sides, or it would flood (here: to one port, but not for what is measured).
    l.b->load(frame_of(kMacA, kMacB, 64));
    l.b->send(1);
    l.poller->run_once();
    l.a->receive();
    l.a->load(frame_of(kMacB, kMacA, size));
    std::uint32_t rx_next = 0;
    const double rate = is_reference ? measure(l, [&] { copy_ring_to_ring(*l.a, *l.b, rx_next); })
                                     : measure(l, [&] { l.poller->run_once(); });
    if (rate == 0) return fail(Errc::system, "frames were lost between the two cards");
    (is_reference ? sample.reference : sample.ours) = rate;
  }
  return sample;
}

}  // namespace

Result<Report> run_forward(const Options& options) {
  Report report{
      .benchmark = "forward",
      .ours = "frames from one e1000 to another through the switch, one thread for drivers, models and switch",
      .reference = "the same drivers, and a bare loop that copies each frame from ring to ring"};
  for (const std::size_t size : {std::size_t{64}, std::size_t{1514}}) {
    Row rate{.name = "rate", .bytes = size, .direction = "a to b", .unit = "frames/s", .goal = "-"};
    Row cost{.name = "cost", .bytes = size, .direction = "a to b", .unit = "ns/frame", .goal = "-"};
    for (unsigned round = 0; round < options.rounds; ++round) {
      options.progress(std::to_string(size) + " bytes", round);
      const auto sample = take_sample(size);
      if (!sample) return tl::unexpected(sample.error());
      rate.ours.push_back(sample->ours);
      rate.reference.push_back(sample->reference);
      cost.ours.push_back(1e9 / sample->ours);
      cost.reference.push_back(1e9 / sample->reference);
    }
    report.rows.push_back(std::move(rate));
    report.rows.push_back(std::move(cost));
  }
  return report;
}

}  // namespace vmux::bench
