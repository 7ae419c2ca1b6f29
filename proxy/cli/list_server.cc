#include "proxy/cli/list_server.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "ipvs/ip_address.h"

namespace fairlead {
namespace {

bool IsMark(const v1::VirtualServer& server) { return server.firewall_mark() != 0; }

// ipvsadm prints marks as signed numbers.
int32_t SignedMark(const v1::VirtualServer& server) {
  return static_cast<int32_t>(server.firewall_mark());
}

}  // namespace

std::string FormatBytesAddress(const std::string& bytes) {
  const absl::StatusOr<IpAddress> address = IpAddress::FromBytes(bytes);
  return address.ok() ? address->Format() : "?";
}

std::string FormatBytesAddressPort(const std::string& bytes, uint32_t port) {
  const absl::StatusOr<IpAddress> address = IpAddress::FromBytes(bytes);
  return address.ok() ? FormatAddressPort(*address, static_cast<uint16_t>(port)) : "?";
}

std::string FormatServicePort(const v1::VirtualServer& server) {
  if (server.service_name().empty()) return "";
  return absl::StrCat(server.service_namespace(), "/", server.service_name(),
                      server.port_name().empty() ? "" : ":", server.port_name());
}

std::string FormatTarget(const v1::RealServer& real) {
  std::string text = real.target_name();
  if (text.empty() && !real.node_name().empty()) text = absl::StrCat("on ", real.node_name());
  if (real.state() == "draining") absl::StrAppend(&text, text.empty() ? "" : " ", "(draining)");
  return text;
}

std::string FormatServerTitle(const v1::VirtualServer& server) {
  if (IsMark(server)) {
    return absl::StrCat("FWM  ", SignedMark(server), server.family() == v1::IPV6 ? " IPv6" : "");
  }
  return absl::StrFormat("%-4s %s", v1::Protocol_Name(server.protocol()),
                         FormatBytesAddressPort(server.address(), server.port()));
}

std::string FormatRealServerTitle(const v1::RealServer& real) {
  return absl::StrFormat("  -> %-28s", FormatBytesAddressPort(real.address(), real.port()));
}

std::string WithName(std::string line, const std::string& name, int column) {
  if (name.empty()) return absl::StrCat(line, "\n");
  return absl::StrFormat("%-*s %s\n", column, line, name);
}

void AddKeyFields(const v1::VirtualServer& server, Document& out) {
  if (server.protocol() == v1::PROTOCOL_UNSPECIFIED) {
    out["protocol"] = nullptr;  // For a mark that no Service wants any more.
  } else {
    out["protocol"] = v1::Protocol_Name(server.protocol());
  }
  if (IsMark(server)) {
    out["address"] = nullptr;
    out["port"] = nullptr;
  } else {
    out["address"] = FormatBytesAddress(server.address());
    out["port"] = server.port();
  }
  out["firewallMark"] = server.firewall_mark();
  out["family"] = server.family() == v1::IPV6 ? "IPv6" : "IPv4";
}

void AddNameFields(const v1::VirtualServer& server, Document& out) {
  out["service"] = server.service_name().empty()
                       ? ""
                       : absl::StrCat(server.service_namespace(), "/", server.service_name());
  out["portName"] = server.port_name();
  out["kind"] = server.address_kind();
}

std::vector<Column> ServerColumns() {
  return {{"NAMESPACE"}, {"SERVICE"}, {"PORT"}, {"KIND"}, {"ADDRESS"}, {"PROTO"}};
}

std::vector<Cell> ServerCells(const v1::VirtualServer& server) {
  const std::string address =
      IsMark(server)
          ? absl::StrCat("FWM:", server.firewall_mark(), server.family() == v1::IPV6 ? "/IPv6" : "")
          : FormatBytesAddressPort(server.address(), server.port());
  return {
      Cell(server.service_namespace()),
      Cell(server.service_name()),
      Cell(server.port_name()),
      Cell(server.address_kind()),
      Cell(address),
      Cell(server.protocol() == v1::PROTOCOL_UNSPECIFIED ? ""
                                                         : v1::Protocol_Name(server.protocol()))};
}

Cell StateCell(const v1::RealServer& real) {
  if (real.state().empty()) return Cell("");
  return {real.state(), real.state() == "ready" ? Tone::kGood : Tone::kWarning};
}

}  // namespace fairlead
