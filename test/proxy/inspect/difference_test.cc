#include "proxy/inspect/difference.h"

#include <catch2/catch.hpp>
#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "scene.h"

namespace fairlead::testing {
namespace {

using ipvs::VirtualServerKey;

const VirtualServerKey kCart = Tcp("10.96.0.1", 80);
const VirtualServerKey kDns = Udp("fd00:96::a", 53);
const VirtualServerKey kBalancer = Tcp("198.19.0.1", 443);
constexpr uint32_t kMark = 0x46000001;

// A cluster IP, one of IPv6, and a load balancer's address with policy Local.
Scene MakeScene() {
  return Scene(
      {MakePlan("cart", {Vip(kCart, {"10.244.1.2", "10.244.2.2"})}),
       MakePlan("dns", {Vip(kDns, {"fd00:244::3"})}),
       MakePlan("web", {Local(LoadBalancer(kBalancer, {"10.244.1.5", "10.244.2.5"}), kMark),
                        Internal(Mark(kMark), {"10.244.1.5", "10.244.2.5"})})});
}

TEST_CASE("a kernel that has what is wanted does not differ") {
  CHECK(MakeScene().Compare() == Lines{});
  CHECK(Scene({}).Compare() == Lines{});
}

struct Row {
  std::string name;
  std::function<void(Scene&)> change;
  Lines differences;
};

void CheckRows(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Scene scene = MakeScene();
      row.change(scene);
      CHECK(scene.Compare() == row.differences);
    }
  }
}

TEST_CASE("virtual servers that differ are told with their Service") {
  CheckRows({
      {"one is missing, with all that belongs to it",
       [](Scene& scene) {
         std::erase_if(scene.kernel.servers,
                       [](const auto& server) { return server.key == kCart; });
       },
       {"virtual_server TCP 10.96.0.1:80 (shop/cart:p80)", "--A -t 10.96.0.1:80 -s rr",
        "--a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 1",
        "--a -t 10.96.0.1:80 -r 10.244.2.2:8080 -m -w 1"}},
      {"the last is missing, of IPv6",
       [](Scene& scene) {
         std::erase_if(scene.kernel.servers, [](const auto& server) { return server.key == kDns; });
       },
       {"virtual_server UDP [fd00:96::a]:53 (shop/dns:p53)", "--A -u [fd00:96::a]:53 -s rr",
        "--a -u [fd00:96::a]:53 -r [fd00:244::3]:8080 -m -w 1"}},
      {"one of a mark is missing",
       [](Scene& scene) {
         std::erase_if(scene.kernel.servers,
                       [](const auto& server) { return server.key == Mark(kMark); });
       },
       {absl::StrCat("virtual_server FWM ", kMark, " IPv4 (shop/web:p0)"),
        absl::StrCat("--A -f ", kMark, " -s rr"),
        absl::StrCat("--a -f ", kMark, " -r 10.244.1.5:8080 -m -w 1"),
        absl::StrCat("--a -f ", kMark, " -r 10.244.2.5:8080 -m -w 1")}},
      {"another scheduler",
       [](Scene& scene) { scene.Server(kCart).config.scheduler = "lc"; },
       {"virtual_server TCP 10.96.0.1:80 (shop/cart:p80)", "--A -t 10.96.0.1:80 -s rr",
        "+-A -t 10.96.0.1:80 -s lc"}},
      {"persistence",
       [](Scene& scene) {
         scene.Server(kCart).config.flags = ipvs::kFlagPersistent;
         scene.Server(kCart).config.persistence_timeout = absl::Seconds(300);
       },
       {"virtual_server TCP 10.96.0.1:80 (shop/cart:p80)", "--A -t 10.96.0.1:80 -s rr",
        "+-A -t 10.96.0.1:80 -s rr -p 300"}},
      {"what ipvsadm does not save",
       [](Scene& scene) { scene.Server(kCart).config.persistence_prefix_length = 24; },
       {"virtual_server TCP 10.96.0.1:80 (shop/cart:p80)",
        "--A -t 10.96.0.1:80 -s rr  # flags 0, persistence of prefixes of 32 bits by engine \"\"",
        "+-A -t 10.96.0.1:80 -s rr  # flags 0, persistence of prefixes of 24 bits by engine "
        "\"\""}},
      {"one is left over",
       [](Scene& scene) {
         scene.AddServer(Tcp("10.96.0.9", 80), {"10.244.1.9"});
         scene.wanted.owned.push_back(Tcp("10.96.0.9", 80));
         std::sort(scene.wanted.owned.begin(), scene.wanted.owned.end());
       },
       {"virtual_server TCP 10.96.0.9:80 ()", "+-A -t 10.96.0.9:80 -s rr",
        "+-a -t 10.96.0.9:80 -r 10.244.1.9:8080 -m -w 1"}},
  });
}

TEST_CASE("real servers that differ are told one by one") {
  CheckRows({
      {"one is missing",
       [](Scene& scene) {
         scene.Server(kCart).real_servers.erase(scene.Server(kCart).real_servers.begin());
       },
       {"real_server 10.244.1.2:8080 of TCP 10.96.0.1:80 (shop/cart:p80)",
        "--a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 1"}},
      {"another weight",
       [](Scene& scene) { scene.Real(kCart, "10.244.2.2").config.weight = 7; },
       {"real_server 10.244.2.2:8080 of TCP 10.96.0.1:80 (shop/cart:p80)",
        "--a -t 10.96.0.1:80 -r 10.244.2.2:8080 -m -w 1",
        "+-a -t 10.96.0.1:80 -r 10.244.2.2:8080 -m -w 7"}},
      {"another forwarding method",
       [](Scene& scene) {
         scene.Real(kCart, "10.244.2.2").config.forwarding = ipvs::ForwardingMethod::kRoute;
       },
       {"real_server 10.244.2.2:8080 of TCP 10.96.0.1:80 (shop/cart:p80)",
        "--a -t 10.96.0.1:80 -r 10.244.2.2:8080 -m -w 1",
        "+-a -t 10.96.0.1:80 -r 10.244.2.2:8080 -g -w 1"}},
      {"limits",
       [](Scene& scene) {
         scene.Real(kCart, "10.244.2.2").config.upper_threshold = 10;
         scene.Real(kCart, "10.244.2.2").config.lower_threshold = 5;
       },
       {"real_server 10.244.2.2:8080 of TCP 10.96.0.1:80 (shop/cart:p80)",
        "--a -t 10.96.0.1:80 -r 10.244.2.2:8080 -m -w 1",
        "+-a -t 10.96.0.1:80 -r 10.244.2.2:8080 -m -w 1 -x 10 -y 5"}},
      {"some too many, before, between and behind the wanted ones",
       [](Scene& scene) {
         for (const char* address : {"10.244.0.1", "10.244.1.9", "10.244.9.9"}) {
           scene.AddReal(kCart, address, 1);
         }
       },
       {"real_server 10.244.0.1:8080 of TCP 10.96.0.1:80 (shop/cart:p80)",
        "+-a -t 10.96.0.1:80 -r 10.244.0.1:8080 -m -w 1",
        "real_server 10.244.1.9:8080 of TCP 10.96.0.1:80 (shop/cart:p80)",
        "+-a -t 10.96.0.1:80 -r 10.244.1.9:8080 -m -w 1",
        "real_server 10.244.9.9:8080 of TCP 10.96.0.1:80 (shop/cart:p80)",
        "+-a -t 10.96.0.1:80 -r 10.244.9.9:8080 -m -w 1"}},
      {"weight 0 alone is no drain",
       [](Scene& scene) { scene.AddReal(kCart, "10.244.9.9", 0); },
       {"real_server 10.244.9.9:8080 of TCP 10.96.0.1:80 (shop/cart:p80)",
        "+-a -t 10.96.0.1:80 -r 10.244.9.9:8080 -m -w 0"}},
      {"one that drains and has got weight",
       [](Scene& scene) {
         scene.AddReal(kCart, "10.244.9.9", 3);
         scene.wanted.draining = {{kCart, Pod("10.244.9.9"), {}, {}}};
       },
       {"real_server 10.244.9.9:8080 of TCP 10.96.0.1:80 (shop/cart:p80)",
        "--a -t 10.96.0.1:80 -r 10.244.9.9:8080 -m -w 0",
        "+-a -t 10.96.0.1:80 -r 10.244.9.9:8080 -m -w 3"}},
  });
}

TEST_CASE(
    "real servers are shown under the line of their virtual server, unless that differs too") {
  Scene scene = MakeScene();
  scene.Real(kCart, "10.244.2.2").config.weight = 7;
  std::vector<Difference> differences = CompareWithKernel(scene.wanted, scene.kernel);
  REQUIRE(differences.size() == 1);
  CHECK(differences[0].group == "TCP 10.96.0.1:80");
  CHECK(differences[0].context == "-A -t 10.96.0.1:80 -s rr");
  scene.Server(kCart).config.scheduler = "lc";
  differences = CompareWithKernel(scene.wanted, scene.kernel);
  REQUIRE(differences.size() == 2);
  CHECK(differences[0].group == differences[1].group);
  CHECK(differences[1].context.empty());
}

Element CartElement(SetName set) {
  return {.set = set, .address = kCart.address, .protocol = kCart.protocol, .port = kCart.port};
}

TEST_CASE("the firewall, routes and settings that differ are told") {
  CheckRows({
      {"no table",
       [](Scene& scene) { scene.kernel.ruleset.reset(); },
       {"ruleset table inet fairlead ()", "-table inet fairlead"}},
      {"a chain without rules, and one too many",
       [](Scene& scene) {
         (*scene.kernel.ruleset)["refuse"] = 0;
         (*scene.kernel.ruleset)["mine"] = 1;
       },
       {"ruleset table inet fairlead ()", "-chain inet fairlead refuse  # 2 rules",
        "+chain inet fairlead mine  # 1 rule", "+chain inet fairlead refuse  # 0 rules"}},
      {"elements are missing",
       [](Scene& scene) {
         std::erase(scene.kernel.elements, CartElement(SetName::kServed));
         std::erase(scene.kernel.elements,
                    Element{.set = SetName::kHairpin, .address = Address("10.244.1.2")});
         std::erase(scene.kernel.elements, OwnedElement(Mark(kMark)));
         std::erase(scene.kernel.elements,
                    Element{.set = SetName::kGuarded, .address = kDns.address});
       },
       {"element owned_mark4 0x46000001 (shop/web:p0)",
        "-add element inet fairlead owned_mark4 { 0x46000001 }",
        "element served4 10.96.0.1 . tcp . 80 (shop/cart:p80)",
        "-add element inet fairlead served4 { 10.96.0.1 . tcp . 80 }",
        "element guarded6 fd00:96::a (shop/dns:p53)",
        "-add element inet fairlead guarded6 { fd00:96::a }",
        "element hairpin4 10.244.1.2 . 10.244.1.2 (shop/cart:p80)",
        "-add element inet fairlead hairpin4 { 10.244.1.2 . 10.244.1.2 }"}},
      {"elements too many",
       [](Scene& scene) {
         scene.AddElement(CartElement(SetName::kDrop));
         scene.AddElement({.set = SetName::kGuarded, .address = Address("10.96.0.77")});
       },
       {"element guarded4 10.96.0.77 ()", "+add element inet fairlead guarded4 { 10.96.0.77 }",
        "element drop4 10.96.0.1 . tcp . 80 (shop/cart:p80)",
        "+add element inet fairlead drop4 { 10.96.0.1 . tcp . 80 }"}},
      {"a route is missing, one has another source, one is too many",
       [](Scene& scene) {
         std::erase_if(scene.kernel.routes,
                       [](const VipRoute& route) { return route.vip == kDns.address; });
         scene.kernel.routes[0].source.reset();
         scene.AddRoute({Address("10.96.0.77"), Address("192.168.1.1")});
       },
       {"route route 10.96.0.1 (shop/cart:p80)",
        "-local 10.96.0.1 dev lo table local proto 119 src 192.168.1.1",
        "+local 10.96.0.1 dev lo table local proto 119", "route route 10.96.0.77 ()",
        "+local 10.96.0.77 dev lo table local proto 119 src 192.168.1.1",
        "route route fd00:96::a (shop/dns:p53)",
        "-local fd00:96::a dev lo table local proto 119 src fd00:1::1"}},
      {"settings",
       [](Scene& scene) {
         scene.kernel.sysctls[0].value.reset();
         scene.kernel.sysctls[1].value = "0";
       },
       {"sysctl net.ipv4.ip_forward ()", "-net.ipv4.ip_forward = 1",
        "sysctl net.ipv4.conf.all.arp_ignore ()", "-net.ipv4.conf.all.arp_ignore = 1",
        "+net.ipv4.conf.all.arp_ignore = 0"}},
  });
}

TEST_CASE("what leaves, and what is somebody else's, is no difference") {
  CheckRows({
      {"a real server of weight 0 that drains",
       [](Scene& scene) {
         scene.AddReal(kCart, "10.244.9.9", 0);
         scene.AddElement({.set = SetName::kHairpin, .address = Address("10.244.9.9")});
         scene.wanted.draining = {{kCart, Pod("10.244.9.9"), {}, {}}};
       },
       {}},
      {"a virtual server that retires, with all that leads to it",
       [](Scene& scene) {
         const VirtualServerKey key = Tcp("10.96.0.9", 80);
         scene.AddServer(key, {"10.244.1.9"}, 0);
         for (const Element& element : ElementsOf(Vip(key, {"10.244.1.9"}))) {
           scene.AddElement(element);
         }
         scene.AddRoute({key.address, Address("192.168.1.1")});
         scene.wanted.owned.push_back(key);
         scene.wanted.retiring = {key};
         scene.wanted.draining = {{key, Pod("10.244.1.9"), {}, {}}};
       },
       {}},
      {"one of a mark that drains",
       [](Scene& scene) {
         scene.AddServer(Mark(7), {"10.244.1.9"}, 0);
         scene.AddElement(OwnedElement(Mark(7)));
         scene.wanted.owned = {Mark(7)};
         scene.wanted.draining = {{Mark(7), Pod("10.244.1.9"), {}, {}}};
       },
       {}},
      {"others' virtual servers, at addresses of ours too",
       [](Scene& scene) {
         scene.AddServer(Tcp("203.0.113.1", 443), {"10.244.1.9"});
         scene.AddServer(Tcp("10.96.0.1", 8443), {"10.244.1.9"});
         scene.AddServer(Mark(7), {"10.244.1.9"});
       },
       {}},
      {"one that retires whose real server has got weight",
       [](Scene& scene) {
         const VirtualServerKey key = Tcp("10.96.0.9", 80);
         scene.AddServer(key, {"10.244.1.9"}, 1);
         scene.wanted.owned.push_back(key);
         scene.wanted.retiring = {key};
         scene.wanted.draining = {{key, Pod("10.244.1.9"), {}, {}}};
       },
       {"real_server 10.244.1.9:8080 of TCP 10.96.0.9:80 ()",
        "--a -t 10.96.0.9:80 -r 10.244.1.9:8080 -m -w 0",
        "+-a -t 10.96.0.9:80 -r 10.244.1.9:8080 -m -w 1"}},
  });
}

TEST_CASE("before there is a ruleset to be wanted none is missed") {
  Scene scene({});
  scene.wanted.ruleset.clear();
  scene.kernel.ruleset.reset();
  CHECK(scene.Compare() == Lines{});
}

TEST_CASE("the record of ownership names virtual servers") {
  CHECK(RecordedServers(MakeScene().kernel) ==
        std::vector<VirtualServerKey>{kCart, kBalancer, Mark(kMark), kDns});
}

TEST_CASE("differences are counted by kind") {
  Scene scene = MakeScene();
  scene.kernel.servers.clear();
  scene.kernel.sysctls[0].value = "0";
  CHECK(CountByKind(CompareWithKernel(scene.wanted, scene.kernel)) ==
        std::map<DriftKind, size_t>{{DriftKind::kVirtualServer, 4}, {DriftKind::kSysctl, 1}});
}

}  // namespace
}  // namespace fairlead::testing
