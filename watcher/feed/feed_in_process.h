// A feed within one process.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/server.h>

#include <memory>
#include <string>

#include "watcher/feed/feed_server.h"
#include "watcher/feed/journal.h"

namespace fairlead {

// A journal, its server, and a channel to it that uses no socket. The source writes the journal,
// the agent's FeedClient subscribes over the channel. Thread-safe.
//
// Every client is stopped before this is destroyed: a call over an in-process channel whose
// grpc::Server is gone crashes (github.com/grpc/grpc/pull/38645; seen with 1.51).
class InProcessFeed {
 public:
  explicit InProcessFeed(FeedServerOptions options = FeedServerOptions(),
                         std::string epoch = Journal::RandomEpoch());
  // Shuts down, and waits for the end of all streams.
  ~InProcessFeed();
  InProcessFeed(const InProcessFeed&) = delete;
  InProcessFeed& operator=(const InProcessFeed&) = delete;

  Journal& journal() { return journal_; }
  FeedServer& server() { return server_; }
  // A new channel at each call.
  std::shared_ptr<grpc::Channel> MakeChannel();

 private:
  Journal journal_;
  FeedServer server_;
  std::unique_ptr<grpc::Server> grpc_server_;
};

}  // namespace fairlead
