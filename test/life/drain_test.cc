// Endpoints and Services that go while clients are connected to them.
#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "test/lab/http_client.h"
#include "test/lab/requirements.h"
#include "test/life/stage.h"
#include "test/life/summary.h"

namespace fairlead::lab {
namespace {

// From a deadline until the client knows, on an emulated machine.
constexpr absl::Duration kEndsWithin = absl::Seconds(30);

std::vector<std::string> DrainFlags(absl::Duration timeout) {
  return {"--drain-timeout", absl::FormatDuration(timeout)};
}

// Traffic to the Service that is kept, with one connection to each of its two endpoints.
Flow Held(const Stage& stage, const ServiceShape& shape) {
  return {.name = absl::StrCat(shape.name, ", held"),
          .net = &stage.pod(),
          .address = shape.cluster_ip,
          .port = shape.port,
          .transport = shape.protocol == "UDP" ? Transport::kUdp : Transport::kTcp,
          .held = 2};
}

// The connection of the flow that the pod answers.
HeldConnection ConnectionTo(const Traffic& traffic, size_t flow, const std::string& pod) {
  for (const HeldConnection& held : traffic.Connections(flow)) {
    if (held.name == pod) return held;
  }
  FAIL("no connection to " << pod);
  return {};
}

// Lines of the kernel's tables in which the text is: of IPVS, the firewall and the routes.
std::string WhereIs(const Stage& stage, const std::string& text) {
  return stage.Run(
      absl::StrCat("(ipvsadm --save -n; nft list table inet fairlead | tr ',{}' '\\n\\n\\n'; ip "
                   "route show table local proto 119) | grep -Fw '",
                   text, "' || true"));
}

bool Eventually(const std::function<bool()>& holds) { return WaitUntil(Agent::kPatience, holds); }

// The manifest with an annotation of the Service.
void WriteAnnotated(const Stage& stage, const ServiceShape& shape, const std::string& annotation) {
  std::string text = shape.Manifest();
  const std::string name = absl::StrCat("name: ", shape.name, "\n");
  text.insert(text.find(name) + name.size(), absl::StrCat("  annotations: {", annotation, "}\n"));
  stage.manifests().Write(shape.name + ".yaml", text);
}

TEST_CASE("A deleted Service keeps its connections until the deadline and takes no new ones") {
  FAIRLEAD_NEEDS_IPVS();
  constexpr absl::Duration kTimeout = absl::Seconds(60);
  Stage stage;
  const ServiceShape goes = stage.Shape("goes", 3, {"web-1", "web-2"});
  stage.Write(goes);
  stage.StartAgent(DrainFlags(kTimeout));
  stage.AwaitPlan();

  Traffic others(stage.Flows());
  Flow from_pod = Held(stage, goes);
  Flow from_outside = from_pod;
  from_outside.net = &stage.client();
  from_outside.address = stage.node().ipv4;
  from_outside.port = goes.node_port;
  Traffic held({from_pod, from_outside});
  REQUIRE(held.AwaitAnswers(Agent::kPatience));
  REQUIRE(others.AwaitAnswers(Agent::kPatience));

  others.Note("a Service is deleted");
  const absl::Time deleted = absl::Now();
  stage.manifests().Remove("goes.yaml");
  const auto ask = [&](const Flow& flow) {
    return Get(*flow.net, flow.address, flow.port, {.timeout = absl::Seconds(2)});
  };
  for (const Flow& flow : {from_pod, from_outside}) {
    Response last;
    INFO(flow.name);
    CHECK(Eventually([&] { return (last = ask(flow)).outcome == Outcome::kRefused; }));
    INFO(last);
    CHECK(last.latency < absl::Seconds(1));
  }
  const absl::Time refused = absl::Now();
  CHECK(WhereIs(stage, absl::StrCat(goes.cluster_ip, ":80")) != "");
  CHECK(held.AwaitAnswers(Agent::kPatience / 4));
  CHECK(Total(held.Summaries()).lost == 0);
  // On the way to the deadline the agent is killed: the deadline stays what it was.
  REQUIRE(WaitUntil(kTimeout, [&] { return absl::Now() - deleted > kTimeout / 6; }));
  others.Note("the agent is killed while a Service drains");
  stage.KillAgent();
  stage.RestartAgent();
  stage.AwaitFirstSync();
  CHECK(held.AwaitAnswers(Agent::kPatience / 4));
  CHECK(Total(held.Summaries()).lost == 0);
  CHECK(ask(from_pod).outcome == Outcome::kRefused);

  const auto all_ended = [&] {
    for (const size_t flow : {size_t{0}, size_t{1}}) {
      for (const HeldConnection& connection : held.Connections(flow)) {
        if (!connection.ended) return false;
      }
    }
    return true;
  };
  CHECK(WaitUntil(kTimeout + 2 * kEndsWithin, all_ended));
  absl::Duration soonest = absl::InfiniteDuration();
  absl::Duration latest = -absl::InfiniteDuration();
  for (const size_t flow : {size_t{0}, size_t{1}}) {
    for (const HeldConnection& connection : held.Connections(flow)) {
      if (!connection.ended) continue;
      soonest = std::min(soonest, *connection.ended - deleted);
      latest = std::max(latest, *connection.ended - refused);
    }
  }
  CHECK(soonest >= kTimeout);
  CHECK(latest <= kTimeout + kEndsWithin);
  CHECK(Eventually([&] { return WhereIs(stage, goes.cluster_ip) == ""; }));
  CHECK(WhereIs(stage, absl::StrCat(goes.node_port)) == "");
  CHECK(stage.DifferenceNow() == "");
  held.Stop();
  Conclude({.name = "a Service is deleted, the others",
            .traffic = CheckUnharmed(others.Stop()),
            .counted = absl::StrCat("its 4 connections lived for ", Brief(soonest),
                                    ", drain timeout ", absl::FormatDuration(kTimeout))});
}

TEST_CASE("A deleted Service goes as soon as its last connection has ended") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  const ServiceShape goes = stage.Shape("goes", 3, {"web-1", "web-2"});
  stage.Write(goes);
  stage.StartAgent(DrainFlags(absl::Minutes(10)));
  stage.AwaitPlan();
  LongConnection last(stage.pod(), goes.cluster_ip, goes.port);
  REQUIRE(last.Ask().ok());
  stage.manifests().Remove("goes.yaml");
  // Not by asking: an answer would leave a connection behind, for the two minutes of TIME_WAIT.
  const std::string port = absl::StrCat(goes.cluster_ip, ":80");
  CHECK(Eventually([&] { return absl::StrContains(WhereIs(stage, port), "-w 0"); }));
  CHECK(Get(stage.pod(), goes.cluster_ip, goes.port).outcome == Outcome::kRefused);
  CHECK(last.Ask().ok());
  // IPVS forgets a connection that was reset within seconds.
  last.Reset();
  const absl::Time ended = absl::Now();
  CHECK(WaitUntil(absl::Minutes(3), [&] { return WhereIs(stage, goes.cluster_ip) == ""; }));
  std::printf("a deleted Service was gone %s after its last connection\n",
              Brief(absl::Now() - ended).c_str());
}

TEST_CASE("Each Service's endpoint drains for the Service's own time, and may come back") {
  FAIRLEAD_NEEDS_IPVS();
  constexpr absl::Duration kTimeout = absl::Seconds(30);
  constexpr absl::Duration kShort = absl::Seconds(5);
  Stage stage;
  ServiceShape plain = stage.Shape("plain", 3, {"web-1", "web-2"});
  ServiceShape annotated = stage.Shape("annotated", 4, {"web-1", "web-2"});
  ServiceShape returns = stage.Shape("returns", 5, {"web-1", "web-2"});
  const std::string annotation =
      absl::StrCat("fairlead.dev/drain-timeout: ", absl::FormatDuration(kShort));
  stage.Write(plain);
  stage.Write(returns);
  WriteAnnotated(stage, annotated, annotation);
  stage.StartAgent(DrainFlags(kTimeout));
  stage.AwaitPlan();
  Traffic held({Held(stage, plain), Held(stage, annotated), Held(stage, returns)});
  REQUIRE(held.AwaitAnswers(Agent::kPatience));

  const absl::Time left = absl::Now();
  for (ServiceShape* shape : {&plain, &annotated, &returns})
    shape->slices = {{stage.Endpoint("web-2")}};
  stage.Write(plain);
  stage.Write(returns);
  WriteAnnotated(stage, annotated, annotation);
  stage.AwaitPlan();
  const absl::Time drained = absl::Now();
  const auto ended = [&](size_t flow) { return ConnectionTo(held, flow, "web-1").ended; };
  CHECK(WaitUntil(kShort + 2 * kEndsWithin, [&] { return ended(1).has_value(); }));
  REQUIRE(ended(1).has_value());
  CHECK(*ended(1) - left >= kShort);
  CHECK(*ended(1) - drained <= kShort + kEndsWithin);

  // One comes back: an edit of its weight, and its connection never notices.
  returns.slices = {{stage.Endpoint("web-1"), stage.Endpoint("web-2")}};
  stage.Write(returns);
  stage.AwaitPlan();
  CHECK(absl::StrContains(WhereIs(stage, absl::StrCat(returns.cluster_ip, ":80")),
                          absl::StrCat(stage.Endpoint("web-1").address, ":8080 -m -w 1")));
  // The drain of the third goes on over a restart.
  stage.KillAgent();
  stage.RestartAgent();
  stage.AwaitFirstSync();
  CHECK(WaitUntil(kTimeout + 2 * kEndsWithin, [&] { return ended(0).has_value(); }));
  REQUIRE(ended(0).has_value());
  CHECK(*ended(0) - left >= kTimeout);
  CHECK(*ended(0) - drained <= kTimeout + kEndsWithin);
  CHECK(held.AwaitAnswers(Agent::kPatience / 4));
  for (size_t flow = 0; flow < 3; ++flow) {
    CHECK_FALSE(ConnectionTo(held, flow, "web-2").ended.has_value());
  }
  CHECK_FALSE(ended(2).has_value());
  const FlowSummary total = Total(held.Stop());
  CHECK(total.lost == 2);
  Conclude({.name = "endpoints drain, one returns",
            .traffic = total,
            .counted =
                absl::StrCat("2 ended, after ", Brief(*ended(1) - left), " (",
                             absl::FormatDuration(kShort), " by annotation) and ",
                             Brief(*ended(0) - left), " (", absl::FormatDuration(kTimeout), ")")});
}

TEST_CASE("A client with affinity leaves an endpoint that drains") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  ServiceShape shape = stage.Shape("sticky", 3, {"web-1", "web-2"});
  shape.affinity_seconds = 600;
  stage.Write(shape);
  stage.StartAgent(DrainFlags(absl::Minutes(10)));
  stage.AwaitPlan();
  LongConnection held(stage.pod(), shape.cluster_ip, shape.port);
  const std::string first = held.Ask().name;
  REQUIRE(first != "");
  const std::string other = first == "web-1" ? "web-2" : "web-1";
  for (int i = 0; i < 4; ++i) CHECK(Get(stage.pod(), shape.cluster_ip, shape.port).name == first);

  shape.slices = {{stage.Endpoint(first, "ready: false, serving: true, terminating: true"),
                   stage.Endpoint(other)}};
  stage.Write(shape);
  stage.AwaitPlan();
  for (int i = 0; i < 8; ++i) CHECK(Get(stage.pod(), shape.cluster_ip, shape.port).name == other);
  CHECK(held.Ask().name == first);
}

TEST_CASE("Flows of datagrams leave an endpoint at once, or when --udp-drain-timeout has passed") {
  FAIRLEAD_NEEDS_IPVS();
  struct Row {
    std::string name;
    std::vector<std::string> flags;
    absl::Duration timeout;
  };
  const std::vector<Row> rows = {
      {"by default", {}, absl::ZeroDuration()},
      {"with a drain timeout", {"--udp-drain-timeout", "8s"}, absl::Seconds(8)},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    Stage stage;
    ServiceShape clock = stage.Clock();
    stage.StartAgent(row.flags);
    stage.AwaitPlan();
    Traffic held({Held(stage, clock)});
    REQUIRE(held.AwaitAnswers(Agent::kPatience));
    const auto names = [&] {
      std::set<std::string> names;
      for (const HeldConnection& flow : held.Connections(0)) names.insert(flow.name);
      return names;
    };
    REQUIRE(names() == std::set<std::string>{"web-1", "web-2"});
    const absl::Time left = absl::Now();
    clock.slices = {{stage.Endpoint("web-2")}};
    stage.Write(clock);
    CHECK(WaitUntil(row.timeout + Agent::kPatience,
                    [&] { return names() == std::set<std::string>{"web-2"}; }));
    const absl::Duration took = absl::Now() - left;
    CHECK(took >= row.timeout);
    stage.AwaitPlan();
    const FlowSummary total = Total(held.Stop());
    INFO(total);
    // At most the datagram that was under way.
    CHECK(total.failed <= 1);
    Conclude({.name = absl::StrCat("UDP endpoint leaves, ", row.name),
              .traffic = total,
              .counted = absl::StrCat("its flow moved after ", Brief(took))});
  }
}

}  // namespace
}  // namespace fairlead::lab
