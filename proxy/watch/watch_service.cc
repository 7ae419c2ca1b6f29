#include "proxy/watch/watch_service.h"

#include "proxy/cli/version.h"
#include "proxy/daemon/log_rpc.h"
#include "watcher/feed/feed_codec.h"
#include "watcher/feed/proto_time.h"

namespace fairlead {
namespace {

v1::FeedNode ToMessage(const FeedNode& node) {
  const SubscriberStatus& status = node.status;
  v1::FeedNode message;
  message.set_node_name(status.node_name);
  message.set_agent(status.agent);
  message.set_peer(status.peer);
  EncodeTime(status.connected, message.mutable_connected());
  if (node.left != absl::InfiniteFuture()) EncodeTime(node.left, message.mutable_left());
  message.set_snapshot(status.snapshot);
  message.set_sent_revision(status.sent_revision);
  message.set_acked_revision(status.acked_revision);
  if (status.acked_at != absl::InfinitePast()) {
    EncodeTime(status.acked_at, message.mutable_acked());
    EncodeDuration(status.programming_time, message.mutable_programming_time());
  }
  EncodeDuration(node.behind, message.mutable_behind());
  message.set_failure_count(status.failure_count);
  for (const ObjectFailure& failure : status.failures) {
    v1::Failure* added = message.add_failures();
    *added->mutable_object() = EncodeRef(failure.object);
    added->set_message(failure.message);
  }
  return message;
}

}  // namespace

grpc::Status WatchService::ListNodes(grpc::ServerContext* /*context*/,
                                     const v1::ListNodesRequest* /*request*/,
                                     grpc::ServerWriter<v1::FeedNode>* writer) {
  const std::vector<FeedNode> nodes = server_.Nodes();
  for (const FeedNode& node : nodes) {
    if (!writer->Write(ToMessage(node))) break;  // The client has gone.
  }
  return grpc::Status::OK;
}

grpc::Status WatchService::WatchStatus(grpc::ServerContext* /*context*/,
                                       const v1::WatchStatusRequest* /*request*/,
                                       v1::WatchStatusResponse* response) {
  const JournalState state = journal_.State();
  response->set_version(kVersion);
  response->set_epoch(journal_.epoch());
  response->set_head_revision(state.head_revision);
  response->set_complete(state.complete);
  response->set_objects(journal_.object_count());
  const std::vector<KubernetesResourceStatus> resources = resources_();
  for (const KubernetesResourceStatus& resource : resources) {
    v1::SourceResource* added = response->add_resources();
    added->set_resource(resource.resource);
    added->set_listed(resource.listed);
    added->set_watching(resource.watching);
    if (resource.last_event != absl::InfinitePast()) {
      EncodeTime(resource.last_event, added->mutable_last_event());
    }
    added->set_errors(resource.errors);
    added->set_invalid_objects(resource.invalid_objects);
    added->set_last_error(EncodeText(resource.last_error));
  }
  return grpc::Status::OK;
}

grpc::Status WatchService::LogLevel(grpc::ServerContext* /*context*/,
                                    const v1::LogLevelRequest* request,
                                    v1::LogLevelResponse* response) {
  return AnswerLogLevel(log_, *request, *response);
}

}  // namespace fairlead
