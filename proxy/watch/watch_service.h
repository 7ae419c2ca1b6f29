// What a watcher tells of its agents and its source.
#pragma once

#include <functional>
#include <vector>

#include "fairlead/v1/watch.grpc.pb.h"
#include "proxy/daemon/log_control.h"
#include "watcher/feed/feed_server.h"
#include "watcher/feed/journal.h"
#include "watcher/kubernetes/kubernetes_source.h"

namespace fairlead {

// Answers `fairlead watcher nodes` and `fairlead watcher log-level`. Thread-safe. The level of the
// default logger is in its hands from the start on.
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
  grpc::Status LogLevel(grpc::ServerContext* context, const v1::LogLevelRequest* request,
                        v1::LogLevelResponse* response) override;

 private:
  const FeedServer& server_;
  const Journal& journal_;
  const std::function<std::vector<KubernetesResourceStatus>()> resources_;
  LogControl log_;
};

}  // namespace fairlead
