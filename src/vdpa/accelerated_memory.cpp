// SPDX-License-Identifier: BSD-3-Clause
// The function, as its group opens and closes it, and the memory that it reaches: the guest's, and rings of ours.
#include <sys/epoll.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/logf.hpp"
#include "memory/table.hpp"
#include "vdpa/accelerated_device.hpp"

namespace vmux::vdpa {
namespace {

namespace net = wire::virtio::net;
namespace blk = wire::virtio::blk;

constexpr std::size_t kWriteback = offsetof(blk::Config, writeback);
constexpr std::uint64_t kGiB = 1ull << 30;
constexpr std::uint64_t kLow = 1ull << 24;
// x86: local interrupts are written to 0xfee0'0000, and no IOMMU translates that.
constexpr std::uint64_t kBelowInterrupts = 0xfe00'0000;
constexpr std::uint64_t kMostOthers = 64;  // steps past rings of other functions
constexpr std::uint64_t kSmallestAperture = 1ull << 39;

kvfio::MemorySource source_of(int fd, std::uint64_t offset) noexcept {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return {};
  return {status.st_dev, status.st_ino, offset};
}

}  // namespace

// --- the function ---

Result<void> AcceleratedDevice::open(kvfio::KernelDomain& domain) {
  auto device = domain.open(options_.address);
  if (!device) return tl::unexpected(device.error());
  auto function = Function::create(std::move(*device));
  if (!function) return tl::unexpected(function.error());
  if (auto learnt = learn(**function); !learnt) return learnt;
  function_ = std::move(*function);
  Result<void> heard = make_vectors();
  if (heard) heard = listen(error_, pci::Irq::err, [this] { fail("it reports a fatal error"); });
  if (heard) heard = listen(release_, pci::Irq::req, [this] { on_release_request(); });
  if (!heard) close();
  return heard;
}

// The first time it is what it is; later it must still be that, as a guest goes by it.
Result<void> AcceleratedDevice::learn(Function& function) {
  Facts now{.kind = function.kind(), .features = function.features()};
  if (now.kind != net::kDevice && now.kind != blk::kDevice) {
    return vmux::fail(Errc::not_supported, "a virtio function that is neither a network card nor a disk");
  }
  if (now.kind == net::kDevice) {
    net::Config config;
    if (auto got = function.read_config(0, std::as_writable_bytes(std::span{&config, 1})); !got) return got;
    const bool has_more = (now.features & net::feature::mq) != 0 && (now.features & net::feature::ctrl_vq) != 0;
    now.all_pairs = has_more ? std::max<unsigned>(1, config.max_virtqueue_pairs) : 1;
    // 5.1.2: the control queue is behind all pairs that it has, however many are used. One that is out of reach is
    // queue 2 if nobody agrees upon MQ.
    const bool is_in_reach = 2 * now.all_pairs < Function::kMostQueues;
    if (!is_in_reach) now.all_pairs = 1;
    if (!has_more || !is_in_reach) now.features &= ~net::feature::mq;
    now.queues = 2 * now.all_pairs;
  } else {
    if (auto got = function.read_config(0, now.disk); !got) return got;
    blk::Config config;
    std::memcpy(&config, now.disk.data(), sizeof config);
    const bool has_more = (now.features & blk::feature::mq) != 0;
    now.queues = has_more ? std::clamp<unsigned>(config.num_queues, 1, Function::kMostQueues - 1) : 1;
  }
  if (now.queues > function.queues()) return vmux::fail(Errc::not_supported, "a function without its queues");
  for (unsigned queue = 0; queue < now.queues; ++queue) {
    const auto size = function.max_size(queue);
    if (!size) return tl::unexpected(size.error());
    // [VIRTIO] 2.7: of a split ring a power of two.
    for (now.sizes[queue] = 32768; now.sizes[queue] > *size; now.sizes[queue] /= 2) {
    }
    if (now.sizes[queue] < 2) return vmux::fail(Errc::not_supported, "a function with a queue of no size");
  }
  const bool is_known = facts_.kind != 0;
  bool is_same = now.kind == facts_.kind && (facts_.features & ~now.features) == 0 && now.queues >= facts_.queues;
  for (unsigned queue = 0; queue < facts_.queues; ++queue)
    is_same = is_same && now.sizes[queue] >= facts_.sizes[queue];
  if (is_known && !is_same)
    return vmux::fail(Errc::not_supported, "another function than the one that was there before");
  const bool has_mq = now.kind == net::kDevice && (now.features & net::feature::mq) != 0;
  if (is_known) {  // what it has more of since then, nobody has made room for
    now.features = facts_.features;
    now.sizes = facts_.sizes;
    now.queues = facts_.queues;
  }
  if (has_mq && (now.features & net::feature::mq) != 0) now.control_queue = 2 * now.all_pairs;
  if (is_known) now.all_pairs = facts_.all_pairs;
  fit_disk(now);
  now.writeback = now.disk[kWriteback];
  if (has_client_) now.disk[kWriteback] = facts_.disk[kWriteback];
  const bool is_told = is_known && has_client_ && now.disk != facts_.disk;
  facts_ = now;
  if (is_told && signals_ != nullptr) signals_->config_changed();
  return {};
}

// Of what the function says of itself that which holds through us, too: a request fits into a ring of ours, with a
// descriptor before and one behind its segments, and there are the queues that there were.
void AcceleratedDevice::fit_disk(Facts& facts) const noexcept {
  if (facts.kind != blk::kDevice) return;
  blk::Config config;
  std::memcpy(&config, facts.disk.data(), sizeof config);
  const auto sizes = std::span{facts.sizes}.first(facts.queues);
  const unsigned room = std::min<unsigned>(*std::ranges::min_element(sizes), kMostShadowed);
  if ((facts.features & blk::feature::seg_max) != 0)
    config.seg_max = std::min<std::uint32_t>(config.seg_max, std::max(room, 3u) - 2);
  if ((facts.features & blk::feature::mq) != 0) config.num_queues = static_cast<std::uint16_t>(facts.queues);
  std::memcpy(facts.disk.data(), &config, sizeof config);
}

void AcceleratedDevice::close() noexcept {
  error_ = {};
  release_ = {};
  vectors_.clear();
  function_.reset();
}

Result<void> AcceleratedDevice::make_vectors() {
  const unsigned count = std::min(function_->vectors(), facts_.queues + 1);
  for (unsigned vector = 0; vector < count; ++vector) {
    auto eventfd = make_eventfd();
    if (!eventfd) return tl::unexpected(eventfd.error());
    const int fd = eventfd->get();
    auto watch = poller_.watch(fd, EPOLLIN, [this, fd, vector](std::uint32_t) {
      drain_eventfd(fd);
      on_vector(vector);
    });
    if (!watch) return tl::unexpected(watch.error());
    vectors_.push_back({std::move(*eventfd), std::move(*watch)});
  }
  return function_->listen(0, vectors_.front().eventfd.get());
}

Result<void> AcceleratedDevice::listen(Vector& into, pci::Irq irq, std::function<void()> heard) {
  if (function_->device().irq(irq).count == 0) return {};
  auto eventfd = make_eventfd();
  if (!eventfd) return tl::unexpected(eventfd.error());
  const int fd = eventfd->get();
  auto watch = poller_.watch(fd, EPOLLIN, [fd, heard = std::move(heard)](std::uint32_t) {
    drain_eventfd(fd);
    heard();
  });
  if (!watch) return tl::unexpected(watch.error());
  const kvfio::IrqCall call{irq, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 1, {&fd, 1}, {}};
  if (auto set = function_->device().set_irqs(call); !set) return set;
  into = {std::move(*eventfd), std::move(*watch)};
  return {};
}

void AcceleratedDevice::memory_failed(const char* why) noexcept {
  const bool is_running = is_on_function();
  fail(why);
  if (!is_running && mode_ == Mode::waiting && may_run()) {
    // It was being pinned: tried again when software serves, and not in between.
    settle_.disarm();
    counters_.failures.add();
    logf(LogLevel::error, "{}: {} does not serve its queues: {}", options_.name, options_.address, why);
    reason_ = why;
    give_up_function();
    return stand_in_and_retry();
  }
  give_up_function();
}

// With its descriptor the kernel takes the function off the bus; what it reached goes behind that.
void AcceleratedDevice::give_up_function() noexcept {
  if (!function_) return;
  group_->let_go(*this);
  mapped_.clear();
  rings_.set_place(std::nullopt);
  announcement_.reset();
  static_cast<void>(group_->unmap_all(*this));
}

// The kernel waits for us in whatever takes it away, and asks again every ten seconds.
void AcceleratedDevice::on_release_request() noexcept {
  counters_.withdrawals.add();
  logf(LogLevel::warning, "{}: the host wants {} back", options_.name, options_.address);
  if (mode_ != Mode::software) halt();
  give_up_function();
  if (!may_run()) return;
  reason_ = "the host has taken the function back";
  pause_ns_ = 0;
  stand_in_and_retry();
}

// --- the guest's memory ---

std::vector<AcceleratedDevice::Range> AcceleratedDevice::wanted_ranges() const {
  std::vector<Range> ranges;
  if (!table_) return ranges;
  table_->for_each([&ranges](const memory::Table::Entry& entry) {
    const memory::Window& window = entry.window;
    if (window.host == nullptr || window.access == memory::Access::none) return;
    ranges.push_back({window.start, window.size, window.access, window.host});
  });
  return ranges;
}

// What goes is out of the IOMMU before whoever took it is told so; what comes need not be reached before a queue
// starts.
void AcceleratedDevice::adopt(std::shared_ptr<const memory::Table> table, std::uint64_t generation) noexcept {
  table_ = std::move(table);
  bool is_logged = false;
  if (table_) {
    table_->for_each([&is_logged](const memory::Table::Entry& entry) { is_logged |= entry.window.dirty != nullptr; });
  }
  const bool begins = !std::exchange(is_logged_, is_logged) && is_logged;
  if (begins && mode_ == Mode::direct) {
    halt();
    settle();
  }
  for (const auto& lane : lanes_)
    lane->shadow.set_logged(is_logged_);
  if (has_client_) {
    if (auto followed = follow_memory(); !followed) fail("it does not reach the VM's memory");
    // The guest may use what has come as soon as it is told of it.
    if (is_on_function() && group_->dma().has_backlog()) {
      halt();
      settle();
    }
  }
  space_->adopted(*this, generation);
}

Result<void> AcceleratedDevice::follow_memory() noexcept {
  if (group_->domain() == nullptr || !function_) return {};
  const std::vector<Range> wanted = wanted_ranges();
  const auto is_gone = [&wanted](const Range& range) { return std::ranges::find(wanted, range) == wanted.end(); };
  for (const Range& range : mapped_) {
    if (!is_gone(range)) continue;
    if (auto done = group_->unmap(*this, Iova{range.start}, ByteCount{range.size}); !done) return done;
  }
  std::erase_if(mapped_, is_gone);
  for (const Range& range : wanted) {
    if (std::ranges::find(mapped_, range) != mapped_.end()) continue;
    const memory::Table::Entry* const entry = table_->at_or_below(range.start);
    kvfio::DmaMap::Request request{Iova{range.start},  ByteCount{range.size}, range.access, {}, range.host,
                                   /*may_follow=*/true};
    if (entry->owner != nullptr && entry->owner->backing != nullptr) {
      const memory::Backing& backing = *entry->owner->backing;
      request.source = source_of(backing.fd(), backing.offset_of(range.host));
    }
    if (const auto place = rings_.place();
        place && place->raw < range.start + range.size && range.start < place->raw + rings_.size()) {
      // Memory was plugged in where our rings lie: they go elsewhere.
      const bool was_running = is_on_function();
      if (was_running) halt();
      unplace_rings();
      if (was_running) settle();
    }
    if (auto done = group_->map(*this, request); !done) return done;
    mapped_.push_back(range);
  }
  return {};
}

// --- rings of ours ---

// Behind all that the guest has, where an IOMMU of 39 bits reaches that; else between it, or wherever it is.
Result<void> AcceleratedDevice::place_rings() noexcept {
  if (rings_.place()) return {};
  std::vector<Range> ranges = wanted_ranges();
  std::ranges::sort(ranges, {}, &Range::start);
  const std::uint64_t end = ranges.empty() ? 0 : ranges.back().start + ranges.back().size;
  const std::uint64_t behind = std::max((end + kGiB - 1) & ~(kGiB - 1), 8 * kGiB) + kGiB;
  std::vector<std::uint64_t> candidates;
  if (behind + rings_.size() <= kSmallestAperture) candidates.push_back(behind);
  std::uint64_t hole = kLow;
  for (const Range& range : ranges) {
    if (range.start >= hole + rings_.size()) break;
    hole = std::max(hole, range.start + range.size);
  }
  if (hole + rings_.size() <= kBelowInterrupts) candidates.push_back(hole);
  candidates.push_back(behind);
  Result<void> last = vmux::fail(Errc::no_space, "there is no address for rings");
  for (const std::uint64_t at : candidates) {
    // Other functions of the group have rings of theirs there.
    for (std::uint64_t step = 0; step < kMostOthers; ++step) {
      const Iova place{at + step * rings_.size()};
      last = group_->map(*this, {place, ByteCount{rings_.size()}, memory::Access::read_write, source_of(rings_.fd(), 0),
                                 rings_.bytes().data()});
      if (last) {
        rings_.set_place(place);
        return {};
      }
      if (last.error().code != Errc::already_exists) break;
    }
  }
  return last;
}

void AcceleratedDevice::unplace_rings() noexcept {
  announcement_.reset();
  if (const auto place = rings_.place()) {
    rings_.set_place(std::nullopt);
    static_cast<void>(group_->unmap(*this, *place, ByteCount{rings_.size()}));
  }
}

}  // namespace vmux::vdpa
