// SPDX-License-Identifier: BSD-3-Clause
// Completion of command lines, from the table of commands: words of each level, options, keys of settings, and names of
// what there is, which are asked of the daemon when they are wanted.
#include <algorithm>

#include "app/vmuxctl/commands.hpp"
#include "app/vmuxctl/local/commands.hpp"
#include "base/text/format.hpp"

namespace vmux::app {
namespace {

using Words = std::vector<std::string>;

Words options_of(const Command& command) {
  Words words;
  for (const Argument& argument : command.arguments) {
    const std::string option = argument.option.substr(argument.option.rfind(',') + 1);  // of "-w,--write"
    if (option.rfind("--", 0) == 0) words.push_back(option);
    for (const control::OptionText* key : argument.keys)
      words.push_back(std::string{key->name} + '=');
  }
  if (command.table != nullptr) words.insert(words.end(), {"--columns", "--filter", "--no-headings"});
  return words;
}

/// The kind of object whose names the command takes; empty: none.
std::string names_of(const Command& command) {
  const bool is_new = command.name == "add" || command.arguments.empty();
  const bool is_of_ports = command.group.empty() && (command.name == "vm-args" || command.name == "capture" ||
                                                     command.name == "doctor" || command.name == "trace");
  const std::string kind = is_of_ports ? "port" : command.group;
  const bool has_name = !command.arguments.empty() && command.arguments.front().option == "NAME";
  return is_new || !has_name || kind.empty() ? "" : kind;
}

Words words_behind(const std::string& group) {
  Words words;
  for (const Command& command : commands()) {
    if (command.group == group) words.push_back(command.name);
  }
  if (group.empty()) {
    for (const Command& command : commands()) {
      if (!command.group.empty() && std::find(words.begin(), words.end(), command.group) == words.end())
        words.push_back(command.group);
    }
    words.insert(words.end(), {"host", "help"});
  }
  return words;
}

Words groups() {
  Words all;
  for (const Command& command : commands()) {
    if (!command.group.empty() && std::find(all.begin(), all.end(), command.group) == all.end())
      all.push_back(command.group);
  }
  return all;
}

constexpr const char* kGlobal = "--json --rpc --timeout --wait --color --help";

/// One function for bash, which zsh runs too.
std::string bash_function() {
  std::string text =
      "_vmuxctl() {\n"
      "  local current=${COMP_WORDS[COMP_CWORD]} first= second= words= kind= i\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    case ${COMP_WORDS[i]} in\n"
      "      --rpc | --timeout | --wait | --color) ((i++)) ;;\n"
      "      -*) ;;\n"
      "      *) if [ -z \"$first\" ]; then first=${COMP_WORDS[i]}; elif [ -z \"$second\" ]; then "
      "second=${COMP_WORDS[i]}; "
      "fi ;;\n"
      "    esac\n"
      "  done\n"
      "  case $first in\n";
  text += fmt::format("    '' | help) words='{} {}' ;;\n", fmt::join(words_behind(""), " "), kGlobal);
  for (const std::string& group : groups()) {
    text += fmt::format("    {})\n      case $second in\n", group);
    for (const Command& command : commands()) {
      if (command.group != group) continue;
      const std::string kind = names_of(command);
      text += fmt::format("        {}) words='{} {}'{} ;;\n", command.name, fmt::join(options_of(command), " "),
                          kGlobal, kind.empty() ? "" : " kind=" + kind);
    }
    text += fmt::format("        *) words='{}' ;;\n      esac ;;\n", fmt::join(words_behind(group), " "));
  }
  for (const Command& command : commands()) {
    if (!command.group.empty()) continue;
    const std::string kind = names_of(command);
    text += fmt::format("    {}) words='{} {}'{} ;;\n", command.name, fmt::join(options_of(command), " "), kGlobal,
                        kind.empty() ? "" : " kind=" + kind);
  }
  text +=
      "  esac\n"
      "  if [ -n \"$kind\" ]; then\n"
      "    words=\"$words $(vmuxctl \"$kind\" list --columns name --no-headings 2>/dev/null)\"\n"
      "  fi\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
      "  case ${COMPREPLY[0]} in *=) compopt -o nospace 2>/dev/null ;; esac\n"
      "  [ ${#COMPREPLY[@]} -gt 0 ] || compopt -o default 2>/dev/null\n"
      "}\n";
  return text;
}

std::string quoted_for_fish(const std::string& text) {
  std::string out = "'";
  for (const char c : text)
    out += c == '\'' || c == '\\' ? std::string{'\\', c} : std::string(1, c);
  return out + '\'';
}

std::string fish_script() {
  const Words all = groups();
  std::string text = "# Completion of vmuxctl for fish.\ncomplete -c vmuxctl -f\n";
  const std::string at_first = fmt::format("not __fish_seen_subcommand_from {}", fmt::join(words_behind(""), " "));
  for (const Command& command : commands()) {
    if (command.group.empty())
      text += fmt::format("complete -c vmuxctl -n '{}' -a {} -d {}\n", at_first, command.name,
                          quoted_for_fish(command.help));
  }
  for (const std::string& group : all)
    text += fmt::format("complete -c vmuxctl -n '{}' -a {}\n", at_first, group);
  text += fmt::format("complete -c vmuxctl -n '{}' -a 'host help'\n", at_first);
  for (const Command& command : commands()) {
    std::string when = fmt::format("__fish_seen_subcommand_from {}", command.name);
    if (!command.group.empty()) {
      text += fmt::format(
          "complete -c vmuxctl -n '__fish_seen_subcommand_from {}; and not __fish_seen_subcommand_from {}' -a {} -d "
          "{}\n",
          command.group, fmt::join(words_behind(command.group), " "), command.name, quoted_for_fish(command.help));
      when = fmt::format("__fish_seen_subcommand_from {}; and {}", command.group, when);
    }
    for (const Argument& argument : command.arguments) {
      const bool takes_value = argument.take == Take::value || argument.take == Take::local;
      if (argument.option.rfind("--", 0) == 0)
        text += fmt::format("complete -c vmuxctl -n '{}' -l {} {} -d {}\n", when, argument.option.substr(2),
                            takes_value ? "-r" : "", quoted_for_fish(argument.help));
      for (const control::OptionText* key : argument.keys)
        text += fmt::format("complete -c vmuxctl -n '{}' -a {}= -d {}\n", when, key->name, quoted_for_fish(key->help));
    }
    if (const std::string kind = names_of(command); !kind.empty())
      text += fmt::format(
          "complete -c vmuxctl -n '{}' -a '(vmuxctl {} list --columns name --no-headings 2>/dev/null)'\n", when, kind);
  }
  return text;
}

}  // namespace

std::string completion_for(const std::string& shell) {
  if (shell == "bash")
    return "# Completion of vmuxctl for bash.\n" + bash_function() + "complete -F _vmuxctl vmuxctl\n";
  if (shell == "zsh")
    return "#compdef vmuxctl\n# Completion of vmuxctl for zsh, by what it has for bash.\n"
           "autoload -U +X bashcompinit && bashcompinit\n" +
           bash_function() + "complete -F _vmuxctl vmuxctl\n";
  return shell == "fish" ? fish_script() : "";
}

Exit print_completion(const Call& call, const AskAny& /*ask*/, const Out& /*out*/) {
  const auto shell = call.local.find("SHELL");
  std::string text = shell == call.local.end() ? "" : completion_for(shell->second);
  if (text.empty()) return usage_error("vmuxctl", "SHELL: expected bash, zsh or fish", call.as_json);
  return {0, std::move(text), ""};
}

}  // namespace vmux::app
