#include "test/demo/scenes.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "test/lab/http_client.h"
#include "test/lab/load_generator.h"

namespace fairlead::demo {
namespace {

using lab::Outcome;
using lab::Response;

// What a number of requests in a row came to.
struct Tally {
  std::map<std::string, int> answers;  // By pod.
  std::set<std::string> clients;       // As the pods saw them.
  std::map<Outcome, int> failures;

  int answered() const {
    int sum = 0;
    for (const auto& [name, count] : answers) sum += count;
    return sum;
  }
  std::string Format() const {
    std::vector<std::string> parts;
    for (const auto& [name, count] : answers) parts.push_back(absl::StrCat(name, " ", count));
    for (const auto& [outcome, count] : failures) {
      const auto outcome_name = lab::OutcomeName(outcome);
      parts.push_back(absl::StrCat(std::string(outcome_name), " ", count));
    }
    std::string text = absl::StrJoin(parts, ", ");
    if (!clients.empty()) absl::StrAppend(&text, "; client seen as ", absl::StrJoin(clients, ", "));
    return text;
  }
};

Tally Ask(const lab::NetNamespace& net, const std::string& address, int port, int requests,
          const lab::RequestOptions& options = {}) {
  Tally tally;
  for (int i = 0; i < requests; ++i) {
    const Response response = lab::Get(net, address, port, options);
    if (response.ok()) {
      ++tally.answers[response.name];
      tally.clients.insert(response.client_address);
    } else {
      ++tally.failures[response.outcome];
    }
  }
  return tally;
}

struct Address {
  std::string address;
  int port = 0;
};

Address Find(const Stage& stage, const std::string& service, const std::string& kind,
             bool ipv6 = false) {
  auto list = stage.agent(1).List();
  if (!list.ok()) return {};
  const nlohmann::json server = lab::FindServer(*list, service, kind, ipv6);
  if (server.is_null()) return {};
  return {server.at("address"), server.at("port")};
}

std::set<std::string> Names(const std::vector<PodStatus>& pods) {
  std::set<std::string> names;
  for (const PodStatus& pod : pods) names.insert(pod.name);
  return names;
}

std::set<std::string> NamesIn(const Tally& tally) {
  std::set<std::string> names;
  for (const auto& [name, count] : tally.answers) names.insert(name);
  return names;
}

// Round-robin gives each pod the same share of these.
bool SharedEqually(const Tally& tally, const std::vector<PodStatus>& pods, int requests) {
  if (tally.answered() != requests || NamesIn(tally) != Names(pods)) return false;
  const int share = requests / static_cast<int>(pods.size());
  return std::all_of(tally.answers.begin(), tally.answers.end(),
                     [&](const auto& entry) { return std::abs(entry.second - share) <= 1; });
}

// A pod that is no part of the Service.
const PodStatus& ClientPod(const Stage& stage) {
  const std::set<std::string> web = Names(stage.WebPods());
  for (const PodStatus& pod : stage.pods()) {
    if (!web.contains(pod.name)) return pod;
  }
  return stage.pods().front();
}

constexpr int kRequests = 12;

}  // namespace

std::vector<Row> PlayClusterIp(const Stage& stage, const Narrator& tell) {
  std::vector<Row> rows;
  const Address vip = Find(stage, stage.cast().web, "ClusterIP");
  const PodStatus& pod = ClientPod(stage);
  tell(absl::StrFormat("%d requests to %s, the ClusterIP of %s, from pod %s and from every node",
                       kRequests, vip.address, stage.cast().web, pod.name));
  Tally tally = Ask(stage.NetOf(pod), vip.address, vip.port, kRequests);
  rows.push_back({absl::StrCat("ClusterIP from a pod"), tally.Format(),
                  SharedEqually(tally, stage.WebPods(), kRequests) &&
                      tally.clients == std::set<std::string>{pod.addresses[0]}});
  for (int number = 1; number <= stage.cluster().node_count(); ++number) {
    const lab::Node& node = stage.cluster().node(number);
    tally = Ask(*node.net, vip.address, vip.port, kRequests);
    rows.push_back({absl::StrCat("ClusterIP from node ", node.name), tally.Format(),
                    SharedEqually(tally, stage.WebPods(), kRequests) &&
                        tally.clients == std::set<std::string>{node.ipv4}});
  }
  return rows;
}

std::vector<Row> PlayNodePortCluster(const Stage& stage, const Narrator& tell) {
  std::vector<Row> rows;
  const Address node_port = Find(stage, stage.cast().cluster, "NodePort");
  tell(absl::StrFormat("%d requests from outside to node port %d (policy Cluster) of every node",
                       kRequests, node_port.port));
  for (int number = 1; number <= stage.cluster().node_count(); ++number) {
    const lab::Node& node = stage.cluster().node(number);
    const Tally tally = Ask(stage.cluster().client(), node.ipv4, node_port.port, kRequests);
    rows.push_back({absl::StrCat("NodePort Cluster on ", node.name), tally.Format(),
                    SharedEqually(tally, stage.WebPods(), kRequests) &&
                        !tally.clients.contains(stage.cluster().client_ipv4())});
  }
  return rows;
}

std::vector<Row> PlayNodePortLocal(const Stage& stage, const Narrator& tell) {
  std::vector<Row> rows;
  const Address node_port = Find(stage, stage.cast().local, "NodePort");
  tell(absl::StrFormat("requests from outside to node port %d (policy Local) of every node",
                       node_port.port));
  for (int number = 1; number <= stage.cluster().node_count(); ++number) {
    const lab::Node& node = stage.cluster().node(number);
    std::vector<PodStatus> local = stage.WebPods();
    std::erase_if(local, [&](const PodStatus& pod) { return pod.node != node.name; });
    if (local.empty()) {
      const Tally tally = Ask(stage.cluster().client(), node.ipv4, node_port.port, 1,
                              {.timeout = absl::Seconds(2)});
      rows.push_back({absl::StrCat("NodePort Local on ", node.name, ", no pod"), tally.Format(),
                      tally.failures == std::map<Outcome, int>{{Outcome::kTimeout, 1}}});
      continue;
    }
    const Tally tally = Ask(stage.cluster().client(), node.ipv4, node_port.port, kRequests);
    rows.push_back({absl::StrCat("NodePort Local on ", node.name), tally.Format(),
                    SharedEqually(tally, local, kRequests) &&
                        tally.clients == std::set<std::string>{stage.cluster().client_ipv4()}});
  }
  return rows;
}

std::vector<Row> PlayGuard(const Stage& stage, const Narrator& tell) {
  constexpr int kHostPort = 9922;
  const Address vip = Find(stage, stage.cast().web, "ClusterIP");
  const PodStatus& pod = ClientPod(stage);
  const lab::Pod& client = stage.cluster().pod(pod.name);
  const lab::Node& node = stage.cluster().node(client.node);
  tell(absl::StrFormat("node %s listens on port %d; a pod tries the node's address and the VIP",
                       node.name, kHostPort));
  lab::Responder host;
  auto id = host.AddHttp(*node.net, kHostPort, "host");
  const Tally direct = Ask(*client.net, node.ipv4, kHostPort, 1);
  const Tally through_vip = Ask(*client.net, vip.address, kHostPort, 1);
  return {{"host's port through its own address", direct.Format(),
           id.ok() && direct.answers == std::map<std::string, int>{{"host", 1}}},
          {"host's port through a VIP", through_vip.Format(),
           through_vip.failures == std::map<Outcome, int>{{Outcome::kRefused, 1}}}};
}

std::vector<Row> PlayUnreadyPod(Stage& stage, const Narrator& tell) {
  std::vector<Row> rows;
  const Address vip = Find(stage, stage.cast().web, "ClusterIP");
  const PodStatus& client = ClientPod(stage);
  const std::string leaving = stage.WebPods().front().name;
  const lab::Agent& agent = stage.agent(stage.cluster().pod(client.name).node);
  const size_t all = stage.WebPods().size();
  const auto count_until = [&](size_t wanted) {
    return agent.ListUntil([&](const nlohmann::json& list) {
      size_t serving = 0;
      const nlohmann::json server = lab::FindServer(list, stage.cast().web, "ClusterIP");
      for (const nlohmann::json& real : server.at("realServers")) {
        if (real.at("weight") != 0) ++serving;
      }
      return serving == wanted;
    });
  };

  tell(absl::StrFormat("requests that take 50 ms run while pod %s becomes unready, and ready again",
                       leaving));
  lab::LoadGenerator load(stage.NetOf(client), {.address = vip.address,
                                                .port = vip.port,
                                                .request = {.path = "/slow?ms=50"},
                                                .concurrency = 4});
  lab::WaitUntil(lab::Agent::kPatience, [&] { return load.Summary().by_name.size() == all; });
  absl::Status status = stage.SetReady(leaving, false);
  if (status.ok()) status = count_until(all - 1).status();
  const Tally without = Ask(stage.NetOf(client), vip.address, vip.port, kRequests);
  if (status.ok()) status = stage.SetReady(leaving, true);
  if (status.ok()) status = count_until(all).status();
  const int64_t before = load.Summary().by_name[leaving];
  const bool returned = lab::WaitUntil(lab::Agent::kPatience,
                                       [&] { return load.Summary().by_name[leaving] > before; });
  const lab::LoadSummary summary = load.Stop();
  if (!status.ok()) tell(std::string(status.message()));

  rows.push_back({"a pod becomes unready under load",
                  absl::StrFormat("%d requests, %d lost, worst %s", summary.requests,
                                  summary.failed(), absl::FormatDuration(summary.worst_latency)),
                  status.ok() && summary.failed() == 0 && summary.requests > 0});
  rows.push_back({"no new request for the unready pod", without.Format(),
                  without.answered() == kRequests && !without.answers.contains(leaving)});
  rows.push_back({"requests again when it is ready", returned ? "yes" : "no", returned});
  return rows;
}

namespace {

// Holds connections to all pods, then keeps those to one of them only, and opens new ones: how
// these spread.
Tally SpreadUnderSkew(const Stage& stage, const Address& vip) {
  constexpr int kHeld = 12;
  constexpr int kNew = 6;
  const lab::NetNamespace& net = stage.NetOf(ClientPod(stage));
  const std::string busy = stage.WebPods().front().name;
  std::vector<lab::LongConnection> held;
  std::vector<lab::LongConnection> elsewhere;
  for (int i = 0; i < kHeld; ++i) {
    lab::LongConnection connection(net, vip.address, vip.port);
    if (!connection.Send().ok()) continue;
    const bool to_busy = connection.Read().name == busy;
    (to_busy ? held : elsewhere).push_back(std::move(connection));
  }
  elsewhere.clear();
  Tally tally;
  std::vector<lab::LongConnection> fresh;
  for (int i = 0; i < kNew; ++i) {
    fresh.emplace_back(net, vip.address, vip.port);
    Response response = fresh.back().Send();
    if (response.ok()) response = fresh.back().Read();
    if (response.ok()) {
      ++tally.answers[response.name];
    } else {
      ++tally.failures[response.outcome];
    }
  }
  return tally;
}

}  // namespace

std::vector<Row> PlaySchedulers(const Stage& stage, const Narrator& tell) {
  const std::string busy = stage.WebPods().front().name;
  tell(absl::StrFormat("pod %s holds connections, the others none; where do 6 new ones go?", busy));
  const Tally robin = SpreadUnderSkew(stage, Find(stage, stage.cast().web, "ClusterIP"));
  const Tally least =
      SpreadUnderSkew(stage, Find(stage, stage.cast().least_connections, "ClusterIP"));
  return {{"round-robin under a skewed load", robin.Format(),
           robin.answered() == 6 && robin.answers.contains(busy)},
          {"least-connection under the same", least.Format(),
           least.answered() == 6 && !least.answers.contains(busy)}};
}

std::vector<Row> PlayAll(Stage& stage, const Narrator& tell) {
  std::vector<Row> all;
  const auto add = [&all](std::vector<Row> rows) {
    all.insert(all.end(), rows.begin(), rows.end());
  };
  add(PlayClusterIp(stage, tell));
  add(PlayNodePortCluster(stage, tell));
  add(PlayNodePortLocal(stage, tell));
  add(PlayGuard(stage, tell));
  add(PlayUnreadyPod(stage, tell));
  add(PlaySchedulers(stage, tell));
  return all;
}

std::string FormatRows(const std::vector<Row>& rows) {
  std::string text = absl::StrFormat("%-42s %-5s %s\n", "tried", "held", "seen");
  for (const Row& row : rows) {
    absl::StrAppend(
        &text, absl::StrFormat("%-42s %-5s %s\n", row.tried, row.held ? "yes" : "NO", row.seen));
  }
  return text;
}

}  // namespace fairlead::demo
