#include "proxy/cli/drain_select.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace fairlead {
namespace {

using Place = DrainSelection::Place;

// Address and port, or an address alone.
absl::StatusOr<Place> ParsePlace(absl::string_view text) {
  if (const absl::StatusOr<IpAddress> address = IpAddress::Parse(text); address.ok()) {
    return Place{*address, 0};
  }
  const absl::StatusOr<AddressPort> both = ParseAddressPort(text);
  if (!both.ok()) return both.status();
  return Place{both->address, both->port};
}

Place PlaceOf(const std::string& bytes, uint32_t port) {
  const absl::StatusOr<IpAddress> address = IpAddress::FromBytes(bytes);
  return {address.value_or(IpAddress()), static_cast<uint16_t>(port)};
}

bool Fits(const Place& selected, const Place& place) {
  return selected.address == place.address && (selected.port == 0 || selected.port == place.port);
}

}  // namespace

absl::Status AddToSelection(absl::string_view text, DrainSelection& selection) {
  const std::vector<absl::string_view> name = absl::StrSplit(text, '/');
  if (name.size() == 2 && !name[0].empty() && !name[1].empty()) {
    selection.services.emplace_back(text);
    return absl::OkStatus();
  }
  const absl::StatusOr<Place> place = ParsePlace(text);
  if (!place.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text,
                     "\" is neither a Service such as shop/cart nor an address such as "
                     "10.244.1.2, 10.244.1.2:8080 or [fd00::1]:80"));
  }
  selection.places.push_back(*place);
  return absl::OkStatus();
}

absl::Status SelectVirtualServer(absl::string_view text, DrainSelection& selection) {
  const absl::Status wrong = absl::InvalidArgumentError(
      absl::StrCat("\"", text,
                   "\" is no virtual server such as 10.96.0.1:80, 10.96.0.1:80/tcp or "
                   "\"FWM 7\""));
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "FWM ")) {
    if (!absl::ConsumeSuffix(&rest, " IPv4")) absl::ConsumeSuffix(&rest, " IPv6");
    const bool is_number = absl::SimpleAtoi(rest, &selection.firewall_mark);
    return is_number && selection.firewall_mark != 0 ? absl::OkStatus() : wrong;
  }
  absl::string_view protocol;
  if (const std::vector<absl::string_view> words = absl::StrSplit(rest, ' '); words.size() == 2) {
    protocol = words[0];
    rest = words[1];
  } else if (const std::vector<absl::string_view> parts = absl::StrSplit(rest, '/');
             parts.size() == 2) {
    rest = parts[0];
    protocol = parts[1];
  }
  if (!protocol.empty()) {
    const auto parsed = ipvs::ParseProtocol(absl::AsciiStrToUpper(protocol));
    if (!parsed.ok()) return wrong;
    selection.protocol = *parsed;
  }
  const absl::StatusOr<Place> place = ParsePlace(rest);
  if (!place.ok()) return wrong;
  selection.virtual_server = *place;
  return absl::OkStatus();
}

bool IsSelected(const DrainSelection& selection, const v1::Drain& drain) {
  const v1::DrainKey& key = drain.key();
  const std::string service = absl::StrCat(drain.service_namespace(), "/", drain.service_name());
  const bool is_mark = key.firewall_mark() != 0;
  const Place server = PlaceOf(key.address(), key.port());
  const Place endpoint = PlaceOf(key.endpoint_address(), key.endpoint_port());
  if (selection.firewall_mark != 0 && key.firewall_mark() != selection.firewall_mark) return false;
  if (selection.virtual_server.has_value() &&
      (is_mark || !Fits(*selection.virtual_server, server))) {
    return false;
  }
  if (selection.protocol.has_value() &&
      key.protocol() != static_cast<v1::Protocol>(*selection.protocol)) {
    return false;
  }
  return std::all_of(selection.services.begin(), selection.services.end(),
                     [&](const std::string& wanted) { return wanted == service; }) &&
         std::all_of(selection.places.begin(), selection.places.end(), [&](const Place& place) {
           return Fits(place, endpoint) || (!is_mark && Fits(place, server));
         });
}

std::string FormatVirtualServer(const v1::DrainKey& key) {
  if (key.firewall_mark() != 0) {
    const IpFamily family = key.family() == v1::IPV6 ? IpFamily::kIpv6 : IpFamily::kIpv4;
    return ipvs::VirtualServerKey::ForMark(family, key.firewall_mark()).Format();
  }
  const Place place = PlaceOf(key.address(), key.port());
  return ipvs::VirtualServerKey::ForAddress(static_cast<ipvs::Protocol>(key.protocol()),
                                            place.address, place.port)
      .Format();
}

std::string FormatEndpoint(const v1::DrainKey& key) {
  const Place place = PlaceOf(key.endpoint_address(), key.endpoint_port());
  return FormatAddressPort(place.address, place.port);
}

std::string FormatDrainService(const v1::Drain& drain) {
  if (drain.service_name().empty()) return "";
  return absl::StrCat(drain.service_namespace(), "/", drain.service_name(),
                      drain.port_name().empty() ? "" : ":", drain.port_name());
}

}  // namespace fairlead
