// SPDX-License-Identifier: BSD-3-Clause
// `vmuxctl vf` and `vmuxctl mgmtpf`: virtio functions in the words of vfe-vhostd's command line, for scripts that speak
// it. What is asked for are calls like any other; the result is one JSON object with its `errno` and `errstr`.
#include <filesystem>
#include <fstream>
#include <optional>

#include "app/vmuxctl/local/commands.hpp"
#include "base/text/format.hpp"
#include "base/text/text.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::app {
namespace {

using control::Json;
using control::ProblemKind;

/// vfe-vhostd's numbers for what can go wrong, negative in results.
enum Number : int {
  kNoSuchPf = 1001,
  kNoSuchVf = 1003,
  kProbeFailed = 1009,
  kPfHasVfs = 1013,
  kVfExists = 1014,
  kSocketExists = 1038,
};

Json failed(int number, const std::string& why) { return Json{{"errno", -number}, {"errstr", why}}; }
Json done(Json more = Json::object()) {
  more["errno"] = 0;
  more["errstr"] = "Success";
  return more;
}

class Functions {
 public:
  Functions(const AskAny& ask, std::filesystem::path sys) : ask_(ask), devices_(std::move(sys) / "bus/pci/devices") {}

  Json add(const std::string& written, const std::string& socket);
  Json remove(const std::string& written);
  Json info(const std::string& written);
  Json list_of(const std::string& pf);
  Json status(const std::string& written);
  Json add_pf(const std::string& written);
  Json remove_pf(const std::string& written);
  Json list_pfs();

 private:
  [[nodiscard]] std::optional<std::string> address(const std::string& written) const {
    const auto parsed = parse_pci_address(written);
    if (!parsed || !std::filesystem::exists(devices_ / parsed->text())) return std::nullopt;
    return parsed->text();
  }
  /// 1 for a network card, 2 for a disk ([VIRTIO] 4.1.2.1); 0 for what is no virtio function.
  [[nodiscard]] unsigned kind_of(const std::string& function) const {
    const auto number = [&](const char* file) -> std::uint64_t {
      std::ifstream in{devices_ / function / file};
      std::string text;
      in >> text;
      return parse_hex(text).value_or(0);
    };
    if (number("vendor") != 0x1af4) return 0;
    const std::uint64_t id = number("device");
    return static_cast<unsigned>(id >= 0x1040 ? id - 0x1040 : number("subsystem_device"));
  }
  /// Of a VF; a function that has none is its own.
  [[nodiscard]] std::string pf_of(const std::string& function) const {
    std::error_code error;
    const auto pf = std::filesystem::read_symlink(devices_ / function / "physfn", error);
    return error ? function : pf.filename().string();
  }
  /// Ports behind which a virtio function is.
  control::Outcome<Json> ports() {
    auto all = ask_("port.list", Json::object());
    if (!all) return all;
    Json some = Json::array();
    for (const Json& port : *all) {
      if (text(port, "model").substr(0, 5) == "vdpa-") some.push_back(port);
    }
    return some;
  }
  /// The port of a function; or what to answer instead.
  tl::expected<Json, Json> port_of(const std::string& written) {
    const auto parsed = parse_pci_address(written);
    auto all = ports();
    if (!all) return tl::unexpected(failed(kProbeFailed, all.error().text));
    for (const Json& port : *all) {
      if (parsed && text(port, "device") == parsed->text()) return port;
    }
    return tl::unexpected(failed(kNoSuchVf, fmt::format("no port has the function {}", written)));
  }
  static Json shown(const Json& port) {
    return Json{{"vf", text(port, "device")},
                {"probed", true},
                {"queue_num", member(port, "function_queues")},
                {"queue_size", member(port, "function_ring_size")},
                {"msix_num", member(port, "function_vectors")},
                {"device_feature", Json{{"value", member(port, "function_features")}}},
                {"mac", member(port, "mac")},
                {"mtu", member(port, "mtu")},
                {"vm_uuid", ""},
                {"socket_file", text(port, "socket")},
                {"configured", text(port, "serving") == "direct" || text(port, "serving") == "shadow"},
                {"serving", member(port, "serving")}};
  }

  const AskAny& ask_;
  std::filesystem::path devices_;
};

Json Functions::add(const std::string& written, const std::string& socket) {
  const auto function = address(written);
  if (!function) return failed(kNoSuchVf, fmt::format("there is no PCI device {}", written));
  const unsigned kind = kind_of(*function);
  if (kind != 1 && kind != 2) {
    return failed(kProbeFailed, fmt::format("{} is neither a virtio network card nor a virtio disk", *function));
  }
  std::string name = "vf-" + *function;
  std::replace(name.begin(), name.end(), ':', '-');
  const auto added = ask_("port.add", Json{{"name", name},
                                           {"model", kind == 1 ? "vdpa-net" : "vdpa-blk"},
                                           {"device", *function},
                                           {"socket", socket.empty() ? "/tmp/vf-" + *function : socket}});
  if (added) return done();
  const control::Problem& problem = added.error();
  const bool is_there = problem.kind == ProblemKind::already_exists;
  return failed(is_there && problem.field == "socket" ? kSocketExists
                : is_there                            ? kVfExists
                                                      : kProbeFailed,
                problem.text);
}

Json Functions::remove(const std::string& written) {
  const auto port = port_of(written);
  if (!port) return port.error();
  const auto removed = ask_("port.remove", Json{{"name", text(*port, "name")}});
  return removed ? done() : failed(kProbeFailed, removed.error().text);
}

Json Functions::info(const std::string& written) {
  const auto port = port_of(written);
  return port ? done(shown(*port)) : port.error();
}

Json Functions::status(const std::string& written) {
  const auto port = port_of(written);
  if (!port) return port.error();
  const std::string serving = text(*port, "serving");
  const bool runs = serving == "direct" || serving == "shadow" || serving == "software";
  return done(Json{{"lm_status", runs ? "running" : "quiesced"}, {"serving", serving}});
}

Json Functions::list_of(const std::string& pf) {
  const auto owner = parse_pci_address(pf);
  auto all = ports();
  if (!all) return failed(kProbeFailed, all.error().text);
  Json devices = Json::array();
  for (const Json& port : *all) {
    if (owner && pf_of(text(port, "device")) == owner->text()) devices.push_back(shown(port));
  }
  if (devices.empty()) return failed(kNoSuchVf, fmt::format("no port has a function of {}", pf));
  return done(Json{{"devices", std::move(devices)}});
}

// Its kernel driver stays: nothing of it is managed here, and its virtual functions need not wait for it.
Json Functions::add_pf(const std::string& written) {
  const auto function = address(written);
  if (!function) return failed(kNoSuchPf, fmt::format("there is no PCI device {}", written));
  if (pf_of(*function) != *function) return failed(kNoSuchPf, fmt::format("{} is a virtual function", *function));
  return done();
}

Json Functions::remove_pf(const std::string& written) {
  if (Json added = add_pf(written); added["errno"] != 0) return added;
  const Json functions = list_of(written);
  return functions["errno"] != 0 ? done() : failed(kPfHasVfs, fmt::format("ports have functions of {}", written));
}

Json Functions::list_pfs() {
  auto all = ports();
  if (!all) return failed(kProbeFailed, all.error().text);
  Json devices = Json::array();
  for (const Json& port : *all) {
    const Json one{{"pf", pf_of(text(port, "device"))}};
    if (std::find(devices.begin(), devices.end(), one) == devices.end()) devices.push_back(one);
  }
  if (devices.empty()) return failed(kNoSuchPf, "no port has a virtio function");
  return done(Json{{"devices", std::move(devices)}});
}

/// What was given for this option; empty: nothing.
std::string given(const Call& call, const char* option) {
  const auto found = call.local.find(option);
  return found == call.local.end() ? "" : found->second;
}

Exit answer(const Json& result, const Out& out) {
  out(result.dump(4) + '\n');
  return {result["errno"] == 0 ? 0 : kFailure, "", ""};
}

Exit expected_one_of(const char* options, const Call& call) {
  return usage_error("vmuxctl", fmt::format("expected one of {}", options), call.as_json);
}

}  // namespace

Json vf_answer(const Call& call, const AskAny& ask, const std::string& sys) {
  Functions functions{ask, sys};
  if (const std::string vf = given(call, kVfAdd); !vf.empty()) return functions.add(vf, given(call, kVfSocket));
  if (const std::string vf = given(call, kVfRemove); !vf.empty()) return functions.remove(vf);
  if (const std::string pf = given(call, kVfList); !pf.empty()) return functions.list_of(pf);
  if (const std::string vf = given(call, kVfInfo); !vf.empty()) return functions.info(vf);
  const std::string vf = given(call, kVfDebug);
  if (vf.empty()) return {};
  constexpr int kNotSupported = 95;  // EOPNOTSUPP
  if (given(call, kVfOperation) == "6") return functions.status(vf);
  return failed(kNotSupported,
                "queues stop and writes are logged when the VMM says so, and not by hand: only 6 is there");
}

Json mgmtpf_answer(const Call& call, const AskAny& ask, const std::string& sys) {
  Functions functions{ask, sys};
  if (const std::string pf = given(call, kVfAdd); !pf.empty()) return functions.add_pf(pf);
  if (const std::string pf = given(call, kVfRemove); !pf.empty()) return functions.remove_pf(pf);
  if (call.params.contains("list")) return functions.list_pfs();
  return {};
}

Exit manage_vf(const Call& call, const AskAny& ask, const Out& out) {
  const Json result = vf_answer(call, ask, "/sys");
  return result.is_null() ? expected_one_of("-a, -r, -l, -i and -d", call) : answer(result, out);
}

Exit manage_pf(const Call& call, const AskAny& ask, const Out& out) {
  const Json result = mgmtpf_answer(call, ask, "/sys");
  return result.is_null() ? expected_one_of("-a, -r and -l", call) : answer(result, out);
}

}  // namespace vmux::app
