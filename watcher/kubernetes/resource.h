// The three resources of the Kubernetes API that are followed, and how they are asked for.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "watcher/kubernetes/kubernetes_source.h"
#include "watcher/manifest/objects.h"
#include "watcher/model.h"

namespace fairlead::kubernetes {

struct Resource {
  absl::string_view name;  // "services"
  absl::string_view path;  // "/api/v1/services"
  absl::string_view kind;  // "Service"; a list's is "ServiceList".
  manifest::ManifestKind manifest_kind;
  ObjectKind object_kind;
};

inline constexpr Resource kServices{"services", "/api/v1/services", "Service",
                                    manifest::ManifestKind::kService, ObjectKind::kService};
inline constexpr Resource kEndpointSlices{
    "endpointslices", "/apis/discovery.k8s.io/v1/endpointslices", "EndpointSlice",
    manifest::ManifestKind::kEndpointSlice, ObjectKind::kEndpointSlice};
inline constexpr Resource kNodes{"nodes", "/api/v1/nodes", "Node", manifest::ManifestKind::kNode,
                                 ObjectKind::kNode};
inline constexpr const Resource* kResources[] = {&kServices, &kEndpointSlices, &kNodes};

// Path and query of a page of a list; an empty token asks for the first one.
std::string FormatListTarget(const Resource& resource, const KubernetesSourceOptions& options,
                             absl::string_view continue_token);

// Path and query of a watch from `resource_version` on, which the API server is to end after
// `timeout`, rounded up to whole seconds.
std::string FormatWatchTarget(const Resource& resource, const KubernetesSourceOptions& options,
                              absl::string_view resource_version, absl::Duration timeout);

}  // namespace fairlead::kubernetes
