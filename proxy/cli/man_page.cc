#include "proxy/cli/man_page.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace fairlead {
namespace {

// A line that begins with a dot or a quote would be a request.
std::string Escape(absl::string_view text) {
  std::string escaped = absl::StrReplaceAll(text, {{"\\", "\\e"}, {"-", "\\-"}});
  if (absl::StartsWith(escaped, ".") || absl::StartsWith(escaped, "'")) {
    escaped.insert(0, "\\&");
  }
  return escaped;
}

std::string PageOf(const std::string& name) { return absl::StrReplaceAll(name, {{" ", "-"}}); }

void AppendFlag(const FlagShape& flag, std::string& text) {
  std::vector<std::string> names;
  for (const std::string& name : flag.names) {
    names.push_back(absl::StrCat("\\fB", Escape(name), "\\fR"));
  }
  absl::StrAppend(&text, ".TP\n", absl::StrJoin(names, ", "));
  if (!flag.value.empty()) absl::StrAppend(&text, " \\fI", Escape(flag.value), "\\fR");
  if (flag.repeated) absl::StrAppend(&text, " ...");
  absl::StrAppend(&text, "\n", Escape(flag.description), ".");
  if (!flag.default_value.empty()) {
    absl::StrAppend(&text, "\nDefault: ", Escape(flag.default_value), ".");
  }
  if (!flag.variable.empty()) {
    absl::StrAppend(&text, "\nVariable: \\fB", Escape(flag.variable), "\\fR.");
  }
  absl::StrAppend(&text, "\n");
}

std::string Page(const CommandShape& command, const std::string& version) {
  const std::string page = PageOf(command.name);
  std::string text = absl::StrCat(
      ".TH ", absl::AsciiStrToUpper(Escape(page)), " 1 \"\" \"fairlead ", Escape(version),
      "\" \"Fairlead\"\n.SH NAME\n", Escape(page), " \\- ", Escape(command.description),
      "\n.SH SYNOPSIS\n\\fB", Escape(command.name), "\\fR");
  if (!command.commands.empty()) absl::StrAppend(&text, " \\fIcommand\\fR");
  absl::StrAppend(&text, " [\\fIflags\\fR]", command.arguments.empty() ? "" : " ",
                  Escape(command.arguments), "\n");
  if (!command.commands.empty()) {
    absl::StrAppend(&text, ".SH COMMANDS\n");
    for (const CommandShape& child : command.commands) {
      absl::StrAppend(&text, ".TP\n.BR ", Escape(PageOf(child.name)), " (1)\n",
                      Escape(child.description), ".\n");
    }
  }
  // Groups as they come.
  std::vector<std::string> groups;
  for (const FlagShape& flag : command.flags) {
    if (std::find(groups.begin(), groups.end(), flag.group) == groups.end()) {
      groups.push_back(flag.group);
    }
  }
  if (!groups.empty()) absl::StrAppend(&text, ".SH FLAGS\n");
  for (const std::string& group : groups) {
    if (groups.size() > 1) absl::StrAppend(&text, ".SS ", Escape(group), "\n");
    for (const FlagShape& flag : command.flags) {
      if (flag.group == group) AppendFlag(flag, text);
    }
  }
  if (!command.footer.empty()) {
    absl::StrAppend(&text, ".SH NOTES\n.nf\n");
    for (const absl::string_view line : absl::StrSplit(command.footer, '\n')) {
      absl::StrAppend(&text, Escape(line), "\n");
    }
    absl::StrAppend(&text, ".fi\n");
  }
  return text;
}

void AddPages(const CommandShape& command, const std::string& version,
              std::map<std::string, std::string>& pages) {
  pages.emplace(PageOf(command.name) + ".1", Page(command, version));
  for (const CommandShape& child : command.commands) AddPages(child, version, pages);
}

}  // namespace

std::map<std::string, std::string> ManPages(const CommandShape& program,
                                            const std::string& version) {
  std::map<std::string, std::string> pages;
  AddPages(program, version, pages);
  return pages;
}

}  // namespace fairlead
