#include "proxy/cli/output.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace fairlead {
namespace {

constexpr char kExitCodes[] =
    "Exit codes: 0, it is done; 1, it could not be done or what was asked for is not there; 2, the "
    "command line is wrong.";

constexpr int kIndent = 2;

// What comes from elsewhere may be no UTF-8.
std::string FormatJson(const Document& document, int indent) {
  return document.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

bool IsBlock(const Document& value) { return value.is_structured() && !value.empty(); }

// A text in JSON's quotes, a number, a truth value, null, [] and {} are the same in YAML.
void AppendYaml(const Document& value, size_t column, std::string* out) {
  if (!IsBlock(value)) {
    absl::StrAppend(out, FormatJson(value, -1), "\n");
    return;
  }
  const std::string blanks(column, ' ');
  bool first = true;
  for (const auto& [key, child] : value.items()) {
    if (!first) *out += blanks;
    first = false;
    if (value.is_array()) {
      *out += "- ";
      AppendYaml(child, column + kIndent, out);
    } else {
      absl::StrAppend(out, key, ":");
      if (!IsBlock(child)) {
        *out += " ";
        AppendYaml(child, column, out);
        continue;
      }
      const size_t inside = child.is_array() ? column : column + kIndent;
      absl::StrAppend(out, "\n", std::string(inside, ' '));
      AppendYaml(child, inside, out);
    }
  }
}

void AddExitCodesTo(CLI::App& command) {
  const std::string own = command.get_footer();
  // Those of a command that has other ones are all in its own words.
  if (!absl::StrContains(own, "Exits with 0")) {
    command.footer(absl::StrCat(own, own.empty() ? "" : "\n", kExitCodes));
  }
  for (CLI::App* child : command.get_subcommands({})) AddExitCodesTo(*child);
}

}  // namespace

Output OutputFlags::output() const {
  if (wide || name == "wide") return Output::kWide;
  if (name == "json") return Output::kJson;
  if (name == "yaml") return Output::kYaml;
  return name == "ipvsadm" ? Output::kIpvsadm : Output::kText;
}

void AddOutputFlags(CLI::App& command, const std::vector<std::string>& names, OutputFlags& flags) {
  CLI::Option* output = command.add_option("-o,--output", flags.name, absl::StrJoin(names, ", "))
                            ->check(CLI::IsMember(names))
                            ->capture_default_str();
  if (std::find(names.begin(), names.end(), "wide") == names.end()) return;
  command.add_flag("--wide", flags.wide, "The same as -o wide")->excludes(output);
}

std::string FormatDocument(const Document& document, Output output) {
  if (output != Output::kYaml) return FormatJson(document, kIndent) + "\n";
  std::string text;
  AppendYaml(document, 0, &text);
  return text;
}

std::string FormatElement(const Document& element, Output output) {
  if (output == Output::kYaml) {
    std::string text = "- ";
    AppendYaml(element, kIndent, &text);
    return text;
  }
  // A newline within a text is escaped, so that each one is a line's end.
  return "    " + absl::StrReplaceAll(FormatJson(element, kIndent), {{"\n", "\n    "}});
}

void AddExitCodes(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands({})) AddExitCodesTo(*command);
}

}  // namespace fairlead
