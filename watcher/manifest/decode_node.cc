#include <algorithm>

#include "absl/strings/str_cat.h"
#include "watcher/manifest/decode.h"

namespace fairlead::manifest {
namespace {

constexpr char kToBeDeletedTaint[] = "ToBeDeletedByClusterAutoscaler";

void AddPodCidr(const Field& field, Node* node) {
  const std::optional<std::string> text = field.String();
  if (!text.has_value() || text->empty()) return;
  absl::StatusOr<IpPrefix> prefix = IpPrefix::Parse(*text);
  if (!prefix.ok()) {
    field.Error(absl::StrCat(Quote(*text), " is not an address range"));
  } else if (std::count(node->pod_cidrs.begin(), node->pod_cidrs.end(), *prefix) == 0) {
    node->pod_cidrs.push_back(*prefix);
  }
}

void DecodeSpec(const Field& spec, Node* node) {
  AddPodCidr(spec.Get("podCIDR"), node);
  for (const Field& field : spec.Get("podCIDRs").Items()) AddPodCidr(field, node);
  for (const Field& taint : spec.Get("taints").Items()) {
    if (!taint.IsMap()) continue;
    if (taint.Get("key").String() == kToBeDeletedTaint) node->being_removed = true;
  }
}

void DecodeStatus(const Field& status, Node* node) {
  for (const Field& field : status.Get("addresses").Items()) {
    if (!field.IsMap() || field.Get("type").String() != "InternalIP") continue;
    const Field address_field = field.Get("address");
    const std::optional<IpAddress> address = ReadUnicastAddress(address_field, Severity::kWarning);
    if (!address_field.present()) address_field.Warn("is missing");
    if (!address.has_value()) continue;
    std::vector<IpAddress>& addresses = node->internal_ips;
    if (std::count(addresses.begin(), addresses.end(), *address) == 0) {
      addresses.push_back(*address);
    }
  }
}

}  // namespace

Node DecodeNode(const Field& object, const Metadata& metadata) {
  Node node{.name = metadata.name.name.str(), .being_removed = metadata.deleted};
  if (auto it = metadata.labels.find(kZoneLabel); it != metadata.labels.end()) {
    node.zone = it->second;
  }
  if (const Field spec = object.Get("spec"); spec.IsMap()) DecodeSpec(spec, &node);
  if (const Field status = object.Get("status"); status.IsMap()) DecodeStatus(status, &node);
  return node;
}

}  // namespace fairlead::manifest
