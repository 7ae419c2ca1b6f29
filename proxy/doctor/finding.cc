#include "proxy/doctor/finding.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace fairlead {
namespace {

std::string GroupOf(const Finding& finding) {
  return finding.check.substr(0, finding.check.find('.'));
}

std::string Count(int number, absl::string_view what) {
  return absl::StrCat(number, " ", what, number == 1 ? "" : "s");
}

std::string Summary(const std::vector<Finding>& findings, bool all) {
  std::map<Severity, int> counts;
  for (const Finding& finding : findings) ++counts[finding.severity];
  std::vector<std::string> parts;
  for (const auto& [severity, word] : {std::pair(Severity::kError, "error"),
                                       {Severity::kWarning, "warning"},
                                       {Severity::kNote, "note"}}) {
    if (counts[severity] > 0) parts.push_back(Count(counts[severity], word));
  }
  if (parts.empty()) parts.emplace_back("nothing to complain of");
  return absl::StrCat(absl::StrJoin(parts, ", "), "; ", counts[Severity::kOk], " ok",
                      all || counts[Severity::kOk] == 0 ? "" : " (--all shows them)", "\n");
}

}  // namespace

absl::string_view FormatSeverity(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "ok";
    case Severity::kNote:
      return "note";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return "?";
}

Severity Worst(const std::vector<Finding>& findings) {
  Severity worst = Severity::kOk;
  for (const Finding& finding : findings) worst = std::max(worst, finding.severity);
  return worst;
}

std::string FormatFindingsText(const std::vector<Finding>& findings, bool all) {
  std::string text;
  std::string group;
  for (const Finding& finding : findings) {
    if (finding.severity == Severity::kOk && !all) continue;
    if (GroupOf(finding) != group) {
      group = GroupOf(finding);
      absl::StrAppend(&text, group, "\n");
    }
    absl::StrAppendFormat(&text, "  %-8s %s\n", FormatSeverity(finding.severity), finding.message);
    if (!finding.evidence.empty()) {
      absl::StrAppendFormat(&text, "  %-8s   read: %s\n", "", finding.evidence);
    }
    if (!finding.fix.empty()) absl::StrAppendFormat(&text, "  %-8s   do:   %s\n", "", finding.fix);
  }
  return text + Summary(findings, all);
}

std::string FormatFindingsJson(const std::vector<Finding>& findings) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"check", finding.check},
                    {"severity", std::string(FormatSeverity(finding.severity))},
                    {"message", finding.message},
                    {"evidence", finding.evidence},
                    {"fix", finding.fix}});
  }
  const nlohmann::ordered_json body = {{"worst", std::string(FormatSeverity(Worst(findings)))},
                                       {"findings", std::move(list)}};
  // Text of others (a program's message) may be no UTF-8.
  return body.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace fairlead
