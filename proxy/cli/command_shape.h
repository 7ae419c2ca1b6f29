// What the command line offers, as data: for help, completion and man pages, which so say the same.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

namespace fairlead {

struct FlagShape {
  std::vector<std::string> names;  // "--output", "-o"; the long one first.
  std::string value;               // "text"; empty: it takes none.
  std::vector<std::string> choices;
  std::string default_value;
  std::string group;
  std::string description;
  std::string variable;  // "FAIRLEAD_OUTPUT"; empty: there is none.
  bool repeated = false;
  bool takes_file = false;

  friend bool operator==(const FlagShape&, const FlagShape&) = default;
};

struct CommandShape {
  std::string name;  // "fairlead watcher nodes".
  std::string description;
  std::string footer;
  std::string arguments;  // "[SELECTOR...]"; empty: it takes none.
  // What the arguments may be, where that is a choice of words.
  std::vector<std::string> argument_choices;
  std::vector<FlagShape> flags;
  std::vector<CommandShape> commands;
};

CommandShape ShapeOf(const CLI::App& app);

// Help of 80 columns, in which variables are said once and not for each flag.
std::shared_ptr<CLI::Formatter> MakeHelpFormatter();

// `text` in lines of at most `width` columns where words allow it, each behind `indent` blanks.
std::string WrapText(const std::string& text, size_t indent, size_t width);

}  // namespace fairlead
