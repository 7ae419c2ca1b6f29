#include "proxy/cli/config_file.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace fairlead {
namespace {

constexpr char kConfigFlag[] = "--config";

// Those that say something of the invocation, and not of the program that runs.
bool IsSetting(const CLI::Option& option) {
  const std::string name = option.get_name(/*positional=*/false, /*all_options=*/false);
  return absl::StartsWith(name, "--") && name != "--help" && name != "--version" &&
         name != kConfigFlag && option.get_configurable();
}

// By key.
std::map<std::string, CLI::Option*> SettingsOf(CLI::App& command) {
  std::map<std::string, CLI::Option*> settings;
  for (CLI::Option* option : command.get_options()) {
    if (!IsSetting(*option)) continue;
    settings.emplace(option->get_name(false, false).substr(2), option);
  }
  return settings;
}

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t above = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, above + 1, diagonal + (a[i] == b[j] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

std::string Meant(const std::string& nearest) {
  return nearest.empty() ? "" : absl::StrCat(": is ", nearest, " meant?");
}

absl::StatusOr<YAML::Node> Load(const std::string& path) {
  try {
    return YAML::LoadFile(path);
  } catch (const YAML::BadFile&) {
    return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ":", error.mark.line + 1, ": ", error.msg));
  }
}

struct Given {
  CLI::Option* option;
  std::vector<std::string> values;
};

// The values of a key, or what is wrong with them.
absl::StatusOr<std::vector<std::string>> ValuesOf(const YAML::Node& node) {
  std::vector<std::string> values;
  if (node.IsScalar()) {
    values.push_back(node.Scalar());
  } else if (node.IsSequence()) {
    for (const YAML::Node& element : node) {
      if (!element.IsScalar()) return absl::InvalidArgumentError("has to be a list of values");
      values.push_back(element.Scalar());
    }
  }
  if (values.empty()) return absl::InvalidArgumentError("has to be a value, or a list of values");
  return values;
}

std::vector<std::string> LongNamesOf(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back(absl::StrCat("--", name));
  }
  return names;
}

void DescribeUnknownOf(const CLI::App& command, std::vector<std::string>& lines) {
  const std::vector<std::string> names = LongNamesOf(command);
  const std::vector<std::string> words = command.remaining();
  for (const std::string& word : words) {
    if (absl::StartsWith(word, "--")) {
      const std::string flag = word.substr(0, word.find('='));
      lines.push_back(absl::StrCat("unknown flag ", flag, Meant(NearestWord(flag, names))));
    } else {
      lines.push_back(absl::StrCat("nobody expects the argument ", word));
    }
  }
  const std::vector<CLI::App*> children = command.get_subcommands();
  for (const CLI::App* child : children) DescribeUnknownOf(*child, lines);
}

}  // namespace

std::string VariableOf(absl::string_view flag) {
  flag.remove_prefix(std::min(flag.find_first_not_of("-"), flag.size()));
  return absl::StrCat("FAIRLEAD_", absl::AsciiStrToUpper(absl::StrReplaceAll(flag, {{"-", "_"}})));
}

void BindEnvironment(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    for (const auto& [key, option] : SettingsOf(*command)) option->envname(VariableOf(key));
    for (CLI::Option* option : command->get_options()) {
      if (option->get_name(false, false) == kConfigFlag) option->envname(VariableOf(kConfigFlag));
    }
    BindEnvironment(*command);
  }
}

absl::StatusOr<bool> IsConfigFile(const std::string& path) {
  const absl::StatusOr<YAML::Node> file = Load(path);
  if (!file.ok()) return file.status();
  return !file->IsMap() || (!(*file)["kind"] && !(*file)["apiVersion"]);
}

absl::Status ApplyConfigFile(const std::string& path, CLI::App& command) {
  const absl::StatusOr<YAML::Node> file = Load(path);
  if (!file.ok()) return file.status();
  if (file->IsNull()) return absl::OkStatus();
  if (!file->IsMap()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": has to be keys with values"));
  }
  const std::map<std::string, CLI::Option*> settings = SettingsOf(command);
  std::vector<std::string> keys;
  keys.reserve(settings.size());
  for (const auto& [key, option] : settings) keys.push_back(key);
  std::vector<std::string> faults;
  std::set<std::string> seen;
  std::vector<Given> given;
  for (const auto& entry : *file) {
    const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "";
    const std::string where = absl::StrCat(path, ":", entry.first.Mark().line + 1, ": ", key);
    const auto setting = settings.find(key);
    if (setting == settings.end()) {
      faults.push_back(absl::StrCat(where, " is no key of `fairlead ", command.get_name(), "`",
                                    Meant(NearestWord(key, keys))));
      continue;
    }
    if (!seen.insert(key).second) {
      faults.push_back(absl::StrCat(where, " is there twice"));
      continue;
    }
    absl::StatusOr<std::vector<std::string>> values = ValuesOf(entry.second);
    if (!values.ok()) {
      faults.push_back(absl::StrCat(where, " ", values.status().message()));
    } else if (setting->second->count() == 0) {
      given.push_back({setting->second, *std::move(values)});
    }
  }
  for (const Given& each : given) {
    if (!faults.empty()) break;
    try {
      for (const std::string& value : each.values) each.option->add_result(value);
      each.option->run_callback();
    } catch (const CLI::ParseError& error) {
      faults.push_back(absl::StrCat(path, ": ", error.what()));
    }
  }
  if (faults.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(faults, "\n"));
}

std::string NearestWord(absl::string_view word, const std::vector<std::string>& words) {
  std::string nearest;
  // A third of its letters and one more may be others.
  size_t best = word.size() / 3 + 2;
  for (const std::string& candidate : words) {
    const size_t distance = EditDistance(word, candidate);
    if (distance >= best) continue;
    best = distance;
    nearest = candidate;
  }
  return nearest;
}

std::string DescribeUnknown(const CLI::App& app) {
  std::vector<std::string> lines;
  // A word in the place of a command.
  const std::vector<std::string> words = app.remaining();
  if (app.get_subcommands().empty() && !words.empty() && !absl::StartsWith(words[0], "-")) {
    std::vector<std::string> names;
    for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
      names.push_back(command->get_name());
    }
    return absl::StrCat("unknown command ", words[0], Meant(NearestWord(words[0], names)), "\n");
  }
  DescribeUnknownOf(app, lines);
  return lines.empty() ? "" : absl::StrCat(absl::StrJoin(lines, "\n"), "\n");
}

}  // namespace fairlead
