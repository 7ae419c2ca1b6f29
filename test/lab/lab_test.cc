// Proves the lab itself, with virtual servers made by ipvsadm: no Fairlead here. Run with
// `test/lab/run build/lab_test`.

#include <signal.h>

#include <catch2/catch.hpp>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "test/lab/cluster.h"
#include "test/lab/http_client.h"
#include "test/lab/load_generator.h"
#include "test/lab/process.h"
#include "test/lab/requirements.h"
#include "test/lab/responder.h"

namespace fairlead::lab {
namespace {

constexpr char kVip4[] = "10.96.0.10";
constexpr char kVip6[] = "fd00:96::10";

#define REQUIRE_OK(expression)                       \
  do {                                               \
    const absl::Status status_ = (expression);       \
    INFO(#expression << ": " << status_.ToString()); \
    REQUIRE(status_.ok());                           \
  } while (false)

template <typename T>
T Value(absl::StatusOr<T> value) {
  INFO(value.status().ToString());
  REQUIRE(value.ok());
  return *std::move(value);
}

// Two pods on different nodes behind a VIP, a third pod as the client.
struct Fixture {
  std::unique_ptr<Cluster> cluster = Value(Cluster::Create());
  const Pod& web1 = *Value(cluster->AddPod("web-1", 1));
  const Pod& web2 = *Value(cluster->AddPod("web-2", 2));
  const Pod& asker = *Value(cluster->AddPod("asker", 1));
  Responder responder;
  Responder::Id id1 = Value(responder.AddHttp(*web1.net, 8080, "web-1"));
  Responder::Id id2 = Value(responder.AddHttp(*web2.net, 8080, "web-2"));

  // What Fairlead would do on n1: settings, masquerade of what comes from elsewhere than the pods,
  // virtual servers for TCP and UDP in both families, and local routes.
  void Balance(const std::string& scheduler = "rr") {
    const Node& node = cluster->node(1);
    REQUIRE_OK(node.net->SetSysctl("net.ipv4.vs.conntrack", "1"));
    std::string rules;
    for (const char* transport : {"-t", "-u"}) {
      absl::StrAppend(&rules, "-A ", transport, " ", kVip4, ":80 -s ", scheduler, "\n",  //
                      "-a ", transport, " ", kVip4, ":80 -r ", web1.ipv4, ":8080 -m\n",  //
                      "-a ", transport, " ", kVip4, ":80 -r ", web2.ipv4, ":8080 -m\n");
      absl::StrAppend(&rules, "-A ", transport, " [", kVip6, "]:80 -s ", scheduler, "\n",    //
                      "-a ", transport, " [", kVip6, "]:80 -r [", web1.ipv6, "]:8080 -m\n",  //
                      "-a ", transport, " [", kVip6, "]:80 -r [", web2.ipv6, "]:8080 -m\n");
    }
    Value(Shell(*node.net, "ipvsadm -R", rules));
    Value(Shell(*node.net, "nft -f -",
                "table inet lab { chain postrouting { type nat hook postrouting priority 100; "
                "ip saddr 172.18.0.100 masquerade; ip6 saddr fd18::100 masquerade; }; }\n"));
    REQUIRE_OK(SetRoute(*node.net, {.destination = absl::StrCat(kVip4, "/32"),
                                    .device = "lo",
                                    .source = node.ipv4,
                                    .local = true}));
    REQUIRE_OK(SetRoute(*node.net, {.destination = absl::StrCat(kVip6, "/128"),
                                    .device = "lo",
                                    .source = node.ipv6,
                                    .local = true}));
  }
};

std::set<std::string> Names(const std::vector<Response>& responses) {
  std::set<std::string> names;
  for (const Response& response : responses) {
    INFO(response);
    CHECK(response.ok());
    names.insert(response.name);
  }
  return names;
}

const std::set<std::string> kBoth = {"web-1", "web-2"};

}  // namespace

TEST_CASE("pods, nodes and the client reach each other as a cluster's network lets them") {
  FAIRLEAD_NEEDS_IPVS();
  Fixture lab;
  const Node& n3 = lab.cluster->node(3);

  const Response same_node = Get(*lab.asker.net, lab.web1.ipv4, 8080);
  INFO(same_node);
  CHECK(same_node.name == "web-1");
  CHECK(same_node.client_address == lab.asker.ipv4);
  CHECK(Get(*lab.asker.net, lab.web2.ipv4, 8080).name == "web-2");
  CHECK(Get(*lab.asker.net, lab.web2.ipv6, 8080).client_address == lab.asker.ipv6);
  CHECK(Get(*n3.net, lab.web1.ipv4, 8080).client_address == n3.ipv4);
  CHECK(Get(*n3.net, lab.web1.ipv6, 8080).client_address == n3.ipv6);
  CHECK(Get(*lab.cluster->node(1).net, lab.web1.ipv4, 8080).client_address == "172.18.0.11");

  CHECK(Get(lab.cluster->client(), lab.web1.ipv4, 8080).outcome == Outcome::kUnreachable);
  REQUIRE_OK(
      SetRoute(lab.cluster->client(), {.destination = "0.0.0.0/0", .gateway = "172.18.0.11"}));
  CHECK(Get(lab.cluster->client(), lab.web1.ipv4, 8080).client_address == "172.18.0.100");
}

TEST_CASE("a virtual server balances HTTP and datagrams over two pods, in both families") {
  FAIRLEAD_NEEDS_IPVS();
  Fixture lab;
  lab.Balance();
  Value(lab.responder.AddUdp(*lab.web1.net, 8080, "web-1"));
  Value(lab.responder.AddUdp(*lab.web2.net, 8080, "web-2"));
  const NetNamespace& node = *lab.cluster->node(1).net;
  REQUIRE_OK(
      SetRoute(lab.cluster->client(), {.destination = "10.96.0.0/16", .gateway = "172.18.0.11"}));
  REQUIRE_OK(
      SetRoute(lab.cluster->client(), {.destination = "fd00:96::/64", .gateway = "fd18::11"}));

  const std::vector<const NetNamespace*> clients = {lab.asker.net.get(), &node,
                                                    &lab.cluster->client()};
  for (const char* vip : {kVip4, kVip6}) {
    for (const NetNamespace* from : clients) {
      INFO(from->name() << " to " << vip);
      CHECK(Names({Get(*from, vip, 80), Get(*from, vip, 80)}) == kBoth);
      CHECK(Names({AskUdp(*from, vip, 80), AskUdp(*from, vip, 80)}) == kBoth);
    }
  }
  CHECK(Get(*lab.asker.net, kVip4, 80).client_address == lab.asker.ipv4);
  CHECK(Get(node, kVip4, 80).client_address == "172.18.0.11");
}

TEST_CASE("a client tells the ways apart in which a request fails") {
  FAIRLEAD_NEEDS_IPVS();
  Fixture lab;
  const RequestOptions hurried = {.timeout = absl::Milliseconds(300)};
  CHECK(Get(*lab.asker.net, lab.web1.ipv4, 81).outcome == Outcome::kRefused);
  CHECK(AskUdp(*lab.asker.net, lab.web1.ipv4, 81).outcome == Outcome::kRefused);
  CHECK(Get(lab.cluster->client(), "10.1.2.3", 80).outcome == Outcome::kUnreachable);
  Value(Shell(
      *lab.web1.net, "nft -f -",
      "table inet t { chain c { type filter hook input priority 0; tcp dport 81 drop; }; }\n"));
  CHECK(Get(*lab.asker.net, lab.web1.ipv4, 81, hurried).outcome == Outcome::kTimeout);
  RequestOptions slow = hurried;
  slow.path = "/slow?ms=2000";
  CHECK(Get(*lab.asker.net, lab.web1.ipv4, 8080, slow).outcome == Outcome::kTimeout);

  LongConnection connection(*lab.asker.net, lab.web1.ipv4, 8080);
  REQUIRE(connection.Ask().ok());
  lab.responder.Remove(lab.id1);
  CHECK(WaitUntil(absl::Seconds(2), [&] { return connection.broken(); }));
  CHECK(connection.Ask().outcome == Outcome::kReset);
  CHECK(Get(*lab.asker.net, lab.web1.ipv4, 8080).outcome == Outcome::kRefused);
}

TEST_CASE("held connections count for least-connection, and end where they began") {
  FAIRLEAD_NEEDS_IPVS();
  Fixture lab;
  lab.Balance("lc");
  std::vector<LongConnection> held;
  for (int i = 0; i < 10; ++i) {
    held.emplace_back(*lab.asker.net, kVip4, 80);
    REQUIRE(held.back().Send("/slow?ms=100").ok());
  }
  CHECK(WaitUntil(absl::Seconds(5), [&] {
    return lab.responder.OpenConnections(lab.id1) == 5 &&
           lab.responder.OpenConnections(lab.id2) == 5;
  }));
  lab.responder.StopAccepting(lab.id1);
  int web1 = 0;
  for (LongConnection& connection : held) {
    const Response first = connection.Read();
    const Response second = connection.Ask();
    INFO(first << ", then " << second);
    CHECK(first.ok());
    CHECK(first.latency < absl::Seconds(2));
    CHECK(second.name == first.name);
    CHECK(second.client_port == connection.local_port());
    web1 += first.name == "web-1";
  }
  CHECK(web1 == 5);
  CHECK(lab.responder.Answered(lab.id1) == 10);
}

TEST_CASE("the load generator counts answers by name, failures and gaps") {
  FAIRLEAD_NEEDS_IPVS();
  Fixture lab;
  lab.Balance();
  LoadGenerator bounded(*lab.asker.net, {.address = kVip4, .port = 80, .limit = 40});
  const LoadSummary even = bounded.Wait();
  INFO(even);
  CHECK(even.ok == 40);
  CHECK(even.by_name == std::map<std::string, int64_t>{{"web-1", 20}, {"web-2", 20}});
  CHECK(even.worst_gap > absl::ZeroDuration());

  LoadGenerator endless(*lab.asker.net, {.address = kVip4, .port = 80, .concurrency = 2});
  REQUIRE(WaitUntil(absl::Seconds(10), [&] { return endless.Summary().ok >= 10; }));
  lab.responder.Remove(lab.id2);
  REQUIRE(WaitUntil(absl::Seconds(10), [&] { return endless.Summary().failed() >= 3; }));
  const LoadSummary broken = endless.Stop();
  INFO(broken);
  CHECK(broken.by_outcome.at(Outcome::kRefused) >= 1);
  CHECK(broken.requests == broken.ok + broken.failed());
  CHECK(!broken.errors.empty());
}

TEST_CASE("forty pods are made and removed in seconds") {
  FAIRLEAD_NEEDS_IPVS();
  const absl::Time start = absl::Now();
  std::unique_ptr<Cluster> cluster = Value(Cluster::Create());
  const absl::Time built = absl::Now();
  Responder responder;
  for (int i = 0; i < 40; ++i) {
    const Pod* pod = Value(cluster->AddPod(absl::StrCat("pod-", i), i % 3 + 1));
    Value(responder.AddHttp(*pod->net, 80, pod->name));
  }
  const absl::Time added = absl::Now();
  const NetNamespace& from = *cluster->pod("pod-0").net;
  for (int i = 1; i < 40; ++i) {
    const Pod& pod = cluster->pod(absl::StrCat("pod-", i));
    REQUIRE(Get(from, i % 2 == 0 ? pod.ipv4 : pod.ipv6, 80).name == pod.name);
  }
  const absl::Time asked = absl::Now();
  for (int i = 1; i < 40; ++i) REQUIRE_OK(cluster->RemovePod(absl::StrCat("pod-", i)));
  const absl::Time removed = absl::Now();
  WARN("cluster of 3 " << absl::FormatDuration(built - start) << ", 40 pods "
                       << absl::FormatDuration(added - built) << ", 39 first requests "
                       << absl::FormatDuration(asked - added) << ", 39 pods removed "
                       << absl::FormatDuration(removed - asked));
  CHECK(added - start < absl::Seconds(10));
  CHECK(Value(cluster->AddPod("again", 1))->ipv4 != cluster->pod("pod-0").ipv4);
}

TEST_CASE("a node can be cut off, and comes back") {
  FAIRLEAD_NEEDS_IPVS();
  Fixture lab;
  const RequestOptions hurried = {.timeout = absl::Milliseconds(300)};
  REQUIRE(Get(*lab.asker.net, lab.web2.ipv4, 8080).ok());
  REQUIRE_OK(lab.cluster->SetConnected(2, false));
  CHECK_FALSE(Get(*lab.asker.net, lab.web2.ipv4, 8080, hurried).ok());
  REQUIRE_OK(lab.cluster->SetConnected(2, true));
  CHECK(Get(*lab.asker.net, lab.web2.ipv4, 8080).ok());
  CHECK(Get(*lab.asker.net, lab.web2.ipv6, 8080).ok());
}

TEST_CASE("processes run in a namespace, are logged and ended") {
  FAIRLEAD_NEEDS_IPVS();
  Fixture lab;
  std::unique_ptr<Process> process = Value(Process::Start(
      {.words = {"sh", "-c", "ip -o -4 addr show eth0; echo $WORD; while :; do sleep 1; done"},
       .net = lab.asker.net.get(),
       .environment = {"WORD=shibboleth"}}));
  REQUIRE(
      WaitUntil(absl::Seconds(5), [&] { return absl::StrContains(process->Log(), "shibboleth"); }));
  CHECK(absl::StrContains(process->Log(), lab.asker.ipv4));
  CHECK(process->running());
  REQUIRE_OK(process->Kill(SIGKILL));
  CHECK(process->Wait(absl::Seconds(5)) == 128 + SIGKILL);
  CHECK(absl::IsNotFound(process->Kill(SIGTERM)));

  const absl::StatusOr<std::string> failed = Shell(*lab.asker.net, "ip link show nonsense");
  CHECK(absl::StrContains(failed.status().message(), "does not exist"));
  CHECK(absl::IsDeadlineExceeded(
      Shell(*lab.asker.net, "sleep 100", "", absl::Milliseconds(200)).status()));
  CHECK(absl::IsNotFound(Shell(*lab.asker.net, "no-such-program").status()));
  CHECK(Value(Shell(*lab.asker.net, "cat", "words\n")) == "words\n");
  // `ip netns exec` sees the same namespaces.
  CHECK(absl::StrContains(Value(Shell(lab.cluster->client(), "ip netns exec asker ip -4 addr")),
                          lab.asker.ipv4));
}

TEST_CASE("SCTP is served where the kernel has it") {
  FAIRLEAD_NEEDS_IPVS();
  Fixture lab;
  const absl::StatusOr<Responder::Id> id =
      lab.responder.AddHttp(*lab.web2.net, 9999, "sctp", Transport::kSctp);
  if (!id.ok()) {
    WARN("no SCTP: " << id.status().ToString());
    return;
  }
  const RequestOptions options = {.transport = Transport::kSctp};
  const Response response = Get(*lab.asker.net, lab.web2.ipv4, 9999, options);
  INFO(response);
  CHECK(response.name == "sctp");
}

}  // namespace fairlead::lab
