#include "test/feed/watcher.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/server_builder.h>

#include <catch2/catch.hpp>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "watcher/feed/credentials.h"

namespace fairlead::feed_test {
namespace {

constexpr absl::Duration kShortKeepalive = absl::Milliseconds(200);

}  // namespace

struct Watcher::Certificates {
  Authority authority{"ca"};
  MountedSecret watcher{
      authority.Issue({.common_name = "watcher", .dns_names = {"watcher.example"}}),
      authority.certificate()};
  MountedSecret agent{authority.Issue({.common_name = "agent"}), authority.certificate()};
};

Watcher::Watcher(Transport transport, absl::Duration heartbeat_interval)
    : server_(journal_, {.heartbeat_interval = heartbeat_interval}),
      server_credentials_(grpc::InsecureServerCredentials()),
      channel_credentials_(grpc::InsecureChannelCredentials()) {
  if (transport == Transport::kTls) {
    certificates_ = std::make_unique<Certificates>();
    server_credentials_ = *MakeServerCredentials(certificates_->watcher.files());
    channel_credentials_ = *MakeChannelCredentials(certificates_->agent.files());
  }
  grpc::ServerBuilder builder;
  FeedServer::Configure(builder);
  builder.RegisterService(&server_.service());
  builder.AddListeningPort("127.0.0.1:0", server_credentials_, &port_);
  grpc_server_ = builder.BuildAndStart();
  REQUIRE(port_ != 0);
}

Watcher::~Watcher() {
  server_.Shutdown();
  // Streams whose other end was frozen would not go by themselves.
  grpc_server_->Shutdown(std::chrono::system_clock::now());
}

FeedTarget Watcher::TargetBy(const FaultProxy& proxy, bool impatient) {
  const std::string address = absl::StrCat("127.0.0.1:", proxy.port());
  // A stream that is given up leaves its connection open, and the next one would take it.
  grpc::ChannelArguments arguments =
      FeedChannelArguments(impatient ? kShortKeepalive : kChannelKeepalive);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (certificates_) arguments.SetSslTargetNameOverride("watcher.example");
  return {address, grpc::CreateCustomChannel(address, channel_credentials_, arguments)};
}

}  // namespace fairlead::feed_test
