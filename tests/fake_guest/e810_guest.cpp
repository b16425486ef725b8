// SPDX-License-Identifier: BSD-3-Clause
#include "fake_guest/e810_guest.hpp"

#include <atomic>
#include <cstring>

#include "vmux/base/assert.hpp"
#include "vmux/memory/ordered.hpp"

namespace vmux::fake_guest {
namespace {

// Registers and bits as ice_hw_autogen.h has them, read anew for this file.
enum : std::uint32_t {
  kPfgenCtrl = 0x91000,
  kRstat = 0xb8188,
  kUld = 0xb6008,
  kFwsm = 0xb6134,
  kFla = 0xb6108,
  kGens = 0xb6100,
  kAtqbal = 0x80000,
  kArqbal = 0x80080,
  kAtqbah = 0x80100,
  kArqbah = 0x80180,
  kAtqlen = 0x80200,
  kArqlen = 0x80280,
  kAtqh = 0x80300,
  kArqh = 0x80380,
  kAtqt = 0x80400,
  kArqt = 0x80480,
  kFwCtl = 0x16c800,
  kOicrCtl = 0x16ca80,
  kQrxCtrl = 0x120000,
  kQintTq = 0x140000,
  kQintRq = 0x150000,
  kQrxContext = 0x280000,
  kQrxTail = 0x290000,
  kDoorbell = 0x2c0000,
  kRxProfile = 0x480000,
};
constexpr std::uint32_t kEnable = 0x8000'0000, kCauseEnable = 1u << 30;
constexpr std::uint64_t kAdminBuffer = 4096, kAdminDescriptor = 32, kTxDescriptor = 16, kRxDescriptor = 32;  // bytes
constexpr std::uint16_t kFlagBuf = 1 << 12, kFlagRd = 1 << 10, kFlagLb = 1 << 9, kFlagSi = 1 << 13;
constexpr std::uint32_t kAllResetsDone = 0x33b;

std::uint64_t little_endian(std::span<const std::byte> bytes, std::size_t at, unsigned size) {
  VMUX_ASSERT(at + size <= bytes.size());
  std::uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i)
    value |= std::to_integer<std::uint64_t>(bytes[at + i]) << (8 * i);
  return value;
}
void put(Bytes& bytes, std::size_t at, std::uint64_t value, unsigned size) {
  for (unsigned i = 0; i < size; ++i)
    bytes.at(at + i) = static_cast<std::byte>(value >> (8 * i));
}
std::uint8_t low(std::uint64_t value) { return static_cast<std::uint8_t>(value); }
std::uint8_t high(std::uint64_t value) { return static_cast<std::uint8_t>(value >> 8); }

/// Bits of a context: lowest and width.
void put_bits(Bytes& bytes, unsigned lowest, unsigned width, std::uint64_t value) {
  for (unsigned i = 0; i < width; ++i) {
    const unsigned bit = lowest + i;
    if ((value >> i & 1) != 0) bytes.at(bit / 8) |= static_cast<std::byte>(1u << bit % 8);
  }
}

}  // namespace

std::uint64_t E810Answer::param(std::size_t at, unsigned size) const {
  return little_endian(std::as_bytes(std::span{params}), at, size);
}
std::uint64_t E810Answer::number(std::size_t at, unsigned size) const { return little_endian(buffer, at, size); }

// As the drivers do it: heads and tails, the length with its enable bit, and then the address.
void E810Guest::open_admin_queue() {
  std::memset(memory_.data() + kSendRing, 0, kEntries * kAdminDescriptor);
  send_next_ = receive_next_ = 0;
  for (unsigned i = 0; i < kEntries; ++i) {
    const std::uint64_t at = kReceiveRing + i * kAdminDescriptor, buffer = kReceiveBuffers + i * kAdminBuffer;
    std::memset(memory_.data() + at, 0, kAdminDescriptor);
    store<std::uint16_t>(memory(), at, kFlagBuf | kFlagLb);
    store<std::uint16_t>(memory(), at + 4, kAdminBuffer);
    store<std::uint32_t>(memory(), at + 28, static_cast<std::uint32_t>(buffer));
  }
  for (const std::uint32_t at : {kAtqh, kAtqt})
    write(at, 0);
  write(kAtqlen, kEntries | kEnable);
  write(kAtqbal, kSendRing);
  write(kAtqbah, 0);
  VMUX_ASSERT(read(kAtqbal) == kSendRing);
  for (const std::uint32_t at : {kArqh, kArqt})
    write(at, 0);
  write(kArqlen, kEntries | kEnable);
  write(kArqbal, kReceiveRing);
  write(kArqbah, 0);
  write(kArqt, kEntries - 1);
}

void E810Guest::queue_command(std::uint16_t opcode, std::initializer_list<std::uint8_t> params, const Bytes& buffer,
                              bool reads) {
  const std::uint64_t at = kSendRing + send_next_ * kAdminDescriptor, data = kSendBuffers + send_next_ * kAdminBuffer;
  VMUX_ASSERT(buffer.size() <= kAdminBuffer && params.size() <= 16);
  unsigned flags = kFlagSi;
  if (!buffer.empty()) flags |= kFlagBuf | (reads ? kFlagRd : 0u) | (buffer.size() > 512 ? kFlagLb : 0u);
  std::memset(memory_.data() + at, 0, kAdminDescriptor);
  store<std::uint16_t>(memory(), at, static_cast<std::uint16_t>(flags));
  store<std::uint16_t>(memory(), at + 2, opcode);
  store<std::uint16_t>(memory(), at + 4, static_cast<std::uint16_t>(buffer.size()));
  std::ranges::copy(std::as_bytes(std::span{params.begin(), params.size()}), memory_.data() + at + 16);
  if (!buffer.empty()) {
    std::memcpy(memory_.data() + data, buffer.data(), buffer.size());
    store<std::uint32_t>(memory(), at + 28, static_cast<std::uint32_t>(data));
  }
  send_next_ = (send_next_ + 1) % kEntries;
}

void E810Guest::ring_admin() { write(kAtqt, send_next_); }

E810Answer E810Guest::answer(unsigned index) const {
  const std::span<const std::byte> bytes = memory_.bytes();
  const std::uint64_t at = kSendRing + index * kAdminDescriptor, data = kSendBuffers + index * kAdminBuffer;
  E810Answer said;
  said.flags = load<std::uint16_t>(bytes, at);
  said.opcode = load<std::uint16_t>(bytes, at + 2);
  said.datalen = load<std::uint16_t>(bytes, at + 4);
  said.retval = load<std::uint16_t>(bytes, at + 6);
  std::memcpy(said.params.data(), bytes.data() + at + 16, said.params.size());
  if ((said.flags & kFlagBuf) != 0) {
    said.buffer.assign(bytes.begin() + static_cast<std::ptrdiff_t>(data),
                       bytes.begin() + static_cast<std::ptrdiff_t>(data + said.datalen));
  }
  return said;
}

// Done is what the head has passed.
E810Answer E810Guest::call(std::uint16_t opcode, std::initializer_list<std::uint8_t> params, const Bytes& buffer,
                           bool reads) {
  const unsigned index = send_next_;
  queue_command(opcode, params, buffer, reads);
  ring_admin();
  if (read(kAtqh) != send_next_) return {.retval = 0xffff};
  return answer(index);
}

std::optional<E810Answer> E810Guest::receive_event() {
  if (read(kArqh) == receive_next_) return std::nullopt;
  const std::span<const std::byte> bytes = memory_.bytes();
  const std::uint64_t at = kReceiveRing + receive_next_ * kAdminDescriptor,
                      data = kReceiveBuffers + receive_next_ * kAdminBuffer;
  E810Answer event;
  event.flags = load<std::uint16_t>(bytes, at);
  event.opcode = load<std::uint16_t>(bytes, at + 2);
  event.datalen = load<std::uint16_t>(bytes, at + 4);
  event.buffer.assign(bytes.begin() + static_cast<std::ptrdiff_t>(data),
                      bytes.begin() + static_cast<std::ptrdiff_t>(data + event.datalen));
  receive_next_ = (receive_next_ + 1) % kEntries;
  return event;
}

std::optional<std::uint16_t> E810Guest::flash_word(std::uint32_t byte, bool flash_only) {
  const auto said = call(0x0701,
                         {low(byte), high(byte), static_cast<std::uint8_t>(byte >> 16),
                          static_cast<std::uint8_t>(1 | (flash_only ? 0x80 : 0)), 0, 0, 2, 0},
                         Bytes(2), false);
  if (said.retval != 0 || said.datalen != 2) return std::nullopt;
  return static_cast<std::uint16_t>(said.number(0, 2));
}

// The size by trying, the Shadow RAM's control word, and the version that the active bank's copy has.
const char* E810Guest::probe_flash() {
  if ((read(kFla) & 1u << 6) == 0 || (read(kGens) >> 5 & 7) == 0) return "no Shadow RAM";
  std::uint32_t least = 0, most = 1 << 24;
  while (most - least > 1) {
    const std::uint32_t middle = (least + most) / 2;
    const auto said =
        call(0x0701, {low(middle), high(middle), static_cast<std::uint8_t>(middle >> 16), 0x81, 0, 0, 1, 0}, Bytes(1),
             false);
    if (said.retval != 0 && said.retval != 14) return "the flash ends in another error than EINVAL";
    (said.retval == 0 ? least : most) = middle;
  }
  const auto control = flash_word(0, false), pointer = flash_word(0x42 * 2, false);
  if (!control || (*control >> 6 & 3) != 1) return "the Shadow RAM is not valid";
  if (!pointer || (*pointer & 0x8000) == 0) return "no NVM bank";
  const std::uint32_t bank = (*pointer & 0x7fffu) * 4096, copy = bank + 352 * 2;
  if (bank >= most || flash_word(bank + 4, true) != 0xa1) return "no CSS header";
  if (flash_word(copy + 0x18 * 2, true) != flash_word(0x18 * 2, false)) return "the bank has no copy of the Shadow RAM";
  if (call(0x0706, {1}).param(2, 2) != 0xbaba) return "the checksum of the Shadow RAM";
  return nullptr;
}

const char* E810Guest::probe_capabilities() {
  for (const std::uint16_t opcode : {std::uint16_t{0x000b}, std::uint16_t{0x000a}}) {
    const auto said = call(opcode, {}, Bytes(4096), false);
    if (said.retval != 0) return "capabilities";
    std::array<std::uint64_t, 256> numbers{};
    for (std::uint64_t i = 0; i < said.param(4, 4); ++i)
      numbers.at(said.number(i * 32, 2) & 0xff) = said.number(i * 32 + 4, 4);
    if (numbers[0x05] != 1) return "functions";  // drivers divide by their number
    if (numbers[0x40] != 2048) return "entries of the RSS table";
    if (numbers[0x41] == 0 || numbers[0x42] == 0 || numbers[0x43] < 2) return "queues or vectors";
  }
  return nullptr;
}

const char* E810Guest::probe_scheduler() {
  const auto resources = call(0x0412, {}, Bytes(320), false);
  if (resources.retval != 0 || resources.number(2, 2) != 9) return "layers of the scheduler";
  const auto topology = call(0x0400, {0}, Bytes(4096), false);
  if (topology.retval != 0 || topology.param(1, 1) != 1) return "topology";
  const std::uint64_t count = topology.number(4, 2);
  bool has_entry = false;
  for (std::uint64_t i = 0; i < count; ++i) {  // a chain, each known when asked for
    const std::size_t at = 8 + 24 * i;
    const std::uint32_t parent = i == 0 ? 0xffff'ffff : static_cast<std::uint32_t>(topology.number(at - 24 + 4, 4));
    if (topology.number(at, 4) != parent) return "the topology is no chain";
    Bytes asked(24);
    put(asked, 4, topology.number(at + 4, 4), 4);
    const auto element = call(0x0404, {1}, asked);
    if (element.retval != 0 || element.param(2, 2) != 1) return "an element of the topology";
    if (topology.number(at + 8, 1) == 2) traffic_class_ = static_cast<std::uint32_t>(topology.number(at + 4, 4));
    if (i > 0 && topology.number(at + 8, 1) == 4) has_entry = true;
  }
  if (!has_entry) return "no entry point";
  Bytes last(12);  // the default node below the traffic class goes
  put(last, 0, traffic_class_, 4);
  put(last, 4, 1, 2);
  put(last, 8, topology.number(8 + 24 * (count - 1) + 4, 4), 4);
  const auto deleted = call(0x040f, {1}, last);
  return deleted.retval == 0 && deleted.param(2, 2) == 1 ? nullptr : "the default node";
}

const char* E810Guest::probe_link() {
  const auto phy = call(0x0600, {0, 0, 2}, Bytes(560), false);
  if (phy.retval != 0 || phy.number(0, 8) == 0) return "types of the PHY";
  const auto link = call(0x0607, {0, 0, 2}, Bytes(32), false);
  if (link.retval != 0 || link.datalen != 32) return "link status";
  if ((link.number(16, 8) == 0) == (link.number(24, 8) == 0)) return "a link of no type, or of two";
  const auto address = call(0x0107, {}, Bytes(16), false);
  if (address.retval != 0 || (address.param(0, 2) & 1u << 4) == 0 || address.param(4, 1) < 1) return "MAC address";
  for (std::size_t i = 0; i < mac_.size(); ++i)
    mac_[i] = static_cast<std::uint8_t>(address.number(2 + i, 1));
  if (call(0x0603, {0, 38}).retval != 0) return "MAC configuration";
  return nullptr;
}

const char* E810Guest::probe() {
  if ((read(kRstat) & 3) != 0 || (read(kFwsm) & (1u << 1 | 1u << 30)) != 0) return "not ready";
  write(kPfgenCtrl, 1);
  if ((read(kPfgenCtrl) & 1) != 0 || (read(kUld) & kAllResetsDone) != kAllResetsDone) return "reset";
  open_admin_queue();
  const auto version = call(0x0001);
  if (version.retval != 0 || version.param(13, 1) != 1) return "version";
  if (call(0x02a4).retval != 0) return "clear PF configuration";
  static_cast<void>(call(0x0110, {2}));
  if (const char* const problem = probe_flash()) return problem;
  if (const char* const problem = probe_capabilities()) return problem;
  const auto config = call(0x0200, {}, Bytes(2048), false);
  if (config.retval != 0 || config.param(4, 2) < 1 || config.number(0, 2) >> 14 != 0) return "switch configuration";
  if (const char* const problem = probe_scheduler()) return problem;
  if (const char* const problem = probe_link()) return problem;
  Bytes counter(6);
  put(counter, 0, 0x21, 2);
  put(counter, 2, 1, 2);
  return call(0x0208, {1}, counter).retval == 0 ? nullptr : "counters of Flow Director";
}

Bytes E810Guest::vsi_context(const E810Setup& setup) const {
  Bytes context(128);
  put(context, 0, 1u | 1u << 2 | 1u << 6, 2);
  put(context, 4, setup.filters_vlans ? 0x11 : 0x10, 1);
  put(context, 12, 3u | (setup.strips_tags ? 0u : 3u << 3), 1);
  put(context, 30, setup.first_queue, 2);
  put(context, 32, setup.queues, 2);
  return context;
}

E810Answer E810Guest::update_vsi(const E810Setup& setup) {
  return call(0x0211, {low(vsi_), static_cast<std::uint8_t>(high(vsi_) | 0x80)}, vsi_context(setup));
}

E810Answer E810Guest::add_rule(std::uint16_t recipe, std::span<const std::uint8_t> header, std::uint32_t action) {
  Bytes rule(32);
  put(rule, 0, 1, 2);  // a lookup of what is sent: that is how Linux adds addresses
  put(rule, 4, recipe, 2);
  put(rule, 6, vsi_, 2);
  put(rule, 8, action, 4);
  put(rule, 14, 16, 2);
  std::memcpy(rule.data() + 16, header.data(), std::min<std::size_t>(header.size(), 16));
  return call(0x02a0, {1}, rule);
}

E810Answer E810Guest::remove_rule(std::uint16_t index) {
  Bytes rule(16);
  put(rule, 0, 1, 2);
  put(rule, 12, index, 2);
  return call(0x02a2, {1}, rule);
}

E810Answer E810Guest::add_tx_queue(unsigned queue, std::uint16_t vsi) {
  Bytes group(8 + 48);
  put(group, 0, parent_, 4);
  put(group, 4, 1, 1);
  put(group, 8, queue, 2);
  Bytes context(22);
  put_bits(context, 0, 57, tx_ring(queue) / 128);
  put_bits(context, 78, 2, 2);
  put_bits(context, 80, 10, vsi != 0 ? vsi : vsi_);
  put_bits(context, 135, 13, setup_.descriptors);
  put_bits(context, 164, 1, 1);
  std::memcpy(group.data() + 16, context.data(), context.size());
  std::memset(memory_.data() + tx_ring(queue), 0, setup_.descriptors * kTxDescriptor);
  queues_[queue].tx_next = queues_[queue].tx_reaped = 0;
  return call(0x0c30, {1}, group);
}

E810Answer E810Guest::remove_tx_queue(unsigned queue) {
  Bytes group(8);
  put(group, 0, parent_, 4);
  put(group, 4, 1, 1);
  put(group, 6, queue, 2);
  return call(0x0c31, {3, 1}, group);
}

bool E810Guest::start_rx_queue(unsigned queue) {
  Bytes context(32);
  put_bits(context, 32, 57, rx_ring(queue) / 128);
  put_bits(context, 89, 13, setup_.descriptors);
  put_bits(context, 102, 7, setup_.buffer_size / 128);
  put_bits(context, 116, 1, 1);  // descriptors of 32 bytes
  put_bits(context, 117, 1, 1);  // without CRC
  put_bits(context, 119, 1, 1);  // tags go to L2TAG1
  put_bits(context, 174, 14, setup_.max_frame);
  put_bits(context, 201, 1, 1);
  write(kRxProfile + queue * 4, setup_.rxdid | 3u << 8);
  for (unsigned word = 0; word < 8; ++word)
    write(kQrxContext + word * 0x2000 + queue * 4, static_cast<std::uint32_t>(little_endian(context, word * 4, 4)));
  write_tail(kQrxTail + queue * 4, 0);
  queues_[queue].rx_next = queues_[queue].rx_tail = 0;
  refill(queue);
  write(kQrxCtrl + queue * 4, 1);
  return (read(kQrxCtrl + queue * 4) & 4) != 0;
}

void E810Guest::bring_up(const E810Setup& setup) {
  setup_ = setup;
  write(kOicrCtl, 0 | 3u << 11 | kCauseEnable);
  write(kFwCtl, 0 | 3u << 11 | kCauseEnable);
  arm(0);
  const auto vsi = call(0x0210, {0, 0x80, 0, 0, 0, 0, 2}, vsi_context(setup));
  VMUX_ASSERT(vsi.retval == 0);
  vsi_ = static_cast<std::uint16_t>(vsi.param(0, 2) & 0x3ff);
  parent_ = traffic_class_;
  for (unsigned layer = 2; layer <= 7; ++layer) {
    Bytes group(8 + 24);
    put(group, 0, parent_, 4);
    put(group, 4, 1, 2);
    put(group, 16, 3, 1);
    const auto added = call(0x0401, {1}, group);
    VMUX_ASSERT(added.retval == 0 && added.param(2, 2) == 1);
    parent_ = static_cast<std::uint32_t>(added.number(12, 4));
  }
  VMUX_ASSERT(add_rule(1, mac_, 1u << 17 | 1u << 3 | std::uint32_t{vsi_} << 4).retval == 0);
  for (unsigned i = 0; i < setup.queues; ++i) {
    const unsigned queue = setup.first_queue + i, vector = 1 + i;
    VMUX_ASSERT(add_tx_queue(queue).retval == 0);
    write(kQintTq + queue * 4, vector | 1u << 11 | kCauseEnable);
    write(kQintRq + queue * 4, vector | 0u << 11 | kCauseEnable);
    VMUX_ASSERT(start_rx_queue(queue));
    arm(vector);
  }
}

void E810Guest::queue_raw(unsigned queue, std::uint64_t low_word, std::uint64_t high_word) {
  const std::uint64_t at = tx_ring(queue) + queues_[queue].tx_next * kTxDescriptor;
  store<std::uint64_t>(memory(), at, low_word);
  store<std::uint64_t>(memory(), at + 8, high_word);
  queues_[queue].tx_next = (queues_[queue].tx_next + 1) % setup_.descriptors;
}

void E810Guest::ring_tx(unsigned queue) { write_tail(kDoorbell + queue * 4, queues_[queue].tx_next); }

// Where tails are memory, drivers' writes are no accesses that the card sees.
void E810Guest::write_tail(std::uint32_t offset, std::uint32_t value) {
  if (bar0().empty()) return write(offset, value);
  memory::store_release32(bar0(), offset, value);
}

// Command bits beside EOP and RS; lengths of headers as the offset field has them.
void E810Guest::send_frame(std::span<const std::byte> frame, unsigned queue, std::uint64_t command,
                           std::uint64_t offsets, std::uint16_t tag) {
  const std::uint64_t buffer = kTxBuffers + queues_[queue].tx_next * kBufferStride;
  VMUX_ASSERT(frame.size() <= kBufferStride);
  std::memcpy(memory_.data() + buffer, frame.data(), frame.size());
  queue_raw(queue, buffer,
            (command | 3) << 4 | offsets << 16 | std::uint64_t{frame.size()} << 34 | std::uint64_t{tag} << 48);
  ring_tx(queue);
}

// Words as Linux has them: type 8, the command in bit 4, no SWAP (bit 24), the id in the upper half; and a frame that
// is a dummy (bit 4 of the command).
void E810Guest::program_flow(unsigned control_queue, std::uint32_t id, std::span<const std::byte> frame,
                             std::optional<std::uint16_t> to) {
  queue_raw(control_queue, to.value_or(0), 8 | (to ? 0u : 1u) << 4 | std::uint64_t{id} << 32);
  send_frame(frame, control_queue, 1u << 4);
}

unsigned E810Guest::reap(unsigned queue) {
  Queue& state = queues_[queue];
  unsigned done = 0;
  while (state.tx_reaped != state.tx_next) {
    const auto word = load<std::uint64_t>(memory(), tx_ring(queue) + state.tx_reaped * kTxDescriptor + 8);
    if ((word & 0xf) != 0xf) break;
    state.tx_reaped = (state.tx_reaped + 1) % setup_.descriptors;
    ++done;
  }
  return done;
}

void E810Guest::refill(unsigned queue) {
  Queue& state = queues_[queue];
  const unsigned last = (state.rx_next + setup_.descriptors - 1) % setup_.descriptors;
  while (state.rx_tail != last) {
    const std::uint64_t at = rx_ring(queue) + state.rx_tail * kRxDescriptor;
    std::memset(memory_.data() + at, 0, kRxDescriptor);
    store<std::uint64_t>(memory(), at, kRxBuffers + (queue * 64 + state.rx_tail) * kBufferStride / 2);
    state.rx_tail = (state.rx_tail + 1) % setup_.descriptors;
  }
  write_tail(kQrxTail + queue * 4, state.rx_tail);
}

// Flexible write-backs only: DD and EOP are the lowest bits of word 1.
std::optional<E810Frame> E810Guest::receive(unsigned queue) {
  Queue& state = queues_[queue];
  E810Frame frame;
  while (state.rx_next != state.rx_tail) {
    const std::uint64_t at = rx_ring(queue) + state.rx_next * kRxDescriptor;
    if ((load<std::uint64_t>(memory(), at + 8) & 1) == 0) return std::nullopt;
    std::atomic_thread_fence(std::memory_order_acquire);
    for (unsigned word = 0; word < 4; ++word)
      frame.words[word] = load<std::uint64_t>(memory(), at + word * 8);
    const auto length = static_cast<std::size_t>(frame.words[0] >> 32 & 0x3fff);
    const std::byte* const data = memory_.data() + kRxBuffers + (queue * 64 + state.rx_next) * kBufferStride / 2;
    frame.bytes.insert(frame.bytes.end(), data, data + length);
    state.rx_next = (state.rx_next + 1) % setup_.descriptors;
    if ((frame.words[1] & 2) != 0) return frame;
  }
  return std::nullopt;
}

}  // namespace vmux::fake_guest
