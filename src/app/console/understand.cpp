// SPDX-License-Identifier: BSD-3-Clause
#include "app/console/understand.hpp"

#include "app/console/choice.hpp"
#include "app/console/wrap.hpp"
#include "base/text/format.hpp"
#include "base/text/words.hpp"

namespace vmux::app {

tl::expected<std::string, std::string> command_of(const std::string& word, Words commands, const std::string& where) {
  commands.emplace_back("help");
  const Words meant = word.empty() ? Words{} : beginning_with(word, commands);
  if (meant.size() == 1) return meant.front();
  if (meant.size() > 1)
    return tl::unexpected<std::string>(fmt::format("'{}' may be {} here", word, fmt::join(meant, " or ")));
  const std::string guess = did_you_mean(word, commands);
  return tl::unexpected<std::string>(
      fmt::format("'{}' is no command of {}{}", word, where,
                  guess.empty() ? fmt::format("; there are: {}", fmt::join(commands, ", ")) : guess));
}

namespace {

std::string joined(const Words& words, const char* between) { return fmt::format("{}", fmt::join(words, between)); }

/// "vmuxctl port add"
std::string path_of(const CLI::App* app) {
  std::string path = app->get_name();
  for (app = app->get_parent(); app != nullptr; app = app->get_parent())
    path.insert(0, app->get_name() + ' ');
  return path;
}

Words commands_of(const CLI::App* app) {
  Words names;
  for (const CLI::App* sub : app->get_subcommands({}))
    names.push_back(sub->get_name());
  return names;
}

/// Whether CLI11 takes it for an option: "-1" is a number to it.
bool is_option(const std::string& word) {
  return word.size() > 1 && word[0] == '-' && (word[1] < '0' || word[1] > '9');
}

/// The apps whose options `app` takes: its own and those that it falls through to.
std::vector<const CLI::App*> takers(const CLI::App* app) {
  std::vector<const CLI::App*> all{app};
  while (app->get_fallthrough() && app->get_parent() != nullptr)
    all.push_back(app = app->get_parent());
  return all;
}

const CLI::Option* find_option(const CLI::App* app, const std::string& name) {
  for (const CLI::App* taker : takers(app)) {
    if (const CLI::Option* const found = taker->get_option_no_throw(name); found != nullptr) return found;
  }
  return nullptr;
}

Words options_of(const CLI::App* app) {
  Words names;
  for (const CLI::App* taker : takers(app)) {
    for (const CLI::Option* option : taker->get_options()) {
      for (const std::string& name : option->get_lnames())
        names.push_back("--" + name);
    }
  }
  return names;
}

class Reader {
 public:
  Reader(const CLI::App& app, const Words& written) : at_(&app), written_(written) {}
  tl::expected<Words, std::string> read();

 private:
  std::string take_option();
  std::string take_word();

  const CLI::App* at_;
  const Words& written_;
  std::size_t next_ = 0;
  Words out_;
  bool wants_help_ = false;
  bool is_rest_ = false;  ///< what follows belongs to another program
};

/// Takes the option at `next_`, with its value. Returns a sentence about what is wrong, or nothing.
std::string Reader::take_option() {
  const std::string& word = written_[next_++];
  const bool is_long = word[1] == '-';
  const std::size_t equals = is_long ? word.find('=') : std::string::npos;
  const std::string name = word.substr(0, is_long ? equals : 2);
  const CLI::Option* const option = find_option(at_, name);
  if (option == nullptr)
    return fmt::format("'{}' is no option of {}{}", name, path_of(at_), did_you_mean(name, options_of(at_)));
  const bool takes_value = option->get_items_expected_max() > 0;
  if (takes_value && equals != std::string::npos) {  // CLI11 takes the next word for the value of "--name="
    out_.insert(out_.end(), {name, word.substr(equals + 1)});
    return {};
  }
  out_.push_back(word);
  if (takes_value && (is_long || word.size() == 2) && next_ < written_.size()) out_.push_back(written_[next_++]);
  return {};
}

/// Takes the command or positional argument at `next_`.
std::string Reader::take_word() {
  const std::string& word = written_[next_++];
  const Words commands = commands_of(at_);
  const bool has_words = !at_->get_options([](const CLI::Option* option) { return option->get_positional(); }).empty();
  if (commands.empty() && (has_words || word != "help")) {
    is_rest_ = at_->get_positionals_at_end();
    out_.push_back(word);
    return {};
  }
  const auto found = command_of(word, commands, path_of(at_));
  if (!found) return found.error();
  if (*found == "help") {
    wants_help_ = true;
    return {};
  }
  out_.push_back(*found);
  at_ = at_->get_subcommand(*found);
  return {};
}

tl::expected<Words, std::string> Reader::read() {
  while (next_ < written_.size() && !is_rest_ && written_[next_] != "--") {
    const std::string wrong = is_option(written_[next_]) ? take_option() : take_word();
    if (!wrong.empty()) return tl::unexpected<std::string>(wrong);
  }
  if (wants_help_) out_.emplace_back("--help");
  out_.insert(out_.end(), written_.begin() + static_cast<std::ptrdiff_t>(next_), written_.end());
  return std::move(out_);
}

}  // namespace

tl::expected<Words, std::string> understand(const CLI::App& app, const Words& written) {
  return Reader{app, written}.read();
}

namespace {

/// What is wrong with words that CLI11 refused, as a sentence.
std::string what_of(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* named = &app;
  while (!named->get_subcommands().empty())
    named = named->get_subcommands().front();
  if (const Words extra = app.remaining(/*recurse=*/true); !extra.empty())
    return fmt::format("'{}' is one word too many for {}", extra.front(), path_of(named));
  if (named->get_require_subcommand_min() > 0 && error.get_name() == "RequiredError")
    return fmt::format("{}: expected a command: {}", path_of(named), joined(commands_of(named), ", "));
  return error.what();
}

}  // namespace

std::optional<Exit> parse(CLI::App& app, const Words& written, const Screen& screen) {
  const bool as_json = app.get_option_no_throw("--json") != nullptr && asks_for_json(written);
  const auto words = understand(app, written);
  if (!words) return usage_error(app.get_name(), words.error(), as_json);
  try {
    app.parse(Words{words->rbegin(), words->rend()});  // CLI11 takes them from the back
  } catch (const CLI::CallForHelp&) {
    return Exit{0, wrapped(app.help(), screen.width), ""};  // that of the command that was named
  } catch (const CLI::CallForVersion& version) {
    return Exit{0, std::string{version.what()} + '\n', ""};
  } catch (const CLI::ParseError& error) {
    return usage_error(app.get_name(), what_of(app, error), as_json);
  }
  return std::nullopt;
}

void add_colour_option(CLI::App& app, Colour& into) {
  const auto take = [&into](const std::string& word) {
    into = word == "always" ? Colour::always : word == "never" ? Colour::never : Colour::automatic;
  };
  app.add_option_function<std::string>(
         "--color", take, "colours for verdicts: auto (on a terminal, unless NO_COLOR is set), always, never")
      ->type_name("WHEN")
      ->check(one_of({"auto", "always", "never"}));
}

}  // namespace vmux::app
