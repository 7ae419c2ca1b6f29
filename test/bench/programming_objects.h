// The Services of the programming benchmark, as the feed and as the API server have them.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ipvs/types.h"
#include "watcher/model.h"

namespace fairlead::bench {

inline constexpr char kSlicesPath[] = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

// All pods are of this range; none is on the node that is measured.
inline constexpr char kPodRange[] = "10.128.0.0/9";

inline constexpr uint16_t kTargetPort = 8080;

struct BenchEndpoint {
  IpAddress address;
  bool ready = true;
};

// "default/NAME", a cluster IP with TCP port 80 to 8080, and one slice.
struct BenchService {
  std::string name;
  IpAddress vip;
  std::vector<BenchEndpoint> endpoints;

  ipvs::VirtualServerKey key() const;
  // What its virtual server sends new connections to.
  std::vector<ipvs::RealServerKey> ready() const;
};

// One of the many, counted from 0.
BenchService CrowdService(int number, int endpoints);
// One of the few that are changed: `number` tells them apart.
BenchService SpecialService(const std::string& name, int number, int endpoints);
// An address that no endpoint had before.
IpAddress FreshEndpoint();

std::shared_ptr<const Service> FeedService(const BenchService& service);
std::shared_ptr<const EndpointSlice> FeedSlice(const BenchService& service);

nlohmann::json ApiService(const BenchService& service);
nlohmann::json ApiSlice(const BenchService& service);
// A merge patch of the slice.
nlohmann::json ApiEndpoints(const BenchService& service);
std::string ServicePath(const BenchService& service);
std::string SlicePath(const BenchService& service);

// A minute of changes, over the first kFloodServices of the crowd in turn: each visit makes some
// endpoints unready, the next one makes them ready again. So few Services and the same addresses:
// IPVS keeps what was deleted in a list, and looks through it at each addition.
inline constexpr int kFloodServices = 200;
inline constexpr int kFloodChanges = 1'000;  // Endpoints per second.
// The Service after this many visits.
BenchService AfterVisits(int number, int endpoints, int visits, int changes_per_visit);

}  // namespace fairlead::bench
