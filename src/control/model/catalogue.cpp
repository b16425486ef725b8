// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/catalogue.hpp"

namespace vmux::control {
namespace {

template <class Entry, class Pick>
std::string join_names(std::span<const Entry> entries, Pick pick) {
  std::string text;
  for (const Entry& entry : entries) {
    const char* const name = pick(entry);
    if (name == nullptr) continue;
    if (!text.empty()) text += ", ";
    text += name;
  }
  return text.empty() ? "none" : text;
}

}  // namespace

const ModelEntry* Catalogue::model(std::string_view name) const noexcept {
  for (const ModelEntry& entry : models) {
    if (name == entry.name || name == entry.mode) return &entry;
  }
  return nullptr;
}

const BackendEntry* Catalogue::backend(std::string_view name) const noexcept {
  for (const BackendEntry& entry : backends) {
    if (name == entry.name) return &entry;
  }
  return nullptr;
}

const TransportEntry* Catalogue::transport(std::string_view name) const noexcept {
  for (const TransportEntry& entry : transports) {
    if (name == entry.name) return &entry;
  }
  return nullptr;
}

std::string Catalogue::model_names() const {
  return join_names(models, [](const ModelEntry& entry) { return entry.mode; });
}

std::string Catalogue::built_model_names() const {
  return join_names(models, [](const ModelEntry& entry) { return entry.make == nullptr ? nullptr : entry.mode; });
}

std::string Catalogue::built_backend_names() const {
  return join_names(backends, [](const BackendEntry& entry) { return entry.make == nullptr ? nullptr : entry.name; });
}

}  // namespace vmux::control
