#include "proxy/agent/agent.h"

#include <spdlog/spdlog.h>

#include <catch2/catch.hpp>

#include "absl/strings/str_split.h"
#include "proxy/daemon/log_format.h"
#include "proxy/kernel/ruleset.h"
#include "test_agent.h"

namespace fairlead::testing {
namespace {

using ipvs::VirtualServerKey;

const VirtualServerKey kCart = Tcp("10.96.0.1", 80);
const ObjectId kCartId{ObjectKind::kService, {"shop", "cart"}};

std::vector<Object> Cart() {
  return {MakeService("shop/cart", "10.96.0.1"), MakeSlice("shop/cart", {"10.244.2.2@n2"})};
}

std::vector<Object> CartWithScheduler(const std::string& scheduler) {
  auto service = MakeService("shop/cart", "10.96.0.1");
  service->scheduler = scheduler;
  return {service, MakeSlice("shop/cart", {"10.244.2.2@n2"})};
}

std::string SchedulerOf(TestAgent& test, const VirtualServerKey& key) {
  return test.kernel.table.Get(key).value().config.scheduler;
}

TEST_CASE("before the first complete picture nothing is written, not even the ruleset") {
  TestAgent test;
  test.agent.Pass();
  test.now += absl::Hours(1);
  test.agent.Pass();
  CHECK(test.agent.NextPass() == absl::InfiniteFuture());
  CHECK(test.prepared == 0);
  CHECK(test.probes == Lines{});
  CHECK(test.kernel.firewall.ruleset() == std::nullopt);
  CHECK(Describe(test.kernel) == Lines{});
  CHECK(test.TakeAcknowledgements().empty());

  test.FeedAndPass(1, Cart());
  CHECK(test.prepared == 1);
  CHECK(Describe(test.kernel) ==
        Lines{"TCP 10.96.0.1:80 rr flags 0 timeout 0 /32", "  10.244.2.2:8080 Masq weight 1",
              "element owned4 10.96.0.1 . tcp . 80", "element served4 10.96.0.1 . tcp . 80",
              "element guarded4 10.96.0.1", "route 10.96.0.1 src 192.168.1.1"});
  CHECK(test.agent.NextPass() == absl::InfiniteFuture());
}

TEST_CASE("an empty picture is a picture: what is left of Services that went is removed") {
  TestAgent first;
  first.FeedAndPass(1, Cart());
  TestAgent second;
  for (const Element& element : first.kernel.firewall.elements()) {
    REQUIRE(second.kernel.firewall.EnsureRuleset(*first.kernel.firewall.ruleset()).ok());
    REQUIRE(second.kernel.firewall.Apply({{{ElementChange::Verb::kAdd, element}}}).ok());
  }
  second.FeedAndPass(1, {});
  CHECK(Describe(second.kernel) == Lines{});
  CHECK(second.TakeAcknowledgements() ==
        std::vector<Acknowledgement>{{{"epoch", 1}, absl::ZeroDuration(), {}}});
}

// As it was saved an hour ago.
FeedUpdate SavedUpdate(const TestAgent& test, std::vector<Object> objects) {
  return {.position = {"epoch", 1},
          .partial = true,
          .saved = test.now - absl::Hours(1),
          .snapshot = true,
          .upserts = std::move(objects),
          .received = test.now};
}

TEST_CASE("a saved picture is used when no feeder has answered for some seconds") {
  TestAgent test;
  test.Put(SavedUpdate(test, Cart()));
  test.agent.Pass();
  CHECK(Describe(test.kernel) == Lines{});
  CHECK(test.agent.NextPass() == test.now + kSavedPictureGrace);
  test.now += kSavedPictureGrace - absl::Milliseconds(1);
  test.agent.Pass();
  CHECK(Describe(test.kernel) == Lines{});
  test.now += absl::Milliseconds(1);
  test.agent.Pass();
  CHECK(Describe(test.kernel).size() == 6);
  CHECK(test.Logged("no feeder answers").size() == 1);

  // What comes then is compared with it.
  const WriteCounters before = test.reconciler.counters();
  test.FeedAndPass(2, Cart());
  CHECK(test.reconciler.counters() == before);
}

TEST_CASE("a feeder that answers in time is not preceded by a saved picture") {
  TestAgent test;
  test.Put(SavedUpdate(test, {MakeService("shop/old", "10.96.0.9")}));
  test.agent.Pass();
  test.now += absl::Milliseconds(100);
  test.FeedAndPass(2, Cart());
  CHECK(Describe(test.kernel).size() == 6);
  CHECK(test.Logged("no feeder answers").empty());
}

TEST_CASE("for a picture that may lack something, nothing is removed from the kernel") {
  TestAgent first;
  first.FeedAndPass(1, Cart());
  const Lines full = Describe(first.kernel);
  TestAgent second({.node_name = "n1"}, first.kernel);
  FeedUpdate saved = SavedUpdate(second, {});
  second.Put(std::move(saved));
  second.agent.Pass();
  second.now += kSavedPictureGrace;
  second.agent.Pass();
  CHECK(Describe(second.kernel) == full);
  // The picture that is whole says that it is gone.
  second.FeedAndPass(2, {});
  CHECK(Describe(second.kernel) == Lines{});
}

TEST_CASE("at the start what everything else needs comes first") {
  TestAgent test;
  test.FeedAndPass(
      1,
      {MakeService("shop/cart", "10.96.0.1"), MakeService("default/kubernetes", "10.96.0.7"),
       MakeService("kube-system/kube-dns", "10.96.0.9"),
       MakeService("kube-system/coredns", "10.96.0.8"), MakeService("shop/kube-dns", "10.96.0.2")});
  std::vector<VirtualServerKey> order;
  for (const ipvs::Operation& operation : test.kernel.table.operations()) {
    order.push_back(operation.virtual_server);
  }
  CHECK(order == std::vector<VirtualServerKey>{Tcp("10.96.0.7", 80), Tcp("10.96.0.8", 80),
                                               Tcp("10.96.0.9", 80), Tcp("10.96.0.1", 80),
                                               Tcp("10.96.0.2", 80)});
}

TEST_CASE("a later picture changes what has changed") {
  TestAgent test;
  test.FeedAndPass(1, Cart());
  test.kernel.table.ClearOperations();
  std::vector<Object> more = Cart();
  more.push_back(MakeService("shop/more", "10.96.0.2"));
  test.FeedAndPass(2, more);
  CHECK(test.kernel.table.operations() ==
        std::vector<ipvs::Operation>{ipvs::Operation::AddVirtualServer(
            Tcp("10.96.0.2", 80), ipvs::VirtualServerConfig::ForFamily(IpFamily::kIpv4, "rr"))});
  test.FeedAndPass(3, {});
  CHECK(Describe(test.kernel) == Lines{});
}

// --- Schedulers ----------------------------------------------------------------------------------

TEST_CASE("a scheduler by annotation is used where the kernel has it") {
  TestAgent test;
  test.FeedAndPass(1, CartWithScheduler("lc"));
  CHECK(SchedulerOf(test, kCart) == "lc");
  CHECK(test.agent.NextPass() == absl::InfiniteFuture());
}

TEST_CASE("a scheduler that the kernel does not have is replaced by the default, with a warning") {
  TestAgent test;
  test.FeedAndPass(1, CartWithScheduler("xx"));
  CHECK(SchedulerOf(test, kCart) == "rr");
  const Lines warning = {
      "warning: Service shop/cart: annotation fairlead.dev/scheduler: no scheduler \"xx\" on this "
      "node, \"rr\" is used"};
  CHECK(test.Logged("Service shop/cart") == warning);
  // It is asked for once, and said once.
  test.FeedAndPass(2, CartWithScheduler("xx"));
  std::vector<Object> more = CartWithScheduler("xx");
  more.push_back(MakeService("shop/more", "10.96.0.2"));
  test.FeedAndPass(3, more);
  CHECK(test.probes == Lines{"xx", "rr", "mh"});
  CHECK(test.Logged("Service shop/cart") == warning);
}

TEST_CASE("a scheduler that is asked for later is known from then on") {
  TestAgent test;
  test.FeedAndPass(1, Cart());
  CHECK(SchedulerOf(test, kCart) == "rr");
  test.kernel.table.ClearOperations();
  test.FeedAndPass(2, CartWithScheduler("lc"));
  CHECK(test.probes == Lines{"rr", "mh", "lc"});
  CHECK(test.kernel.table.operations() ==
        std::vector<ipvs::Operation>{ipvs::Operation::EditVirtualServer(
            kCart, ipvs::VirtualServerConfig::ForFamily(IpFamily::kIpv4, "lc"))});
}

TEST_CASE("what cannot be found out about a scheduler, the kernel says") {
  TestAgent test;
  test.schedulers["xx"] = absl::PermissionDeniedError("no CAP_SYS_ADMIN");
  test.kernel.table.FailWhen(
      [](const ipvs::Operation& operation) { return operation.virtual_config.scheduler == "xx"; },
      {absl::NotFoundError("no scheduler xx"), false});
  test.FeedAndPass(1, CartWithScheduler("xx"));
  CHECK(
      test.TakeAcknowledgements() ==
      std::vector<Acknowledgement>{
          {{"epoch", 1}, absl::ZeroDuration(), {{kCartId, "TCP 10.96.0.1:80: no scheduler xx"}}}});
}

// --- The node ------------------------------------------------------------------------------------

TEST_CASE("another zone of the node has the Services planned anew") {
  TestAgent test;
  const auto picture = [](const std::string& zone) -> std::vector<Object> {
    return {MakeService("shop/cart", "10.96.0.1"),
            MakeSlice("shop/cart", {"10.244.2.2@n2 a", "10.244.3.2@n3 b"}),
            MakeNode(zone, "192.168.1.1")};
  };
  const auto reals = [&test] {
    std::vector<ipvs::RealServerKey> keys;
    const ipvs::VirtualServer server = test.kernel.table.Get(kCart).value();
    for (const ipvs::RealServer& real : server.real_servers) {
      keys.push_back(real.key);
    }
    return keys;
  };
  test.FeedAndPass(1, picture("a"));
  CHECK(reals() == std::vector<ipvs::RealServerKey>{Pod("10.244.2.2")});
  test.FeedAndPass(2, picture("b"));
  CHECK(reals() == std::vector<ipvs::RealServerKey>{Pod("10.244.3.2")});
}

TEST_CASE("another address of the node moves node ports and the sources of routes") {
  TestAgent test;
  const auto picture = [](const std::string& address) -> std::vector<Object> {
    return {MakeService("shop/cart", "10.96.0.1", 30080), MakeNode("a", address)};
  };
  test.FeedAndPass(1, picture("192.168.1.1"));
  CHECK(test.reconciler.OwnedVirtualServers() ==
        std::vector<VirtualServerKey>{kCart, Tcp("192.168.1.1", 30080)});
  test.addresses = std::vector<NodeAddress>{{Address("192.168.1.9"), "eth0"}};
  test.FeedAndPass(2, picture("192.168.1.9"));
  CHECK(test.reconciler.OwnedVirtualServers() ==
        std::vector<VirtualServerKey>{kCart, Tcp("192.168.1.9", 30080)});
  const VipRoute route{Address("10.96.0.1"), Address("192.168.1.9")};
  CHECK(test.kernel.routes.routes() == std::map<IpAddress, VipRoute>{{route.vip, route}});
}

TEST_CASE("another node's change is nothing to do") {
  TestAgent test;
  test.FeedAndPass(1, Cart());
  auto other = MakeNode("b", "192.168.1.2");
  other->name = "n2";
  std::vector<Object> objects = Cart();
  objects.push_back(other);
  const WriteCounters before = test.reconciler.counters();
  test.FeedAndPass(2, objects);
  CHECK(test.reconciler.counters() == before);
}

TEST_CASE("addresses that cannot be read are not taken for none") {
  TestAgent test;
  const std::vector<NodeAddress> both = {{Address("10.0.0.1"), "eth1"},
                                         {Address("192.168.1.1"), "eth0"}};
  const std::vector<Object> picture = {MakeService("shop/cart", "10.96.0.1", 30080),
                                       MakeNode("a", "192.168.1.1")};
  test.addresses = absl::UnavailableError("they change all the time");

  // At the start nothing is written before they are known.
  test.FeedAndPass(1, picture);
  CHECK(test.kernel.firewall.ruleset() == std::nullopt);
  CHECK(Describe(test.kernel) == Lines{});
  test.addresses = both;
  test.now = test.agent.NextPass();
  test.agent.Pass();
  const std::vector<VirtualServerKey> served = {Tcp("10.0.0.1", 30080), kCart,
                                                Tcp("192.168.1.1", 30080)};
  CHECK(test.reconciler.OwnedVirtualServers() == served);

  // Later those that were read last are kept, and it is tried again.
  test.addresses = absl::UnavailableError("they change all the time");
  test.FeedAndPass(2, {MakeService("shop/cart", "10.96.0.1", 30080), MakeNode("b", "192.168.1.1")});
  CHECK(test.reconciler.OwnedVirtualServers() == served);
  CHECK(test.agent.NextPass() == test.now + absl::Seconds(1));
  test.addresses = std::vector<NodeAddress>{both[1]};
  test.now = test.agent.NextPass();
  test.agent.Pass();
  CHECK(test.reconciler.OwnedVirtualServers() ==
        std::vector<VirtualServerKey>{kCart, Tcp("192.168.1.1", 30080)});
  CHECK(test.agent.NextPass() == absl::InfiniteFuture());
}

TEST_CASE("addresses that come and go have node ports planned anew, without another picture") {
  TestAgent test;
  const NodeAddress first{Address("192.168.1.1"), "eth0"};
  const NodeAddress second{Address("10.0.0.1"), "eth1"};
  test.FeedAndPass(1, {MakeService("shop/cart", "10.96.0.1", 30080), MakeNode("a", "192.168.1.1")});
  test.addresses = std::vector<NodeAddress>{second, first};
  // Nobody has said so yet.
  test.agent.Pass();
  CHECK(test.reconciler.OwnedVirtualServers() ==
        std::vector<VirtualServerKey>{kCart, Tcp("192.168.1.1", 30080)});
  test.agent.AddressesChanged();
  test.agent.Pass();
  CHECK(test.reconciler.OwnedVirtualServers() ==
        std::vector<VirtualServerKey>{Tcp("10.0.0.1", 30080), kCart, Tcp("192.168.1.1", 30080)});
  test.addresses = std::vector<NodeAddress>{first};
  test.agent.AddressesChanged();
  test.agent.Pass();
  CHECK(test.reconciler.OwnedVirtualServers() ==
        std::vector<VirtualServerKey>{kCart, Tcp("192.168.1.1", 30080)});
  // One that serves no node ports is no change.
  const WriteCounters before = test.reconciler.counters();
  test.addresses = std::vector<NodeAddress>{{Address("127.0.0.1"), "lo"}, first};
  test.agent.AddressesChanged();
  test.agent.Pass();
  CHECK(test.reconciler.counters() == before);
}

TEST_CASE("an external address that becomes the node's own is no VIP any more") {
  TestAgent test;
  auto service = MakeService("shop/cart", "10.96.0.1");
  service->external_ips = {Address("203.0.113.5")};
  test.FeedAndPass(1, {service, MakeNode("a", "192.168.1.1")});
  CHECK(test.kernel.routes.routes().contains(Address("203.0.113.5")));
  test.addresses =
      std::vector<NodeAddress>{{Address("192.168.1.1"), "eth0"}, {Address("203.0.113.5"), "eth0"}};
  test.agent.AddressesChanged();
  test.agent.Pass();
  CHECK_FALSE(test.kernel.routes.routes().contains(Address("203.0.113.5")));
  CHECK(test.reconciler.Owns(Tcp("203.0.113.5", 80)));
}

TEST_CASE("what tells pods from others follows the Node's podCIDRs") {
  const auto picture = [](const Lines& pod_cidrs) -> std::vector<Object> {
    std::vector<Object> objects = Cart();
    auto node = MakeNode("a", "192.168.1.1");
    for (const std::string& cidr : pod_cidrs) node->pod_cidrs.push_back(Prefix(cidr));
    objects.push_back(node);
    return objects;
  };
  const auto ruleset = [](const Lines& pod_cidrs) {
    RulesetConfig config;
    for (const std::string& cidr : pod_cidrs) config.pods.prefixes.push_back(Prefix(cidr));
    return RulesetText(config);
  };
  const Element outsiders{.set = SetName::kMasqueradeOutsiders,
                          .address = kCart.address,
                          .protocol = kCart.protocol,
                          .port = kCart.port,
                          .mark = 0,
                          .sources = IpPrefix()};
  TestAgent test({.node_name = "n1", .local_mode = LocalMode::kNodeCidr});
  test.FeedAndPass(1, Cart());
  CHECK(test.kernel.firewall.ruleset() == ruleset({}));
  CHECK_FALSE(test.kernel.firewall.elements().contains(outsiders));

  test.FeedAndPass(2, picture({"10.244.1.0/24"}));
  CHECK(test.kernel.firewall.ruleset() == ruleset({"10.244.1.0/24"}));
  CHECK(test.kernel.firewall.elements().contains(outsiders));

  test.FeedAndPass(3, picture({"10.244.7.0/24", "fd00:244:7::/64"}));
  CHECK(test.kernel.firewall.ruleset() == ruleset({"10.244.7.0/24", "fd00:244:7::/64"}));
  CHECK(test.kernel.firewall.rulesets_loaded() == 3);

  // The Node as it was, with something else: nothing to load.
  test.FeedAndPass(4, picture({"10.244.7.0/24", "fd00:244:7::/64"}));
  CHECK(test.kernel.firewall.rulesets_loaded() == 3);

  test.FeedAndPass(5, Cart());
  CHECK(test.kernel.firewall.ruleset() == ruleset({}));
  CHECK_FALSE(test.kernel.firewall.elements().contains(outsiders));
}

TEST_CASE("a Node that is known at the start has its ruleset loaded at once") {
  TestAgent test({.node_name = "n1", .local_mode = LocalMode::kNodeCidr});
  auto node = MakeNode("a", "192.168.1.1");
  node->pod_cidrs = {Prefix("10.244.1.0/24")};
  test.FeedAndPass(1, {node});
  CHECK(test.kernel.firewall.rulesets_loaded() == 1);
}

// --- Marks ---------------------------------------------------------------------------------------

TEST_CASE("marks stay as they are when the agent is started again") {
  const std::vector<Object> picture = {
      MakeLocalService("shop/cart", "10.96.0.1", 30080, "192.0.2.7", 0),
      MakeSlice("shop/cart", {"10.244.1.2@n1", "10.244.2.2@n2"}),
      MakeLocalService("shop/shop", "10.96.0.2", 30081, "192.0.2.8", 0),
      MakeSlice("shop/shop", {"10.244.2.2@n2"}), MakeNode("a", "192.168.1.1")};
  struct Row {
    std::string name;
    MarkRange first;
    MarkRange second;
  };
  const std::vector<Row> rows = {
      {"the same range", MarkRange(), MarkRange()},
      // Nothing would choose the same ones from another range.
      {"a larger range", {.first = 0x46000000, .last = 0x46000000 + 299}, MarkRange()},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      TestAgent first({.node_name = "n1", .marks = row.first});
      first.FeedAndPass(1, picture);
      const Lines before = Describe(first.kernel);
      const FoundMarks marks = first.reconciler.Marks();
      REQUIRE(marks.ports.size() == 4);
      for (const auto& [key, mark] : marks.ports) CHECK(row.first.Contains(mark));

      TestAgent second({.node_name = "n1", .marks = row.second}, first.kernel);
      second.kernel.table.ClearOperations();
      second.FeedAndPass(1, picture);
      CHECK(second.reconciler.counters() == WriteCounters{});
      CHECK(second.kernel.table.operations().empty());
      CHECK(second.reconciler.Marks().ports == marks.ports);
      CHECK(Describe(second.kernel) == before);
    }
  }
}

TEST_CASE("a mark that somebody else has a virtual server for is not given") {
  const std::vector<Object> picture = {
      MakeLocalService("shop/cart", "10.96.0.1", 30080, "192.0.2.7", 0),
      MakeSlice("shop/cart", {"10.244.1.2@n1"})};
  TestAgent first;
  first.FeedAndPass(1, picture);
  const uint32_t usual = first.reconciler.Marks().ports.begin()->second;
  const VirtualServerKey theirs = VirtualServerKey::ForMark(IpFamily::kIpv4, usual);

  TestAgent test;
  test.kernel.table.Apply({ipvs::Operation::AddVirtualServer(
      theirs, ipvs::VirtualServerConfig::ForFamily(IpFamily::kIpv4, "wlc"))});
  test.FeedAndPass(1, picture);
  CHECK(SchedulerOf(test, theirs) == "wlc");
  CHECK_FALSE(test.reconciler.Owns(theirs));
  const FoundMarks marks = test.reconciler.Marks();
  REQUIRE_FALSE(marks.ports.empty());
  for (const auto& [key, mark] : marks.ports) CHECK(mark != usual);
}

// --- Acknowledgements ----------------------------------------------------------------------------

TEST_CASE("each picture is acknowledged with the time it took") {
  TestAgent test;
  test.Feed(1, Cart());
  test.now += absl::Seconds(3);
  test.agent.Pass();
  CHECK(test.TakeAcknowledgements() ==
        std::vector<Acknowledgement>{{{"epoch", 1}, absl::Seconds(3), {}}});
  test.agent.Pass();
  CHECK(test.TakeAcknowledgements().empty());
  // Also one that changes nothing.
  test.FeedAndPass(2, Cart());
  CHECK(test.TakeAcknowledgements() ==
        std::vector<Acknowledgement>{{{"epoch", 2}, absl::ZeroDuration(), {}}});
}

TEST_CASE("failures are acknowledged with their Service, and again when they change") {
  TestAgent test;
  test.kernel.table.FailWhen([](const ipvs::Operation&) { return true; },
                             {absl::ResourceExhaustedError("no memory"), false});
  test.FeedAndPass(4, Cart());
  CHECK(test.TakeAcknowledgements() ==
        std::vector<Acknowledgement>{
            {{"epoch", 4}, absl::ZeroDuration(), {{kCartId, "TCP 10.96.0.1:80: no memory"}}}});
  const auto retry = [&test] {
    REQUIRE(test.agent.NextPass() > test.now);
    test.now = test.agent.NextPass();
    test.agent.Pass();
  };
  retry();
  CHECK(test.TakeAcknowledgements().empty());

  test.kernel.table.ClearFailures();
  test.kernel.table.FailWhen([](const ipvs::Operation&) { return true; },
                             {absl::PermissionDeniedError("not permitted"), false});
  retry();
  CHECK(test.TakeAcknowledgements() ==
        std::vector<Acknowledgement>{
            {{"epoch", 4}, absl::ZeroDuration(), {{kCartId, "TCP 10.96.0.1:80: not permitted"}}}});
  test.kernel.table.ClearFailures();
  retry();
  CHECK(test.TakeAcknowledgements() ==
        std::vector<Acknowledgement>{{{"epoch", 4}, absl::ZeroDuration(), {}}});
  CHECK(test.Logged("TCP 10.96.0.1:80") ==
        Lines{"error: Service shop/cart: TCP 10.96.0.1:80: no memory; will be tried again",
              "error: Service shop/cart: TCP 10.96.0.1:80: not permitted; will be tried again",
              "info: Service shop/cart: TCP 10.96.0.1:80: made good"});
}

TEST_CASE("an object of which several things fail is acknowledged once") {
  TestAgent test;
  test.kernel.table.FailWhen([](const ipvs::Operation&) { return true; },
                             {absl::ResourceExhaustedError("no memory"), false});
  auto service = MakeService("shop/cart", "10.96.0.1");
  service->ports.push_back({.name = "more", .port = 81});
  test.FeedAndPass(1, {service});
  const std::vector<Acknowledgement> acknowledged = test.TakeAcknowledgements();
  REQUIRE(acknowledged.size() == 1);
  CHECK(acknowledged[0].failures ==
        std::vector<ObjectFailure>{{kCartId, "TCP 10.96.0.1:80: no memory (and 1 more)"}});
}

TEST_CASE("what fails and is no Service's is acknowledged as the node's") {
  TestAgent test;
  test.kernel.routes.FailChanges(std::nullopt, 1, absl::UnavailableError("lo is down"));
  test.FeedAndPass(1, Cart());
  const std::vector<Acknowledgement> acknowledged = test.TakeAcknowledgements();
  REQUIRE(acknowledged.size() == 1);
  CHECK(acknowledged[0].failures == std::vector<ObjectFailure>{{{ObjectKind::kNode, {"", "n1"}},
                                                                "route 10.96.0.1: lo is down"}});
}

// --- The start -----------------------------------------------------------------------------------

TEST_CASE("a kernel that cannot be read is tried again, and not written meanwhile") {
  TestAgent test;
  test.kernel.table.FailReads(absl::UnavailableError("busy"));
  test.FeedAndPass(1, Cart());
  std::vector<absl::Duration> waits;
  for (int i = 0; i < 12; ++i) {
    waits.push_back(test.agent.NextPass() - test.now);
    // Before its time nothing is tried.
    test.agent.Pass();
    CHECK(test.prepared == i + 1);
    test.now = test.agent.NextPass();
    test.agent.Pass();
  }
  absl::Duration limit = absl::Milliseconds(200);
  for (const absl::Duration wait : waits) {
    CHECK(wait <= limit);
    CHECK(wait >= limit / 2);
    limit = std::min(limit * 2, absl::Duration(absl::Seconds(30)));
  }
  CHECK(test.kernel.table.operations().empty());
  CHECK(test.kernel.firewall.elements().empty());
  CHECK(test.kernel.routes.routes().empty());
  CHECK(test.TakeAcknowledgements().empty());

  test.kernel.table.ClearFailures();
  test.now = test.agent.NextPass();
  test.agent.Pass();
  CHECK(test.kernel.table.Get(kCart).ok());
  CHECK(test.TakeAcknowledgements().size() == 1);
}

TEST_CASE("a virtual server that is taken over is named in the log, once") {
  TestAgent test;
  test.kernel.table.Apply({ipvs::Operation::AddVirtualServer(kCart, {})});
  test.FeedAndPass(1, Cart());
  test.FeedAndPass(2, CartWithScheduler("lc"));
  CHECK(test.Logged("taken over") ==
        Lines{"warning: TCP 10.96.0.1:80 was in the kernel and not Fairlead's: taken over for "
              "Service shop/cart"});
}

// --- The log -------------------------------------------------------------------------------------

// The lines without their times.
Lines WithoutTimes(const Lines& lines) {
  Lines rest;
  for (const std::string& line : lines) rest.push_back(line.substr(line.find("\"level\"")));
  return rest;
}

TEST_CASE("in JSON a line has its object, whatever tells of it") {
  TestAgent test;
  spdlog::set_formatter(MakeJsonLogFormatter());
  test.kernel.table.FailWhen(
      [](const ipvs::Operation& operation) { return operation.virtual_server == kCart; },
      {absl::ResourceExhaustedError("no memory"), false});
  test.listeners.Take(Address("192.168.1.1"), 31000);
  std::vector<Object> objects = CartWithScheduler("xx");
  objects.push_back(MakeService("shop/late", "10.96.0.1"));
  objects.push_back(MakeLocalService("shop/web", "10.96.0.2", 30080, "192.0.2.7", 31000));
  objects.push_back(MakeSlice("shop/web", {"10.244.1.2@n1"}));
  test.kernel.table.Apply({ipvs::Operation::AddVirtualServer(Tcp("10.96.0.2", 80), {})});
  test.FeedAndPass(1, objects);
  CHECK(WithoutTimes(test.Logged("\"object\":\"Node n1\"")) ==
        Lines{R"("level":"info","object":"Node n1",)"
              R"("message":"node n1 has address 192.168.1.1"})"});
  CHECK(
      WithoutTimes(test.Logged("\"object\":\"Service shop/cart\"")) ==
      Lines{R"("level":"warning","object":"Service shop/cart",)"
            R"("message":"Service shop/cart: annotation fairlead.dev/scheduler: no scheduler )"
            R"(\"xx\" on this node, \"rr\" is used"})",
            R"("level":"error","object":"Service shop/cart",)"
            R"("message":"Service shop/cart: TCP 10.96.0.1:80: no memory; will be tried again"})"});
  CHECK(WithoutTimes(test.Logged("\"object\":\"Service shop/late\"")) ==
        Lines{R"("level":"warning","object":"Service shop/late",)"
              R"("message":"Service shop/late: TCP 10.96.0.1:80 belongs to Service shop/cart, )"
              R"(of the same age and first by name"})"});
  CHECK(WithoutTimes(test.Logged("\"object\":\"Service shop/web\"")) ==
        Lines{R"("level":"warning","object":"Service shop/web",)"
              R"("message":"Service shop/web, healthCheckNodePort: cannot listen on )"
              R"(192.168.1.1:31000: Address already in use"})",
              R"("level":"warning","object":"Service shop/web",)"
              R"("message":"TCP 10.96.0.2:80 was in the kernel and not Fairlead's: taken over )"
              R"(for Service shop/web"})"});
}

TEST_CASE("at debug the log has what the feed brings, but for the first picture, by object") {
  TestAgent test;
  spdlog::set_level(spdlog::level::debug);
  test.FeedAndPass(1, Cart());
  test.Put({.position = {"epoch", 2},
            .upserts = {MakeService("shop/more", "10.96.0.2")},
            .removals = {kCartId},
            .received = test.now});
  test.agent.Pass();
  CHECK(test.Logged("revision 1: a whole picture") ==
        Lines{"debug: revision 1: a whole picture: 2 objects that are new or have changed, 0 that "
              "are gone"});
  CHECK(test.Logged("revision 2: Service") ==
        Lines{"debug: revision 2: Service shop/more is new or has changed",
              "debug: revision 2: Service shop/cart is gone"});
  spdlog::set_level(spdlog::level::info);
  test.Put({.position = {"epoch", 3}, .removals = {kCartId}, .received = test.now});
  test.agent.Pass();
  CHECK(test.Logged("revision 3").empty());
}

}  // namespace
}  // namespace fairlead::testing
