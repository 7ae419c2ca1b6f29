// Services with many endpoints that change at random, as manifests.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "test/kernel/harness.h"

namespace fairlead::lab {

// Each Service has a file of its own in the folder, with its Service and an EndpointSlice. The same
// seed gives the same changes. Endpoints are addresses where nobody is.
class Churn {
 public:
  Churn(const Folder& folder, int services, int endpoints_each, unsigned seed);

  // Changes one Service: an endpoint comes, goes, or changes readiness or node; a policy, the
  // affinity, the scheduler, a port changes; the Service goes or comes back.
  void ChangeOne();

 private:
  struct Endpoint {
    int number = 0;
    bool ready = true;
    int node = 1;
  };
  struct Service {
    bool exists = true;
    bool external_local = false;
    bool internal_local = false;
    bool affinity = false;
    bool udp = false;
    int port = 80;
    std::string scheduler;
    std::vector<Endpoint> endpoints;
  };

  int Random(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }
  void Write(int number) const;
  std::string Manifest(int number) const;

  const Folder& folder_;
  std::mt19937 random_;
  std::vector<Service> services_;
  int next_endpoint_ = 0;
};

}  // namespace fairlead::lab
