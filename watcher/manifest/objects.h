// What is read of a manifest, object by object, before Services have their addresses and Pods have
// become endpoints.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "watcher/manifest/problem.h"
#include "watcher/model.h"

namespace fairlead::manifest {

enum class ManifestKind : uint8_t { kService, kEndpointSlice, kPod, kNode };

// "Service", "EndpointSlice", "Pod" or "Node".
absl::string_view FormatManifestKind(ManifestKind kind);

// Identity of an object among the manifests. A Node's namespace is empty.
struct ManifestKey {
  ManifestKind kind = ManifestKind::kService;
  ObjectName name;

  // "Service shop/cart", "Node n1".
  std::string Format() const;

  auto operator<=>(const ManifestKey&) const = default;
};

// A port of a Pod as a Service asks for it: by name where that is not empty, else by number.
struct TargetPort {
  std::string name;
  uint16_t number = 0;

  friend bool operator==(const TargetPort&, const TargetPort&) = default;
};

enum class FamilyPolicy : uint8_t { kUnset, kSingleStack, kPreferDualStack, kRequireDualStack };

// A Service as it is written.
struct ServiceManifest {
  // Addresses and node ports are those that are asked for; the others are still to be given out.
  Service service;
  bool headless = false;
  std::vector<IpFamily> families;  // spec.ipFamilies, or the families of the addresses asked for.
  FamilyPolicy family_policy = FamilyPolicy::kUnset;
  std::map<std::string, std::string> selector;
  std::vector<TargetPort> target_ports;  // Beside service.ports.
  std::vector<int> port_lines;           // Likewise.
  int cluster_ip_line = 0;
  bool publish_not_ready = false;
  bool allocate_node_ports = true;

  friend bool operator==(const ServiceManifest&, const ServiceManifest&) = default;
};

struct ContainerPort {
  std::string name;
  ipvs::Protocol protocol = ipvs::Protocol::kTcp;
  uint16_t number = 0;

  friend bool operator==(const ContainerPort&, const ContainerPort&) = default;
};

// What endpoints are made of.
struct PodManifest {
  ObjectName name;
  std::map<std::string, std::string> labels;
  std::string node_name;
  std::vector<IpAddress> addresses;  // Empty: none yet. At most one of each family.
  // Of the containers, then of the init containers that stay.
  std::vector<ContainerPort> ports;
  bool ready = false;
  bool terminating = false;
  bool finished = false;  // Phase Succeeded or Failed.

  friend bool operator==(const PodManifest&, const PodManifest&) = default;
};

// A valid object and where it is from. Values are immutable and shared.
struct ManifestObject {
  ManifestKey key;
  std::string file;
  int line = 0;
  // Kept from before, because the object is invalid or its document unreadable as it is now.
  bool stale = false;
  std::variant<std::shared_ptr<const ServiceManifest>, std::shared_ptr<const EndpointSlice>,
               std::shared_ptr<const PodManifest>, std::shared_ptr<const Node>>
      value;

  template <typename T>
  const T& As() const {
    return *std::get<std::shared_ptr<const T>>(value);
  }
};

// An object that is left out.
struct InvalidObject {
  ManifestKey key;  // An empty name: it has none.
  // Of an EndpointSlice, its Service where that much could be read.
  std::optional<ObjectName> service;
  std::vector<Problem> problems;
};

// What a file holds.
struct DecodedFile {
  std::vector<ManifestObject> objects;  // In the file's order.
  std::vector<InvalidObject> invalid;
  std::vector<Problem> problems;  // All others.
  // Some of it could not be told apart: it is malformed, or an object has no name. What it held
  // before and no longer shows may be in there.
  bool has_unknown = false;
};

}  // namespace fairlead::manifest
