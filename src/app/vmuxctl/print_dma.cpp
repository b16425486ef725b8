// SPDX-License-Identifier: BSD-3-Clause
// `vmuxctl port dma`: what a VM has given to its card.
#include "app/vmuxctl/print.hpp"
#include "app/vmuxctl/table.hpp"
#include "base/text/format.hpp"

namespace vmux::app {
namespace {

using control::Json;

std::string where(const Json& translated) {
  if (member(translated, "range").is_null())
    return fmt::format("{} is not in what the VM has given\n", text(translated, "address"));
  std::string out = fmt::format("{} is in range {}, {}, {}", text(translated, "address"), text(translated, "range"),
                                text(translated, "access"), text(translated, "reached"));
  if (!member(translated, "file").is_null())
    out += fmt::format(": byte {} of file {}", text(translated, "file_offset"), text(translated, "file"));
  out += '\n';
  const Json& in_memory = member(translated, "in_memory");
  if (in_memory.is_null() && member(translated, "reached") == Json("mapped"))
    return out + "its file is no memory: where its page is nobody asks\n";
  if (in_memory == Json(false)) return out + "its page is not in memory now\n";
  if (const Json& node = member(translated, "node"); node.is_number())
    out += fmt::format("its page is on memory node {}\n", text(node));
  if (!translated.contains("physical")) return out;
  const Json& physical = member(translated, "physical");
  return out + (physical.is_null() ? "the kernel does not tell where in this machine's memory (CAP_SYS_ADMIN)\n"
                                   : fmt::format("in this machine's memory it is at {}\n", text(physical)));
}

/// With its number, by which other parts of the result name it.
Json numbered(const Json& list, const char* key) {
  Json out = Json::array();
  for (const Json& each : list) {
    Json row{{key, out.size()}};
    row.update(each);
    out.push_back(std::move(row));
  }
  return out;
}

}  // namespace

std::string print_dma(const Json& dma) {
  std::string out =
      fmt::format("{}: {} bytes in {} ranges", text(dma, "name"), text(dma, "bytes"), member(dma, "ranges").size());
  const Json& more = member(dma, "not_shown");
  if (more.is_number() && more != 0) out += fmt::format(", and {} that are not shown", text(more));
  const Json& client = member(dma, "client");
  out += client.is_null() ? "\n" : fmt::format(", of process {}\n", text(client));
  if (const Json& ranges = member(dma, "ranges"); !ranges.empty())
    out +=
        '\n' +
        render({numbered(ranges, "range"), {"range", "start", "end", "access", "reached", "file", "file_offset"}, ""});
  if (const Json& files = member(dma, "files"); !files.empty())
    out += '\n' + render({numbered(files, "file"), {"file", "kind", "page_size", "inode", "client_maps"}, ""});
  if (const Json& translated = member(dma, "translated"); translated.is_object()) out += '\n' + where(translated);
  return out;
}

}  // namespace vmux::app
