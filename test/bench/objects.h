// A cluster of any size, as an API server would have it.
#pragma once

#include <memory>
#include <vector>

#include "watcher/model.h"

namespace fairlead::bench {

struct Scale {
  int services = 10'000;
  int endpoints = 10;  // Of each.
};

// ClusterIP Service number `number`, with one TCP port.
std::shared_ptr<const Service> MakeService(int number);

// Its slice, with names of Pods and Nodes of usual lengths, on a thousand Nodes. Another
// `version` is a rollout's step: its first endpoint has another address and name.
std::shared_ptr<const EndpointSlice> MakeSlice(int number, int endpoints, int version = 0);

// Services and slices.
std::vector<Object> MakeObjects(const Scale& scale);

}  // namespace fairlead::bench
