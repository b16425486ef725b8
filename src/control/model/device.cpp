// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/device.hpp"

#include "control/trace/register_names.hpp"
#include "wire/names.hpp"

namespace vmux::control {

std::string Device::trace_name(const TraceRecord& record) const {
  using What = TraceRecord::What;
  if (record.what == What::message || record.what == What::refused) {
    const char* const name = wire::vfio_user_name(record.code);
    return name == nullptr ? "" : name;
  }
  const bool is_config = record.region == static_cast<unsigned>(pci::Region::config);
  return record.what != What::command && is_config ? config_register_name(record.offset) : "";
}

}  // namespace vmux::control
