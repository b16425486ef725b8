// SPDX-License-Identifier: BSD-3-Clause
// The kernel's command line, read as the kernel reads it (lib/cmdline.c next_arg(), kernel/params.c parse_args()).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vmux::host {

class CommandLine {
 public:
  /// Words end at white space outside of double quotes; quotes around a word or a value are taken off; a bare `--` ends
  /// what is for the kernel. In names '-' and '_' are one.
  [[nodiscard]] static CommandLine parse(std::string_view text);

  /// The value of the last "name=value"; "" for a bare word; nullopt if it is not there. For parameters of which the
  /// kernel takes the last.
  [[nodiscard]] std::optional<std::string> value(std::string_view name) const;
  /// What all "name=a,b" say, in order: each is another call of the kernel's parser, which keeps what was set before.
  [[nodiscard]] std::vector<std::string> options(std::string_view name) const;
  /// Of those, the last that begins with one of these words (the kernel compares no further), as that word; "" if none
  /// does. `intel_iommu=on,igfx_off` of {"on", "off"} is "on".
  [[nodiscard]] std::string last_of(std::string_view name, const std::vector<std::string>& choices) const;

 private:
  struct Word {
    std::string name;
    std::optional<std::string> value;
  };
  std::vector<Word> words_;
};

}  // namespace vmux::host
