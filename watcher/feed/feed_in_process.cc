#include "watcher/feed/feed_in_process.h"

#include <grpcpp/server_builder.h>

#include <utility>

#include "watcher/feed/feed_client.h"

namespace fairlead {
namespace {

std::unique_ptr<grpc::Server> StartServer(FeedServer& server) {
  grpc::ServerBuilder builder;
  builder.RegisterService(&server.service());
  return builder.BuildAndStart();
}

}  // namespace

InProcessFeed::InProcessFeed(FeedServerOptions options, std::string epoch)
    : journal_(std::move(epoch)),
      server_(journal_, std::move(options)),
      grpc_server_(StartServer(server_)) {}

InProcessFeed::~InProcessFeed() {
  server_.Shutdown();
  grpc_server_->Shutdown();
}

std::shared_ptr<grpc::Channel> InProcessFeed::MakeChannel() {
  return grpc_server_->InProcessChannel(FeedChannelArguments());
}

}  // namespace fairlead
