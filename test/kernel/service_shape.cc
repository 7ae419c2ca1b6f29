#include "test/kernel/service_shape.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace fairlead::lab {
namespace {

std::string QuotedList(const std::vector<std::string>& items) {
  return absl::StrCat("[",
                      absl::StrJoin(items, ", ",
                                    [](std::string* out, const std::string& item) {
                                      absl::StrAppend(out, "\"", item, "\"");
                                    }),
                      "]");
}

}  // namespace

std::string ServiceShape::Manifest() const {
  std::string text = absl::StrCat("apiVersion: v1\nkind: Service\nmetadata:\n  name: ", name, "\n");
  if (!labels.empty()) {
    absl::StrAppend(&text, "  labels:\n");
    for (const auto& [key, value] : labels) {
      absl::StrAppend(&text, "    ", key, ": \"", value, "\"\n");
    }
  }
  if (!scheduler.empty()) {
    absl::StrAppend(&text, "  annotations: {fairlead.dev/scheduler: ", scheduler, "}\n");
  }
  const bool external = type != "ClusterIP" || !external_ips.empty();
  const bool node_ports = type != "ClusterIP";
  absl::StrAppend(&text, "spec:\n  type: ", type, "\n  clusterIPs: ",
                  dual_stack ? QuotedList({cluster_ip, cluster_ip6}) : QuotedList({cluster_ip}),
                  "\n  ipFamilies: ", dual_stack ? "[IPv4, IPv6]" : "[IPv4]",
                  "\n  ipFamilyPolicy: ", dual_stack ? "RequireDualStack" : "SingleStack",
                  "\n  internalTrafficPolicy: ", internal_policy, "\n");
  if (external) absl::StrAppend(&text, "  externalTrafficPolicy: ", external_policy, "\n");
  if (affinity_seconds > 0) {
    absl::StrAppend(&text, "  sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: ",
                    "{timeoutSeconds: ", affinity_seconds, "}}\n");
  }
  if (!external_ips.empty()) {
    absl::StrAppend(&text, "  externalIPs: ", QuotedList(external_ips), "\n");
  }
  if (!source_ranges.empty() && type == "LoadBalancer") {
    absl::StrAppend(&text, "  loadBalancerSourceRanges: ", QuotedList(source_ranges), "\n");
  }
  if (type == "LoadBalancer" && external_policy == "Local") {
    absl::StrAppend(&text, "  healthCheckNodePort: ", health_check_port, "\n");
  }
  absl::StrAppend(&text, "  ports: [{name: ", port_name, ", port: ", port,
                  ", protocol: ", protocol);
  if (node_ports) absl::StrAppend(&text, ", nodePort: ", node_port);
  absl::StrAppend(&text, "}]\n");
  if (type == "LoadBalancer" && !load_balancer_ips.empty()) {
    absl::StrAppend(&text, "status:\n  loadBalancer:\n    ingress:\n");
    for (const std::string& ip : load_balancer_ips) {
      absl::StrAppend(&text, "    - {ip: \"", ip, "\"", ip_mode_proxy ? ", ipMode: Proxy" : "",
                      "}\n");
    }
  }
  int number = 0;
  for (const std::vector<ShapeEndpoint>& slice : slices) {
    absl::StrAppend(&text, "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n",
                    "  name: ", name, "-", ++number,
                    "\n  labels: {kubernetes.io/service-name: ", name,
                    "}\naddressType: IPv4\nports: [{name: ", port_name, ", port: ", target_port,
                    ", protocol: ", protocol, "}]\nendpoints:", slice.empty() ? " []" : "", "\n");
    for (const ShapeEndpoint& endpoint : slice) {
      absl::StrAppend(&text, "- {addresses: [\"", endpoint.address,
                      "\"], nodeName: ", endpoint.node);
      if (!endpoint.conditions.empty()) {
        absl::StrAppend(&text, ", conditions: {", endpoint.conditions, "}");
      }
      absl::StrAppend(&text, "}\n");
    }
  }
  return text;
}

std::set<std::string> ServiceShape::Addresses(const std::string& node_address) const {
  std::set<std::string> addresses;
  if (!labels.empty()) return addresses;
  addresses.insert(absl::StrCat("clusterIP ", cluster_ip, ":", port));
  if (type != "ClusterIP") {
    addresses.insert(absl::StrCat("nodePort ", node_address, ":", node_port));
  }
  for (const std::string& ip : external_ips) {
    addresses.insert(absl::StrCat("externalIP ", ip, ":", port));
  }
  if (type == "LoadBalancer" && !ip_mode_proxy) {
    for (const std::string& ip : load_balancer_ips) {
      addresses.insert(absl::StrCat("loadBalancer ", ip, ":", port));
    }
  }
  return addresses;
}

}  // namespace fairlead::lab
