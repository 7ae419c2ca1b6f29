#include "proxy/cli/drain_format.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proxy/cli/drain_select.h"
#include "proxy/cli/json_time.h"
#include "proxy/cli/table.h"
#include "watcher/feed/proto_time.h"

namespace fairlead {
namespace {

using Json = nlohmann::ordered_json;
using Row = std::vector<Cell>;

// In whole seconds; 0 for what should be over.
std::string FormatLength(absl::Duration duration) {
  return absl::FormatDuration(
      std::max(absl::Trunc(duration, absl::Seconds(1)), absl::ZeroDuration()));
}

Row MakeRow(const v1::Drain& drain, absl::Time now, bool wide) {
  Row row = {FormatDrainService(drain),
             FormatVirtualServer(drain.key()),
             FormatEndpoint(drain.key()),
             drain.target_name(),
             absl::StrCat(drain.active_connections()),
             absl::StrCat(drain.inactive_connections()),
             FormatLength(now - DecodeTime(drain.since())),
             drain.has_until() ? FormatLength(DecodeTime(drain.until()) - now) : "",
             drain.reason()};
  if (wide) {
    row.emplace_back(drain.node_name());
    row.emplace_back(drain.has_until() ? FormatJsonTime(DecodeTime(drain.until())) : "");
  }
  return row;
}

}  // namespace

std::string FormatDrainsText(const std::vector<v1::Drain>& drains, absl::Time now, bool wide) {
  std::vector<Column> columns = {{"SERVICE"}, {"VIRTUAL-SERVER"}, {"ENDPOINT"},
                                 {"POD"},     {"ACTIVE"},         {"INACTIVE"},
                                 {"SINCE"},   {"LEFT"},           {"REASON"}};
  if (wide) columns.insert(columns.end(), {{"NODE"}, {"UNTIL"}});
  Table table(std::move(columns), /*color=*/false);
  for (const v1::Drain& drain : drains) table.AddRow(MakeRow(drain, now, wide));
  return table.Take();
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
