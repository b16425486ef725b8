// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/dma_methods.hpp"

#include "base/text/format.hpp"
#include "base/text/text.hpp"
#include "control/look/client_maps.hpp"
#include "control/look/memory_map.hpp"

namespace vmux::control {
namespace {

constexpr std::size_t kMostShown = 1024;  // ranges in an answer: a guest with an IOMMU has tens of thousands

std::string hex(std::uint64_t number) { return fmt::format("{:#x}", number); }

const char* name_of(memory::Access access) noexcept {
  switch (access) {
    case memory::Access::read:
      return "read";
    case memory::Access::write:
      return "write";
    case memory::Access::read_write:
      return "read write";
    case memory::Access::none:
      break;
  }
  return "none";
}

Json shown(const MemoryRange& range) {
  Json object{{"start", hex(range.start)},
              {"end", hex(range.start + (range.size - 1))},
              {"bytes", range.size},
              {"access", name_of(range.access)},
              {"reached", range.host != nullptr ? "mapped" : "by message"}};
  if (range.file) {
    object["file"] = *range.file;
    object["file_offset"] = hex(range.file_offset);
  }
  return object;
}

Json shown(const MemoryFile& file, Sharing sharing) {
  Json object{{"kind", file.kind}, {"page_size", file.page_size}};
  if (file.inode != 0) object["inode"] = file.inode;
  object["client_maps"] = sharing == Sharing::shared     ? Json("shared")
                          : sharing == Sharing::private_ ? Json("private")
                          : sharing == Sharing::none     ? Json("not at all")
                                                         : Json();
  return object;
}

/// Where an address of the VM's lies: its range, its place in the file, and the page of this machine.
Json translated(const MemoryMap& map, std::uint64_t address, bool with_physical) {
  Json object{{"address", hex(address)}};
  const MemoryRange* const range = map.find(address);
  object["range"] = range == nullptr ? Json() : Json(range - map.ranges.data());
  if (range == nullptr) return object;
  object["access"] = name_of(range->access);
  object["reached"] = range->host != nullptr ? "mapped" : "by message";
  if (range->host == nullptr) return object;
  const std::uint64_t at = address - range->start;
  object["file"] = *range->file;
  object["file_offset"] = hex(range->file_offset + at);
  const auto place = place_of(map, *range, at);
  object["in_memory"] = place ? Json(place->is_there) : Json();
  object["node"] = place && place->node ? Json(*place->node) : Json();
  if (with_physical) object["physical"] = place && place->physical ? Json(hex(*place->physical)) : Json();
  return object;
}

/// Addresses of this machine's memory are for those who may do anything with it.
Role role_to_look(const Methods& /*methods*/, const Json& params) {
  const auto physical = params.find("physical");
  return physical != params.end() && *physical != Json(false) ? Role::admin : Role::read;
}

Outcome<Json> port_dma(Controller& controller, const Json& object) {
  Params params{object};
  const std::string name = params.required_name("name");
  const auto written = params.text("translate");
  const bool with_physical = params.flag("physical").value_or(false);
  const auto address = written ? parse_number(*written) : std::nullopt;
  if (written && !address)
    params.reject(ProblemKind::invalid, "translate",
                  fmt::format("expected an address ({}), got '{}'", kNumberRule, *written));
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  if (controller.inventory().find<PortSpec>(name) == nullptr)
    return refuse(ProblemKind::not_found, "name", fmt::format("there is no port named {}", name));
  if (with_physical && !address)
    return refuse(ProblemKind::invalid, "physical", "is of an address: translate says which");
  const Controller::PortView view = controller.look_at(name);
  const MemoryMap map = memory_map_of(view.client.memory);
  const auto sharing = ClientMaps{}.sharing_of(map.files, view.client.pid);
  std::uint64_t bytes = 0;
  Json ranges = Json::array(), files = Json::array();
  for (const MemoryRange& range : map.ranges) {
    bytes += range.size;
    if (ranges.size() < kMostShown) ranges.push_back(shown(range));
  }
  for (std::size_t i = 0; i < map.files.size(); ++i)
    files.push_back(shown(map.files[i], sharing[i]));
  Json result{{"name", name},
              {"connected", view.state.is_connected},
              {"client", view.client.pid > 0 ? Json(view.client.pid) : Json()},
              {"bytes", bytes},
              {"ranges", std::move(ranges)},
              {"not_shown", map.ranges.size() - std::min(map.ranges.size(), kMostShown)},
              {"files", std::move(files)}};
  if (address) result["translated"] = translated(map, *address, with_physical);
  return result;
}

}  // namespace

void add_dma_methods(Methods& methods, Controller& controller) {
  methods.add("port.dma", [&controller](const Json& params) { return port_dma(controller, params); },
              {Role::read, Role::read, role_to_look});
}

}  // namespace vmux::control
