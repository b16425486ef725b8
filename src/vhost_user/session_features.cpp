// SPDX-License-Identifier: BSD-3-Clause
// What both sides can, and the state of the device as a whole.
#include <array>
#include <cstring>
#include <utility>

#include "base/mac.hpp"
#include "vhost_user/session.hpp"
#include "vhost_user/session_reply.hpp"
#include "wire/virtio.hpp"

namespace vmux::vhost_user {
namespace {

namespace pf = wire::vhost_user::protocol_feature;
namespace wv = wire::vhost_user;
namespace net = wire::virtio::net::feature;

constexpr std::uint64_t kTransportFeatures = wv::feature::log_all | wv::feature::protocol_features;
constexpr std::uint8_t kFeaturesOk = wire::virtio::status::features_ok;

// Of a network card: what its control queue does, and that queue is the front end's. QEMU tells of nothing that its
// guest asks for there but how many pairs of queues are used. And what configuration space says, which is the front
// end's, too.
constexpr std::uint64_t kNetKeptBack = net::ctrl_vq | net::ctrl_rx | net::ctrl_vlan | wire::virtio::feature::bit(20) |
                                       net::ctrl_mac_addr | net::ctrl_guest_offloads | net::vq_notf_coal |
                                       net::notf_coal | net::hash_report | net::rss | net::mac | net::status |
                                       net::standby | net::speed_duplex;
// Translation would need IOTLB messages, a ring that is reset alone a request that QEMU does not have, and the word
// that NOTIFICATION_DATA speaks of never reaches us through an eventfd.
constexpr std::uint64_t kKeptBack = wire::virtio::feature::access_platform | wire::virtio::feature::notification_data |
                                    wire::virtio::feature::ring_reset;

constexpr std::size_t kNetMtuAt = offsetof(wire::virtio::net::Config, mtu);
constexpr std::uint64_t kSmallestMtu = 68;  // [VIRTIO] 5.1.4.1

}  // namespace

std::uint64_t features_kept_back(std::uint16_t kind) noexcept {
  return kKeptBack | (kind == wire::virtio::net::kDevice ? kNetKeptBack : 0);
}

// The same for each connection: a front end whose guest has accepted a feature refuses a back end that has it no more.
std::uint64_t Session::offered_features() const noexcept {
  return (context_.device.features() & ~features_kept_back(context_.device.kind())) | wire::virtio::feature::version_1 |
         kTransportFeatures;
}

std::uint64_t Session::offered_protocol_features() const noexcept {
  std::uint64_t offered =
      pf::mq | pf::log_shmfd | pf::reply_ack | pf::reset_device | pf::configure_mem_slots | pf::status;
  if (context_.device.kind() == wire::virtio::net::kDevice) {
    if (context_.options.announce) offered |= pf::rarp;
    if ((context_.device.features() & net::mtu) != 0) offered |= pf::net_mtu;
  } else {
    offered |= pf::config | pf::backend_req;
  }
  return offered;
}

Result<void> Session::get_features(const Message& message) {
  put_reply(stream_, message.header, wv::U64{offered_features()});
  return {};
}

Result<void> Session::get_protocol_features(const Message& message) {
  put_reply(stream_, message.header, wv::U64{offered_protocol_features()});
  return {};
}

Result<void> Session::set_protocol_features(const Message& message) {
  const std::uint64_t wanted = body_of<wv::U64>(message.payload);
  if ((wanted & ~offered_protocol_features()) != 0)
    return fail(Errc::protocol, "protocol features that are not offered");
  protocol_features_ = wanted;
  return {};
}

// Nothing stops here. While rings run, which they do when a migration begins and when it is called off, the
// log is all that can change.
Result<void> Session::set_features(const Message& message) {
  const std::uint64_t wanted = body_of<wv::U64>(message.payload);
  if ((wanted & ~offered_features()) != 0) return fail(Errc::invalid_argument, "features that are not offered");
  const std::uint64_t of_device = wanted & ~kTransportFeatures;
  if (accepted_ != of_device) {
    if (agreement().running_rings != 0) return fail(Errc::busy, "features do not change while rings run");
    accepted_.reset();
    if (!context_.device.accept(of_device)) return fail(Errc::invalid_argument, "features that do not go together");
    accepted_ = of_device;
  }
  features_ = wanted;
  auto logging = set_logging((wanted & wv::feature::log_all) != 0);
  start_rings();  // features may be the last thing that is said
  return logging;
}

Result<void> Session::set_owner(const Message&) { return {}; }
Result<void> Session::ignore(const Message&) { return {}; }

Result<void> Session::get_queue_num(const Message& message) {
  const std::uint64_t rings = rings_.size();
  // "the number of queues": QEMU counts a card's in pairs.
  put_reply(stream_, message.header, wv::U64{context_.device.kind() == wire::virtio::net::kDevice ? rings / 2 : rings});
  return {};
}

Result<void> Session::get_max_mem_slots(const Message& message) {
  put_reply(stream_, message.header, wv::U64{MemoryMap::kMaxRegions});
  return {};
}

Result<void> Session::get_status(const Message& message) {
  put_reply(stream_, message.header, wv::U64{status_});
  return {};
}

Result<void> Session::set_status(const Message& message) {
  const std::uint64_t wanted = body_of<wv::U64>(message.payload);
  if (wanted > 0xff) return fail(Errc::invalid_argument, "a status has 8 bits");
  if (wanted == 0) {  // [VIRTIO] 2.1: a reset; what rings there are, the front end says anew
    stop_rings();
    for (Ring& ring : rings_) {
      ring.watch.reset();
      depart(std::move(ring.kick));
      ring.has_kick = false;
      ring.state = {};
      ring.base.reset();
    }
  }
  status_ = static_cast<std::uint8_t>(wanted);
  if (!accepted_) status_ &= static_cast<std::uint8_t>(~kFeaturesOk);
  return {};
}

// "all rings are stopped and disabled, and the internal state is reset"; QEMU sends it at a reset of the guest's, when
// rings have stopped already.
Result<void> Session::reset_device(const Message&) {
  stop_rings();
  context_.device.reset(/*client_gone=*/false);
  accepted_.reset();
  status_ = 0;
  for (Ring& ring : rings_) {
    ring.watch.reset();
    ring.has_kick = false;
    depart(std::move(ring.kick));
    ring.enabled = false;
    ring.state = {};
    ring.base.reset();
  }
  return {};
}

// What the guest has been told is not for us to change, but for us to be able to do.
Result<void> Session::net_set_mtu(const Message& message) {
  const std::uint64_t wanted = body_of<wv::U64>(message.payload);
  std::array<std::byte, 2> raw{};
  context_.device.read_config(kNetMtuAt, raw);
  const std::uint64_t largest = body_of<Le<std::uint16_t>>(raw);
  if (wanted < kSmallestMtu || wanted > largest)
    return fail(Errc::invalid_argument, "an MTU that the port does not have");
  return {};
}

Result<void> Session::send_rarp(const Message& message) {
  if (!context_.options.announce) return fail(Errc::protocol, "nobody can be told");
  MacAddress address{};
  std::memcpy(address.data(), message.payload.data(), address.size());
  context_.options.announce(address);
  return {};
}

}  // namespace vmux::vhost_user
