#include "proxy/kernel/node_addresses.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace fairlead {
namespace {

constexpr absl::string_view kPrimary = "primary";

bool CanServe(const NodeAddress& node) {
  const IpAddress& address = node.address;
  if (!address.is_v4() && address.IsLinkLocal()) return false;
  return !address.IsLoopback() && !address.IsMulticast() && !address.IsUnspecified() &&
         node.device != kKubeProxyDevice;
}

bool Selects(const NodePortSelector& selector, absl::Span<const IpAddress> node_ips,
             const IpAddress& address) {
  if (selector.primary) {
    return std::find(node_ips.begin(), node_ips.end(), address) != node_ips.end();
  }
  if (selector.prefixes.empty()) return true;
  return std::any_of(selector.prefixes.begin(), selector.prefixes.end(),
                     [&](const IpPrefix& prefix) { return prefix.Contains(address); });
}

}  // namespace

absl::StatusOr<NodePortSelector> ParseNodePortAddresses(absl::string_view text) {
  NodePortSelector selector;
  text = absl::StripAsciiWhitespace(text);
  if (text.empty()) return selector;
  if (text == kPrimary) {
    selector.primary = true;
    return selector;
  }
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const absl::string_view item = absl::StripAsciiWhitespace(part);
    if (item == kPrimary) {
      return absl::InvalidArgumentError(
          "--nodeport-addresses: `primary` cannot be together with CIDRs");
    }
    absl::StatusOr<IpPrefix> prefix = IpPrefix::Parse(item);
    if (!prefix.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--nodeport-addresses: neither `primary` nor CIDRs with commas between: ",
                       prefix.status().message()));
    }
    selector.prefixes.push_back(*prefix);
  }
  return selector;
}

std::vector<IpAddress> SelectNodePortAddresses(absl::Span<const NodeAddress> addresses,
                                               const NodePortSelector& selector,
                                               absl::Span<const IpAddress> node_ips) {
  std::vector<IpAddress> selected;
  for (const NodeAddress& node : addresses) {
    if (CanServe(node) && Selects(selector, node_ips, node.address)) {
      selected.push_back(node.address);
    }
  }
  std::sort(selected.begin(), selected.end());
  selected.erase(std::unique(selected.begin(), selected.end()), selected.end());
  return selected;
}

}  // namespace fairlead
