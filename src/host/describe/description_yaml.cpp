// SPDX-License-Identifier: BSD-3-Clause
// YAML by yaml-cpp.
#include <yaml-cpp/yaml.h>

#include <limits>

#include "base/text/format.hpp"
#include "host/describe/description.hpp"
#include "host/describe/description_tree.hpp"

namespace vmux::host {
namespace {

constexpr unsigned kDeepest = 8;  // a description needs five levels; an alias may hold itself

struct Mistake {
  int line;
  std::string text;
};

Value value_of(const YAML::Node& node, unsigned depth);

/// A quoted scalar is text and nothing else (its tag is "!", a plain one's is "?").
void read_scalar(const YAML::Node& node, Value& value) {
  value.text = node.Scalar();
  if (node.Tag() != "?") return;
  // Not yaml-cpp's reading, to which 0100 is 64.
  if (const auto number = parse_number(node.Scalar(), std::numeric_limits<std::int64_t>::max()))
    value.number = static_cast<std::int64_t>(*number);
  if (bool flag = false; YAML::convert<bool>::decode(node, flag)) value.flag = flag;
}

void read_table(const YAML::Node& node, unsigned depth, Value& value) {
  value.kind = Value::Kind::table;
  for (const auto& each : node) {
    const int line = each.first.Mark().line;
    if (!each.first.IsScalar()) throw Mistake{line, "expected a key"};
    const std::string& key = each.first.Scalar();
    if (value.find(key) != nullptr) throw Mistake{line, fmt::format("'{}' is here twice", key)};
    value.add(key, static_cast<unsigned>(line + 1), value_of(each.second, depth));
  }
}

Value value_of(const YAML::Node& node, unsigned depth) {
  Value value;
  value.line = static_cast<unsigned>(node.Mark().line + 1);
  if (depth == kDeepest) throw Mistake{node.Mark().line, "nested too deep"};
  if (node.IsScalar()) read_scalar(node, value);
  if (node.IsMap()) read_table(node, depth + 1, value);
  if (node.IsSequence()) {
    value.kind = Value::Kind::list;
    for (const YAML::Node& each : node)
      value.list.push_back(value_of(each, depth + 1));
  }
  return value;
}

void put_vf(YAML::Emitter& out, unsigned index, const VfEntry& entry) {
  const VfSettings& settings = entry.settings;
  const auto put = [&](const char* key, const auto& value) {
    if (value) out << YAML::Key << key << YAML::Value << *value;
  };
  out << YAML::BeginMap << YAML::Key << "index" << YAML::Value << index;
  if (settings.mac) out << YAML::Key << "mac" << YAML::Value << YAML::DoubleQuoted << *settings.mac;
  put("vlan", settings.vlan);
  if (settings.qos) out << YAML::Key << "qos" << YAML::Value << unsigned{*settings.qos};
  put("trust", settings.is_trusted);
  put("spoofchk", settings.checks_spoofing);
  if (settings.link) out << YAML::Key << "link" << YAML::Value << std::string{link_name(*settings.link)};
  if (!entry.driver.empty()) out << YAML::Key << "driver" << YAML::Value << entry.driver;
  out << YAML::EndMap;
}

void put_nic(YAML::Emitter& out, const NicEntry& nic) {
  out << YAML::BeginMap << YAML::Key << "device" << YAML::Value << YAML::DoubleQuoted << nic.device;
  if (!nic.driver.empty()) out << YAML::Key << "driver" << YAML::Value << nic.driver;
  if (nic.vfs) out << YAML::Key << "vfs" << YAML::Value << *nic.vfs;
  if (!nic.irq_cpus.empty())
    out << YAML::Key << "irq_cpus" << YAML::Value << YAML::DoubleQuoted << to_text(nic.irq_cpus);
  if (!nic.entries.empty()) {
    out << YAML::Key << "vf" << YAML::Value << YAML::BeginSeq;
    for (const auto& [index, entry] : nic.entries)
      put_vf(out, index, entry);
    out << YAML::EndSeq;
  }
  out << YAML::EndMap;
}

void put_hugepages(YAML::Emitter& out, const HugepagesRequest& request) {
  out << YAML::BeginMap << YAML::Key << "count" << YAML::Value << request.count;
  if (request.size_kib) out << YAML::Key << "size" << YAML::Value << size_text(*request.size_kib);
  if (request.node) out << YAML::Key << "node" << YAML::Value << *request.node;
  if (request.mounts) out << YAML::Key << "mount" << YAML::Value << true;
  out << YAML::EndMap;
}

}  // namespace

Outcome<Value> read_yaml(std::string_view text, const std::string& name) {
  const auto wrong = [&](int line, const std::string& what) {
    return refuse(Errc::invalid_argument, fmt::format("{}:{}: {}", name, line + 1, what));
  };
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string{text});
    if (documents.size() > 1) return wrong(documents[1].Mark().line, "a second document; one describes the host");
    if (documents.empty() || documents[0].IsNull()) return Value{.kind = Value::Kind::table, .line = 1};
    return value_of(documents[0], 0);
  } catch (const Mistake& mistake) {
    return wrong(mistake.line, mistake.text);
  } catch (const YAML::Exception& error) {
    return wrong(error.mark.line, error.msg);
  }
}

std::string to_yaml(const Description& description) {
  YAML::Emitter out;
  out << YAML::BeginMap;
  if (!description.hugepages.empty()) {
    out << YAML::Key << "hugepages" << YAML::Value << YAML::BeginSeq;
    for (const HugepagesRequest& each : description.hugepages)
      put_hugepages(out, each);
    out << YAML::EndSeq;
  }
  if (!description.nics.empty()) {
    out << YAML::Key << "nic" << YAML::Value << YAML::BeginSeq;
    for (const NicEntry& nic : description.nics)
      put_nic(out, nic);
    out << YAML::EndSeq;
  }
  if (description.isolated) {
    out << YAML::Key << "cpus" << YAML::Value << YAML::BeginMap << YAML::Key << "isolated" << YAML::Value
        << YAML::DoubleQuoted << to_text(*description.isolated) << YAML::EndMap;
  }
  out << YAML::EndMap;
  return std::string{kSavedHeading} + out.c_str() + "\n";
}

}  // namespace vmux::host
