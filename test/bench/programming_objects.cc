#include "test/bench/programming_objects.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "test/kubernetes/objects.h"

namespace fairlead::bench {
namespace {

using nlohmann::json;

constexpr int kPort = 80;
constexpr uint32_t kCrowdVips = 0x0a601000;    // 10.96.16.0
constexpr uint32_t kSpecialVips = 0x0a60fa00;  // 10.96.250.0
constexpr uint32_t kCrowdPods = 0x0a800001;    // 10.128.0.1
constexpr uint32_t kSpecialPods = 0x0ac00001;  // 10.192.0.1
constexpr uint32_t kFreshPods = 0x0ac80001;    // 10.200.0.1
constexpr int kSpecialEndpoints = 1'000;       // At most.
constexpr char kOtherNode[] = "n2";

BenchService MakeService(const std::string& name, const IpAddress& vip, const IpAddress& first,
                         int endpoints) {
  BenchService service{.name = name, .vip = vip};
  for (int i = 0; i < endpoints; ++i) service.endpoints.push_back({first.Plus(i)});
  return service;
}

std::string SliceName(const BenchService& service) { return absl::StrCat(service.name, "-x7k2p"); }

}  // namespace

ipvs::VirtualServerKey BenchService::key() const {
  return ipvs::VirtualServerKey::ForAddress(ipvs::Protocol::kTcp, vip, kPort);
}

std::vector<ipvs::RealServerKey> BenchService::ready() const {
  std::vector<ipvs::RealServerKey> keys;
  for (const BenchEndpoint& endpoint : endpoints) {
    if (endpoint.ready) keys.push_back({endpoint.address, kTargetPort});
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

BenchService CrowdService(int number, int endpoints) {
  return MakeService(absl::StrCat("service-", number), IpAddress::V4(kCrowdVips).Plus(number),
                     IpAddress::V4(kCrowdPods).Plus(number * endpoints), endpoints);
}

BenchService SpecialService(const std::string& name, int number, int endpoints) {
  return MakeService(name, IpAddress::V4(kSpecialVips).Plus(number),
                     IpAddress::V4(kSpecialPods).Plus(number * kSpecialEndpoints), endpoints);
}

IpAddress FreshEndpoint() {
  static int made = 0;
  return IpAddress::V4(kFreshPods).Plus(made++);
}

std::shared_ptr<const Service> FeedService(const BenchService& service) {
  return std::make_shared<const Service>(Service{.name = {"default", service.name},
                                                 .created = absl::FromUnixSeconds(1'700'000'000),
                                                 .cluster_ips = {service.vip},
                                                 .ports = {{.name = "http", .port = kPort}}});
}

std::shared_ptr<const EndpointSlice> FeedSlice(const BenchService& service) {
  EndpointSlice slice{.name = {"default", SliceName(service)},
                      .service_name = service.name,
                      .ports = {{.name = "http", .port = kTargetPort}}};
  for (const BenchEndpoint& endpoint : service.endpoints) {
    slice.endpoints.push_back({.address = endpoint.address,
                               .ready = endpoint.ready,
                               .serving = endpoint.ready,
                               .node_name = kOtherNode,
                               .zone = "zone-a"});
  }
  return std::make_shared<const EndpointSlice>(std::move(slice));
}

json ApiService(const BenchService& service) {
  return {{"metadata", {{"name", service.name}}},
          {"spec",
           {{"clusterIP", service.vip.Format()},
            {"ports", json::array({{{"name", "http"},
                                    {"protocol", "TCP"},
                                    {"port", kPort},
                                    {"targetPort", kTargetPort}}})}}}};
}

json ApiEndpoints(const BenchService& service) {
  json endpoints = json::array();
  for (const BenchEndpoint& endpoint : service.endpoints) {
    endpoints.push_back(
        {{"addresses", {endpoint.address.Format()}},
         {"conditions",
          {{"ready", endpoint.ready}, {"serving", endpoint.ready}, {"terminating", false}}},
         {"nodeName", kOtherNode},
         {"zone", "zone-a"}});
  }
  return {{"endpoints", endpoints}};
}

json ApiSlice(const BenchService& service) {
  json slice = {
      {"metadata",
       {{"name", SliceName(service)}, {"labels", {{"kubernetes.io/service-name", service.name}}}}},
      {"addressType", "IPv4"},
      {"ports", json::array({{{"name", "http"}, {"protocol", "TCP"}, {"port", kTargetPort}}})}};
  slice.update(ApiEndpoints(service));
  return slice;
}

std::string ServicePath(const BenchService& service) {
  return absl::StrCat(lab::kServicesPath, "/", service.name);
}

std::string SlicePath(const BenchService& service) {
  return absl::StrCat(kSlicesPath, "/", SliceName(service));
}

BenchService AfterVisits(int number, int endpoints, int visits, int changes_per_visit) {
  BenchService service = CrowdService(number, endpoints);
  // After an even number of them all are ready.
  if (visits % 2 == 0) return service;
  const int first = visits / 2 * changes_per_visit;
  for (int i = 0; i < changes_per_visit; ++i) {
    service.endpoints[static_cast<size_t>((first + i) % endpoints)].ready = false;
  }
  return service;
}

}  // namespace fairlead::bench
