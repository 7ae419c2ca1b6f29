#include "proxy/cleanup/report.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fairlead {
namespace {

template <typename T>
void MoveBehind(std::vector<T>& first, std::vector<T>& later) {
  first.insert(first.end(), std::make_move_iterator(later.begin()),
               std::make_move_iterator(later.end()));
}

nlohmann::ordered_json ToJson(const CleanupItem& item) {
  return {{"kind", item.kind}, {"name", item.name}};
}

nlohmann::ordered_json ToJson(const std::vector<CleanupRemark>& remarks) {
  auto array = nlohmann::ordered_json::array();
  for (const CleanupRemark& remark : remarks) {
    array.push_back(ToJson(remark.item));
    array.back()["reason"] = remark.why;
  }
  return array;
}

// Virtual servers with marks, rules and what programs say are text of others: not always UTF-8.
std::string Dump(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

void CleanupReport::Removed(absl::string_view kind, absl::string_view name) {
  removed.push_back({std::string(kind), std::string(name)});
}

void CleanupReport::Kept(absl::string_view kind, absl::string_view name, absl::string_view why) {
  kept.push_back({{std::string(kind), std::string(name)}, std::string(why)});
}

void CleanupReport::Failed(absl::string_view kind, absl::string_view name, absl::string_view why) {
  failed.push_back({{std::string(kind), std::string(name)}, std::string(why)});
}

void CleanupReport::Append(CleanupReport later) {
  MoveBehind(removed, later.removed);
  MoveBehind(kept, later.kept);
  MoveBehind(failed, later.failed);
  MoveBehind(notes, later.notes);
}

std::string FormatCleanupText(const CleanupReport& report, bool dry_run) {
  std::string text;
  const char* verb = dry_run ? "would remove" : "removed";
  for (const CleanupItem& item : report.removed) {
    absl::StrAppendFormat(&text, "%-12s  %-14s  %s\n", verb, item.kind, item.name);
  }
  for (const CleanupRemark& remark : report.kept) {
    absl::StrAppendFormat(&text, "%-12s  %-14s  %s: %s\n", dry_run ? "would keep" : "kept",
                          remark.item.kind, remark.item.name, remark.why);
  }
  for (const CleanupRemark& remark : report.failed) {
    absl::StrAppendFormat(&text, "%-12s  %-14s  %s: %s\n", "FAILED", remark.item.kind,
                          remark.item.name, remark.why);
  }
  if (text.empty()) text = "nothing to remove\n";
  for (const std::string& note : report.notes) absl::StrAppend(&text, "note: ", note, "\n");
  return text;
}

std::string FormatCleanupJson(const CleanupReport& report, bool dry_run) {
  nlohmann::ordered_json json = {{"dryRun", dry_run}, {"removed", nlohmann::ordered_json::array()}};
  for (const CleanupItem& item : report.removed) json["removed"].push_back(ToJson(item));
  json["kept"] = ToJson(report.kept);
  json["failed"] = ToJson(report.failed);
  json["notes"] = report.notes;
  return Dump(json);
}

}  // namespace fairlead
