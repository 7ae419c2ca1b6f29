#include "test/kubernetes/follower.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proxy/agent/node_settings.h"
#include "test/kubernetes/model.h"
#include "test/lab/process.h"
#include "watcher/feed/feed_codec.h"
#include "watcher/kubernetes/api_server.h"

namespace fairlead::lab {
namespace {

constexpr size_t kReadBytes = 1 << 20;

NodeConfig ConfigOf(const Node* node) {
  NodeSettings settings;
  settings.node_name = kThisNode;
  for (const char* prefix : {"10.244.0.0/16", "fd00:244::/48"}) {
    settings.cluster_cidrs.push_back(*IpPrefix::Parse(prefix));
  }
  return MakeNodeConfig(settings, node, /*local_addresses=*/{}, KnownSchedulers());
}

}  // namespace

KubernetesSourceOptions FastOptions() {
  KubernetesSourceOptions options;
  options.min_retry_wait = absl::Milliseconds(50);
  options.max_retry_wait = absl::Seconds(1);
  options.seed = 1;
  return options;
}

absl::StatusOr<std::unique_ptr<Follower>> Follower::Start(const std::string& kubeconfig,
                                                          const KubernetesSourceOptions& options) {
  auto server = LoadKubeconfig(kubeconfig, /*context=*/"");
  if (!server.ok()) return server.status();
  return Start(*std::move(server), options);
}

std::unique_ptr<Follower> Follower::Start(ApiServer server,
                                          const KubernetesSourceOptions& options) {
  std::unique_ptr<Follower> follower(new Follower(std::move(server), options));
  follower->source_.Start();
  return follower;
}

Follower::Follower(ApiServer server, const KubernetesSourceOptions& options)
    : planner_(ConfigOf(nullptr)), source_(std::move(server), options, journal_) {}

KubernetesResourceStatus Follower::StatusOf(const std::string& resource) const {
  for (KubernetesResourceStatus& status : source_.Status()) {
    if (status.resource == resource) return status;
  }
  return {};
}

bool Follower::AwaitComplete() {
  return WaitUntil(kPatience, [this] { return journal_.complete(); });
}

std::vector<std::string> Follower::Read() {
  std::vector<std::string> changes;
  bool complete = false;
  while (!complete) {
    auto read = journal_.Read(cursor_, kReadBytes, /*node_name=*/kThisNode);
    if (!read.ok()) return {read.status().ToString()};
    for (const BatchElement& element : read->changes) {
      v1::Batch batch;
      batch.ParseFromString(*element);
      for (const v1::Change& encoded : batch.changes()) {
        auto change = DecodeChange(encoded);
        if (!change.ok()) return {change.status().ToString()};
        changes.push_back(absl::StrCat(change->object ? "+" : "-", change->id.Format()));
        if (change->object.has_value()) {
          snapshot_.Upsert(*change->object);
        } else {
          snapshot_.Remove(change->id);
        }
      }
    }
    cursor_ = read->next;
    // An incomplete journal says so of each reading.
    complete = read->complete || read->changes.empty();
  }
  if (!snapshot_.TakeDirtyNodes().empty()) {
    planner_.SetConfig(ConfigOf(snapshot_.FindNode(kThisNode).get()), snapshot_);
  }
  planner_.Replan(snapshot_, snapshot_.TakeDirtyServices());
  return changes;
}

std::vector<PlannedVirtualServer> Follower::Servers() const {
  std::vector<PlannedVirtualServer> servers;
  for (const PlannedVirtualServer* server : planner_.desired().VirtualServers()) {
    servers.push_back(*server);
  }
  return servers;
}

std::string Follower::MissingSlices() const {
  std::string text;
  for (const auto& [name, service] : snapshot_.services()) {
    if (snapshot_.SlicesOf(name).size() >= service->cluster_ips.size()) continue;
    absl::StrAppend(&text, "no slices yet: ", name.Format(), "\n");
  }
  return text;
}

std::string Follower::AwaitPlan(ApiServerCluster& cluster) {
  auto expected = ExpectedServers(cluster.admin(), kThisNode, cluster.api_server());
  if (!expected.ok()) return expected.status().ToString();
  std::string difference;
  WaitUntil(kPatience, [&] {
    Read();
    difference = absl::StrCat(Difference(Servers(), *expected), MissingSlices());
    return difference.empty();
  });
  return difference;
}

}  // namespace fairlead::lab
