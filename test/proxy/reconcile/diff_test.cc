#include "proxy/reconcile/diff.h"

#include <catch2/catch.hpp>

#include "memory_kernel.h"

namespace fairlead {
namespace {

using ipvs::Operation;
using testing::Pod;

const ipvs::VirtualServerKey kKey = testing::Tcp("10.96.0.1", 80);
const ipvs::RealServerKey kA = Pod("10.244.1.2");
const ipvs::RealServerKey kB = Pod("10.244.2.2");
const ipvs::RealServerKey kC = Pod("10.244.3.2");

ipvs::VirtualServerConfig Config(const std::string& scheduler) {
  return ipvs::VirtualServerConfig::ForFamily(IpFamily::kIpv4, scheduler);
}

ipvs::VirtualServerConfig Persistent() {
  ipvs::VirtualServerConfig config = Config("rr");
  config.flags = ipvs::kFlagPersistent;
  config.persistence_timeout = absl::Seconds(60);
  return config;
}

PlannedVirtualServer Want(const ipvs::VirtualServerConfig& config,
                          const std::vector<ipvs::RealServerKey>& reals) {
  PlannedVirtualServer want = testing::Vip(kKey, {});
  want.config = config;
  for (const ipvs::RealServerKey& real : reals) {
    want.real_servers.emplace_back();
    want.real_servers.back().key = real;
  }
  return want;
}

ipvs::RealServerConfig Weight(int32_t weight) { return {.weight = weight}; }

TEST_CASE("a diff of a virtual server is what has to be written, and who has to leave") {
  struct Row {
    std::string name;
    std::optional<PlannedVirtualServer> want;
    std::optional<ActualVirtualServer> have;
    std::vector<Operation> operations;
    std::vector<ipvs::RealServerKey> leaving;
  };
  ipvs::RealServerConfig tunnel{.forwarding = ipvs::ForwardingMethod::kTunnel, .weight = 3};
  ipvs::RealServerConfig quiet_tunnel = tunnel;
  quiet_tunnel.weight = 0;
  const std::vector<Row> rows = {
      {"neither wanted nor there", {}, {}, {}, {}},
      {"not wanted: removed at once, whatever it has",
       {},
       ActualVirtualServer{Config("rr"), {{kA, Weight(1)}}},
       {Operation::DeleteVirtualServer(kKey)},
       {}},
      {"not there: added before its real servers",
       Want(Config("lc"), {kA, kB}),
       {},
       {Operation::AddVirtualServer(kKey, Config("lc")),
        Operation::AddRealServer(kKey, kA, Weight(1)),
        Operation::AddRealServer(kKey, kB, Weight(1))},
       {}},
      {"not there, and no endpoints",
       Want(Config("rr"), {}),
       {},
       {Operation::AddVirtualServer(kKey, Config("rr"))},
       {}},
      {"as wanted",
       Want(Config("rr"), {kA, kB}),
       ActualVirtualServer{Config("rr"), {{kA, Weight(1)}, {kB, Weight(1)}}},
       {},
       {}},
      {"another scheduler: edited in place",
       Want(Config("lc"), {kA}),
       ActualVirtualServer{Config("rr"), {{kA, Weight(1)}}},
       {Operation::EditVirtualServer(kKey, Config("lc"))},
       {}},
      {"affinity comes",
       Want(Persistent(), {kA}),
       ActualVirtualServer{Config("rr"), {{kA, Weight(1)}}},
       {Operation::EditVirtualServer(kKey, Persistent())},
       {}},
      {"affinity goes",
       Want(Config("rr"), {kA}),
       ActualVirtualServer{Persistent(), {{kA, Weight(1)}}},
       {Operation::EditVirtualServer(kKey, Config("rr"))},
       {}},
      {"one comes and one goes: the new one is there before the old one is silenced",
       Want(Config("rr"), {kB, kC}),
       ActualVirtualServer{Config("rr"), {{kA, Weight(1)}, {kB, Weight(1)}}},
       {Operation::AddRealServer(kKey, kC, Weight(1)),
        Operation::EditRealServer(kKey, kA, Weight(0))},
       {kA}},
      {"the last one goes",
       Want(Config("rr"), {}),
       ActualVirtualServer{Config("rr"), {{kC, Weight(1)}}},
       {Operation::EditRealServer(kKey, kC, Weight(0))},
       {kC}},
      {"one that leaves already is left alone",
       Want(Config("rr"), {kB}),
       ActualVirtualServer{Config("rr"), {{kA, Weight(0)}, {kB, Weight(1)}, {kC, Weight(0)}}},
       {},
       {kA, kC}},
      {"one that comes back gets its weight again",
       Want(Config("rr"), {kA}),
       ActualVirtualServer{Config("rr"), {{kA, Weight(0)}}},
       {Operation::EditRealServer(kKey, kA, Weight(1))},
       {}},
      {"one that forwards in another way is edited",
       Want(Config("rr"), {kA}),
       ActualVirtualServer{Config("rr"), {{kA, tunnel}}},
       {Operation::EditRealServer(kKey, kA, Weight(1))},
       {}},
      {"one that leaves keeps everything but its weight",
       Want(Config("rr"), {}),
       ActualVirtualServer{Config("rr"), {{kA, tunnel}}},
       {Operation::EditRealServer(kKey, kA, quiet_tunnel)},
       {kA}},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      const VirtualServerDiff diff =
          DiffVirtualServer(kKey, row.want.has_value() ? &*row.want : nullptr,
                            row.have.has_value() ? &*row.have : nullptr);
      CHECK(diff.operations == row.operations);
      CHECK(diff.leaving == row.leaving);
    }
  }
}

TEST_CASE("what a table holds is compared without what the kernel counts") {
  ipvs::VirtualServer server{.key = kKey, .config = Config("lc")};
  server.statistics.connections = 7;
  server.real_servers = {{.key = kA, .config = Weight(2), .active_connections = 3}};
  CHECK(ToActual(server) == ActualVirtualServer{Config("lc"), {{kA, Weight(2)}}});
}

}  // namespace
}  // namespace fairlead
