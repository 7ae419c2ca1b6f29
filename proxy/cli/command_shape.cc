#include "proxy/cli/command_shape.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace fairlead {
namespace {

constexpr size_t kHelpWidth = 80;
constexpr size_t kHelpIndent = 6;

// CLI11 keeps them in the words of a validator: "{text,json}".
std::vector<std::string> ChoicesOf(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{');
  const size_t close = type.find('}', open);
  if (open == std::string::npos || close == std::string::npos) return {};
  return absl::StrSplit(type.substr(open + 1, close - open - 1), ',');
}

bool NamesFile(absl::string_view flag) {
  return flag == "--config" || flag == "--kubeconfig" || flag == "--manifests" ||
         flag == "--socket" || absl::EndsWith(flag, "-file") || absl::EndsWith(flag, "-dir");
}

FlagShape ShapeOfFlag(const CLI::Option& option) {
  FlagShape shape;
  for (const std::string& name : option.get_lnames()) {
    shape.names.push_back(absl::StrCat("--", name));
  }
  for (const std::string& name : option.get_snames()) {
    shape.names.push_back(absl::StrCat("-", name));
  }
  shape.choices = ChoicesOf(option);
  if (option.get_type_size() != 0) {
    const std::string type = option.get_type_name();
    shape.value = shape.choices.empty() ? absl::AsciiStrToLower(type.substr(0, type.find(':')))
                                        : absl::StrJoin(shape.choices, "|");
    shape.default_value = option.get_default_str();
    shape.repeated = option.get_expected_max() == CLI::detail::expected_max_vector_size;
    shape.takes_file = !shape.names.empty() && NamesFile(shape.names[0]);
  }
  shape.group = option.get_group();
  shape.description = option.get_description();
  shape.variable = option.get_envname();
  return shape;
}

// "FILTER...".
std::string ArgumentOf(const CLI::Option& option) {
  return absl::StrCat(
      absl::AsciiStrToUpper(option.get_name(/*positional=*/true, /*all_options=*/false)),
      option.get_expected_max() > 1 ? "..." : "");
}

CommandShape ShapeNamed(const CLI::App& app, const std::string& name) {
  CommandShape shape{
      .name = name, .description = app.get_description(), .footer = app.get_footer()};
  std::vector<std::string> arguments;
  for (const CLI::Option* option : std::vector<const CLI::Option*>(app.get_options())) {
    if (option->get_positional()) {
      const std::string word = ArgumentOf(*option);
      arguments.push_back(option->get_required() ? word : absl::StrCat("[", word, "]"));
      const std::vector<std::string> choices = ChoicesOf(*option);
      shape.argument_choices.insert(shape.argument_choices.end(), choices.begin(), choices.end());
    }
    if (!option->get_lnames().empty() || !option->get_snames().empty()) {
      shape.flags.push_back(ShapeOfFlag(*option));
    }
  }
  shape.arguments = absl::StrJoin(arguments, " ");
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* command : commands) {
    shape.commands.push_back(ShapeNamed(*command, absl::StrCat(name, " ", command->get_name())));
  }
  return shape;
}

class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    if (is_positional) {
      return absl::StrCat("  ", ArgumentOf(*option), "\n",
                          WrapText(option->get_description(), kHelpIndent, kHelpWidth), "\n");
    }
    const FlagShape shape = ShapeOfFlag(*option);
    std::string line = absl::StrCat("  ", absl::StrJoin(shape.names, ", "));
    if (!shape.value.empty()) absl::StrAppend(&line, " ", shape.value);
    if (!shape.default_value.empty()) absl::StrAppend(&line, " (", shape.default_value, ")");
    if (shape.repeated) absl::StrAppend(&line, " ...");
    if (option->get_required()) absl::StrAppend(&line, " (required)");
    return absl::StrCat(line, "\n", WrapText(shape.description, kHelpIndent, kHelpWidth), "\n");
  }

  std::string make_description(const CLI::App* app) const override {
    return absl::StrCat(WrapText(app->get_description(), 0, kHelpWidth), "\n");
  }

  std::string make_subcommand(const CLI::App* command) const override {
    return absl::StrCat("  ", command->get_name(), "\n",
                        WrapText(command->get_description(), kHelpIndent, kHelpWidth), "\n");
  }

  std::string make_footer(const CLI::App* app) const override {
    const auto options = app->get_options();
    const bool has_variables =
        std::any_of(options.begin(), options.end(),
                    [](const CLI::Option* option) { return !option->get_envname().empty(); });
    std::string footer = app->get_footer();
    if (has_variables) {
      absl::StrAppend(&footer, footer.empty() ? "" : "\n",
                      "A flag --a-flag that is not given is taken from the variable "
                      "FAIRLEAD_A_FLAG.");
    }
    std::vector<std::string> lines;
    for (const absl::string_view line : absl::StrSplit(footer, '\n')) {
      // What is laid out stays as it is.
      lines.push_back(absl::StartsWith(line, " ") ? std::string(line)
                                                  : WrapText(std::string(line), 0, kHelpWidth));
    }
    return footer.empty() ? "" : absl::StrCat("\n", absl::StrJoin(lines, "\n"), "\n");
  }
};

}  // namespace

CommandShape ShapeOf(const CLI::App& app) { return ShapeNamed(app, app.get_name()); }

std::shared_ptr<CLI::Formatter> MakeHelpFormatter() { return std::make_shared<HelpFormatter>(); }

std::string WrapText(const std::string& text, size_t indent, size_t width) {
  std::string wrapped;
  std::string line;
  const auto flush = [&] {
    if (!wrapped.empty()) wrapped += '\n';
    absl::StrAppend(&wrapped, std::string(indent, ' '), line);
    line.clear();
  };
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (!line.empty() && indent + line.size() + 1 + word.size() > width) flush();
    absl::StrAppend(&line, line.empty() ? "" : " ", word);
  }
  if (!line.empty()) flush();
  return wrapped;
}

}  // namespace fairlead
