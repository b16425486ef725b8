// SPDX-License-Identifier: BSD-3-Clause
// A physical function as a device of the catalogue, and the sentences for when it cannot be had.
#pragma once

#include <string>

#include "control/model/catalogue.hpp"
#include "passthrough/diagnosis.hpp"

namespace vmux::control {

Result<std::unique_ptr<Device>> make_passthrough(const DeviceRequest& request, runtime::Poller& poller);
void describe_passthrough(CounterDescriptions& into);
/// One thread for each IOMMU group: its functions share an address space.
[[nodiscard]] std::string thread_of_passthrough(const DeviceRequest& request);
[[nodiscard]] std::string explain_passthrough(const DeviceRequest& request, const Error& error);
/// The sentence, with the command that helps; empty when nothing was found.
[[nodiscard]] std::string sentence_of(const std::string& address, const passthrough::Diagnosis& diagnosis);

}  // namespace vmux::control
