// Changes, not only states: each field from each of its values to each other, while traffic runs.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <functional>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "test/kernel/harness.h"
#include "test/kernel/service_shape.h"
#include "test/lab/http_client.h"
#include "test/lab/load_generator.h"
#include "test/lab/requirements.h"

namespace fairlead::lab {
namespace {

// Two endpoints on n1, one on n2, pods that ask, an agent on n1, and a Service that nothing
// changes, under load from its first moment to the last.
class Stage {
 public:
  Stage() {
    auto made = Cluster::Create({.node_count = 2});
    REQUIRE(made.ok());
    cluster_ = *std::move(made);
    for (const auto& [name, number] : std::map<std::string, int>{{"web-1", 1},
                                                                 {"web-2", 2},
                                                                 {"web-3", 1},
                                                                 {"calm-1", 1},
                                                                 {"calm-2", 2},
                                                                 {"client-1", 1}}) {
      auto pod = cluster_->AddPod(name, number);
      REQUIRE(pod.ok());
      if (name == "client-1") continue;
      for (const int port : {8080, 8081}) {
        REQUIRE(responder_.AddHttp(*(*pod)->net, port, name).ok());
      }
    }
    for (const char* services : {"10.96.0.0/12", "198.18.0.0/15"}) {
      REQUIRE(SetRoute(client(), {.destination = services, .gateway = node().ipv4}).ok());
    }
    // Replies to clients that are not masqueraded come back by n1.
    REQUIRE(SetRoute(*cluster_->node(2).net,
                     {.destination = cluster_->client_ipv4(), .gateway = node().ipv4})
                .ok());
    ServiceShape steady{.name = "steady",
                        .type = "ClusterIP",
                        .cluster_ip = "10.96.7.99",
                        .external_ips = {},
                        .slices = {{Endpoint("calm-1"), Endpoint("calm-2")}}};
    manifests_.Write("steady.yaml", steady.Manifest());
    AgentOptions running = options();
    // What leaves is gone in good time for the end of a test.
    running.flags = {"--drain-timeout", "20s"};
    auto agent = Agent::Start(node(), running);
    REQUIRE(agent.ok());
    agent_ = *std::move(agent);
    REQUIRE(AwaitPlan(node(), options()) == "");
    load_ =
        std::make_unique<LoadGenerator>(*pod().net, LoadOptions{.address = "10.96.7.99",
                                                                .port = 80,
                                                                .concurrency = 1,
                                                                .pause = absl::Milliseconds(20)});
    held_ = std::make_unique<LongConnection>(*pod().net, "10.96.7.99", 80);
  }

  ShapeEndpoint Endpoint(const std::string& pod, const std::string& conditions = "") const {
    const Pod& found = cluster_->pod(pod);
    return {found.ipv4, absl::StrCat("n", found.node), conditions};
  }

  ServiceShape BaseShape() const {
    ServiceShape shape;
    shape.slices = {{Endpoint("web-1"), Endpoint("web-2"), Endpoint("web-3")}};
    return shape;
  }

  // Writes the Service and waits for the kernel.
  void Bring(const ServiceShape& shape) {
    manifests_.Write("web.yaml", shape.Manifest());
    const std::string difference = AwaitPlan(node(), options(), /*draining=*/true);
    INFO(agent_->process().Log());
    REQUIRE(difference == "");
  }

  // What nothing has touched is as it was.
  void CheckSteady() {
    CHECK(held_->Ask().ok());
    const LoadSummary summary = load_->Summary();
    INFO(summary);
    CHECK(summary.failed() == 0);
  }

  LoadSummary StopLoad() { return load_->Stop(); }
  const Node& node() const { return cluster_->node(1); }
  const NetNamespace& client() const { return cluster_->client(); }
  const Pod& pod() const { return cluster_->pod("client-1"); }
  AgentOptions options() const { return OptionsFor(work_, {manifests_.path()}); }
  Agent& agent() { return *agent_; }

 private:
  std::unique_ptr<Cluster> cluster_;
  Responder responder_;
  Folder manifests_;
  Folder work_;
  std::unique_ptr<Agent> agent_;
  std::unique_ptr<LoadGenerator> load_;
  std::unique_ptr<LongConnection> held_;
};

// Connections to every address of a Service, from pod, node and outside. None has a source port
// that another had: IPVS tells replies apart by the client's address and port and the endpoint
// (ip_vs_conn_out_get), and takes two connections for one that differ in the VIP alone.
class Connections {
 public:
  Connections(const Stage& stage, const ServiceShape& shape) {
    static int last_port = 10000;
    for (const std::string& kind_and_place : shape.Addresses(stage.node().ipv4)) {
      const std::vector<std::string> words = absl::StrSplit(kind_and_place, ' ');
      const std::vector<std::string> place = absl::StrSplit(words[1], ':');
      for (const auto& [from, net] :
           std::map<std::string, const NetNamespace*>{{"pod", stage.pod().net.get()},
                                                      {"node", stage.node().net.get()},
                                                      {"outside", &stage.client()}}) {
        // Round robin takes them to different endpoints.
        for (int i = 0; i < 2; ++i) {
          held_.push_back(
              {from, kind_and_place,
               LongConnection(*net, place[0], std::stoi(place[1]), {.source_port = ++last_port})});
          const Response answer = held_.back().connection.Ask();
          INFO(from << " to " << kind_and_place << ": " << answer);
          CHECK(answer.ok());
          held_.back().endpoint = answer.name;
        }
      }
    }
  }

  // Those to addresses that are still the Service's live on. Returns how many.
  int CheckAlive(const std::set<std::string>& addresses) {
    int alive = 0;
    for (Held& held : held_) {
      if (!addresses.contains(held.to)) continue;
      const Response answer = held.connection.Ask();
      INFO(held.from << " to " << held.to << ", which " << held.endpoint
                     << " answered: " << answer);
      CHECK(answer.name == held.endpoint);
      ++alive;
    }
    return alive;
  }

  // With a RST: the kernel forgets them soon.
  void Close() {
    for (Held& held : held_) held.connection.Reset();
  }

 private:
  struct Held {
    std::string from;
    std::string to;
    LongConnection connection;
    std::string endpoint = {};  // That it leads to.
  };
  std::vector<Held> held_;
};

// One field, and what makes a shape have each of its values.
struct Field {
  std::string name;
  std::vector<std::function<void(ServiceShape&)>> values;
};

std::vector<Field> Fields(const Stage& stage) {
  using Shape = ServiceShape;
  const ShapeEndpoint one = stage.Endpoint("web-1");
  const ShapeEndpoint two = stage.Endpoint("web-2");
  const ShapeEndpoint three = stage.Endpoint("web-3");
  const auto with = [&stage](const std::string& conditions) {
    return [conditions, &stage](Shape& shape) {
      shape.slices[0][2] = stage.Endpoint("web-3", conditions);
    };
  };
  return {
      {"internalTrafficPolicy",
       {[](Shape& s) { s.internal_policy = "Cluster"; },
        [](Shape& s) { s.internal_policy = "Local"; }}},
      {"externalTrafficPolicy",
       {[](Shape& s) { s.external_policy = "Cluster"; },
        [](Shape& s) { s.external_policy = "Local"; }}},
      {"sessionAffinity",
       {[](Shape& s) { s.affinity_seconds = 0; }, [](Shape& s) { s.affinity_seconds = 10800; },
        [](Shape& s) { s.affinity_seconds = 60; }}},
      {"sessionAffinity with externalTrafficPolicy Local",
       {[](Shape& s) { s.external_policy = "Local"; },
        [](Shape& s) {
          s.external_policy = "Local";
          s.affinity_seconds = 60;
        }}},
      {"scheduler",
       {[](Shape& s) { s.scheduler = ""; }, [](Shape& s) { s.scheduler = "lc"; },
        [](Shape& s) { s.scheduler = "sh"; }}},
      {"type",
       {[](Shape& s) { s.type = "NodePort"; }, [](Shape& s) { s.type = "ClusterIP"; },
        [](Shape& s) { s.type = "LoadBalancer"; }}},
      {"externalIPs",
       {[](Shape& s) { s.external_ips = {}; }, [](Shape& s) { s.external_ips = {"198.19.7.1"}; },
        [](Shape& s) {
          s.external_ips = {"198.19.7.2", "198.19.7.1"};
        }}},
      {"load balancer's addresses",
       {[](Shape& s) { s.load_balancer_ips = {}; },
        [](Shape& s) { s.load_balancer_ips = {"198.18.7.1"}; },
        [](Shape& s) {
          s.load_balancer_ips = {"198.18.7.1", "198.18.7.2"};
        }}},
      {"ipMode",
       {[](Shape& s) { s.ip_mode_proxy = false; }, [](Shape& s) { s.ip_mode_proxy = true; }}},
      // Everybody of the test is let in by each: the ranges overlap, and replace each other.
      {"loadBalancerSourceRanges",
       {[](Shape& s) { s.source_ranges = {}; },
        [](Shape& s) {
          s.source_ranges = {"172.16.0.0/12", "10.244.0.0/16"};
        },
        [](Shape& s) {
          s.source_ranges = {"172.18.0.0/16", "10.0.0.0/8"};
        },
        [](Shape& s) { s.source_ranges = {"0.0.0.0/0"}; }}},
      {"healthCheckNodePort",
       {[](Shape& s) {
          s.external_policy = "Local";
          s.health_check_port = 32702;
        },
        [](Shape& s) {
          s.external_policy = "Local";
          s.health_check_port = 32703;
        }}},
      {"port's name",
       {[](Shape& s) { s.port_name = "http"; }, [](Shape& s) { s.port_name = "web"; }}},
      {"port", {[](Shape& s) { s.port = 80; }, [](Shape& s) { s.port = 81; }}},
      {"nodePort", {[](Shape& s) { s.node_port = 30701; }, [](Shape& s) { s.node_port = 30702; }}},
      {"endpoints' port",
       {[](Shape& s) { s.target_port = 8080; }, [](Shape& s) { s.target_port = 8081; }}},
      {"families", {[](Shape& s) { s.dual_stack = false; }, [](Shape& s) { s.dual_stack = true; }}},
      {"label",
       {[](Shape& s) { s.labels = {}; },
        [](Shape& s) {
          s.labels = {{"service.kubernetes.io/service-proxy-name", "other"}};
        },
        [](Shape& s) {
          s.labels = {{"service.kubernetes.io/headless", ""}};
        }}},
      {"an endpoint's slice",
       {[=](Shape& s) {
          s.slices = {{one, two, three}};
        },
        [=](Shape& s) {
          s.slices = {{one, two}, {three}};
        },
        [=](Shape& s) {
          s.slices = {{}, {three, one, two}};
        },
        [=](Shape& s) {
          s.slices = {{one, two, three}, {three}};
        }}},
      {"an endpoint's conditions",
       {with(""), with("ready: false"), with("ready: false, serving: true, terminating: true"),
        with("ready: false, serving: false, terminating: true")}},
      {"number of endpoints",
       {[=](Shape& s) {
          s.slices = {{one, two, three}};
        },
        [=](Shape& s) { s.slices = {{one}}; }}},
  };
}

// A walk over `count` values that goes from each to each other exactly once.
std::vector<size_t> Walk(size_t count) {
  std::vector<size_t> walk;
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = i + 1; j < count; ++j) {
      walk.push_back(i);
      walk.push_back(j);
    }
  }
  walk.push_back(0);
  return walk;
}

TEST_CASE("Each field from each value to each other, under traffic") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  int changes = 0;
  int survived = 0;
  for (const Field& field : Fields(stage)) {
    std::unique_ptr<Connections> connections;
    std::string before = "none";
    for (const size_t value : Walk(field.values.size())) {
      INFO("change of " << field.name << " from value " << before << " to " << value);
      ServiceShape shape = stage.BaseShape();
      field.values[value](shape);
      stage.Bring(shape);
      if (connections != nullptr) {
        survived += connections->CheckAlive(shape.Addresses(stage.node().ipv4));
        connections->Close();
        ++changes;
      }
      // New connections find the new state.
      connections = std::make_unique<Connections>(stage, shape);
      stage.CheckSteady();
      before = std::to_string(value);
    }
    connections->Close();
  }
  const LoadSummary load = stage.StopLoad();
  CHECK(load.failed() == 0);
  CHECK(load.ok > 0);
  std::printf(
      "%d changes of a field; %d connections that they should not touch lived on; "
      "%lld requests to another Service meanwhile, %lld lost\n",
      changes, survived, static_cast<long long>(load.requests),
      static_cast<long long>(load.failed()));
  // What drained has gone: the kernel ends exactly at the plan.
  stage.Bring(stage.BaseShape());
  CHECK(AwaitPlan(stage.node(), stage.options()) == "");
}

TEST_CASE("Affinity and scheduler and policy are edited in place") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  ServiceShape shape = stage.BaseShape();
  stage.Bring(shape);
  Connections connections(stage, shape);
  const auto count = [&stage] {
    // Total connections since the virtual servers were made: of a new one they would be none.
    auto table = Shell(*stage.node().net, "ipvsadm -L -n --stats --exact");
    REQUIRE(table.ok());
    std::map<std::string, int> connections_of;
    for (absl::string_view line : absl::StrSplit(*table, '\n')) {
      const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
      if (words.size() > 2 && words[0] == "TCP") connections_of[words[1]] = std::stoi(words[2]);
    }
    return connections_of;
  };
  // The kernel sums them up every two seconds.
  const auto at_least_six = [&] {
    const std::map<std::string, int> counted = count();
    return std::all_of(counted.begin(), counted.end(), [](const auto& entry) {
      return entry.first == "10.96.7.99:80" || entry.second >= 6;
    });
  };
  REQUIRE(WaitUntil(Agent::kPatience, at_least_six));
  const std::map<std::string, int> before = count();
  shape.affinity_seconds = 60;
  shape.scheduler = "lc";
  shape.internal_policy = "Local";
  shape.external_policy = "Local";
  stage.Bring(shape);
  const std::map<std::string, int> after = count();
  for (const std::string& address : shape.Addresses(stage.node().ipv4)) {
    const std::string place = std::vector<std::string>(absl::StrSplit(address, ' '))[1];
    INFO(place);
    REQUIRE(before.contains(place));
    CHECK(after.at(place) >= before.at(place));
  }
  // 4 addresses, each from 3 sources, twice.
  CHECK(connections.CheckAlive(shape.Addresses(stage.node().ipv4)) == 24);
}

}  // namespace
}  // namespace fairlead::lab
