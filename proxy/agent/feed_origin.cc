#include "proxy/agent/feed_origin.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "watcher/feed/credentials.h"
#include "watcher/feed/feed_in_process.h"

namespace fairlead {
namespace {

class LocalOrigin final : public FeedOrigin {
 public:
  explicit LocalOrigin(SourceOptions options) : source_(std::move(options), feed_.journal()) {}

  std::vector<FeedTarget> Targets() override { return {{"in process", feed_.MakeChannel()}}; }
  absl::Status Start() override { return source_.Start(); }
  void Stop() override { source_.Stop(); }
  std::vector<KubernetesResourceStatus> KubernetesStatus() const override {
    return source_.KubernetesStatus();
  }

 private:
  InProcessFeed feed_;
  Source source_;
};

class RemoteOrigin final : public FeedOrigin {
 public:
  RemoteOrigin(RemoteFeedOptions options, std::shared_ptr<grpc::ChannelCredentials> credentials)
      : options_(std::move(options)), credentials_(std::move(credentials)) {}

  std::vector<FeedTarget> Targets() override {
    grpc::ChannelArguments arguments = FeedChannelArguments();
    if (!options_.tls_server_name.empty() && options_.tls) {
      arguments.SetSslTargetNameOverride(options_.tls_server_name);
    }
    std::vector<FeedTarget> targets;
    targets.reserve(options_.addresses.size());
    for (const std::string& address : options_.addresses) {
      targets.push_back({address, grpc::CreateCustomChannel(address, credentials_, arguments)});
    }
    return targets;
  }
  absl::Status Start() override { return absl::OkStatus(); }
  void Stop() override {}
  std::vector<KubernetesResourceStatus> KubernetesStatus() const override { return {}; }

 private:
  const RemoteFeedOptions options_;
  // Follows the certificates' files for as long as it is there.
  const std::shared_ptr<grpc::ChannelCredentials> credentials_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FeedOrigin>> FeedOrigin::Make(FeedOriginOptions options) {
  if (auto* source = std::get_if<SourceOptions>(&options)) {
    return std::make_unique<LocalOrigin>(std::move(*source));
  }
  RemoteFeedOptions& remote = std::get<RemoteFeedOptions>(options);
  if (!remote.tls) {
    spdlog::warn("the feed comes in plain text, from whoever answers at the watchers' addresses");
    return std::make_unique<RemoteOrigin>(std::move(remote), grpc::InsecureChannelCredentials());
  }
  auto credentials = MakeChannelCredentials(*remote.tls);
  if (!credentials.ok()) return credentials.status();
  return std::make_unique<RemoteOrigin>(std::move(remote), *std::move(credentials));
}

}  // namespace fairlead
