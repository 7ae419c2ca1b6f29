#include "test/kernel/churn.h"

#include <fstream>

#include "absl/strings/str_cat.h"

namespace fairlead::lab {
namespace {

constexpr int kNodes = 3;

}  // namespace

Churn::Churn(const Folder& folder, int services, int endpoints_each, unsigned seed)
    : folder_(folder), random_(seed), services_(static_cast<size_t>(services)) {
  for (int number = 0; number < services; ++number) {
    Service& service = services_[static_cast<size_t>(number)];
    service.udp = number % 5 == 4;
    for (int i = 0; i < endpoints_each; ++i) {
      service.endpoints.push_back({next_endpoint_++, true, Random(kNodes) + 1});
    }
    Write(number);
  }
}

void Churn::ChangeOne() {
  const int number = Random(static_cast<int>(services_.size()));
  Service& service = services_[static_cast<size_t>(number)];
  const int endpoint =
      service.endpoints.empty() ? -1 : Random(static_cast<int>(service.endpoints.size()));
  static const char* const kSchedulers[] = {"", "lc", "wrr", "sh"};
  switch (Random(12)) {
    case 0:
      service.exists = !service.exists;
      break;
    case 1:
      service.external_local = !service.external_local;
      break;
    case 2:
      service.internal_local = !service.internal_local;
      break;
    case 3:
      service.affinity = !service.affinity;
      break;
    case 4:
      service.port = 80 + Random(3);
      break;
    case 5:
      service.scheduler = kSchedulers[Random(4)];
      break;
    case 6:
    case 7:
      service.endpoints.push_back({next_endpoint_++, true, Random(kNodes) + 1});
      break;
    case 8:
    case 9:
      if (endpoint >= 0) service.endpoints.erase(service.endpoints.begin() + endpoint);
      break;
    default:
      if (endpoint >= 0) {
        Endpoint& changed = service.endpoints[static_cast<size_t>(endpoint)];
        changed.ready = !changed.ready;
      }
  }
  Write(number);
}

void Churn::Write(int number) const {
  const std::string name = absl::StrCat("service-", number, ".yaml");
  if (services_[static_cast<size_t>(number)].exists) {
    folder_.Write(name, Manifest(number));
  } else if (std::ifstream(folder_.Path(name))) {
    folder_.Remove(name);
  }
}

std::string Churn::Manifest(int number) const {
  const Service& service = services_[static_cast<size_t>(number)];
  const std::string protocol = service.udp ? "UDP" : "TCP";
  std::string text = absl::StrCat(
      "apiVersion: v1\nkind: Service\nmetadata:\n  name: s", number,
      service.scheduler.empty()
          ? ""
          : absl::StrCat("\n  annotations: {fairlead.dev/scheduler: ", service.scheduler, "}"),
      "\nspec:\n  type: NodePort\n  externalTrafficPolicy: ",
      service.external_local ? "Local" : "Cluster",
      "\n  internalTrafficPolicy: ", service.internal_local ? "Local" : "Cluster",
      "\n  sessionAffinity: ", service.affinity ? "ClientIP" : "None",
      "\n  ports: [{name: main, protocol: ", protocol, ", port: ", service.port,
      "}]\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: s", number,
      "-a\n  labels: {kubernetes.io/service-name: s", number,
      "}\naddressType: IPv4\nports: [{name: main, protocol: ", protocol,
      ", port: 8080}]\nendpoints:\n");
  if (service.endpoints.empty()) text += "  []\n";
  for (const Endpoint& endpoint : service.endpoints) {
    absl::StrAppend(&text, "- {addresses: [10.245.", endpoint.number / 250, ".",
                    endpoint.number % 250 + 1,
                    "], conditions: {ready: ", endpoint.ready ? "true" : "false", "}, nodeName: n",
                    endpoint.node, "}\n");
  }
  return text;
}

}  // namespace fairlead::lab
