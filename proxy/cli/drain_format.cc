#include "proxy/cli/drain_format.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proxy/cli/drain_select.h"
#include "proxy/cli/json_time.h"
#include "watcher/feed/proto_time.h"

namespace fairlead {
namespace {

using Json = nlohmann::ordered_json;
using Row = std::vector<std::string>;

std::string OrDash(const std::string& text) { return text.empty() ? "-" : text; }

// In whole seconds; 0 for what should be over.
std::string FormatLength(absl::Duration duration) {
  return absl::FormatDuration(
      std::max(absl::Trunc(duration, absl::Seconds(1)), absl::ZeroDuration()));
}

Row MakeRow(const v1::Drain& drain, absl::Time now, bool wide) {
  Row row = {OrDash(FormatDrainService(drain)),
             FormatVirtualServer(drain.key()),
             FormatEndpoint(drain.key()),
             OrDash(drain.target_name()),
             absl::StrCat(drain.active_connections()),
             absl::StrCat(drain.inactive_connections()),
             FormatLength(now - DecodeTime(drain.since())),
             drain.has_until() ? FormatLength(DecodeTime(drain.until()) - now) : "-",
             drain.reason()};
  if (wide) {
    row.push_back(OrDash(drain.node_name()));
    row.push_back(drain.has_until() ? FormatJsonTime(DecodeTime(drain.until())) : "-");
  }
  return row;
}

std::string Align(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows[0].size());
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Row& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      absl::StrAppend(&text, row[i], std::string(widths[i] + 2 - row[i].size(), ' '));
    }
    absl::StrAppend(&text, row.back(), "\n");
  }
  return text;
}

}  // namespace

std::string FormatDrainsText(const std::vector<v1::Drain>& drains, absl::Time now, bool wide) {
  std::vector<Row> rows = {{"SERVICE", "VIRTUAL-SERVER", "ENDPOINT", "POD", "ACTIVE", "INACTIVE",
                            "SINCE", "LEFT", "REASON"}};
  if (wide) rows[0].insert(rows[0].end(), {"NODE", "UNTIL"});
  rows.reserve(drains.size() + 1);
  for (const v1::Drain& drain : drains) rows.push_back(MakeRow(drain, now, wide));
  return Align(rows);
}

std::string FormatDrainsJson(const std::vector<v1::Drain>& drains) {
  Json document;
  document["drains"] = Json::array();
  for (const v1::Drain& drain : drains) {
    const bool served = !drain.service_name().empty();
    Json entry = {
        {"service",
         served ? absl::StrCat(drain.service_namespace(), "/", drain.service_name()) : ""},
        {"portName", drain.port_name()},
        {"virtualServer", FormatVirtualServer(drain.key())},
        {"endpoint", FormatEndpoint(drain.key())},
        {"pod", drain.target_name()},
        {"node", drain.node_name()},
        {"activeConnections", drain.active_connections()},
        {"inactiveConnections", drain.inactive_connections()},
        {"since", FormatJsonTime(DecodeTime(drain.since()))},
        {"until", nullptr},
        {"reason", drain.reason()}};
    if (drain.has_until()) entry["until"] = FormatJsonTime(DecodeTime(drain.until()));
    document["drains"].push_back(std::move(entry));
  }
  return document.dump(2) + "\n";
}

std::string FormatDrain(const v1::Drain& drain) {
  std::vector<std::string> names;
  const std::string service = FormatDrainService(drain);
  if (!service.empty()) names.push_back(absl::StrCat("Service ", service));
  if (!drain.target_name().empty()) names.push_back(absl::StrCat("Pod ", drain.target_name()));
  return absl::StrCat(FormatEndpoint(drain.key()), " of ", FormatVirtualServer(drain.key()),
                      names.empty() ? "" : absl::StrCat(" (", absl::StrJoin(names, ", "), ")"),
                      ", with ", drain.active_connections(), " active and ",
                      drain.inactive_connections(), " inactive connections");
}

}  // namespace fairlead
