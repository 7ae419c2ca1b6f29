#include "proxy/cli/select.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "ipvs/ip_address.h"
#include "ipvs/types.h"

namespace fairlead {
namespace {

absl::Status NotUnderstood(absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", absl::CHexEscape(text),
      "\" is neither a Service (shop/cart, shop/cart:http, shop/ for all of a namespace) nor an "
      "address (10.96.0.10, 10.96.0.10:80, [fd00::1]:80) nor a mark (FWM:7)"));
}

// RFC 1123, as Kubernetes has it for namespaces; names of Services and ports are a part of that.
bool IsLabel(absl::string_view text) {
  constexpr size_t kMaxLabel = 63;
  return !text.empty() && text.size() <= kMaxLabel && text.front() != '-' && text.back() != '-' &&
         std::all_of(text.begin(), text.end(), [](char byte) {
           return absl::ascii_islower(static_cast<unsigned char>(byte)) ||
                  absl::ascii_isdigit(static_cast<unsigned char>(byte)) || byte == '-';
         });
}

// False where it is none; `selector` may then hold half of it.
bool ParseService(absl::string_view text, v1::Selector& selector) {
  const std::pair<absl::string_view, absl::string_view> halves =
      absl::StrSplit(text, absl::MaxSplits('/', 1));
  if (!absl::StrContains(text, '/') || !IsLabel(halves.first)) return false;
  selector.set_service_namespace(std::string(halves.first));
  if (halves.second.empty()) return true;
  const std::pair<absl::string_view, absl::string_view> name =
      absl::StrSplit(halves.second, absl::MaxSplits(':', 1));
  if (!IsLabel(name.first)) return false;
  selector.set_service_name(std::string(name.first));
  if (!absl::StrContains(halves.second, ':')) return true;
  selector.set_port_name(std::string(name.second));
  return IsLabel(name.second);
}

bool ParseMark(absl::string_view text, v1::Selector& selector) {
  if (!absl::ConsumePrefix(&text, "FWM")) return false;
  if (!absl::ConsumePrefix(&text, ":") && !absl::ConsumePrefix(&text, " ")) return false;
  text = absl::StripLeadingAsciiWhitespace(text);
  for (const absl::string_view family : {" IPv4", " IPv6", "/IPv4", "/IPv6"}) {
    if (absl::ConsumeSuffix(&text, family)) break;
  }
  uint32_t mark = 0;
  // ipvsadm, and what is shaped like it, shows large marks as negative numbers.
  if (int32_t number = 0; !absl::SimpleAtoi(text, &mark) && absl::SimpleAtoi(text, &number)) {
    mark = static_cast<uint32_t>(number);
  }
  selector.set_firewall_mark(mark);
  return mark != 0;
}

bool ParsePlace(absl::string_view text, v1::Selector& selector) {
  if (const absl::StatusOr<IpAddress> address = IpAddress::Parse(text); address.ok()) {
    selector.set_address(std::string(address->bytes()));
    return true;
  }
  const absl::StatusOr<AddressPort> both = ParseAddressPort(text);
  if (!both.ok()) return false;
  selector.set_address(std::string(both->address.bytes()));
  selector.set_port(both->port);
  return true;
}

// An address with or without its port and protocol.
bool ParseAddress(absl::string_view text, v1::Selector& selector) {
  if (ParsePlace(text, selector)) return true;
  absl::string_view protocol;
  absl::string_view place;
  if (const size_t blank = text.find(' '); blank != absl::string_view::npos) {
    protocol = text.substr(0, blank);
    place = absl::StripLeadingAsciiWhitespace(text.substr(blank));
  } else if (const size_t slash = text.rfind('/'); slash != absl::string_view::npos) {
    place = text.substr(0, slash);
    protocol = text.substr(slash + 1);
  }
  const absl::StatusOr<v1::Protocol> parsed = ParseSelectedProtocol(protocol);
  if (!parsed.ok()) return false;
  selector.set_protocol(*parsed);
  return ParsePlace(place, selector);
}

bool IsPlace(const v1::Selector& selector, const std::string& address, uint32_t port) {
  return selector.address() == address && (selector.port() == 0 || selector.port() == port);
}

}  // namespace

absl::StatusOr<v1::Selector> ParseSelector(absl::string_view text) {
  for (const auto parse : {ParseMark, ParseAddress, ParseService}) {
    v1::Selector selector;
    if (parse(text, selector)) return selector;
  }
  return NotUnderstood(text);
}

absl::StatusOr<v1::Protocol> ParseSelectedProtocol(absl::string_view text) {
  const absl::StatusOr<ipvs::Protocol> parsed = ipvs::ParseProtocol(absl::AsciiStrToUpper(text));
  if (!parsed.ok()) return parsed.status();
  return static_cast<v1::Protocol>(*parsed);
}

absl::Status ValidateSelectors(const SelectorGroups& groups) {
  for (const v1::SelectorGroup& group : groups) {
    for (const v1::Selector& selector : group.any_of()) {
      if (selector.address().empty()) {
        if (selector.port() != 0) return absl::InvalidArgumentError("a port without an address");
        continue;
      }
      const absl::StatusOr<IpAddress> address = IpAddress::FromBytes(selector.address());
      if (!address.ok()) return address.status();
    }
  }
  return absl::OkStatus();
}

bool SelectByAddress(const SelectorGroups& groups) {
  return std::any_of(groups.begin(), groups.end(), [](const v1::SelectorGroup& group) {
    return std::any_of(group.any_of().begin(), group.any_of().end(),
                       [](const v1::Selector& selector) { return !selector.address().empty(); });
  });
}

bool Fits(const v1::Selector& selector, const v1::VirtualServer& server) {
  const auto fits = [](const std::string& wanted, const std::string& found) {
    return wanted.empty() || wanted == found;
  };
  if (!fits(selector.service_namespace(), server.service_namespace()) ||
      !fits(selector.service_name(), server.service_name()) ||
      !fits(selector.port_name(), server.port_name())) {
    return false;
  }
  if (selector.protocol() != v1::PROTOCOL_UNSPECIFIED && selector.protocol() != server.protocol()) {
    return false;
  }
  if (selector.firewall_mark() != 0 && selector.firewall_mark() != server.firewall_mark()) {
    return false;
  }
  if (selector.address().empty()) return true;
  return IsPlace(selector, server.address(), server.port()) ||
         std::any_of(server.real_servers().begin(), server.real_servers().end(),
                     [&](const v1::RealServer& real) {
                       return IsPlace(selector, real.address(), real.port());
                     });
}

bool IsSelected(const SelectorGroups& groups, const v1::VirtualServer& server) {
  return std::all_of(groups.begin(), groups.end(), [&](const v1::SelectorGroup& group) {
    return std::any_of(group.any_of().begin(), group.any_of().end(),
                       [&](const v1::Selector& selector) { return Fits(selector, server); });
  });
}

}  // namespace fairlead
