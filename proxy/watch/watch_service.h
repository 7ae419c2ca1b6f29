// What a watcher tells of its agents and its source.
#pragma once

#include <functional>
#include <vector>

#include "fairlead/v1/watch.grpc.pb.h"
#include "watcher/feed/feed_server.h"
#include "watcher/feed/journal.h"
#include "watcher/kubernetes/kubernetes_source.h"

namespace fairlead {

// Answers `fairlead watcher nodes`. Thread-safe.
class WatchService final : public v1::Watch::Service {
 public:
  // All of them outlive the service.
  WatchService(const FeedServer& server, const Journal& journal,
               std::function<std::vector<KubernetesResourceStatus>()> resources)
      : server_(server), journal_(journal), resources_(std::move(resources)) {}

  grpc::Status ListNodes(grpc::ServerContext* context, const v1::ListNodesRequest* request,
                         grpc::ServerWriter<v1::FeedNode>* writer) override;
  grpc::Status WatchStatus(grpc::ServerContext* context, const v1::WatchStatusRequest* request,
                           v1::WatchStatusResponse* response) override;

 private:
  const FeedServer& server_;
  const Journal& journal_;
  const std::function<std::vector<KubernetesResourceStatus>()> resources_;
};

}  // namespace fairlead
