// SPDX-License-Identifier: BSD-3-Clause
// Glue: owns the parts, is the virtio::Device. Pausing, saving and loading: nic_save.cpp.
#include "device/virtio_net/nic.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/logf.hpp"

namespace vmux::device::virtio_net {
namespace {

namespace net = wire::virtio::net;
namespace feature = net::feature;
namespace ring = wire::virtio::feature;

constexpr unsigned kNone = ~0u;
constexpr std::uint32_t kControlTag = 1;              // in the arena
constexpr std::uint32_t kLongestFrame = 65'535 + 22;  // bytes: one IP packet, Ethernet header and two tags

constexpr std::uint64_t kRings = ring::indirect_desc | ring::event_idx | ring::access_platform | ring::ring_packed |
                                 ring::in_order | ring::notification_data | ring::ring_reset;
constexpr std::uint64_t kOffloads = feature::csum | feature::guest_csum | feature::guest_tso4 | feature::guest_tso6 |
                                    feature::guest_ecn | feature::host_tso4 | feature::host_tso6 | feature::host_ecn |
                                    feature::guest_uso4 | feature::guest_uso6 | feature::host_uso | feature::mrg_rxbuf;
constexpr std::uint64_t kControl = feature::ctrl_vq | feature::ctrl_guest_offloads | feature::ctrl_rx |
                                   feature::ctrl_vlan | feature::ctrl_mac_addr | feature::guest_announce |
                                   feature::notf_coal | feature::hash_report | feature::rss;
constexpr std::uint64_t kFacts = feature::mac | feature::status | feature::speed_duplex;

/// For whoever brings frames from other pollers: the lane of the queue.
class QueueSteering final : public port::Steering {
 public:
  QueueSteering(std::shared_ptr<const RxRules> rules, std::uint32_t started, std::size_t lanes) noexcept
      : rules_(std::move(rules)), started_(started), lanes_(lanes) {}
  void steer(std::span<const packet::FrameView> frames, std::span<std::uint8_t> lanes) const noexcept override {
    std::array<RxInfo, port::kMaxBurst> infos;
    virtio_net::steer(*rules_, frames, infos);
    const unsigned first = started_ == 0 ? 0 : static_cast<unsigned>(std::countr_zero(started_));
    for (std::size_t i = 0; i < frames.size(); ++i) {
      const std::uint16_t queue = infos[i].queue;
      const bool runs = queue != RxInfo::kNobody && (started_ >> queue & 1) != 0;
      lanes[i] = static_cast<std::uint8_t>((runs ? queue : first) % lanes_);
    }
  }

 private:
  std::shared_ptr<const RxRules> rules_;
  std::uint32_t started_;  // bit per receive queue
  std::size_t lanes_;
};

}  // namespace

Nic::Nic(NicOptions options, runtime::Poller& poller, state::Arena arena)
    : options_(std::move(options)),
      arena_(std::move(arena)),
      alarm_(poller, [this] { look_for_faults(); }),
      control_(options_.name.c_str(), alarm_, arena_.place<virtio::QueueJournal>(kControlTag),
               [this](std::uint8_t group, std::uint8_t command, std::span<const std::byte> data) {
                 return obey(group, command, data);
               }),
      control_timer_(poller, [this] { serve_control(); }) {
  agreed_.max_pairs = options_.queue_pairs;
  const bool is_mapped = options_.doorbell == Doorbell::poll;
  lanes_.push_back(std::make_unique<Lane>(poller, is_mapped, [this] { alarm_.look(); }));
  for (runtime::Poller* const other : options_.more_pollers) {
    if (lanes_.size() < options_.queue_pairs) lanes_.push_back(std::make_unique<Lane>(*other, is_mapped, nullptr));
  }
  for (unsigned pair = 0; pair < options_.queue_pairs; ++pair) {
    pairs_.push_back(std::make_unique<QueuePair>(options_.name.c_str(), pair, alarm_, arena_));
    lane_of(pair).own(pair, *pairs_.back());
  }
  forget_driver();
}

Result<std::unique_ptr<Nic>> Nic::create(NicOptions options, runtime::Poller& poller) {
  if (is_multicast(options.mac)) return fail(Errc::invalid_argument, "a multicast address for a network card");
  if (options.queue_pairs < 1 || options.queue_pairs > kMaxPairs) {
    return fail(Errc::out_of_range, "queue pairs of a virtio-net: 1 to 16");
  }
  if (!std::has_single_bit(options.queue_size)) return fail(Errc::invalid_argument, "the size of a queue");
  auto arena = state::Arena::create((2 * kMaxPairs + 1) * sizeof(virtio::QueueJournal));
  if (!arena) return tl::unexpected(arena.error());
  return std::unique_ptr<Nic>{new Nic(std::move(options), poller, std::move(*arena))};
}

std::vector<port::Port*> Nic::lanes() noexcept {
  std::vector<port::Port*> lanes;
  for (const auto& lane : lanes_)
    lanes.push_back(lane.get());
  return lanes;
}

// --- what there is ---

std::uint64_t Nic::features() const noexcept {
  const std::uint64_t several = pairs() > 1 ? feature::mq : 0, mtu = options_.mtu != 0 ? feature::mtu : 0;
  return (kRings | kOffloads | kControl | kFacts | several | mtu) & ~options_.features_withheld;
}

// [VIRTIO] 5.1.2: behind the pairs that there are, or behind the first when the driver knows of no others.
unsigned Nic::control_index() const noexcept {
  if (!has(feature::ctrl_vq)) return kNone;
  return has(feature::mq | feature::rss) ? 2 * pairs() : 2;
}

std::uint16_t Nic::max_size(unsigned queue) const noexcept {
  if (queue == control_index() || (agreed_.features == 0 && queue == 2 * pairs())) return ControlQueue::kSize;
  const unsigned data = agreed_.features == 0 || has(feature::mq | feature::rss) ? 2 * pairs() : 2;
  return queue < data ? options_.queue_size : std::uint16_t{0};
}

void Nic::read_config(std::size_t offset, std::span<std::byte> into) const noexcept {
  net::Config config;
  config.mac = settings_.station;
  config.status =
      static_cast<std::uint16_t>((is_link_up_ ? net::kLinkUp : 0) | (settings_.announce_due ? net::kAnnounce : 0));
  config.max_virtqueue_pairs = static_cast<std::uint16_t>(pairs());
  config.mtu = options_.mtu;
  config.speed = options_.link_mbps;
  config.duplex = net::kFullDuplex;
  config.rss_max_key_size = kHashKey;
  config.rss_max_indirection_table_length = kMaxTable;
  config.supported_hash_types = kHashTypes;
  const auto bytes = std::as_bytes(std::span{&config, 1});
  std::ranges::fill(into, std::byte{0});
  if (offset < bytes.size()) {
    const std::size_t part = std::min(into.size(), bytes.size() - offset);
    std::memcpy(into.data(), bytes.data() + offset, part);
  }
}

// --- its driver ---

void Nic::connect(virtio::Signals& signals, memory::AddressSpace& space) {
  signals_ = &signals;
  space_ = &space;
  for (const auto& lane : lanes_)
    lane->connect(signals, space);
}

void Nic::disconnect() noexcept {
  set_dma(false);
  for (const auto& lane : lanes_)
    lane->disconnect();
  signals_ = nullptr;
  space_ = nullptr;
}

void Nic::set_dma(bool enabled) noexcept {
  if (enabled == is_dma_on_) return;
  is_dma_on_ = enabled;
  for (const auto& lane : lanes_)
    lane->set_dma(enabled);
  if (space_ != nullptr) enabled ? control_.attach(*space_) : control_.detach(*space_);
  if (enabled) serve_control();
}

bool Nic::accept(std::uint64_t features) noexcept {
  agreed_.features = features;
  format_ = FrameFormat::of(features);
  settings_.guest_offloads = guest_offloads_of(features);
  publish();
  return true;
}

void Nic::start_queue(unsigned queue, const virtio::QueueSetup& setup, const virtio::QueueState& state) noexcept {
  reported_ &= ~(std::uint64_t{1} << queue);
  if (is_control(queue)) {
    control_.start(setup, state);
    return serve_control();
  }
  const unsigned pair = queue / 2;
  if (pair >= pairs()) return;
  if (queue % 2 != 0) return lane_of(pair).start_tx(pair, setup, state, format_);
  lane_of(pair).start_rx(pair, setup, state, format_);
  started_ |= 1u << pair;
  publish();
}

virtio::QueueState Nic::stop_queue(unsigned queue) noexcept {
  if (is_control(queue)) return control_.stop();
  const unsigned pair = queue / 2;
  if (pair >= pairs()) return {};
  if (queue % 2 != 0) return lane_of(pair).stop_tx(pair);
  if ((started_ >> pair & 1) != 0) {  // frames go elsewhere from here on
    started_ &= ~(1u << pair);
    publish();
  }
  return lane_of(pair).stop_rx(pair);
}

virtio::QueueState Nic::queue_state(unsigned queue) noexcept {
  if (is_control(queue)) return control_.ring().state();
  const unsigned pair = queue / 2;
  if (pair >= pairs()) return {};
  return queue % 2 != 0 ? lane_of(pair).tx_state(pair) : lane_of(pair).rx_state(pair);
}

void Nic::kicked(unsigned queue) noexcept {
  if (is_control(queue)) return serve_control();
  if (queue / 2 < pairs()) lane_of(queue / 2).wake();
}

void Nic::serve_control() noexcept {
  if (is_paused_ || !is_dma_on_ || signals_ == nullptr || !control_.ring().runs()) return;
  const ControlQueue::Served served = control_.serve();
  if (served.has_news) signals_->queue_used(control_index());
  if (served.has_more) control_timer_.arm_after(0);
}

bool Nic::obey(std::uint8_t group, std::uint8_t command, std::span<const std::byte> data) noexcept {
  nic_counters_.commands.add();
  note_change();
  const bool is_done = virtio_net::obey(settings_, agreed_, group, command, data);
  if (tracer() != nullptr) [[unlikely]] {
    TraceRecord record;
    record.what = TraceRecord::What::command;
    record.code = std::uint32_t{group} << 8 | command;
    record.bytes = static_cast<std::uint32_t>(data.size());
    record.result = is_done ? 0 : 1;
    tracer()->record(record);
  }
  if (!is_done) {
    nic_counters_.refused.add();
    if (log_limit_.allow()) {
      logf(LogLevel::info, "{}: command {} of class {}, {} bytes long, refused", options_.name, command, group,
           data.size());
    }
    return false;
  }
  namespace control = wire::virtio::net::control;
  if (group != control::notf_coal && group != control::announce) publish();  // lanes know nothing of those
  return true;
}

void Nic::look_for_faults() noexcept {
  for (unsigned queue = 0; queue < queue_count() && signals_ != nullptr; ++queue) {
    const unsigned pair = queue / 2;
    const bool is_data = !is_control(queue) && pair < pairs(), is_tx = queue % 2 != 0;
    const virtio::Queue& ring = !is_data ? control_.ring() : is_tx ? pairs_[pair]->tx.ring() : pairs_[pair]->rx.ring();
    const std::uint64_t bit = std::uint64_t{1} << queue;
    if (!ring.is_started() || (reported_ & bit) != 0) continue;
    Lane& lane = lane_of(pair);
    const virtio::Fault fault = !is_data ? ring.fault() : is_tx ? lane.tx_fault(pair) : lane.rx_fault(pair);
    if (fault == virtio::Fault::none) continue;
    reported_ |= bit;
    signals_->queue_failed(queue);
  }
}

// --- what follows from what it has said ---

std::shared_ptr<const RxRules> Nic::make_rules() {
  auto rules = std::make_shared<RxRules>();
  rules->takes_all = settings_.promisc;
  static_cast<void>(rules->filters.add(settings_.station));
  for (const auto* const list : {&settings_.unicast, &settings_.multicast}) {
    for (const MacAddress& mac : *list)
      static_cast<void>(rules->filters.add(mac));
  }
  // The table may have no room for all of both lists.
  rules->filters.unicast_promisc = settings_.alluni || settings_.unicast.size() + 1 > intel::Filters::kMaxMacs;
  rules->filters.multicast_promisc = settings_.allmulti || settings_.allgroups;
  rules->filters.vlan_filtering = has(feature::ctrl_vlan);
  for (std::size_t id = 0; id < rules->filters.vlans.size(); ++id)
    rules->filters.vlans[id] = (settings_.vlans[id / 64] >> id % 64 & 1) != 0;
  const Hashing& hashing = settings_.hashing;
  rules->hash_types = hashing.types;
  rules->has_rss = hashing.has_rss;
  rules->unclassified = hashing.unclassified;
  rules->table_mask = hashing.table_mask;
  rules->table = hashing.table;
  if (hashing.types != 0) {
    if (toeplitz_ == nullptr || toeplitz_key_ != hashing.key) {
      toeplitz_key_ = hashing.key;
      toeplitz_ = toeplitz_of(hashing.key);
    }
    rules->toeplitz = toeplitz_;
  }
  // Without a control queue nobody tells how many are in use: those that have been started are.
  const auto started = static_cast<std::uint16_t>(std::max(1u, static_cast<unsigned>(std::bit_width(started_))));
  rules->pairs = has(feature::ctrl_vq) ? settings_.pairs : started;
  if (hashing.has_rss) rules->pairs = static_cast<std::uint16_t>(pairs());
  return rules;
}

// [VIRTIO] 5.1.3.1: super-frames come with a checksum to be made.
packet::Accepts Nic::accepts() const noexcept {
  const auto has_all = [offloads = settings_.guest_offloads](std::uint64_t bits) { return (offloads & bits) == bits; };
  packet::Accepts made;
  made.checksum = has_all(feature::guest_csum);
  made.gso_tcp4 = has_all(feature::guest_csum | feature::guest_tso4);
  made.gso_tcp6 = has_all(feature::guest_csum | feature::guest_tso6);
  made.gso_udp = has_all(feature::guest_csum | feature::guest_uso4 | feature::guest_uso6);
  made.max_frame = options_.mtu == 0 ? kLongestFrame : options_.mtu + 22u;
  return made;
}

void Nic::publish() noexcept {
  const auto rules = make_rules();
  const packet::Accepts takes = accepts();
  for (const auto& lane : lanes_)
    lane->set_rules(rules, takes);
  if (lanes_.size() > 1) {
    lanes_.front()->set_steering(std::make_shared<const QueueSteering>(rules, started_, lanes_.size()));
  }
}

// --- resets and the cable ---

void Nic::stop_all() noexcept {
  for (unsigned pair = 0; pair < pairs(); ++pair) {
    static_cast<void>(lane_of(pair).stop_tx(pair));
    static_cast<void>(lane_of(pair).stop_rx(pair));
  }
  static_cast<void>(control_.stop());
  control_timer_.disarm();
  started_ = 0;
}

void Nic::forget_driver() noexcept {
  stop_all();
  agreed_.features = 0;
  format_ = {};
  settings_ = {.station = options_.mac};
  reported_ = 0;
  has_moved_ = has_news_ = false;
  alarm_.silence();  // of queues that are no more
  publish();
}

void Nic::reset(bool client_gone) noexcept {
  forget_driver();
  nic_counters_.resets.add();
  if (client_gone && std::exchange(is_leaving_, false)) set_link(true);
}

void Nic::set_link(bool up) noexcept {
  is_link_up_ = up;
  for (const auto& lane : lanes_)
    lane->set_link(up);
  if (signals_ != nullptr && !is_paused_) signals_->config_changed();
}

void Nic::set_mac(const MacAddress& mac) noexcept {
  options_.mac = mac;
  if (agreed_.features != 0) return;
  settings_.station = mac;
  publish();
}

void Nic::set_mtu(std::uint16_t mtu) noexcept {
  options_.mtu = mtu;
  publish();
}

void Nic::announce(std::span<const std::uint8_t, 6> station) noexcept {
  MacAddress mac;
  std::ranges::copy(station, mac.begin());
  lanes_.front()->announce(mac);
}

bool Nic::leaving() noexcept {
  if (!is_link_up_) return false;
  is_leaving_ = true;
  set_link(false);
  return true;
}

}  // namespace vmux::device::virtio_net
