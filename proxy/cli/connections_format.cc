#include "proxy/cli/connections_format.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fairlead {
namespace {

std::string Format(const AddressPort& place) {
  return FormatAddressPort(place.address, place.port);
}

// As ipvsadm: minutes and seconds.
std::string FormatExpires(uint32_t seconds) {
  constexpr uint32_t kMinute = 60;
  return absl::StrFormat("%02d:%02d", seconds / kMinute, seconds % kMinute);
}

std::string FormatService(const ConnectionNames& names) {
  if (names.service_name.empty()) return "";
  return absl::StrCat(names.service_namespace, "/", names.service_name);
}

std::string FormatLine(absl::string_view protocol, absl::string_view expires,
                       absl::string_view state, absl::string_view client,
                       absl::string_view virtual_server, absl::string_view real_server,
                       absl::string_view service, absl::string_view pod) {
  std::string line = absl::StrFormat("%-3s %-6s %-11s %-18s %-18s %s", protocol, expires, state,
                                     client, virtual_server, real_server);
  // Behind ipvsadm's last column, which has no width of its own.
  constexpr int kNameColumn = 82;
  constexpr int kServiceWidth = 30;
  if (!pod.empty()) {
    line = absl::StrFormat("%-*s %-*s %s", kNameColumn, line, kServiceWidth,
                           service.empty() ? "-" : service, pod);
  } else if (!service.empty()) {
    line = absl::StrFormat("%-*s %s", kNameColumn, line, service);
  }
  return line + "\n";
}

std::string FormatText(const BalancedConnection& connection, const ConnectionNames& names) {
  const std::string pod =
      names.pod.empty() && !names.node.empty() ? absl::StrCat("on ", names.node) : names.pod;
  const std::string port = names.port_name.empty() ? "" : absl::StrCat(":", names.port_name);
  return FormatLine(connection.protocol, FormatExpires(connection.expires_seconds),
                    connection.state, Format(connection.client), Format(connection.virtual_server),
                    Format(connection.real_server), FormatService(names) + port, pod);
}

Document MakeElement(const BalancedConnection& connection, const ConnectionNames& names) {
  return {{"protocol", connection.protocol},
          {"state", connection.state},
          {"expiresSeconds", connection.expires_seconds},
          {"client", connection.client.address.Format()},
          {"clientPort", connection.client.port},
          {"virtual", connection.virtual_server.address.Format()},
          {"virtualPort", connection.virtual_server.port},
          {"endpoint", connection.real_server.address.Format()},
          {"endpointPort", connection.real_server.port},
          {"service", FormatService(names)},
          {"portName", names.port_name},
          {"pod", names.pod},
          {"node", names.node}};
}

std::vector<Cell> MakeCells(const BalancedConnection& connection, const ConnectionNames& names) {
  return {Cell(connection.protocol),
          Cell(connection.state, connection.state == "ESTABLISHED" ? Tone::kGood : Tone::kPlain),
          Cell(FormatExpires(connection.expires_seconds)),
          Cell(Format(connection.client)),
          Cell(Format(connection.virtual_server)),
          Cell(Format(connection.real_server)),
          Cell(names.service_namespace),
          Cell(names.service_name),
          Cell(names.port_name),
          Cell(names.pod),
          Cell(names.node)};
}

}  // namespace

ConnectionsFormat::ConnectionsFormat(Output output, bool color)
    : output_(output),
      table_({{"PROTO"},
              {"STATE"},
              {"EXPIRES", Alignment::kRight},
              {"CLIENT"},
              {"VIRTUAL"},
              {"ENDPOINT"},
              {"NAMESPACE"},
              {"SERVICE"},
              {"PORT"},
              {"POD"},
              {"NODE"}},
             color) {}

std::string ConnectionsFormat::Begin() {
  switch (output_) {
    case Output::kJson:
      return "{\n  \"connections\": [";
    case Output::kYaml:
      return "connections:";
    case Output::kWide:
      return "";
    case Output::kText:
    case Output::kIpvsadm:
      break;
  }
  return absl::StrCat(
      "IPVS connection entries\n",
      FormatLine("pro", "expire", "state", "source", "virtual", "destination", "Service", "Pod"));
}

std::string ConnectionsFormat::Add(const BalancedConnection& connection,
                                   const ConnectionNames& names) {
  const bool first = std::exchange(first_, false);
  switch (output_) {
    case Output::kJson:
      return absl::StrCat(first ? "\n" : ",\n",
                          FormatElement(MakeElement(connection, names), output_));
    case Output::kYaml:
      return absl::StrCat(first ? "\n" : "",
                          FormatElement(MakeElement(connection, names), output_));
    case Output::kWide:
      table_.AddRow(MakeCells(connection, names));
      return table_.pending() < kRowsPerPart ? "" : table_.Take();
    case Output::kText:
    case Output::kIpvsadm:
      break;
  }
  return FormatText(connection, names);
}

std::string ConnectionsFormat::End(bool cut) {
  const char* const truth = cut ? "true" : "false";
  switch (output_) {
    case Output::kJson:
      return absl::StrCat(first_ ? "" : "\n  ", "],\n  \"cut\": ", truth, "\n}\n");
    case Output::kYaml:
      return absl::StrCat(first_ ? " []\n" : "", "cut: ", truth, "\n");
    case Output::kWide:
      // Once more for the headers alone where there was no row.
      return first_ || table_.pending() > 0 ? table_.Take() : "";
    case Output::kText:
    case Output::kIpvsadm:
      break;
  }
  return "";
}

}  // namespace fairlead
