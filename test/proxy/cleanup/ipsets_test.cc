#include "proxy/cleanup/ipsets.h"

#include <catch2/catch.hpp>

namespace fairlead {
namespace {

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

// Of `ipset save`, version 7.17.
constexpr char kSaved[] =
    "create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536 bucketsize 12 "
    "initval 0x919cd257\n"
    "add KUBE-CLUSTER-IP 10.96.0.1,tcp:443\n"
    "create KUBE-NODE-PORT-TCP bitmap:port range 0-65535\n"
    "add KUBE-NODE-PORT-TCP 30080\n"
    "add KUBE-NODE-PORT-TCP 30090-30091\n"
    "create KUBE-6-NODE-PORT-LOCAL-UDP bitmap:port range 0-65535\n"
    "add KUBE-6-NODE-PORT-LOCAL-UDP 30053\n"
    "create KUBE-NODE-PORT-SCTP-HASH hash:ip,port family inet hashsize 1024 maxelem 65536\n"
    "add KUBE-NODE-PORT-SCTP-HASH 192.0.2.1,sctp:30081\n"
    "create KUBE-6-NODE-PORT-LOCAL-SCTP-HAS hash:ip,port family inet6 hashsize 1024\n"
    "add KUBE-6-NODE-PORT-LOCAL-SCTP-HAS fd00::1,sctp:30082\n"
    "create KUBE-HEALTH-CHECK-NODE-PORT bitmap:port range 0-65535\n"
    "add KUBE-HEALTH-CHECK-NODE-PORT 32710\n"
    "create KUBE-IPVS-IPS hash:ip family inet hashsize 1024 maxelem 65536\n"
    "add KUBE-IPVS-IPS 10.96.0.1\n"
    "create KUBE-6-IPVS-IPS hash:ip family inet6 hashsize 1024 maxelem 65536\n"
    "add KUBE-6-IPVS-IPS fd00:96::1\n"
    "create KUBE-MINE hash:ip family inet hashsize 1024 maxelem 65536\n"
    "add KUBE-MINE 192.0.2.7\n"
    "create office list:set size 8\n"
    "add office KUBE-MINE\n";

TEST_CASE("kube-proxy's ipsets tell its node ports and VIPs") {
  const auto ipsets = ParseIpsetSave(kSaved);
  REQUIRE(ipsets.ok());
  const KubeProxyIpsets expected{
      .names = {"KUBE-6-IPVS-IPS", "KUBE-6-NODE-PORT-LOCAL-SCTP-HAS", "KUBE-6-NODE-PORT-LOCAL-UDP",
                "KUBE-CLUSTER-IP", "KUBE-HEALTH-CHECK-NODE-PORT", "KUBE-IPVS-IPS",
                "KUBE-NODE-PORT-SCTP-HASH", "KUBE-NODE-PORT-TCP"},
      .node_ports = {{ipvs::Protocol::kTcp, 30080},
                     {ipvs::Protocol::kTcp, 30090},
                     {ipvs::Protocol::kTcp, 30091},
                     {ipvs::Protocol::kUdp, 30053},
                     {ipvs::Protocol::kSctp, 30081},
                     {ipvs::Protocol::kSctp, 30082}},
      .addresses = {Ip("10.96.0.1"), Ip("fd00:96::1")}};
  CHECK(*ipsets == expected);
  CHECK(*ParseIpsetSave("") == KubeProxyIpsets{});
}

TEST_CASE("what ipset does not print is refused") {
  for (const std::string line : {"destroy KUBE-IPVS-IPS now", "add KUBE-IPVS-IPS",
                                 "add KUBE-IPVS-IPS nonsense", "add KUBE-NODE-PORT-TCP http",
                                 "add KUBE-NODE-PORT-TCP 70000", "add KUBE-NODE-PORT-TCP 1-2-3"}) {
    CHECK(ParseIpsetSave(line + "\n").status() ==
          absl::InvalidArgumentError("line 1 is not understood: " + line));
  }
}

TEST_CASE("sets by which virtual servers are found are told from the others") {
  for (const std::string name : {"KUBE-IPVS-IPS", "KUBE-6-IPVS-IPS", "KUBE-NODE-PORT-TCP",
                                 "KUBE-6-NODE-PORT-LOCAL-SCTP-HAS"}) {
    CHECK(IsKubeProxyRecord(name));
  }
  for (const std::string name : {"KUBE-CLUSTER-IP", "KUBE-HEALTH-CHECK-NODE-PORT", "KUBE-MINE"}) {
    CHECK_FALSE(IsKubeProxyRecord(name));
  }
  CHECK(IsKubeProxyIpset("KUBE-6-LOAD-BALANCER-SOURCE-CID"));
  CHECK_FALSE(IsKubeProxyIpset("KUBE-6-LOAD-BALANCER-SOURCE-CIDR"));
  CHECK_FALSE(IsKubeProxyIpset("KUBE-MINE"));
}

}  // namespace
}  // namespace fairlead
