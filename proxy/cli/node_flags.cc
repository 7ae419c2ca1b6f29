#include "proxy/cli/node_flags.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace fairlead {
namespace {

// Each value may hold several, with commas between.
template <typename Parse>
auto ParseList(const char* flag, const std::vector<std::string>& values, Parse parse)
    -> absl::StatusOr<std::vector<typename decltype(parse(""))::value_type>> {
  std::vector<typename decltype(parse(""))::value_type> parsed;
  for (const std::string& value : values) {
    for (absl::string_view item : absl::StrSplit(value, ',', absl::SkipWhitespace())) {
      auto one = parse(item);
      if (!one.ok()) return InFlag(flag, one.status());
      parsed.push_back(*std::move(one));
    }
  }
  return parsed;
}

// Names of devices as the kernel takes them (net/core/dev.c, dev_valid_name).
bool IsDeviceName(absl::string_view name) {
  constexpr size_t kLongest = 15;
  return !name.empty() && name.size() <= kLongest &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isgraph(c) && c != '/' && c != ':' && c != '"' && c != '*' &&
                  c != '\\';
         });
}

absl::Status ParseLocalMode(const NodeFlags& flags, NodeSettings& settings) {
  struct Mode {
    absl::string_view name;
    LocalMode mode;
    const char* flag;  // That the mode needs; null: none.
    const std::string& value;
  };
  const Mode modes[] = {
      {"ClusterCIDR", LocalMode::kClusterCidr, nullptr, flags.pod_bridge_interface},
      {"NodeCIDR", LocalMode::kNodeCidr, nullptr, flags.pod_bridge_interface},
      {"BridgeInterface", LocalMode::kBridgeInterface, "--pod-bridge-interface",
       flags.pod_bridge_interface},
      {"InterfaceNamePrefix", LocalMode::kInterfaceNamePrefix, "--pod-interface-name-prefix",
       flags.pod_interface_name_prefix},
  };
  for (const Mode& mode : modes) {
    if (mode.name == flags.detect_local_mode) {
      settings.local_mode = mode.mode;
      if (mode.flag == nullptr || IsDeviceName(mode.value)) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          mode.flag, ": \"", mode.value, "\" is not the name of a device; --detect-local-mode ",
          mode.name, " needs one"));
    }
    if (mode.flag == nullptr || mode.value.empty()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        mode.flag, ": has no effect with ", "--detect-local-mode ", flags.detect_local_mode));
  }
  settings.pod_bridge_interface = flags.pod_bridge_interface;
  settings.pod_interface_name_prefix = flags.pod_interface_name_prefix;
  return absl::OkStatus();
}

}  // namespace

void AddNodeFlags(CLI::App& command, NodeFlags& flags, Required required) {
  const std::string node = "Node";
  command.add_option("--node-name", flags.node_name, "Name of this node")
      ->required(required != Required::kNothing)
      ->group(node);
  command
      .add_option("--node-ip", flags.node_ips,
                  "The node's address, one of each family; default: those of its Node object")
      ->group(node);
  command
      .add_option("--cluster-cidr", flags.cluster_cidrs,
                  "Addresses of pods: others that reach a cluster IP are masqueraded")
      ->group(node);
  command
      .add_option("--detect-local-mode", flags.detect_local_mode,
                  "How pods' packets are told from others: ClusterCIDR (--cluster-cidr), NodeCIDR "
                  "(podCIDRs of the Node object), BridgeInterface or InterfaceNamePrefix")
      ->check(CLI::IsMember({"ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"}))
      ->capture_default_str()
      ->group(node);
  command
      .add_option("--pod-bridge-interface", flags.pod_bridge_interface,
                  "With BridgeInterface: the device that pods' packets come in by")
      ->group(node);
  command
      .add_option("--pod-interface-name-prefix", flags.pod_interface_name_prefix,
                  "With InterfaceNamePrefix: what the names of pods' devices start with")
      ->group(node);
  command
      .add_option("--mark-range", flags.mark_range,
                  "Firewall marks that are Fairlead's to use, FIRST-LAST")
      ->capture_default_str()
      ->group(node);
  command
      .add_flag("--masquerade-all", flags.masquerade_all,
                "Masquerade everything that goes to a cluster IP")
      ->group(node);
  command
      .add_option("--nodeport-addresses", flags.node_port_addresses,
                  "Where node ports are served: CIDRs, or `primary`; default: all addresses")
      ->group(node);
  command
      .add_option("--scheduler", flags.scheduler,
                  "Scheduler of Services without the annotation fairlead.dev/scheduler")
      ->capture_default_str()
      ->group(node);
  command
      .add_option(
          "--service-proxy-name", flags.service_proxy_name,
          "Serve only Services whose label service.kubernetes.io/service-proxy-name is this")
      ->group(node);
  AddManifestFlags(command, flags, /*required=*/required == Required::kNodeAndManifests);
}

absl::StatusOr<NodeSettings> ParseNodeSettings(const NodeFlags& flags) {
  NodeSettings settings;
  if (flags.node_name.empty()) return absl::InvalidArgumentError("--node-name: is empty");
  settings.node_name = flags.node_name;
  auto node_ips = ParseList("--node-ip", flags.node_ips, IpAddress::Parse);
  if (!node_ips.ok()) return node_ips.status();
  settings.node_ips = *std::move(node_ips);
  for (const IpAddress& address : settings.node_ips) {
    if (!address.IsLoopback() && !address.IsLinkLocal() && !address.IsUnspecified()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--node-ip: ", address.Format(), " cannot be the address of a node"));
  }
  for (size_t i = 0; i < settings.node_ips.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (settings.node_ips[i].family() != settings.node_ips[j].family()) continue;
      return absl::InvalidArgumentError(absl::StrCat("--node-ip: ", settings.node_ips[j].Format(),
                                                     " and ", settings.node_ips[i].Format(),
                                                     " are of one family"));
    }
  }
  auto cidrs = ParseList("--cluster-cidr", flags.cluster_cidrs, IpPrefix::Parse);
  if (!cidrs.ok()) return cidrs.status();
  settings.cluster_cidrs = *std::move(cidrs);
  if (absl::Status mode = ParseLocalMode(flags, settings); !mode.ok()) return mode;
  auto marks = ParseMarkRange(flags.mark_range);
  if (!marks.ok()) return InFlag("--mark-range", marks.status());
  settings.marks = *marks;
  auto selector = ParseNodePortAddresses(flags.node_port_addresses);
  if (!selector.ok()) return selector.status();  // It names the flag.
  settings.node_port_selector = *std::move(selector);
  settings.masquerade_all = flags.masquerade_all;
  settings.default_scheduler = flags.scheduler;
  if (!flags.service_proxy_name.empty()) settings.service_proxy_name = flags.service_proxy_name;
  return settings;
}

}  // namespace fairlead
