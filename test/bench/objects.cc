#include "test/bench/objects.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fairlead::bench {
namespace {

constexpr int kNodes = 1000;

// Shared as by what decodes objects.
ObjectName InShop(const std::string& name) { return {SharedText::Common("shop"), name}; }

}  // namespace

std::shared_ptr<const Service> MakeService(int number) {
  return std::make_shared<const Service>(
      Service{.name = InShop(absl::StrCat("service-", number)),
              .created = absl::FromUnixSeconds(1'700'000'000),
              .cluster_ips = {IpAddress::V4(0x0a600001).Plus(static_cast<uint64_t>(number))},
              .ports = {{.name = "http", .port = 80}}});
}

std::shared_ptr<const EndpointSlice> MakeSlice(int number, int endpoints, int version) {
  EndpointSlice slice{.name = InShop(absl::StrCat("service-", number, "-x7k2p")),
                      .service_name = absl::StrCat("service-", number),
                      .ports = {{.name = "http", .port = 8080}}};
  for (int i = 0; i < endpoints; ++i) {
    const int pod = number * endpoints + i;
    const int pod_version = i == 0 ? version : 0;
    // Replaced Pods have addresses of another range: 10.128.0.0/9.
    const IpAddress range = IpAddress::V4(pod_version % 2 == 0 ? 0x0a000001 : 0x0a800001);
    slice.endpoints.push_back(
        {.address = range.Plus(static_cast<uint64_t>(pod)),
         .node_name = SharedText::Common(absl::StrCat("ip-10-0-", (pod + pod_version) % kNodes,
                                                      "-17.eu-central-1.compute.internal")),
         .zone = SharedText::Common("eu-central-1a"),
         .target_name =
             absl::StrFormat("service-%d-7c9d8f6b5-%05d", number, pod % 10'000 + pod_version)});
  }
  return std::make_shared<const EndpointSlice>(std::move(slice));
}

std::vector<Object> MakeObjects(const Scale& scale) {
  std::vector<Object> objects;
  for (int i = 0; i < scale.services; ++i) {
    objects.emplace_back(MakeService(i));
    objects.emplace_back(MakeSlice(i, scale.endpoints));
  }
  return objects;
}

}  // namespace fairlead::bench
