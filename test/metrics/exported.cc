#include "test/metrics/exported.h"

#include <ostream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace fairlead::lab {
namespace {

// The family of a series: that of a histogram's parts is the histogram.
Family* FindFamily(Families& families, absl::string_view name) {
  for (const absl::string_view suffix : {"", "_bucket", "_sum", "_count"}) {
    absl::string_view stem = name;
    if (!absl::ConsumeSuffix(&stem, suffix)) continue;
    if (const auto it = families.find(std::string(stem)); it != families.end()) return &it->second;
  }
  return nullptr;
}

std::string WithoutQuotes(absl::string_view cell) {
  return std::string(absl::StripSuffix(absl::StripPrefix(cell, "`"), "`"));
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Family& family) {
  return out << family.type << " {" << absl::StrJoin(family.labels, ",") << "}";
}

Families ParseExported(absl::string_view text) {
  Families families;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    if (absl::StartsWith(line, "# TYPE ")) {
      const std::vector<std::string> words = absl::StrSplit(line, ' ');
      families[words.at(2)].type = words.at(3);
    }
    if (line[0] == '#') continue;
    const size_t end = line.find_first_of("{ ");
    Family* family = FindFamily(families, line.substr(0, end));
    if (family == nullptr) {
      families[std::string(line.substr(0, end))].type = "none";
      continue;
    }
    // No value of a test has a quote in it.
    std::vector<std::string> parts = absl::StrSplit(line.substr(end), '"');
    for (size_t i = 0; i + 1 < parts.size(); i += 2) {
      const std::string label(parts[i].begin() + 1, parts[i].end() - 1);
      if (label != "le") family->labels.insert(label);
    }
  }
  return families;
}

Families ParseDocumented(absl::string_view markdown, absl::string_view heading) {
  Families families;
  bool inside = false;
  for (const absl::string_view line : absl::StrSplit(markdown, '\n')) {
    if (absl::StartsWith(line, "## ")) inside = line.substr(3) == heading;
    if (!inside || !absl::StartsWith(line, "| `")) continue;
    const std::vector<absl::string_view> cells = absl::StrSplit(line, " | ");
    if (cells.size() < 4) continue;
    Family& family = families[WithoutQuotes(absl::StripPrefix(cells[0], "| "))];
    family.type = std::string(cells[1]);
    for (const absl::string_view label : absl::StrSplit(cells[2], ", ")) {
      if (label != "-") family.labels.insert(WithoutQuotes(label));
    }
  }
  return families;
}

}  // namespace fairlead::lab
