// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/capture/compile.hpp"

#include <pcap/pcap.h>

#include <memory>
#include <span>

#include "base/text/format.hpp"

namespace vmux::app {
namespace {

constexpr int kMostBytes = 262'144;   // of a frame
constexpr unsigned kMostSteps = 256;  // that a daemon takes: packet/filter.hpp

struct Program {
  bpf_program code{};
  ~Program() { pcap_freecode(&code); }
};

}  // namespace

Parsed<std::string> compile_filter(const std::string& expression) {
  const std::unique_ptr<pcap_t, void (*)(pcap_t*)> pcap{pcap_open_dead(DLT_EN10MB, kMostBytes), pcap_close};
  Program program;
  if (!pcap) return tl::unexpected<std::string>("libpcap cannot begin to compile it");
  if (pcap_compile(pcap.get(), &program.code, expression.c_str(), /*optimize=*/1, PCAP_NETMASK_UNKNOWN) != 0) {
    return tl::unexpected<std::string>(fmt::format("'{}' is no filter: {}", expression, pcap_geterr(pcap.get())));
  }
  const std::span steps{program.code.bf_insns, program.code.bf_len};
  if (steps.size() > kMostSteps) {
    return tl::unexpected<std::string>(
        fmt::format("'{}' takes {} steps for each frame, and {} are the most that a poller is to make", expression,
                    steps.size(), kMostSteps));
  }
  std::string text = std::to_string(steps.size());
  for (const bpf_insn& step : steps)
    text += fmt::format(",{} {} {} {}", step.code, step.jt, step.jf, step.k);
  return text;
}

}  // namespace vmux::app
