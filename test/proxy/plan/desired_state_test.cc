#include "proxy/plan/desired_state.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "test/proxy/plan/builders.h"

namespace fairlead {
namespace {

using testing::Address;
using testing::Lines;
using testing::MakeNode;
using testing::MakePlan;
using testing::MakeService;
using testing::MakeSlice;
using testing::MakeSlices;

Lines Format(const Touched& touched) {
  Lines lines;
  for (const auto& key : touched.virtual_servers) lines.push_back(key.Format());
  for (const Element& element : touched.elements) lines.push_back(element.Format());
  for (const IpAddress& vip : touched.vips) lines.push_back("route " + vip.Format());
  return lines;
}

Lines FormatConflicts(const DesiredState& desired) {
  Lines lines;
  for (const Conflict& conflict : desired.Conflicts()) lines.push_back(conflict.Format());
  return lines;
}

// Everything a state wants, by value.
struct State {
  explicit State(const DesiredState& desired)
      : vips(desired.Vips()), elements(desired.Elements()), conflicts(desired.Conflicts()) {
    for (const PlannedVirtualServer* server : desired.VirtualServers()) {
      servers.emplace(server->key, *server);
    }
  }

  std::map<ipvs::VirtualServerKey, PlannedVirtualServer> servers;
  std::vector<IpAddress> vips;
  std::vector<Element> elements;
  std::vector<Conflict> conflicts;

  friend bool operator==(const State&, const State&) = default;
};

template <typename T>
std::set<T> SymmetricDifference(const std::vector<T>& a, const std::vector<T>& b) {
  std::set<T> result;
  std::set_symmetric_difference(a.begin(), a.end(), b.begin(), b.end(),
                                std::inserter(result, result.end()));
  return result;
}

// What differs between two states, found by looking at all of both.
Touched Difference(const State& before, const State& after) {
  Touched touched;
  for (const auto& [key, server] : before.servers) {
    const auto it = after.servers.find(key);
    if (it == after.servers.end() || it->second != server) touched.virtual_servers.insert(key);
  }
  for (const auto& [key, server] : after.servers) {
    if (before.servers.count(key) == 0) touched.virtual_servers.insert(key);
  }
  touched.elements = SymmetricDifference(before.elements, after.elements);
  touched.vips = SymmetricDifference(before.vips, after.vips);
  return touched;
}

std::shared_ptr<const ServicePlan> Plan(const Service& service, const Lines& endpoints) {
  return std::make_shared<const ServicePlan>(
      MakePlan(service, MakeSlices({MakeSlice("s1", endpoints)}), MakeNode()));
}

// Service shop/NAME of type ClusterIP at 10.96.0.1, ports 80 and 81 of which only the first has
// endpoints; created so many seconds after the epoch.
Service ClusterIpService(const std::string& name, int created = 0) {
  Service service = MakeService();
  service.name.name = name;
  service.type = ServiceType::kClusterIp;
  service.created = absl::FromUnixSeconds(created);
  service.ports.push_back({"admin", ipvs::Protocol::kTcp, 81, 0});
  return service;
}

std::shared_ptr<const ServicePlan> NoPlan(const std::string& name) {
  ServicePlan plan;
  plan.service = {"shop", name};
  return std::make_shared<const ServicePlan>(plan);
}

ObjectName OwnerOf(const DesiredState& desired, uint16_t port) {
  const PlannedVirtualServer* server = desired.FindVirtualServer(
      ipvs::VirtualServerKey::ForAddress(ipvs::Protocol::kTcp, Address("10.96.0.1"), port));
  return server == nullptr ? ObjectName{} : server->service;
}

const Lines kWholePlanTouched = {
    "TCP 10.96.0.1:80",
    "TCP 10.96.0.1:81",
    "owned4 10.96.0.1 . tcp . 80",
    "owned4 10.96.0.1 . tcp . 81",
    "served4 10.96.0.1 . tcp . 80",
    "open4 10.96.0.1 . tcp . 81",
    "guarded4 10.96.0.1",
    "masquerade_outsiders4 10.96.0.1 . tcp . 80",
    "masquerade_outsiders4 10.96.0.1 . tcp . 81",
    "hairpin4 10.244.1.2 . 10.244.1.2",
    "reject4 10.96.0.1 . tcp . 81",
    "route 10.96.0.1",
};

struct UpdateCase {
  std::string name;
  std::shared_ptr<const ServicePlan> plan;
  Lines touched;
};

TEST_CASE("An update touches what it changes and nothing else") {
  const Service service = ClusterIpService("cart");
  const auto changed = [&service](auto change) {
    Service other = service;
    change(other);
    return other;
  };
  const Lines endpoints = {"10.244.1.2@n1", "10.244.2.2@n2"};
  const auto row = GENERATE_COPY(values<UpdateCase>({
      {"a plan of equal value: nothing", Plan(service, endpoints), {}},
      {"an endpoint more: its virtual server, not the other port",
       Plan(service, {"10.244.1.2@n1", "10.244.2.2@n2", "10.244.2.3@n2"}),
       {"TCP 10.96.0.1:80"}},
      {"a local endpoint more: its hairpin too",
       Plan(service, {"10.244.1.2@n1", "10.244.1.3@n1", "10.244.2.2@n2"}),
       {"TCP 10.96.0.1:80", "hairpin4 10.244.1.3 . 10.244.1.3"}},
      {"a local endpoint less: its hairpin too",
       Plan(service, {"10.244.2.2@n2"}),
       {"TCP 10.96.0.1:80", "hairpin4 10.244.1.2 . 10.244.1.2"}},
      {"no endpoint left: the VIP stays, open and refused",
       Plan(service, {}),
       {"TCP 10.96.0.1:80", "served4 10.96.0.1 . tcp . 80", "open4 10.96.0.1 . tcp . 80",
        "hairpin4 10.244.1.2 . 10.244.1.2", "reject4 10.96.0.1 . tcp . 80"}},
      {"another scheduler: all its virtual servers, no element",
       Plan(changed([](Service& s) { s.scheduler = "lc"; }), endpoints),
       {"TCP 10.96.0.1:80", "TCP 10.96.0.1:81"}},
      {"a port less: its elements, not the VIP",
       Plan(changed([](Service& s) { s.ports.pop_back(); }), endpoints),
       {"TCP 10.96.0.1:81", "owned4 10.96.0.1 . tcp . 81", "open4 10.96.0.1 . tcp . 81",
        "masquerade_outsiders4 10.96.0.1 . tcp . 81", "reject4 10.96.0.1 . tcp . 81"}},
      {"another creation time, nobody else there: nothing",
       Plan(changed([](Service& s) { s.created = absl::FromUnixSeconds(7); }), endpoints),
       {}},
      {"only a warning more: nothing",
       [&] {
         ServicePlan plan = *Plan(service, endpoints);
         plan.warnings.push_back("Service shop/cart: something");
         return std::make_shared<const ServicePlan>(plan);
       }(),
       {}},
      {"an empty plan: everything", NoPlan("cart"), kWholePlanTouched},
      {"the plan of another Service at another address: only that",
       Plan(
           [&] {
             Service other = ClusterIpService("other");
             other.cluster_ips = {Address("10.96.0.2")};
             other.ports.pop_back();
             return other;
           }(),
           {"10.244.1.2@n1"}),
       {"TCP 10.96.0.2:80", "owned4 10.96.0.2 . tcp . 80", "served4 10.96.0.2 . tcp . 80",
        "guarded4 10.96.0.2", "masquerade_outsiders4 10.96.0.2 . tcp . 80", "route 10.96.0.2"}},
  }));
  INFO(row.name);
  DesiredState desired;
  CHECK(Format(desired.Update(Plan(service, endpoints))) == kWholePlanTouched);
  const State before(desired);
  CHECK(Format(desired.Update(row.plan)) == row.touched);
  CHECK(Format(Difference(before, State(desired))) == row.touched);
}

TEST_CASE("What an external address needs comes and goes with it") {
  Service service = ClusterIpService("cart");
  service.ports.pop_back();
  service.type = ServiceType::kLoadBalancer;
  service.load_balancer_ips = {Address("203.0.113.1")};
  service.external_traffic_policy = TrafficPolicy::kLocal;
  service.load_balancer_source_ranges = {testing::Prefix("10.0.0.0/8")};
  DesiredState desired;
  const Lines endpoints = {"10.244.1.2@n1"};
  desired.Update(Plan(service, endpoints));
  const auto update = [&] {
    const State before(desired);
    const Touched touched = desired.Update(Plan(service, endpoints));
    CHECK(Format(touched) == Format(Difference(before, State(desired))));
    return Format(touched);
  };

  service.load_balancer_source_ranges = {testing::Prefix("10.0.0.0/8"),
                                         testing::Prefix("192.0.2.0/24")};
  CHECK(update() == Lines{"TCP 203.0.113.1:80", "allowed4 203.0.113.1 . tcp . 80 . 192.0.2.0/24"});
  // A larger prefix takes the smaller one's place: one goes, another comes.
  service.load_balancer_source_ranges = {testing::Prefix("10.0.0.0/7")};
  CHECK(update() == Lines{"TCP 203.0.113.1:80", "allowed4 203.0.113.1 . tcp . 80 . 10.0.0.0/7",
                          "allowed4 203.0.113.1 . tcp . 80 . 10.0.0.0/8",
                          "allowed4 203.0.113.1 . tcp . 80 . 192.0.2.0/24"});
  service.load_balancer_source_ranges.clear();
  CHECK(update() == Lines{"TCP 203.0.113.1:80", "limited4 203.0.113.1 . tcp . 80",
                          "allowed4 203.0.113.1 . tcp . 80 . 10.0.0.0/7",
                          "allowed4 203.0.113.1 . tcp . 80 . 203.0.113.1/32"});
  service.external_traffic_policy = TrafficPolicy::kCluster;
  CHECK(update() == Lines{"TCP 192.168.1.1:30080", "TCP 203.0.113.1:80", "FWM 1174540287 IPv4",
                          "owned_mark4 0x46020fff", "served4 192.168.1.1 . tcp . 30080",
                          "served4 203.0.113.1 . tcp . 80", "open4 203.0.113.1 . tcp . 80",
                          "masquerade_always4 192.168.1.1 . tcp . 30080",
                          "masquerade_always4 203.0.113.1 . tcp . 80",
                          "mark4 192.168.1.1 . tcp . 30080 : 0x46020fff",
                          "mark4 203.0.113.1 . tcp . 80 : 0x46020fff"});
  service.load_balancer_ips.clear();
  CHECK(update() == Lines{"TCP 203.0.113.1:80", "owned4 203.0.113.1 . tcp . 80",
                          "served4 203.0.113.1 . tcp . 80", "guarded4 203.0.113.1",
                          "masquerade_always4 203.0.113.1 . tcp . 80", "route 203.0.113.1"});
}

TEST_CASE("A health check is kept with its plan, and touches nothing") {
  Service service = ClusterIpService("cart");
  service.type = ServiceType::kLoadBalancer;
  service.external_traffic_policy = TrafficPolicy::kLocal;
  DesiredState desired;
  desired.Update(Plan(service, {"10.244.1.2@n1"}));
  service.health_check_node_port = 31000;
  CHECK(desired.Update(Plan(service, {"10.244.1.2@n1"})).empty());
  CHECK(desired.plans().at(service.name)->health_check ==
        PlannedHealthCheck{31000, {{IpFamily::kIpv4, 1}}});
}

TEST_CASE("An empty state wants nothing, and removing what is not there touches nothing") {
  DesiredState desired;
  CHECK(desired.Update(NoPlan("cart")).empty());
  CHECK(desired.plans().empty());
  CHECK(State(desired) == State(DesiredState()));
  CHECK_FALSE(desired.WantsVip(Address("10.96.0.1")));
}

TEST_CASE("A Service that is gone leaves nothing behind") {
  DesiredState desired;
  desired.Update(Plan(ClusterIpService("cart"), {"10.244.1.2@n1"}));
  CHECK(desired.WantsVip(Address("10.96.0.1")));
  CHECK(desired.WantsElement({SetName::kGuarded, Address("10.96.0.1")}));
  desired.Update(NoPlan("cart"));
  CHECK_FALSE(desired.WantsVip(Address("10.96.0.1")));
  CHECK_FALSE(desired.WantsElement({SetName::kGuarded, Address("10.96.0.1")}));
  CHECK(State(desired) == State(DesiredState()));
  CHECK(desired.plans().empty());
}

TEST_CASE("A plan of nothing but warnings is kept") {
  Service service = ClusterIpService("cart");
  service.cluster_ips = {Address("127.0.0.1")};
  DesiredState desired;
  CHECK(desired.Update(Plan(service, {})).empty());
  CHECK(desired.plans().size() == 1);
}

struct ConflictCase {
  std::string name;
  Service first;
  Service second;
  std::string winner;
  Lines conflicts;
};

TEST_CASE("Of two Services that want one virtual server the older has it, then the first name") {
  const auto row = GENERATE(values<ConflictCase>({
      {"the older one",
       ClusterIpService("b", 1),
       ClusterIpService("a", 2),
       "b",
       {"Service shop/a: TCP 10.96.0.1:80 belongs to Service shop/b, which is older",
        "Service shop/a: TCP 10.96.0.1:81 belongs to Service shop/b, which is older"}},
      {"of one age the one whose name sorts first",
       ClusterIpService("a", 1),
       ClusterIpService("b", 1),
       "a",
       {"Service shop/b: TCP 10.96.0.1:80 belongs to Service shop/a, of the same age and first by "
        "name",
        "Service shop/b: TCP 10.96.0.1:81 belongs to Service shop/a, of the same age and first by "
        "name"}},
      {"one whose age is not known is older than all",
       [] {
         Service service = ClusterIpService("b");
         service.created = absl::InfinitePast();
         return service;
       }(),
       ClusterIpService("a", 1),
       "b",
       {"Service shop/a: TCP 10.96.0.1:80 belongs to Service shop/b, which is older",
        "Service shop/a: TCP 10.96.0.1:81 belongs to Service shop/b, which is older"}},
  }));
  const bool swapped = GENERATE(false, true);
  INFO(row.name << (swapped ? ", the other arriving first" : ""));
  DesiredState desired;
  desired.Update(Plan(swapped ? row.second : row.first, {"10.244.1.2@n1"}));
  desired.Update(Plan(swapped ? row.first : row.second, {"10.244.1.2@n1"}));
  CHECK(OwnerOf(desired, 80) == ObjectName{"shop", row.winner});
  CHECK(OwnerOf(desired, 81) == ObjectName{"shop", row.winner});
  CHECK(FormatConflicts(desired) == row.conflicts);
}

TEST_CASE("Whoever arrives in whatever order, the same one wins") {
  std::vector<Service> services = {ClusterIpService("a", 3), ClusterIpService("b", 1),
                                   ClusterIpService("c", 1), ClusterIpService("d", 2)};
  // One of them wants only one of the ports.
  services[1].ports.pop_back();
  const auto by_name = [](const Service& a, const Service& b) { return a.name < b.name; };
  do {
    DesiredState desired;
    for (const Service& service : services) desired.Update(Plan(service, {"10.244.1.2@n1"}));
    CHECK(OwnerOf(desired, 80) == ObjectName{"shop", "b"});
    CHECK(OwnerOf(desired, 81) == ObjectName{"shop", "c"});
    CHECK(desired.Conflicts().size() == 5);
  } while (std::next_permutation(services.begin(), services.end(), by_name));
}

TEST_CASE("Conflicts of one virtual server are told alone") {
  DesiredState desired;
  const auto key_of = [](uint16_t port) {
    return ipvs::VirtualServerKey::ForAddress(ipvs::Protocol::kTcp, Address("10.96.0.1"), port);
  };
  const auto conflicts_of = [&](uint16_t port) {
    Lines lines;
    for (const Conflict& conflict : desired.ConflictsOf(key_of(port))) {
      lines.push_back(conflict.Format());
    }
    return lines;
  };
  CHECK(conflicts_of(80).empty());
  Service first = ClusterIpService("first", 1);
  first.ports.pop_back();
  desired.Update(Plan(first, {"10.244.1.2@n1"}));
  CHECK(conflicts_of(80).empty());
  desired.Update(Plan(ClusterIpService("young", 2), {}));
  desired.Update(Plan(ClusterIpService("also", 2), {}));
  CHECK(
      conflicts_of(80) ==
      Lines{"Service shop/also: TCP 10.96.0.1:80 belongs to Service shop/first, which is older",
            "Service shop/young: TCP 10.96.0.1:80 belongs to Service shop/first, which is older"});
  const Conflict of_81 = {key_of(81), {"shop", "also"}, {"shop", "young"}, false};
  CHECK(desired.ConflictsOf(key_of(81)) == std::vector<Conflict>{of_81});
  CHECK(conflicts_of(82).empty());
  CHECK(desired.Conflicts().size() == 3);

  desired.Update(NoPlan("first"));
  CHECK(conflicts_of(80) ==
        Lines{"Service shop/young: TCP 10.96.0.1:80 belongs to Service shop/also, of the same age "
              "and first by name"});
  desired.Update(NoPlan("young"));
  CHECK(conflicts_of(80).empty());
  CHECK(conflicts_of(81).empty());
}

TEST_CASE("The loser takes over when the winner goes, and touches nothing until then") {
  DesiredState desired;
  desired.Update(Plan(ClusterIpService("old", 1), {"10.244.1.2@n1"}));
  CHECK(desired.Update(Plan(ClusterIpService("young", 2), {"10.244.1.9@n1"})).empty());
  // A change of a claim that loses.
  CHECK(desired.Update(Plan(ClusterIpService("young", 2), {"10.244.1.8@n1"})).empty());
  CHECK(OwnerOf(desired, 80) == ObjectName{"shop", "old"});

  CHECK(Format(desired.Update(NoPlan("old"))) == Lines{"TCP 10.96.0.1:80", "TCP 10.96.0.1:81",
                                                       "hairpin4 10.244.1.2 . 10.244.1.2",
                                                       "hairpin4 10.244.1.8 . 10.244.1.8"});
  CHECK(OwnerOf(desired, 80) == ObjectName{"shop", "young"});
  CHECK(desired
            .FindVirtualServer(
                ipvs::VirtualServerKey::ForAddress(ipvs::Protocol::kTcp, Address("10.96.0.1"), 80))
            ->real_servers[0]
            .key.address == Address("10.244.1.8"));
  CHECK(desired.Conflicts().empty());

  // It loses it again to one that is older, and has nothing more when it goes itself.
  desired.Update(Plan(ClusterIpService("old", 1), {"10.244.1.2@n1"}));
  CHECK(OwnerOf(desired, 80) == ObjectName{"shop", "old"});
  CHECK(desired.Update(NoPlan("young")).empty());
  CHECK(desired.Conflicts().empty());
}

TEST_CASE("A Service made anew under its name loses its age") {
  DesiredState desired;
  desired.Update(Plan(ClusterIpService("a", 1), {"10.244.1.2@n1"}));
  desired.Update(Plan(ClusterIpService("b", 2), {"10.244.1.3@n1"}));
  desired.Update(Plan(ClusterIpService("a", 3), {"10.244.1.2@n1"}));
  CHECK(OwnerOf(desired, 80) == ObjectName{"shop", "b"});
  CHECK(desired.Conflicts().size() == 2);
}

TEST_CASE("Any sequence of updates touches exactly what differs, and its order leaves no trace") {
  const auto seed = GENERATE(range(1u, 21u));
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto below = [&random](int limit) { return static_cast<int>(random() % limit); };
  DesiredState desired;
  std::map<ObjectName, std::shared_ptr<const ServicePlan>> current;
  for (int step = 0; step < 100; ++step) {
    Service service = ClusterIpService(std::string(1, static_cast<char>('a' + below(5))), below(3));
    service.type = below(2) == 0 ? ServiceType::kClusterIp : ServiceType::kNodePort;
    service.cluster_ips = {Address("10.96.0.1").Plus(below(2))};
    service.external_traffic_policy =
        below(2) == 0 ? TrafficPolicy::kCluster : TrafficPolicy::kLocal;
    if (below(3) == 0) service.ports.pop_back();
    if (below(2) == 0) service.external_ips = {Address("198.51.100.1").Plus(below(2))};
    if (below(2) == 0) service.load_balancer_ips = {Address("203.0.113.1").Plus(below(2))};
    for (const char* range : {"10.0.0.0/8", "10.1.0.0/16", "203.0.113.0/24", "0.0.0.0/0"}) {
      if (below(4) == 0) service.load_balancer_source_ranges.push_back(testing::Prefix(range));
    }
    Lines endpoints;
    for (const char* endpoint : {"10.244.1.2@n1", "10.244.1.3@n1", "10.244.2.2@n2"}) {
      if (below(2) == 0) endpoints.push_back(endpoint);
    }
    const auto plan = below(4) == 0 ? NoPlan(service.name.name.str()) : Plan(service, endpoints);

    const State before(desired);
    const Touched touched = desired.Update(plan);
    current[plan->service] = plan;
    CHECK(Format(touched) == Format(Difference(before, State(desired))));
  }
  DesiredState anew;
  for (const auto& [name, plan] : current) anew.Update(plan);
  CHECK(State(desired) == State(anew));
}

}  // namespace
}  // namespace fairlead
