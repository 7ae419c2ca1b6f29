// Where an agent's feed comes from: watchers, or a source in this process.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "watcher/feed/feed_client.h"
#include "watcher/feed/tls_files.h"
#include "watcher/source/source.h"

namespace fairlead {

// Watchers that are asked over the network.
struct RemoteFeedOptions {
  std::vector<std::string> addresses;  // "10.0.0.5:10270", at least one.
  std::optional<TlsFiles> tls;         // Unset: plain text.
  std::string tls_server_name;         // Empty: the host of each address.
};

using FeedOriginOptions = std::variant<SourceOptions, RemoteFeedOptions>;

// A feed that a FeedClient can follow. The client is stopped before this goes away.
class FeedOrigin {
 public:
  // Errors are those of the TLS files.
  static absl::StatusOr<std::unique_ptr<FeedOrigin>> Make(FeedOriginOptions options);
  virtual ~FeedOrigin() = default;

  virtual std::vector<FeedTarget> Targets() = 0;
  // Begins to fill the feed, where that is done here. A status where the machine refuses it.
  virtual absl::Status Start() = 0;
  virtual void Stop() = 0;
  // Of a source that is an API server.
  virtual std::vector<KubernetesResourceStatus> KubernetesStatus() const = 0;
};

}  // namespace fairlead
