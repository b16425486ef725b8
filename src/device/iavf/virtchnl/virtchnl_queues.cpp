// SPDX-License-Identifier: BSD-3-Clause
// Rings, vectors, enabling and disabling.
#include <algorithm>

#include "device/iavf/virtchnl/virtchnl.hpp"

namespace vmux::device::iavf {

namespace vc = wire::virtchnl;
namespace cap = wire::virtchnl::capability;

namespace {

constexpr std::uint32_t kMaxRxFrame = 16 * 1024 - 1;  // of the field; longer than any that arrives

std::optional<intel::TxQueueConfig> tx_config(const vc::TxqInfo& info) noexcept {
  if (info.vsi_id != kVsiId || !intel::is_ring(info.dma_ring_addr, info.ring_len)) return std::nullopt;
  return intel::TxQueueConfig{.ring = Iova{info.dma_ring_addr},
                              .length = info.ring_len,
                              .head_writeback = info.headwb_enabled != 0,
                              .head_writeback_at = Iova{info.dma_headwb_addr}};
}

}  // namespace

Virtchnl::Status Virtchnl::config_tx_queue(Body body, Reply& /*reply*/) noexcept {
  const auto info = read_at<vc::TxqInfo>(body);
  const auto config = tx_config(info);
  if (!config || info.queue_id >= data_.queue_pairs()) return Status::err_param;
  data_.configure_tx(info.queue_id, *config);
  return Status::success;
}

std::optional<intel::RxQueueConfig> Virtchnl::rx_config(const vc::RxqInfo& info) const noexcept {
  if (info.vsi_id != kVsiId || !intel::is_ring(info.dma_ring_addr, info.ring_len)) return std::nullopt;
  if (!intel::is_buffer_size(info.databuffer_size)) return std::nullopt;
  if (info.max_pkt_size < intel::kMinRxFrame || info.max_pkt_size > kMaxRxFrame) return std::nullopt;
  if (info.splithdr_enabled != 0) return std::nullopt;
  // Drivers that have not negotiated another leave the field 0 and mean the legacy 32-byte descriptor.
  const std::uint8_t layout = has(cap::kRxFlexDesc) ? info.rxdid : intel::rxdid::legacy32;
  if (!intel::is_layout(layout)) return std::nullopt;
  return intel::RxQueueConfig{.ring = Iova{info.dma_ring_addr},
                              .length = static_cast<std::uint16_t>(info.ring_len),
                              .buffer_size = static_cast<std::uint16_t>(info.databuffer_size),
                              .max_frame = std::min<std::uint32_t>(info.max_pkt_size, intel::kMaxFrameWithFcs),
                              .rxdid = layout,
                              .wide = layout != intel::rxdid::legacy16,
                              .keep_crc = has(cap::kCrc) && info.crc_disable != 0};
}

Virtchnl::Status Virtchnl::config_rx_queue(Body body, Reply& /*reply*/) noexcept {
  const auto info = read_at<vc::RxqInfo>(body);
  const auto config = rx_config(info);
  if (!config || info.queue_id >= data_.queue_pairs()) return Status::err_param;
  data_.configure_rx(info.queue_id, *config);
  return Status::success;
}

/// All pairs or none: checked first, then done. A ring of no descriptors is none: DPDK's driver, with more queues of
/// one direction than of the other, names pairs of which it uses one half.
Virtchnl::Status Virtchnl::config_vsi_queues(Body body, Reply& /*reply*/) noexcept {
  const auto head = read_at<vc::VsiQueueConfigInfo>(body);
  const std::size_t count = head.num_queue_pairs;
  if (head.vsi_id != kVsiId || count > data_.queue_pairs()) return Status::err_param;
  if (!is_list(body.size(), sizeof head, sizeof(vc::QueuePairInfo), count)) return Status::err_param;
  for (const bool apply : {false, true}) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto pair = read_at<vc::QueuePairInfo>(body, sizeof head + i * sizeof(vc::QueuePairInfo));
      const bool has_tx = pair.txq.ring_len != 0, has_rx = pair.rxq.ring_len != 0;
      const auto tx = tx_config(pair.txq);
      const auto rx = rx_config(pair.rxq);
      if (pair.txq.vsi_id != kVsiId || pair.rxq.vsi_id != kVsiId) return Status::err_param;
      if ((has_tx && !tx) || (has_rx && !rx) || pair.txq.queue_id != pair.rxq.queue_id) return Status::err_param;
      if (pair.txq.queue_id >= data_.queue_pairs()) return Status::err_param;
      if (apply && has_tx) data_.configure_tx(pair.txq.queue_id, *tx);
      if (apply && has_rx) data_.configure_rx(pair.rxq.queue_id, *rx);
    }
  }
  return Status::success;
}

/// The bitmaps have 16 queues; a vector that serves none is named too (the admin queue's).
Virtchnl::Status Virtchnl::config_irq_map(Body body, Reply& /*reply*/) noexcept {
  const std::size_t count = read_at<vc::IrqMapInfo>(body).num_vectors;
  if (count == 0 || count > identity_.queue_pairs + 1) return Status::err_param;
  if (!is_list(body.size(), sizeof(vc::IrqMapInfo), sizeof(vc::VectorMap), count)) return Status::err_param;
  const std::uint32_t beyond = ~((1u << data_.queue_pairs()) - 1);
  for (const bool apply : {false, true}) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto map = read_at<vc::VectorMap>(body, sizeof(vc::IrqMapInfo) + i * sizeof(vc::VectorMap));
      if (map.vsi_id != kVsiId || map.vector_id > identity_.queue_pairs) return Status::err_param;
      if (((map.rxq_map | map.txq_map) & beyond) != 0) return Status::err_param;
      if (map.rxitr_idx > kNoItr || map.txitr_idx > kNoItr) return Status::err_param;
      for (unsigned queue = 0; apply && queue < data_.queue_pairs(); ++queue) {
        if ((map.rxq_map >> queue & 1) != 0) data_.map_rx(queue, {map.vector_id, map.rxitr_idx});
        if ((map.txq_map >> queue & 1) != 0) data_.map_tx(queue, {map.vector_id, map.txitr_idx});
      }
    }
  }
  return Status::success;
}

Virtchnl::Status Virtchnl::map_queue_vector(Body body, Reply& /*reply*/) noexcept {
  const auto head = read_at<vc::QueueVectorMaps>(body);
  const std::size_t count = head.num_qv_maps;
  if (head.vport_id != kVsiId || count == 0 || count > std::size_t{2} * kMaxQueuePairs) return Status::err_param;
  if (!is_list(body.size(), sizeof head, sizeof(vc::QueueVector), count)) return Status::err_param;
  for (const bool apply : {false, true}) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto map = read_at<vc::QueueVector>(body, sizeof head + i * sizeof(vc::QueueVector));
      if (map.queue_id >= data_.queue_pairs() || map.vector_id > identity_.queue_pairs) return Status::err_param;
      if (map.itr_idx > kNoItr || map.queue_type > vc::kQueueTypeRx) return Status::err_param;
      const VectorChoice choice{map.vector_id, static_cast<std::uint16_t>(map.itr_idx)};
      if (apply && map.queue_type == vc::kQueueTypeRx) data_.map_rx(map.queue_id, choice);
      if (apply && map.queue_type == vc::kQueueTypeTx) data_.map_tx(map.queue_id, choice);
    }
  }
  return Status::success;
}

/// One queue that cannot be enabled fails the message; the others are enabled, as in hardware.
Virtchnl::Status Virtchnl::select(std::uint32_t rx, std::uint32_t tx, bool enable) noexcept {
  const std::uint32_t beyond = ~((1u << data_.queue_pairs()) - 1);
  if ((rx | tx) == 0 || ((rx | tx) & beyond) != 0) return Status::err_param;
  const bool ok = data_.set_enabled(rx, tx, enable);
  // The driver believes in its link only once its queues run, and then wants to hear of it.
  if (enable) session_.link_event_due = true;
  return ok ? Status::success : Status::err_param;
}

Virtchnl::Status Virtchnl::enable_queues(Body body, Reply& /*reply*/) noexcept {
  const auto queues = read_at<vc::QueueSelect>(body);
  return queues.vsi_id == kVsiId ? select(queues.rx_queues, queues.tx_queues, true) : Status::err_param;
}

Virtchnl::Status Virtchnl::disable_queues(Body body, Reply& /*reply*/) noexcept {
  const auto queues = read_at<vc::QueueSelect>(body);
  return queues.vsi_id == kVsiId ? select(queues.rx_queues, queues.tx_queues, false) : Status::err_param;
}

Virtchnl::Status Virtchnl::select_chunks(Body body, bool enable) noexcept {
  const auto head = read_at<vc::EnableDisableQueues>(body);
  const std::size_t count = head.num_chunks;
  if (head.vport_id != kVsiId || count == 0 || count > std::size_t{2} * kMaxQueuePairs) return Status::err_param;
  if (!is_list(body.size(), sizeof head, sizeof(vc::QueueChunk), count)) return Status::err_param;
  std::uint32_t queues[2] = {0, 0};  // by type
  for (std::size_t i = 0; i < count; ++i) {
    const auto chunk = read_at<vc::QueueChunk>(body, sizeof head + i * sizeof(vc::QueueChunk));
    if (chunk.type > vc::kQueueTypeRx || chunk.num_queues == 0) return Status::err_param;
    if (!fits(chunk.start_queue_id, chunk.num_queues, data_.queue_pairs())) return Status::err_param;
    queues[chunk.type] |= ((1u << chunk.num_queues) - 1) << chunk.start_queue_id;
  }
  return select(queues[vc::kQueueTypeRx], queues[vc::kQueueTypeTx], enable);
}

Virtchnl::Status Virtchnl::enable_queues_v2(Body body, Reply& /*reply*/) noexcept { return select_chunks(body, true); }
Virtchnl::Status Virtchnl::disable_queues_v2(Body body, Reply& /*reply*/) noexcept {
  return select_chunks(body, false);
}

/// Granted by a reset, without an answer; refused by an answer that says how many there are.
Virtchnl::Status Virtchnl::request_queues(Body body, Reply& reply) noexcept {
  const std::uint32_t wanted = read_at<vc::VfResRequest>(body).num_queue_pairs;
  if (wanted == 0) return Status::err_param;
  if (wanted > identity_.queue_pairs) {
    reply.put(vc::VfResRequest{static_cast<std::uint16_t>(identity_.queue_pairs)});
    return Status::success;
  }
  return announce_reset(reply);
}

/// What was asked for is granted by a reset, of which an event tells: there is no answer.
Virtchnl::Status Virtchnl::announce_reset(Reply& reply) noexcept {
  reply.is_wanted = false;
  plan_reset();
  return Status::success;
}

void Virtchnl::plan_reset() noexcept {
  session_.reset_event_due = true;
  session_.reset_request = ResetRequest::soon;
  session_.is_resetting = true;
}

void Virtchnl::queue_stopped() noexcept {
  if (session_.is_resetting) return;
  plan_reset();
  tell_what_is_due();
}

Virtchnl::Status Virtchnl::get_supported_rxdids(Body /*body*/, Reply& reply) noexcept {
  reply.put(vc::SupportedRxdids{intel::kSupportedRxdids});
  return Status::success;
}

}  // namespace vmux::device::iavf
