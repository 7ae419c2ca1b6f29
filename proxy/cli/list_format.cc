#include "proxy/cli/list_format.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "ipvs/save_format.h"
#include "ipvs/types.h"
#include "proxy/cli/json_time.h"
#include "watcher/feed/proto_time.h"

namespace fairlead {
namespace {

// Behind ipvsadm's last column.
constexpr int kNameColumn = 70;

std::string FormatAddress(const std::string& bytes) {
  absl::StatusOr<IpAddress> address = IpAddress::FromBytes(bytes);
  return address.ok() ? address->Format() : "?";
}

std::string FormatAddressAndPort(const std::string& bytes, uint32_t port) {
  absl::StatusOr<IpAddress> address = IpAddress::FromBytes(bytes);
  return address.ok() ? FormatAddressPort(*address, static_cast<uint16_t>(port)) : "?";
}

std::string FormatService(const v1::VirtualServer& server) {
  if (server.service_name().empty()) return "";
  std::string text = absl::StrCat(server.service_namespace(), "/", server.service_name());
  if (!server.port_name().empty()) absl::StrAppend(&text, ":", server.port_name());
  return text;
}

std::string FormatTarget(const v1::RealServer& real) {
  std::string text = real.target_name();
  if (text.empty() && !real.node_name().empty()) text = absl::StrCat("on ", real.node_name());
  if (real.state() == "draining") absl::StrAppend(&text, text.empty() ? "" : " ", "(draining)");
  return text;
}

// `line`, and `name` in its column where there is one.
std::string WithName(std::string line, const std::string& name) {
  if (name.empty()) return absl::StrCat(line, "\n");
  return absl::StrFormat("%-*s %s\n", kNameColumn, line, name);
}

std::string FormatServerLine(const v1::VirtualServer& server) {
  const bool is_mark = server.firewall_mark() != 0;
  // ipvsadm prints marks as signed numbers.
  const auto mark = static_cast<int32_t>(server.firewall_mark());
  std::string line =
      absl::StrFormat("%-4s %s %s", is_mark ? "FWM" : v1::Protocol_Name(server.protocol()),
                      is_mark ? absl::StrCat(mark, server.family() == v1::IPV6 ? " IPv6" : "")
                              : FormatAddressAndPort(server.address(), server.port()),
                      server.scheduler());
  const std::string flags =
      ipvs::FormatSchedulerFlags({.scheduler = server.scheduler(), .flags = server.flags()});
  if (!flags.empty()) absl::StrAppend(&line, " (", flags, ")");
  if (server.persistence_timeout_seconds() > 0) {
    absl::StrAppend(&line, " persistent ", server.persistence_timeout_seconds());
  }
  return line;
}

}  // namespace

std::string FormatListText(const v1::StatusResponse& status,
                           const std::vector<v1::VirtualServer>& servers) {
  std::string text = absl::StrCat(status.kernel_table(), "\n");
  absl::StrAppend(&text, WithName("Prot LocalAddress:Port Scheduler Flags", "Service"));
  absl::StrAppend(
      &text,
      WithName("  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn", "Pod"));
  for (const v1::VirtualServer& server : servers) {
    absl::StrAppend(&text, WithName(FormatServerLine(server), FormatService(server)));
    for (const v1::RealServer& real : server.real_servers()) {
      absl::StrAppend(
          &text, WithName(absl::StrFormat("  -> %-28s %-7s %-6d %-10u %-10u",
                                          FormatAddressAndPort(real.address(), real.port()),
                                          real.forwarding(), real.weight(),
                                          real.active_connections(), real.inactive_connections()),
                          FormatTarget(real)));
    }
  }
  return text;
}

std::vector<std::string> KernelViewLines(const v1::VirtualServer& server) {
  std::vector<std::string> lines = {FormatServerLine(server)};
  for (const v1::RealServer& real : server.real_servers()) {
    lines.push_back(absl::StrCat(FormatAddressAndPort(real.address(), real.port()), ": weight ",
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

std::string FormatListJson(const v1::StatusResponse& status,
                           const std::vector<v1::VirtualServer>& servers) {
  nlohmann::ordered_json document;
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
  document["virtualServers"] = nlohmann::ordered_json::array();
  for (const v1::VirtualServer& server : servers) {
    nlohmann::ordered_json entry;
    if (server.protocol() == v1::PROTOCOL_UNSPECIFIED) {
      entry["protocol"] = nullptr;  // For a mark that no Service wants any more.
    } else {
      entry["protocol"] = v1::Protocol_Name(server.protocol());
    }
    if (server.firewall_mark() != 0) {
      entry["address"] = nullptr;
      entry["port"] = nullptr;
    } else {
      entry["address"] = FormatAddress(server.address());
      entry["port"] = server.port();
    }
    entry["firewallMark"] = server.firewall_mark();
    entry["family"] = server.family() == v1::IPV6 ? "IPv6" : "IPv4";
    entry["scheduler"] = server.scheduler();
    entry["persistenceTimeoutSeconds"] = server.persistence_timeout_seconds();
    entry["service"] = server.service_name().empty()
                           ? ""
                           : absl::StrCat(server.service_namespace(), "/", server.service_name());
    entry["portName"] = server.port_name();
    entry["kind"] = server.address_kind();
    entry["policy"] = server.policy();
    entry["verdict"] = server.verdict();
    entry["realServers"] = nlohmann::ordered_json::array();
    for (const v1::RealServer& real : server.real_servers()) {
      entry["realServers"].push_back({{"address", FormatAddress(real.address())},
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
  document["failures"] = nlohmann::ordered_json::array();
  for (const v1::Problem& failure : status.failures()) {
    document["failures"].push_back({{"object", failure.object()}, {"message", failure.message()}});
  }
  document["warnings"] = nlohmann::ordered_json::array();
  for (const std::string& warning : status.warnings()) document["warnings"].push_back(warning);
  return document.dump(2) + "\n";
}

}  // namespace fairlead
