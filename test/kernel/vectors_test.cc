// The rules' tables (test/vectors), with packets: each group of files is served by one agent on n1,
// and each cell is asked by connections.
#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include "test/vectors/vectors.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdio>
#include <map>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "test/kernel/harness.h"
#include "test/lab/http_client.h"
#include "test/lab/requirements.h"

namespace fairlead::lab {
namespace {

using vectors::Case;
using vectors::Group;
using vectors::StagePod;
using vectors::Verdict;

// Silence for so long is a drop: shorter than the second after which a SYN is sent again.
constexpr absl::Duration kSilence = absl::Milliseconds(700);
// In which an answer has to come: a SYN that a busy machine loses is sent again after one second,
// and after three.
constexpr absl::Duration kAnswer = absl::Seconds(15);
// Round robin meets all endpoints, and one that should not be there, in twice their number.
constexpr int kRequestsPerEndpoint = 2;
// To see that a client keeps to one endpoint.
constexpr int kRequestsWithAffinity = 4;
// Those who wait for silence do nothing meanwhile.
constexpr int kPatientThreads = 16;
constexpr int kThreads = 2;

// How many cases ran.
struct Tally {
  std::map<Verdict, int> by_verdict;
  std::map<std::string, int> by_run;
};

Tally& TotalTally() {
  static Tally& tally = *new Tally;
  return tally;
}

struct TallyPrinter : Catch::TestEventListenerBase {
  using TestEventListenerBase::TestEventListenerBase;
  void testCaseEnded(const Catch::TestCaseStats&) override {
    int total = 0;
    std::string text;
    for (const auto& [verdict, count] : TotalTally().by_verdict) {
      absl::StrAppend(&text, "  ", vectors::FormatVerdict(verdict), " ", count, "\n");
      total += count;
    }
    for (const auto& [run, count] : TotalTally().by_run) {
      absl::StrAppend(&text, "  run ", run, " ", count, "\n");
    }
    if (total > 0) std::printf("%d packet cases\n%s", total, text.c_str());
  }
};
CATCH_REGISTER_LISTENER(TallyPrinter)

// Whether an endpoint is expected to answer. Who waits for what is not an answer may wait long, but
// takes nobody's turn.
bool IsAnswered(const Case& one) { return one.expected.verdict == Verdict::kBalance; }

// The stage of the vectors, with a group's agent.
class Stage {
 public:
  explicit Stage(const Group& group) {
    auto made = Cluster::Create({.node_count = 2, .pod_bridge = group.pod_bridge});
    REQUIRE(made.ok());
    cluster_ = *std::move(made);
    for (const StagePod& pod : vectors::StagePods()) AddPod(pod);
    AddRoutes();
    AllowErrors();
    for (const auto& [name, text] : group.manifests) manifests_.Write(name, text);
    options_ = OptionsFor(work_, {manifests_.path()}, group.flags);
    options_.default_flags = false;
    auto agent = Agent::Start(node(), options_);
    REQUIRE(agent.ok());
    agent_ = *std::move(agent);
    const std::string difference = AwaitPlanned();
    INFO(agent_->process().Log());
    REQUIRE(difference == "");
  }

  // What connections show of the case, in the words of what is expected.
  std::string Observe(const Case& one) const {
    const int requests = Requests(one);
    const RequestOptions request = Request(one);
    std::set<std::string> endpoints;
    for (int i = 0; i < requests; ++i) {
      const std::string address = one.address.Format();
      const Response response = one.protocol == ipvs::Protocol::kUdp
                                    ? AskUdp(NetOf(one), address, one.port, request)
                                    : Get(NetOf(one), address, one.port, request);
      if (!response.ok()) return DescribeFailure(one, response);
      endpoints.insert(absl::StrCat(response.name, DescribeClient(one, response.client_address)));
    }
    return absl::StrJoin(endpoints, ", ");
  }

 private:
  const Node& node() const { return cluster_->node(1); }

  void AddPod(const StagePod& stage_pod) {
    auto pod = cluster_->AddPod(stage_pod.name, stage_pod.node);
    REQUIRE(pod.ok());
    REQUIRE((*pod)->ipv4 == stage_pod.ipv4);
    REQUIRE((*pod)->ipv6 == stage_pod.ipv6);
    REQUIRE((*pod)->host_veth == stage_pod.device);
    if (!stage_pod.answers) return;
    const NetNamespace& net = *(*pod)->net;
    for (const int port : {8080, 9090}) {
      REQUIRE(responder_.AddHttp(net, port, absl::StrCat(stage_pod.name, ":", port)).ok());
    }
    REQUIRE(responder_.AddUdp(net, 5353, absl::StrCat(stage_pod.name, ":5353")).ok());
    const std::string name = absl::StrCat(stage_pod.name, ":8080");
    REQUIRE(responder_.AddHttp(net, 8080, name, Transport::kSctp).ok());
  }

  void AddRoutes() {
    const NetNamespace& client = cluster_->client();
    for (const char* services : {"10.96.0.0/12", "198.18.0.0/15", "fd96::/112", "2001:db8::/32"}) {
      const bool v4 = !absl::StrContains(services, ':');
      REQUIRE(SetRoute(client, {.destination = services, .gateway = v4 ? node().ipv4 : node().ipv6})
                  .ok());
    }
    const NetNamespace& other = *cluster_->node(2).net;
    REQUIRE(SetRoute(other, {.destination = cluster_->client_ipv4(), .gateway = node().ipv4}).ok());
    REQUIRE(SetRoute(other, {.destination = cluster_->client_ipv6(), .gateway = node().ipv6}).ok());
  }

  // The kernel says that something is unreachable once a second by default; and IPv6 binds to VIPs
  // only where it must not look.
  void AllowErrors() {
    REQUIRE(node().net->SetSysctl("net.ipv6.ip_nonlocal_bind", "1").ok());
    REQUIRE(node().net->SetSysctl("net.ipv4.icmp_ratelimit", "0").ok());
    REQUIRE(node().net->SetSysctl("net.ipv6.icmp.ratelimit", "0").ok());
  }

  // Until everything that the plan has is there. What there is besides are node ports on addresses
  // of the machine that the plan does not know of.
  std::string AwaitPlanned() const {
    std::string difference;
    WaitUntil(Agent::kPatience, [&] {
      difference = DifferenceFromPlan(node(), options_);
      return !absl::StrContains(difference, " missing: ") &&
             (difference.empty() || absl::StrContains(difference, " extra: "));
    });
    const auto listed =
        agent_->ListUntil([](const nlohmann::json& list) { return list.at("failures").empty(); });
    if (!listed.ok()) return listed.status().ToString();
    return absl::StrContains(difference, " extra: ") ? "" : difference;
  }

  const NetNamespace& NetOf(const Case& one) const {
    if (!one.source.pod.empty()) return *cluster_->pod(one.source.pod).net;
    return one.source.is_node() ? *node().net : cluster_->client();
  }

  static int Requests(const Case& one) {
    if (one.expected.one_of) return kRequestsWithAffinity;
    return kRequestsPerEndpoint * static_cast<int>(one.expected.endpoints.size()) +
           (one.expected.endpoints.empty() ? 1 : 0);
  }

  static RequestOptions Request(const Case& one) {
    RequestOptions request;
    if (one.protocol == ipvs::Protocol::kUdp) request.transport = Transport::kUdp;
    if (one.protocol == ipvs::Protocol::kSctp) request.transport = Transport::kSctp;
    // A refusal may take two attempts: a socket that is still connecting misses the first one.
    request.timeout =
        IsAnswered(one) || one.expected.verdict == Verdict::kReject ? kAnswer : kSilence;
    if (one.source.column == "self") request.source_address = one.source.address.Format();
    return request;
  }

  // The node's addresses: the pods' gateway is one.
  bool IsNodeAddress(const std::string& address) const {
    return address == node().ipv4 || address == node().ipv6 || address == "169.254.1.1" ||
           absl::StartsWith(address, "fe80:");
  }

  // As whom an endpoint has seen the case's client.
  std::string DescribeClient(const Case& one, const std::string& seen) const {
    if (IsNodeAddress(seen)) return one.source.is_node() ? "" : " masq";
    return seen == one.source.address.Format() ? "" : absl::StrCat(" as ", seen);
  }

  std::string DescribeFailure(const Case& one, const Response& response) const {
    if (response.outcome == Outcome::kTimeout) {
      // How often the kernel says that there is no route is limited.
      return one.expected.verdict == Verdict::kNone && !IsNodeAddress(one.address.Format())
                 ? "none"
                 : "drop";
    }
    if (response.outcome == Outcome::kRefused) {
      // A closed port looks the same.
      return one.expected.verdict == Verdict::kNone ? "none" : "reject";
    }
    if (response.outcome == Outcome::kUnreachable) return "none";
    // What a filter takes from the sender itself: a datagram comes to this whether the filter
    // refuses it or is silent.
    const bool filtered = absl::StrContains(response.error, "Operation not permitted");
    if (filtered && one.protocol == ipvs::Protocol::kUdp && one.source.is_node()) {
      return one.expected.verdict == Verdict::kDrop ? "drop" : "reject";
    }
    return absl::StrCat(OutcomeName(response.outcome), ": ", response.error);
  }

  std::unique_ptr<Cluster> cluster_;
  Responder responder_;
  Folder manifests_;
  Folder work_;
  AgentOptions options_;
  std::unique_ptr<Agent> agent_;
};

// Whether what was seen is what a case expects; the node's own connections show no masquerade.
bool Satisfies(const Case& one, const std::string& seen) {
  vectors::Expected expected = one.expected;
  if (one.source.is_node()) {
    for (auto& [endpoint, masquerade] : expected.endpoints) masquerade = false;
  }
  if (!expected.one_of) return seen == expected.Format();
  for (const auto& endpoint : expected.endpoints) {
    const vectors::Expected single = {.verdict = Verdict::kBalance, .endpoints = {endpoint}};
    if (seen == single.Format()) return true;
  }
  return false;
}

// Cases of one Service are not asked at once: their requests would take turns.
std::vector<std::vector<size_t>> Batches(const Group& group) {
  std::map<std::string, std::vector<size_t>> batches;
  for (size_t i = 0; i < group.cases.size(); ++i) {
    const Case& one = group.cases[i];
    batches[IsAnswered(one) ? one.service : absl::StrCat("unanswered ", i)].push_back(i);
  }
  std::vector<std::vector<size_t>> result;
  result.reserve(batches.size());
  for (auto& [key, batch] : batches) result.push_back(std::move(batch));
  return result;
}

std::vector<std::string> ObserveAll(const Stage& stage, const Group& group) {
  std::vector<std::string> seen(group.cases.size());
  const std::vector<std::vector<size_t>> batches = Batches(group);
  const auto work = [&](bool answered, std::atomic<size_t>& next) {
    for (size_t i = next++; i < batches.size(); i = next++) {
      if (IsAnswered(group.cases[batches[i][0]]) != answered) continue;
      for (const size_t number : batches[i]) seen[number] = stage.Observe(group.cases[number]);
    }
  };
  std::atomic<size_t> next = 0;
  std::atomic<size_t> next_patient = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&] { work(true, next); });
  for (int i = 0; i < kPatientThreads; ++i)
    threads.emplace_back([&] { work(false, next_patient); });
  for (std::thread& thread : threads) thread.join();
  return seen;
}

void RunGroup(const Group& group) {
  const absl::Time start = absl::Now();
  const Stage stage(group);
  const absl::Time ready = absl::Now();
  const std::vector<std::string> seen = ObserveAll(stage, group);
  std::printf("%s: stage in %.1f s, %zu cases in %.1f s\n", group.name.c_str(),
              absl::ToDoubleSeconds(ready - start), group.cases.size(),
              absl::ToDoubleSeconds(absl::Now() - ready));
  for (size_t i = 0; i < group.cases.size(); ++i) {
    const Case& one = group.cases[i];
    ++TotalTally().by_verdict[one.expected.verdict];
    ++TotalTally().by_run[one.run];
    if (Satisfies(one, seen[i])) {
      SUCCEED();
    } else {
      FAIL_CHECK(one.Format() << "\n  expected: " << one.expected.Format()
                              << "\n  seen:     " << seen[i]);
    }
  }
}

TEST_CASE("Packets go where the tables say") {
  FAIRLEAD_NEEDS_IPVS();
  const auto groups = vectors::LoadGroups(FAIRLEAD_VECTORS);
  if (!groups.ok()) FAIL(groups.status());
  for (const Group& group : *groups) {
    DYNAMIC_SECTION(group.name) { RunGroup(group); }
  }
}

}  // namespace
}  // namespace fairlead::lab
