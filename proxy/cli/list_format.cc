#include "proxy/cli/list_format.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "ipvs/save_format.h"
#include "ipvs/types.h"
#include "proxy/cli/json_time.h"
#include "proxy/cli/list_server.h"
#include "proxy/cli/table.h"
#include "watcher/feed/proto_time.h"

namespace fairlead {
namespace {

// Behind ipvsadm's last column.
constexpr int kNameColumn = 70;

ipvs::VirtualServerConfig ConfigOf(const v1::VirtualServer& server) {
  return {.scheduler = server.scheduler(),
          .flags = server.flags(),
          .persistence_timeout = absl::Seconds(server.persistence_timeout_seconds()),
          .persistence_prefix_length = static_cast<uint8_t>(server.persistence_prefix_length()),
          .persistence_engine = server.persistence_engine()};
}

std::string FormatServerLine(const v1::VirtualServer& server) {
  std::string line = absl::StrCat(FormatServerTitle(server), " ", server.scheduler());
  const ipvs::VirtualServerConfig config = ConfigOf(server);
  const std::string flags = ipvs::FormatSchedulerFlags(config);
  if (!flags.empty()) absl::StrAppend(&line, " (", flags, ")");
  if (config.persistent()) {
    absl::StrAppend(&line, " persistent ", server.persistence_timeout_seconds());
    const IpFamily family = server.family() == v1::IPV6 ? IpFamily::kIpv6 : IpFamily::kIpv4;
    const std::string mask = ipvs::FormatPersistenceMask(family, config);
    if (!mask.empty()) absl::StrAppend(&line, " mask ", mask);
    if (!config.persistence_engine.empty()) {
      absl::StrAppend(&line, " pe ", config.persistence_engine);
    }
  }
  if ((config.flags & ipvs::kFlagOnePacket) != 0) absl::StrAppend(&line, " ops");
  return line;
}

ipvs::VirtualServer Decode(const v1::VirtualServer& server) {
  const IpFamily family = server.family() == v1::IPV6 ? IpFamily::kIpv6 : IpFamily::kIpv4;
  ipvs::VirtualServer result;
  result.key = server.firewall_mark() != 0
                   ? ipvs::VirtualServerKey::ForMark(family, server.firewall_mark())
                   : ipvs::VirtualServerKey::ForAddress(
                         static_cast<ipvs::Protocol>(server.protocol()),
                         IpAddress::FromBytes(server.address()).value_or(IpAddress()),
                         static_cast<uint16_t>(server.port()));
  result.config = ConfigOf(server);
  for (const v1::RealServer& real : server.real_servers()) {
    ipvs::RealServer& added = result.real_servers.emplace_back();
    added.key = {IpAddress::FromBytes(real.address()).value_or(IpAddress()),
                 static_cast<uint16_t>(real.port())};
    added.config.weight = real.weight();
    for (const auto method : {ipvs::ForwardingMethod::kLocal, ipvs::ForwardingMethod::kTunnel,
                              ipvs::ForwardingMethod::kRoute}) {
      if (real.forwarding() == ipvs::FormatForwardingMethod(method)) {
        added.config.forwarding = method;
      }
    }
  }
  return result;
}

std::vector<Cell> WideCells(const v1::VirtualServer& server) {
  std::vector<Cell> cells = ServerCells(server);
  cells.emplace_back(server.scheduler());
  cells.emplace_back(server.persistence_timeout_seconds() == 0
                         ? ""
                         : absl::StrCat(server.persistence_timeout_seconds()));
  cells.emplace_back(server.policy());
  const bool refuses = server.verdict() == "reject" || server.verdict() == "drop";
  cells.emplace_back(server.verdict(), refuses ? Tone::kBad : Tone::kPlain);
  return cells;
}

}  // namespace

std::string FormatListText(const v1::StatusResponse& status,
                           const std::vector<v1::VirtualServer>& servers) {
  std::string text = absl::StrCat(status.kernel_table(), "\n");
  absl::StrAppend(&text,
                  WithName("Prot LocalAddress:Port Scheduler Flags", "Service", kNameColumn));
  absl::StrAppend(&text,
                  WithName("  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
                           "Pod", kNameColumn));
  for (const v1::VirtualServer& server : servers) {
    absl::StrAppend(&text,
                    WithName(FormatServerLine(server), FormatServicePort(server), kNameColumn));
    for (const v1::RealServer& real : server.real_servers()) {
      absl::StrAppend(
          &text, WithName(absl::StrFormat("%s %-7s %-6d %-10u %-10u", FormatRealServerTitle(real),
                                          real.forwarding(), real.weight(),
                                          real.active_connections(), real.inactive_connections()),
                          FormatTarget(real), kNameColumn));
    }
  }
  return text;
}

std::string FormatListWide(const std::vector<v1::VirtualServer>& servers, bool color) {
  std::vector<Column> columns = ServerColumns();
  for (const Column& column :
       {Column{"SCHEDULER"}, Column{"PERSISTENCE", Alignment::kRight}, Column{"POLICY"},
        Column{"VERDICT"}, Column{"ENDPOINT"}, Column{"POD"}, Column{"NODE"},
        Column{"WEIGHT", Alignment::kRight}, Column{"ACTIVE", Alignment::kRight},
        Column{"INACTIVE", Alignment::kRight}, Column{"STATE"}}) {
    columns.push_back(column);
  }
  Table table(std::move(columns), color);
  for (const v1::VirtualServer& server : servers) {
    if (server.real_servers().empty()) table.AddRow(WideCells(server));
    for (const v1::RealServer& real : server.real_servers()) {
      std::vector<Cell> cells = WideCells(server);
      cells.emplace_back(FormatBytesAddressPort(real.address(), real.port()));
      cells.emplace_back(real.target_name());
      cells.emplace_back(real.node_name());
      cells.emplace_back(absl::StrCat(real.weight()));
      cells.emplace_back(absl::StrCat(real.active_connections()));
      cells.emplace_back(absl::StrCat(real.inactive_connections()));
      cells.push_back(StateCell(real));
      table.AddRow(std::move(cells));
    }
  }
  return table.Take();
}

std::string FormatListIpvsadm(const std::vector<v1::VirtualServer>& servers) {
  std::vector<ipvs::VirtualServer> decoded;
  decoded.reserve(servers.size());
  for (const v1::VirtualServer& server : servers) decoded.push_back(Decode(server));
  return ipvs::FormatSave(decoded);
}

std::vector<std::string> KernelViewLines(const v1::VirtualServer& server) {
  std::vector<std::string> lines = {FormatServerLine(server)};
  for (const v1::RealServer& real : server.real_servers()) {
    lines.push_back(absl::StrCat(FormatBytesAddressPort(real.address(), real.port()), ": weight ",
                                 real.weight(), ", ", real.active_connections(), " active and ",
                                 real.inactive_connections(), " inactive connections",
                                 real.state().empty() ? "" : ", ", real.state()));
  }
  return lines;
}

std::string DescribeStaleFeed(const v1::FeedState& feed, absl::Time now) {
  // Until a heartbeat confirms that there is nothing newer.
  constexpr absl::Duration kOld = absl::Seconds(10);
  if (!feed.has_current_as_of()) {
    return feed.connected() ? "" : absl::StrCat("no answer from ", feed.feeder());
  }
  const absl::Duration age = now - DecodeTime(feed.current_as_of());
  if (feed.connected() && age < kOld) return "";
  const std::string old =
      absl::FormatDuration(std::max(absl::Trunc(age, absl::Seconds(1)), absl::Seconds(1)));
  const std::string picture = absl::StrCat(
      feed.saved_picture() ? "the picture is one from disk, saved " : "the picture was current ",
      old, " ago");
  return feed.connected() ? picture : absl::StrCat("no feeder answers; ", picture);
}

std::string FormatListDocument(const v1::StatusResponse& status,
                               const std::vector<v1::VirtualServer>& servers, Output output) {
  Document document;
  document["node"] = status.node_name();
  document["complete"] = status.complete();
  document["revision"] = status.revision();
  const v1::FeedState& feed = status.feed();
  document["feed"] = {{"connected", feed.connected()}, {"feeder", feed.feeder()},
                      {"revision", feed.revision()},   {"headRevision", feed.head_revision()},
                      {"currentAsOf", nullptr},        {"savedPicture", feed.saved_picture()}};
  if (feed.has_current_as_of()) {
    document["feed"]["currentAsOf"] = FormatJsonTime(DecodeTime(feed.current_as_of()));
  }
  document["virtualServers"] = Document::array();
  for (const v1::VirtualServer& server : servers) {
    Document entry;
    AddKeyFields(server, entry);
    entry["scheduler"] = server.scheduler();
    entry["persistenceTimeoutSeconds"] = server.persistence_timeout_seconds();
    AddNameFields(server, entry);
    entry["policy"] = server.policy();
    entry["verdict"] = server.verdict();
    entry["realServers"] = Document::array();
    for (const v1::RealServer& real : server.real_servers()) {
      entry["realServers"].push_back({{"address", FormatBytesAddress(real.address())},
                                      {"port", real.port()},
                                      {"forwarding", real.forwarding()},
                                      {"weight", real.weight()},
                                      {"activeConnections", real.active_connections()},
                                      {"inactiveConnections", real.inactive_connections()},
                                      {"pod", real.target_name()},
                                      {"node", real.node_name()},
                                      {"state", real.state()}});
    }
    document["virtualServers"].push_back(std::move(entry));
  }
  document["failures"] = Document::array();
  for (const v1::Problem& failure : status.failures()) {
    document["failures"].push_back({{"object", failure.object()}, {"message", failure.message()}});
  }
  document["warnings"] = Document::array();
  for (const std::string& warning : status.warnings()) document["warnings"].push_back(warning);
  return FormatDocument(document, output);
}

}  // namespace fairlead
