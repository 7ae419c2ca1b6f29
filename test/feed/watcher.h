// A watcher on loopback, for agents that reach it by a bad network.
#pragma once

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>

#include <memory>
#include <string>

#include "test/feed/fault_proxy.h"
#include "test/watcher/feed/certificates.h"
#include "watcher/feed/feed_client.h"
#include "watcher/feed/feed_server.h"
#include "watcher/feed/journal.h"

namespace fairlead::feed_test {

enum class Transport { kPlain, kTls };

// A journal and its server on a port of its own, with or without TLS.
class Watcher {
 public:
  explicit Watcher(Transport transport, absl::Duration heartbeat_interval = absl::Milliseconds(50));
  ~Watcher();

  Journal& journal() { return journal_; }
  FeedServer& server() { return server_; }
  int port() const { return port_; }
  // A channel to a proxy of this watcher, with a connection of its own. An impatient one looks
  // after that connection ten times a second, for tests in which it freezes.
  FeedTarget TargetBy(const FaultProxy& proxy, bool impatient = true);

 private:
  struct Certificates;

  Journal journal_;
  FeedServer server_;
  // nullptr without TLS.
  std::unique_ptr<Certificates> certificates_;
  std::shared_ptr<grpc::ServerCredentials> server_credentials_;
  std::shared_ptr<grpc::ChannelCredentials> channel_credentials_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> grpc_server_;
};

}  // namespace fairlead::feed_test
