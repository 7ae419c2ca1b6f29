#include "expect.h"
#include "healthy_node.h"
#include "proxy/doctor/checks.h"

namespace fairlead {
namespace {

const IpAddress kVip = IpAddress::Parse("192.168.1.200").value();

TEST_CASE("settings are judged by what is lost without them") {
  struct Row {
    std::string name;
    std::function<void(SettingFacts&)> change;
    std::vector<std::string> complaints;
  };
  const auto set = [](const char* name, std::optional<std::string> value) {
    return [name, value](SettingFacts& facts) { facts.values[name] = value; };
  };
  const std::vector<Row> rows = {
      {"no forwarding", set("net.ipv4.ip_forward", "0"), {"error settings.net.ipv4.ip_forward"}},
      {"no forwarding of IPv6",
       set("net.ipv6.conf.all.forwarding", "0"),
       {"error settings.net.ipv6.conf.all.forwarding"}},
      {"no IPv6",
       set("net.ipv6.conf.all.forwarding", std::nullopt),
       {"note settings.net.ipv6.conf.all.forwarding"}},
      {"no masquerade",
       set("net.ipv4.vs.conntrack", "0"),
       {"error settings.net.ipv4.vs.conntrack"}},
      {"no IPVS",
       set("net.ipv4.vs.conntrack", std::nullopt),
       {"note settings.net.ipv4.vs.conntrack"}},
      {"connections without an end",
       set("net.ipv4.vs.expire_nodest_conn", "0"),
       {"warning settings.net.ipv4.vs.expire_nodest_conn"}},
      {"affinity to what drains",
       set("net.ipv4.vs.expire_quiescent_template", "0"),
       {"warning settings.net.ipv4.vs.expire_quiescent_template"}},
      {"a larger number than needed", set("net.ipv4.conf.all.arp_ignore", "2"), {}},
      {"ARP for VIPs, with none in a subnet",
       set("net.ipv4.conf.all.arp_ignore", "0"),
       {"warning settings.net.ipv4.conf.all.arp_ignore"}},
      {"ARP for a VIP of a subnet",
       [](SettingFacts& facts) {
         facts.values["net.ipv4.conf.all.arp_ignore"] = "0";
         facts.vips_in_subnets = {kVip};
       },
       {"error settings.net.ipv4.conf.all.arp_ignore"}},
      {"a VIP in a subnet, without ARP",
       [](SettingFacts& facts) { facts.vips_in_subnets = {kVip}; },
       {}},
      {"strict ways back", set("net.ipv4.conf.eth0.rp_filter", "1"), {"note settings.rp_filter"}},
      {"loose ways back", set("net.ipv4.conf.eth0.rp_filter", "2"), {}},
      {"a bridge past IPVS",
       [](SettingFacts& facts) { facts.bridges = {"cni0"}; },
       {"note settings.net.bridge.bridge-nf-call-iptables"}},
      {"a bridge past IPVS, with the module",
       [](SettingFacts& facts) {
         facts.bridges = {"cni0"};
         facts.values["net.bridge.bridge-nf-call-iptables"] = "0";
       },
       {"note settings.net.bridge.bridge-nf-call-iptables"}},
      {"a bridge by way of IPVS",
       [](SettingFacts& facts) {
         facts.bridges = {"cni0"};
         facts.values["net.bridge.bridge-nf-call-iptables"] = "1";
       },
       {}},
      {"a defence that waits", set("net.ipv4.vs.drop_entry", "1"), {}},
      {"a defence in action", set("net.ipv4.vs.drop_entry", "2"), {"warning settings.defences"}},
      {"a defence for good", set("net.ipv4.vs.drop_packet", "3"), {"warning settings.defences"}},
      {"strict states", set("net.ipv4.vs.secure_tcp", "3"), {"warning settings.defences"}},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    SettingFacts settings = HealthyNode().settings;
    row.change(settings);
    CHECK(Complaints(CheckSettings(settings)) == row.complaints);
  }
}

TEST_CASE("a setting that is wrong comes with its value and the command") {
  SettingFacts settings = HealthyNode().settings;
  settings.values["net.ipv4.conf.all.arp_ignore"] = "0";
  settings.vips_in_subnets = {kVip};
  const std::string check = "settings.net.ipv4.conf.all.arp_ignore";
  const Finding expected = {
      .check = check,
      .severity = Severity::kError,
      .message =
          "net.ipv4.conf.all.arp_ignore has to be at least 1. The node does not answer ARP "
          "for VIPs, which would draw other machines' packets to it.",
      .evidence = "net.ipv4.conf.all.arp_ignore = 0; in a subnet of the node: 192.168.1.200",
      .fix =
          "sysctl -w net.ipv4.conf.all.arp_ignore=1; for good: echo "
          "'net.ipv4.conf.all.arp_ignore = 1' >>/etc/sysctl.d/90-fairlead.conf"};
  CHECK(Only(CheckSettings(settings), check) == expected);
  settings.read_only = true;
  Finding read_only = expected;
  read_only.fix += " (on the node: it is read-only here)";
  CHECK(Only(CheckSettings(settings), check) == read_only);
}

}  // namespace
}  // namespace fairlead
