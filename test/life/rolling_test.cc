// All endpoints of a Service are replaced, one after the other, under load.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "test/lab/requirements.h"
#include "test/life/stage.h"
#include "test/life/summary.h"

namespace fairlead::lab {
namespace {

constexpr int kEndpoints = 4;
constexpr absl::Duration kDrainTimeout = absl::Seconds(40);
// From the deadline until a client knows: the agent looks once a second, and the client finds out
// when its next packet is answered by a reset. The rest is the emulated machine's.
constexpr absl::Duration kEndsWithin = absl::Seconds(30);

std::string OldName(int number) { return absl::StrCat("old-", number); }
std::string NewName(int number) { return absl::StrCat("new-", number); }

// When a pod began to leave: its manifest was written after `from`, and the kernel had it before
// `to`.
struct Leaving {
  absl::Time from;
  absl::Time to;
};

TEST_CASE("All endpoints of a Service are replaced at 200 requests per second") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  for (int i = 1; i <= kEndpoints; ++i) stage.AddEndpoint(OldName(i), 1 + i % 2);
  ServiceShape shape = stage.Shape("rolling", 3, {});
  const auto write = [&](const std::map<std::string, std::string>& endpoints) {
    shape.slices[0].clear();
    for (const auto& [pod, conditions] : endpoints) {
      shape.slices[0].push_back(stage.Endpoint(pod, conditions));
    }
    stage.Write(shape);
  };
  std::map<std::string, std::string> endpoints;  // With their conditions.
  for (int i = 1; i <= kEndpoints; ++i) endpoints[OldName(i)] = "";
  write(endpoints);
  stage.StartAgent({"--drain-timeout", absl::FormatDuration(kDrainTimeout)});
  stage.AwaitPlan();

  const Flow from_pod{.name = "pod to cluster IP, new",
                      .net = &stage.pod(),
                      .address = shape.cluster_ip,
                      .port = shape.port};
  const Flow from_outside{.name = "outside to node port, new",
                          .net = &stage.client(),
                          .address = stage.node().ipv4,
                          .port = shape.node_port};
  std::vector<Flow> flows = {from_pod, from_outside};
  flows[0].per_second = 150;
  flows[1].per_second = 50;
  std::vector<Flow> kept = {from_pod, from_outside};
  for (Flow& flow : kept) flow.held = kEndpoints;
  kept[0].name = "pod to cluster IP, held";
  kept[1].name = "outside to node port, held";
  Traffic connections(kept);
  REQUIRE(connections.AwaitAnswers(Agent::kPatience));
  const absl::Time began = absl::Now();
  Traffic requests(flows);
  REQUIRE(requests.AwaitAnswers(Agent::kPatience));

  std::map<std::string, Leaving> left;
  for (int i = 1; i <= kEndpoints; ++i) {
    requests.Note(absl::StrCat("replacing ", OldName(i)));
    stage.AddEndpoint(NewName(i), 1 + i % 2);
    endpoints[NewName(i)] = "";
    write(endpoints);
    stage.AwaitPlan();
    endpoints[OldName(i)] = "ready: false, serving: true, terminating: true";
    left[OldName(i)].from = absl::Now();
    write(endpoints);
    stage.AwaitPlan();
    left[OldName(i)].to = absl::Now();
    // As a server that has been told to end, once those who came before are served: whoever still
    // came to it would be refused.
    REQUIRE(WaitUntil(2 * Traffic::kTcpPatience,
                      [&] { return absl::Now() - left[OldName(i)].to > Traffic::kTcpPatience; }));
    stage.responder().StopAccepting(stage.Server(OldName(i)));
    endpoints.erase(OldName(i));
    write(endpoints);
    stage.AwaitPlan();
  }
  REQUIRE(requests.AwaitAnswers(Agent::kPatience));
  const std::vector<FlowSummary> asked = requests.Stop();
  const absl::Duration elapsed = absl::Now() - began;

  // Each connection was to an endpoint that is gone: it lives until that one's deadline.
  absl::Duration soonest = absl::InfiniteDuration();
  absl::Duration latest = -absl::InfiniteDuration();
  const auto all_ended = [&] {
    for (size_t flow = 0; flow < kept.size(); ++flow) {
      for (const HeldConnection& held : connections.Connections(flow)) {
        if (!held.ended) return false;
      }
    }
    return true;
  };
  const bool ended = WaitUntil(kDrainTimeout + 2 * kEndsWithin, all_ended);
  CHECK(ended);
  for (size_t flow = 0; flow < kept.size(); ++flow) {
    for (const HeldConnection& held : connections.Connections(flow)) {
      if (!held.ended) continue;
      const Leaving& leaving = left[held.name];
      INFO(kept[flow].name << " to " << held.name);
      // Of the deadline, which lies between these two.
      soonest = std::min(soonest, *held.ended - leaving.from - kDrainTimeout);
      latest = std::max(latest, *held.ended - leaving.to - kDrainTimeout);
      CHECK(*held.ended - leaving.from >= kDrainTimeout);
      CHECK(*held.ended - leaving.to <= kDrainTimeout + kEndsWithin);
    }
  }
  // Nothing of them is left, and the new ones serve.
  CHECK(WaitUntil(Agent::kPatience,
                  [&] { return !absl::StrContains(stage.Run("ipvsadm --save -n"), " -w 0"); }));
  for (int i = 1; i <= kEndpoints; ++i) {
    CHECK(asked[0].by_name.count(NewName(i)) + asked[1].by_name.count(NewName(i)) > 0);
  }

  const std::vector<FlowSummary> held = connections.Stop();
  for (const FlowSummary& summary : held) {
    INFO(summary);
    // Those that ended, each with the request that was under way.
    CHECK(summary.failed <= summary.lost);
    CHECK(summary.answered > 0);
  }
  const FlowSummary total = CheckUnharmed(asked);
  const double rate = static_cast<double>(total.requests) / absl::ToDoubleSeconds(elapsed);
  Conclude({.name = "all endpoints replaced, new requests",
            .traffic = total,
            .counted = absl::StrCat(kEndpoints, " endpoints, ", static_cast<int>(rate),
                                    " requests per second")});
  Conclude({.name = "all endpoints replaced, held until the deadline",
            .traffic = Total(held),
            .counted = absl::StrCat("they ended ", absl::ToInt64Milliseconds(soonest), " to ",
                                    absl::ToInt64Milliseconds(latest), " ms after the deadline of ",
                                    absl::FormatDuration(kDrainTimeout))});
}

}  // namespace
}  // namespace fairlead::lab
