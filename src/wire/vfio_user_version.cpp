// SPDX-License-Identifier: BSD-3-Clause

#include <nlohmann/json.hpp>

#include "base/text/format.hpp"
#include "wire/vfio_user.hpp"

namespace vmux::wire::vfio_user {
namespace {

using nlohmann::json;

tl::unexpected<Error> malformed() noexcept { return fail(Errc::invalid_argument, "version data is malformed"); }

// Each reads one member when it is there; false when it is of the wrong type.
bool read_number(const json& object, const char* name, std::uint64_t& into, bool* named = nullptr) {
  const auto found = object.find(name);
  if (named != nullptr) *named = found != object.end();
  if (found == object.end()) return true;
  if (!found->is_number_unsigned()) return false;
  into = found->get<std::uint64_t>();
  return true;
}
bool read_flag(const json& object, const char* name, bool& into, bool* named = nullptr) {
  const auto found = object.find(name);
  if (named != nullptr) *named = found != object.end();
  if (found == object.end()) return true;
  if (!found->is_boolean()) return false;
  into = found->get<bool>();
  return true;
}

bool read_twin_socket(const json& capabilities, Capabilities& into) {
  const auto twin = capabilities.find("twin_socket");
  into.has_twin_socket = twin != capabilities.end();
  if (!into.has_twin_socket) return true;
  if (!twin->is_object() || !read_flag(*twin, "supported", into.twin_socket)) return false;
  if (!twin->contains("fd_index")) return true;
  return read_number(*twin, "fd_index", into.twin_fd_index.emplace());
}

bool read_capabilities(const json& object, Capabilities& into) {
  into.present = true;
  into.has_migration = object.contains("migration");
  return read_twin_socket(object, into) && read_number(object, "max_msg_fds", into.max_msg_fds) &&
         read_number(object, "max_data_xfer_size", into.max_data_xfer_size) &&
         read_number(object, "max_dma_maps", into.max_dma_maps, &into.has_max_dma_maps) &&
         read_number(object, "pgsizes", into.pgsizes, &into.has_pgsizes) &&
         read_flag(object, "write_multiple", into.write_multiple, &into.has_write_multiple);
}

}  // namespace

Result<VersionMessage> decode_version(std::span<const std::byte> payload) {
  const auto raw = peek<Version>(payload);
  if (!raw) return fail(Errc::invalid_argument, "message is too short");
  VersionMessage message{raw->major, raw->minor, {}};
  const auto data = payload.subspan(sizeof(Version));
  if (data.empty()) return message;
  if (data.size() > kMaxVersionData || data.back() != std::byte{0}) return malformed();
  const std::string_view text{reinterpret_cast<const char*>(data.data()), data.size() - 1};
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return malformed();
  const auto capabilities = object.find("capabilities");
  if (capabilities == object.end()) return message;
  if (!capabilities->is_object() || !read_capabilities(*capabilities, message.capabilities)) return malformed();
  return message;
}

std::string version_json(const Capabilities& capabilities) {
  std::string optional;
  if (capabilities.write_multiple) optional += R"(,"write_multiple":true)";
  if (capabilities.twin_socket) {
    const auto& index = capabilities.twin_fd_index;
    optional += fmt::format(R"(,"twin_socket":{{"supported":true{}}})",
                            index ? fmt::format(R"(,"fd_index":{})", *index) : std::string{});
  }
  return fmt::format(
      R"({{"capabilities":{{"max_msg_fds":{},"max_data_xfer_size":{},"max_dma_maps":{},"pgsizes":{}{}}}}})",
      capabilities.max_msg_fds, capabilities.max_data_xfer_size, capabilities.max_dma_maps, capabilities.pgsizes,
      optional);
}

}  // namespace vmux::wire::vfio_user
