#include "proxy/cli/diff_format.h"

#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace fairlead {

using Json = nlohmann::ordered_json;

std::string FormatDiffUnified(const std::vector<v1::Difference>& differences) {
  if (differences.empty()) return "";
  std::string text = "--- plan\n+++ kernel\n";
  const v1::Difference* last = nullptr;
  for (const v1::Difference& difference : differences) {
    const bool same_hunk = last != nullptr && last->group() == difference.group() &&
                           last->service() == difference.service();
    if (!same_hunk) {
      absl::StrAppend(&text, "@@ ", difference.group(),
                      difference.service().empty() ? "" : ", Service ", difference.service(),
                      " @@\n");
      if (!difference.context().empty()) absl::StrAppend(&text, " ", difference.context(), "\n");
    }
    for (const std::string& line : difference.wanted()) absl::StrAppend(&text, "-", line, "\n");
    for (const std::string& line : difference.found()) absl::StrAppend(&text, "+", line, "\n");
    last = &difference;
  }
  return text;
}

std::string FormatDiffJson(const std::vector<v1::Difference>& differences) {
  Json document;
  document["equal"] = differences.empty();
  std::map<std::string, int> counts;
  for (const v1::Difference& difference : differences) ++counts[difference.kind()];
  document["counts"] = counts;
  document["differences"] = Json::array();
  for (const v1::Difference& difference : differences) {
    document["differences"].push_back({{"kind", difference.kind()},
                                       {"object", difference.object()},
                                       {"service", difference.service()},
                                       {"wanted", difference.wanted()},
                                       {"found", difference.found()}});
  }
  return document.dump(2) + "\n";
}

}  // namespace fairlead
