// EndpointSlices from Pods, for Services that have none among the manifests.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "watcher/manifest/objects.h"
#include "watcher/manifest/problem.h"

namespace fairlead::manifest {

// Pods by namespace and label, so that a Service finds its own without looking at all others.
// Refers to the Pods it was given.
class PodIndex {
 public:
  void Add(const PodManifest& pod);

  // The Pods of the namespace with all of these labels, by name; none for an empty selector.
  std::vector<const PodManifest*> Select(const std::string& name_space,
                                         const std::map<std::string, std::string>& selector) const;

 private:
  using Label = std::pair<std::string, std::string>;
  std::map<std::string, std::map<Label, std::vector<const PodManifest*>>> pods_;
};

// Zones of Nodes by name.
using NodeZones = std::map<std::string, std::string>;

// The slices of a Service, one for each family and set of port numbers, as the EndpointSlice
// controller makes them: Pods that have an address and have not finished; serving is the Pod's
// readiness, ready is serving and not terminating, and always true where the Service publishes what
// is not ready. `service` is complete; `manifest` is what it was made from. A port that a Pod does
// not have is left out for that Pod, with a problem. Pure.
std::vector<EndpointSlice> MakeEndpointSlices(const ManifestObject& object, const Service& service,
                                              const PodIndex& pods, const NodeZones& zones,
                                              std::vector<Problem>* problems);

}  // namespace fairlead::manifest
