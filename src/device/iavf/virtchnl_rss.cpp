// SPDX-License-Identifier: BSD-3-Clause
// Receive side scaling: key, table, which packets are hashed and how.
#include <algorithm>

#include "device/iavf/virtchnl.hpp"

namespace vmux::device::iavf {

namespace vc = wire::virtchnl;

Virtchnl::Status Virtchnl::config_rss_key(Body body, Reply& /*reply*/) noexcept {
  const auto head = read_at<vc::RssKey>(body);
  if (head.vsi_id != kVsiId || head.key_len != kRssKeySize) return Status::err_param;
  if (body.size() < sizeof head + kRssKeySize) return Status::err_param;
  std::memcpy(data_.rss().key.data(), body.data() + sizeof head, kRssKeySize);
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::config_rss_lut(Body body, Reply& /*reply*/) noexcept {
  const auto head = read_at<vc::RssLut>(body);
  if (head.vsi_id != kVsiId || head.lut_entries != kRssLutSize) return Status::err_param;
  if (body.size() < sizeof head + kRssLutSize) return Status::err_param;
  std::array<std::uint8_t, kRssLutSize> lut;
  std::memcpy(lut.data(), body.data() + sizeof head, kRssLutSize);
  if (std::any_of(lut.begin(), lut.end(), [this](std::uint8_t queue) { return queue >= data_.queue_pairs(); })) {
    return Status::err_param;
  }
  data_.rss().lut = lut;
  data_.rss().enabled = true;
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::config_rss_hfunc(Body body, Reply& /*reply*/) noexcept {
  const auto function = read_at<vc::RssHfunc>(body);
  if (function.vsi_id != kVsiId) return Status::err_param;
  if (function.rss_algorithm != vc::kToeplitzAsymmetric && function.rss_algorithm != vc::kToeplitzSymmetric) {
    return Status::err_not_supported;
  }
  data_.rss().symmetric = function.rss_algorithm == vc::kToeplitzSymmetric;
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::get_rss_hena_caps(Body /*body*/, Reply& reply) noexcept {
  reply.put(vc::RssHena{kHashedPackets});
  return Status::success;
}

Virtchnl::Status Virtchnl::set_rss_hena(Body body, Reply& /*reply*/) noexcept {
  data_.rss().hena = read_at<vc::RssHena>(body).hena & kHashedPackets;
  data_.publish();
  return Status::success;
}

}  // namespace vmux::device::iavf
