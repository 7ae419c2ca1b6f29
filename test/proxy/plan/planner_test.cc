#include "proxy/plan/planner.h"

#include <catch2/catch.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "proxy/plan/plan_output.h"
#include "test/proxy/plan/builders.h"

namespace fairlead {
namespace {

using testing::Address;
using testing::Lines;
using testing::MakeNode;
using testing::MakeService;
using testing::MakeSlice;

Service NamedService(const std::string& name, uint64_t number) {
  Service service = MakeService();
  service.name.name = name;
  service.type = ServiceType::kClusterIp;
  service.cluster_ips = {Address("10.96.0.1").Plus(number)};
  return service;
}

EndpointSlice SliceOf(const std::string& service, const std::string& name, const Lines& endpoints) {
  EndpointSlice slice = MakeSlice(name, endpoints);
  slice.service_name = service;
  return slice;
}

void Put(Snapshot& snapshot, const Service& service) {
  snapshot.Upsert(std::make_shared<const Service>(service));
}

void Put(Snapshot& snapshot, const EndpointSlice& slice) {
  snapshot.Upsert(std::make_shared<const EndpointSlice>(slice));
}

Touched Replan(Planner& planner, Snapshot& snapshot) {
  return planner.Replan(snapshot, snapshot.TakeDirtyServices());
}

// Random changes of a few Services that share a few addresses, node ports and slices.
class RandomCluster {
 public:
  explicit RandomCluster(uint32_t seed) : random_(seed) {}

  void Change(Snapshot& snapshot) {
    switch (Below(6)) {
      case 0:
      case 1:
        return Put(snapshot, RandomService());
      case 2:
      case 3:
      case 4:
        return Put(snapshot, RandomSlice());
      default:
        return snapshot.Remove(RandomId());
    }
  }

  NodeConfig RandomConfig() {
    NodeConfig node = MakeNode();
    node.node_name = Chance(4) ? "n2" : "n1";
    node.zone = Chance(2) ? "a" : "b";
    if (Chance(2)) node.node_port_addresses.pop_back();
    if (Chance(3)) node.pods.prefixes.clear();
    if (Chance(3)) node.pods.device = "cni0";
    if (Chance(3)) node.own_addresses = {Address("203.0.113.2")};
    if (Chance(3)) node.service_proxy_name = "fairlead";
    node.masquerade_all = Chance(4);
    return node;
  }

 private:
  int Below(int limit) { return static_cast<int>(random_() % limit); }
  bool Chance(int one_in) { return Below(one_in) == 0; }
  std::string RandomServiceName() { return absl::StrCat("s", Below(8)); }
  std::string RandomSliceName() { return absl::StrCat("slice", Below(16)); }
  TrafficPolicy RandomPolicy() {
    return Chance(2) ? TrafficPolicy::kLocal : TrafficPolicy::kCluster;
  }

  Service RandomService() {
    Service service = MakeService();
    service.name.name = RandomServiceName();
    service.type = static_cast<ServiceType>(Below(4));
    service.created = absl::FromUnixSeconds(Below(3));
    service.headless_label = Chance(8);
    service.cluster_ips = {Address("10.96.0.1").Plus(Below(4))};
    if (Chance(3)) service.cluster_ips.push_back(Address("fd00:96::1").Plus(Below(4)));
    if (Chance(8)) service.cluster_ips.clear();
    service.internal_traffic_policy = RandomPolicy();
    service.external_traffic_policy = RandomPolicy();
    if (Chance(3)) service.external_ips = {Address("198.51.100.1").Plus(Below(2))};
    if (Chance(3)) service.load_balancer_ips = {Address("203.0.113.1").Plus(Below(2))};
    if (Chance(2)) service.load_balancer_source_ranges = {RandomSources(), RandomSources()};
    if (Chance(2)) service.health_check_node_port = 31000;
    if (Chance(3)) service.affinity_timeout = absl::Seconds(1 + Below(3));
    if (Chance(3)) service.scheduler = Chance(2) ? "lc" : "fastest";
    service.ports[0].node_port = static_cast<uint16_t>(30080 + Below(2));
    if (Chance(2)) service.ports.push_back({"dns", ipvs::Protocol::kUdp, 53, 0});
    return service;
  }

  IpPrefix RandomSources() {
    return *IpPrefix::Make(Address("10.96.0.0"), Chance(8) ? 0 : 8 * (1 + Below(4)));
  }

  EndpointSlice RandomSlice() {
    const bool v4 = !Chance(4);
    Lines endpoints;
    for (int i = Below(4); i > 0; --i) {
      endpoints.push_back(absl::StrCat(
          v4 ? "10.244.1." : "fd00:244::", 1 + Below(6), "@n", 1 + Below(3),
          Chance(4) ? " zone:a" : "", Chance(6) ? " node:n1" : "", Chance(3) ? " unready" : "",
          Chance(3) ? " terminating" : "", Chance(5) ? " not-serving" : ""));
    }
    EndpointSlice slice = SliceOf(RandomServiceName(), RandomSliceName(), endpoints);
    if (Chance(2)) slice.ports.push_back({"dns", ipvs::Protocol::kUdp, 5353});
    slice.headless_label = Chance(8);
    if (Chance(8)) slice.proxy_name_label = "fairlead";
    return slice;
  }

  ObjectId RandomId() {
    if (Chance(2)) return {ObjectKind::kService, {"shop", RandomServiceName()}};
    return {ObjectKind::kEndpointSlice, {"shop", RandomSliceName()}};
  }

  std::mt19937 random_;
};

// Everything that is known of a plan, and all that hangs on it.
std::string Text(const Planner& planner) {
  std::string text = FormatPlanJson(planner.desired(), planner.config());
  for (const std::string& warning : planner.Warnings()) absl::StrAppend(&text, warning, "\n");
  return text;
}

Planner PlanAnew(const NodeConfig& config, const Snapshot& snapshot) {
  Planner planner(config);
  std::set<ObjectName> all;
  for (const auto& [name, service] : snapshot.services()) all.insert(name);
  planner.Replan(snapshot, all);
  return planner;
}

TEST_CASE("After any sequence of changes the plan is that of planning everything anew") {
  const auto seed = GENERATE(range(1u, 9u));
  INFO("seed " << seed);
  RandomCluster cluster(seed);
  std::mt19937 random(seed);
  Snapshot snapshot;
  Planner planner(MakeNode());
  for (int step = 0; step < 100; ++step) {
    INFO("step " << step);
    for (uint32_t changes = 1 + random() % 3; changes > 0; --changes) cluster.Change(snapshot);
    // Now and then the configuration changes while Services wait to be planned.
    if (random() % 25 == 0) planner.SetConfig(cluster.RandomConfig(), snapshot);

    const std::set<ObjectName> dirty = snapshot.TakeDirtyServices();
    int64_t existing = 0;
    for (const ObjectName& name : dirty) existing += snapshot.FindService(name) != nullptr;
    const int64_t plans_before = planner.plans_made();
    planner.Replan(snapshot, dirty);
    CHECK(planner.plans_made() - plans_before == existing);

    const Planner anew = PlanAnew(planner.config(), snapshot);
    REQUIRE(Text(planner) == Text(anew));
    REQUIRE(planner.desired().plans().size() == anew.desired().plans().size());
    for (const auto& [name, plan] : anew.desired().plans()) {
      REQUIRE(*planner.desired().plans().at(name) == *plan);
    }
  }
}

TEST_CASE("A change plans the Services that it touches, and no other") {
  Snapshot snapshot;
  Planner planner(MakeNode());
  for (int i = 0; i < 10; ++i) Put(snapshot, NamedService(absl::StrCat("s", i), i));
  Put(snapshot, SliceOf("s1", "slice", {"10.244.1.2@n1"}));
  Replan(planner, snapshot);
  CHECK(planner.plans_made() == 10);

  SECTION("a slice: its Service") {
    Put(snapshot, SliceOf("s1", "slice", {"10.244.1.3@n2"}));
    CHECK(Replan(planner, snapshot).virtual_servers.size() == 1);
    CHECK(planner.plans_made() == 11);
  }
  SECTION("a slice that moves: both its Services") {
    Put(snapshot, SliceOf("s2", "slice", {"10.244.1.2@n1"}));
    const Touched touched = Replan(planner, snapshot);
    CHECK(touched.virtual_servers.size() == 2);
    // Wanted by the one before, by the other after.
    CHECK(planner.desired().WantsElement({SetName::kHairpin, Address("10.244.1.2")}));
    CHECK(planner.plans_made() == 12);
  }
  SECTION("an equal object: it is planned, and nothing is touched") {
    Put(snapshot, NamedService("s1", 1));
    CHECK(Replan(planner, snapshot).empty());
    CHECK(planner.plans_made() == 11);
  }
  SECTION("a Service that goes: nothing is planned") {
    snapshot.Remove({ObjectKind::kService, {"shop", "s1"}});
    CHECK(Replan(planner, snapshot).vips == std::set<IpAddress>{Address("10.96.0.2")});
    CHECK(planner.plans_made() == 10);
  }
  SECTION("a slice of a Service that is not there: nothing is planned") {
    Put(snapshot, SliceOf("unknown", "other", {"10.244.1.3@n2"}));
    CHECK(Replan(planner, snapshot).empty());
    CHECK(planner.plans_made() == 10);
  }
  SECTION("nothing dirty: nothing is planned") {
    CHECK(planner.Replan(snapshot, {}).empty());
    CHECK(planner.plans_made() == 10);
  }
  SECTION("the same configuration: nothing is planned") {
    CHECK(planner.SetConfig(MakeNode(), snapshot).empty());
    CHECK(planner.plans_made() == 10);
  }
  SECTION("another configuration: all, though not all is touched") {
    NodeConfig node = MakeNode();
    node.node_name = "n2";
    // Only s1 has an endpoint that is local no more.
    const Touched touched = planner.SetConfig(node, snapshot);
    CHECK(touched.virtual_servers.size() == 1);
    CHECK(touched.elements == std::set<Element>{{SetName::kHairpin, Address("10.244.1.2")}});
    CHECK(touched.vips.empty());
    CHECK(planner.plans_made() == 20);
  }
  SECTION("another address of the node: every VIP, as its route has another source") {
    NodeConfig node = MakeNode();
    node.node_ips = {Address("192.168.1.2")};
    const Touched touched = planner.SetConfig(node, snapshot);
    CHECK(touched.virtual_servers.empty());
    CHECK(touched.vips.size() == 10);
  }
  SECTION("another configuration and a Service gone at the same time") {
    snapshot.Remove({ObjectKind::kService, {"shop", "s1"}});
    NodeConfig node = MakeNode();
    node.default_scheduler = "lc";
    CHECK(planner.SetConfig(node, snapshot).virtual_servers.size() == 10);
    CHECK(planner.desired().plans().size() == 9);
    CHECK(planner.plans_made() == 19);
  }
}

TEST_CASE("Warnings and conflicts are told by Service, and go with their cause") {
  Snapshot snapshot;
  Planner planner(MakeNode());
  Service a = NamedService("a", 0);
  Service b = NamedService("b", 0);
  Service c = NamedService("c", 1);
  b.scheduler = "fastest";
  c.scheduler = "slowest";
  for (const Service& service : {a, b, c}) Put(snapshot, service);
  Replan(planner, snapshot);
  const auto no_scheduler = [](const std::string& service, const std::string& scheduler) {
    return "Service shop/" + service + ": annotation fairlead.dev/scheduler: no scheduler \"" +
           scheduler + "\" on this node, \"rr\" is used";
  };
  const std::string conflict =
      "Service shop/b: TCP 10.96.0.1:80 belongs to Service shop/a, of the same age and first by "
      "name";
  CHECK(planner.Warnings() ==
        Lines{no_scheduler("b", "fastest"), conflict, no_scheduler("c", "slowest")});
  CHECK(planner.WarningsOf({"shop", "a"}).empty());
  CHECK(planner.WarningsOf({"shop", "b"}) == Lines{no_scheduler("b", "fastest"), conflict});
  CHECK(planner.WarningsOf({"shop", "unknown"}).empty());

  c.scheduler = "lc";
  Put(snapshot, c);
  snapshot.Remove({ObjectKind::kService, a.name});
  Replan(planner, snapshot);
  CHECK(planner.Warnings() == Lines{no_scheduler("b", "fastest")});

  snapshot.Remove({ObjectKind::kService, b.name});
  Replan(planner, snapshot);
  CHECK(planner.Warnings().empty());
}

// Type NodePort with policy Local: its port has a mark.
Service MarkedService(const std::string& name, uint16_t node_port) {
  Service service = NamedService(name, node_port);
  service.type = ServiceType::kNodePort;
  service.ports[0].node_port = node_port;
  service.external_traffic_policy = TrafficPolicy::kLocal;
  return service;
}

ipvs::VirtualServerKey NodePortKey(uint16_t node_port) {
  return ipvs::VirtualServerKey::ForAddress(ipvs::Protocol::kTcp, Address("192.168.1.1"),
                                            node_port);
}

// 0 where the node port has none, or is not planned.
uint32_t MarkAt(const Planner& planner, uint16_t node_port) {
  const PlannedVirtualServer* server = planner.desired().FindVirtualServer(NodePortKey(node_port));
  return server == nullptr ? 0 : server->mark;
}

bool HasServerFor(const Planner& planner, uint32_t mark) {
  return planner.desired().FindVirtualServer(
             ipvs::VirtualServerKey::ForMark(IpFamily::kIpv4, mark)) != nullptr;
}

TEST_CASE("A port keeps its mark from plan to plan, and gives it back when it goes") {
  Snapshot snapshot;
  NodeConfig node = MakeNode();
  node.marks = {1000, 1255};
  Planner planner(node);
  for (uint16_t i = 0; i < 257; ++i) {
    Put(snapshot, MarkedService(absl::StrCat("s", i), static_cast<uint16_t>(30000 + i)));
  }
  Replan(planner, snapshot);
  // All but one have got one.
  std::map<uint16_t, uint32_t> marks;
  std::set<uint32_t> distinct;
  uint16_t without = 0;
  for (uint16_t i = 0; i < 257; ++i) {
    const uint16_t port = static_cast<uint16_t>(30000 + i);
    marks[port] = MarkAt(planner, port);
    if (marks[port] == 0) without = port;
    distinct.insert(marks[port]);
  }
  CHECK(distinct.size() == 257);
  CHECK(marks[without] == 0);
  const std::string unlucky = absl::StrCat("s", without - 30000);
  CHECK(planner.Warnings() ==
        Lines{absl::StrCat("Service shop/", unlucky,
                           ": port \"http\": no firewall mark of 0x000003e8-0x000004e7 is free: "
                           "pods and the node reach only local endpoints through external "
                           "addresses")});

  // Whatever of a Service changes, its port's name stays.
  const uint16_t other = without == 30000 ? 30001 : 30000;
  const std::string lucky = absl::StrCat("s", other - 30000);
  Service service = MarkedService(lucky, other);
  service.scheduler = "lc";
  Put(snapshot, service);
  Put(snapshot, SliceOf(lucky, "slice", {"10.244.1.2@n1"}));
  Replan(planner, snapshot);
  CHECK(MarkAt(planner, other) == marks[other]);
  // Also where the port's number changes.
  service.ports[0].node_port = 32000;
  Put(snapshot, service);
  Replan(planner, snapshot);
  CHECK(MarkAt(planner, 32000) == marks[other]);
  CHECK(HasServerFor(planner, marks[other]));
  // And with another configuration.
  node.default_scheduler = "wlc";
  planner.SetConfig(node, snapshot);
  CHECK(MarkAt(planner, 32000) == marks[other]);

  SECTION("a Service that goes") {
    snapshot.Remove({ObjectKind::kService, {"shop", lucky}});
    const Touched touched = Replan(planner, snapshot);
    CHECK(touched.virtual_servers.count(
              ipvs::VirtualServerKey::ForMark(IpFamily::kIpv4, marks[other])) == 1);
  }
  SECTION("a policy that changes") {
    service.external_traffic_policy = TrafficPolicy::kCluster;
    Put(snapshot, service);
    Replan(planner, snapshot);
    CHECK(MarkAt(planner, 32000) == 0);
  }
  CHECK_FALSE(HasServerFor(planner, marks[other]));
  Put(snapshot, SliceOf(unlucky, "slice2", {"10.244.1.3@n1"}));
  Replan(planner, snapshot);
  CHECK(MarkAt(planner, without) == marks[other]);
  CHECK(HasServerFor(planner, marks[other]));
  CHECK(planner.Warnings().empty());
}

TEST_CASE("Marks that the kernel has are kept, and those of others are left alone") {
  Snapshot snapshot;
  Put(snapshot, MarkedService("a", 30001));
  Put(snapshot, MarkedService("b", 30002));
  Planner before(MakeNode());
  Replan(before, snapshot);
  const uint32_t a = MarkAt(before, 30001);
  const uint32_t b = MarkAt(before, 30002);
  CHECK(HasServerFor(before, a));
  CHECK(a != b);

  struct Row {
    std::string name;
    FoundMarks found;
    uint32_t a;
    uint32_t b;
  };
  const auto row = GENERATE_COPY(values<Row>({
      {"nothing found: as before", {}, a, b},
      {"the same found", {{{NodePortKey(30001), a}, {NodePortKey(30002), b}}, {}}, a, b},
      {"exchanged ones stay so", {{{NodePortKey(30001), b}, {NodePortKey(30002), a}}, {}}, b, a},
      {"one of another port's choice makes that one choose again",
       {{{NodePortKey(30001), b}}, {}},
       b,
       b + 1},
      {"one that nobody wants any more is nobody's", {{{NodePortKey(30003), a}}, {}}, a + 1, b},
      {"somebody else's", {{}, {a}}, a + 1, b},
      {"found, and somebody else's", {{{NodePortKey(30001), a}}, {a}}, a + 1, b},
  }));
  INFO(row.name);
  Planner planner(MakeNode());
  planner.RestoreMarks(row.found);
  planner.Replan(snapshot, {{"shop", "a"}, {"shop", "b"}});
  CHECK(MarkAt(planner, 30001) == row.a);
  CHECK(MarkAt(planner, 30002) == row.b);
  CHECK(HasServerFor(planner, row.a));
  CHECK(HasServerFor(planner, row.b));
}

TEST_CASE("With 10,000 Services one change is planned and touched as with one") {
  constexpr int kServices = 10000;
  Snapshot snapshot;
  Planner planner(MakeNode());
  const auto endpoints_of = [](int service) {
    Lines endpoints;
    for (int i = 0; i < 10; ++i) {
      const uint64_t offset = static_cast<uint64_t>(service) * 10 + i;
      endpoints.push_back(absl::StrCat(Address("10.128.0.1").Plus(offset).Format(), "@n", i));
    }
    return endpoints;
  };
  for (int i = 0; i < kServices; ++i) {
    Put(snapshot, NamedService(absl::StrCat("s", i), i));
    Put(snapshot, SliceOf(absl::StrCat("s", i), absl::StrCat("slice", i), endpoints_of(i)));
  }
  const Touched first = Replan(planner, snapshot);
  CHECK(planner.plans_made() == kServices);
  CHECK(first.virtual_servers.size() == kServices);
  CHECK(first.vips.size() == kServices);
  CHECK(first.elements.size() == kServices * 5);  // One of the endpoints is local.
  CHECK(ToVirtualServers(planner.desired()).size() == kServices);

  Lines fewer = endpoints_of(4711);
  fewer.pop_back();
  Put(snapshot, SliceOf("s4711", "slice4711", fewer));
  const Touched second = Replan(planner, snapshot);
  CHECK(planner.plans_made() == kServices + 1);
  CHECK(second.virtual_servers ==
        std::set<ipvs::VirtualServerKey>{ipvs::VirtualServerKey::ForAddress(
            ipvs::Protocol::kTcp, Address("10.96.0.1").Plus(4711), 80)});
  CHECK(second.elements.empty());
  CHECK(second.vips.empty());
}

}  // namespace
}  // namespace fairlead
