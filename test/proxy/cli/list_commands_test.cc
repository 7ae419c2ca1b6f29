// `fairlead list`, `stats`, `rates`, `connections` and `version` as they are run against an agent's
// inspection.
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <catch2/catch.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "ipvs/memory_table.h"
#include "proxy/agent/inspect_service.h"
#include "proxy/cli/version.h"
#include "run_command.h"

namespace fairlead::testing {
namespace {

using ipvs::Operation;

const auto kCart = ipvs::VirtualServerKey::ForAddress(ipvs::Protocol::kTcp,
                                                      IpAddress::Parse("10.96.0.1").value(), 80);
const auto kDns = ipvs::VirtualServerKey::ForAddress(ipvs::Protocol::kUdp,
                                                     IpAddress::Parse("10.96.0.10").value(), 53);
const ipvs::RealServerKey kPod = {IpAddress::Parse("10.244.1.2").value(), 8080};

PlannedVirtualServer MakePlanned(const ipvs::VirtualServerKey& key, const ObjectName& service) {
  PlannedVirtualServer server;
  server.key = key;
  server.protocol = key.protocol;
  server.config = ipvs::VirtualServerConfig::ForFamily(IpFamily::kIpv4, "rr");
  server.service = service;
  return server;
}

// Has shop/cart with one endpoint, and kube-system/dns with none.
class TestInspection {
 public:
  TestInspection() {
    auto plan = std::make_shared<ServicePlan>();
    plan->virtual_servers = {MakePlanned(kCart, {"shop", "cart"}),
                             MakePlanned(kDns, {"kube-system", "dns"})};
    PlannedRealServer& real = plan->virtual_servers[0].real_servers.emplace_back();
    real.key = kPod;
    real.target_name = "cart-5d9c";
    real.node_name = "n1";
    report.plans = {plan};
    report.servers = {&plan->virtual_servers[0], &plan->virtual_servers[1]};
    report.owned = {kCart, kDns};
    report.complete = true;
    table.Apply({Operation::AddVirtualServer(kCart, plan->virtual_servers[0].config),
                 Operation::AddRealServer(kCart, kPod, {}),
                 Operation::AddVirtualServer(kDns, plan->virtual_servers[1].config)});
    const bool counted =
        table.SetStatistics(kCart, {.connections = 123'456'789, .connections_per_second = 7}).ok();
    REQUIRE(counted);

    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrCat("unix:", socket()), grpc::InsecureServerCredentials());
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
  }

  std::string socket() const { return folder_.File("proxy.sock"); }
  std::string File(const std::string& name, const std::string& text) const {
    return folder_.File(name, text);
  }

  Outcome Run(const std::string& command) const {
    return RunCommand(absl::StrCat(command, " --socket ", socket()));
  }

  AgentReport report;
  ipvs::MemoryTable table;

 private:
  TemporaryFolder folder_;
  InspectService service_{
      {.report = [this]() -> absl::StatusOr<AgentReport> { return report; },
       .explain = [](const ExplainQuery&) -> absl::StatusOr<Explanation> { return Explanation(); },
       .feed =
           [] {
             return FeedFreshness{
                 .connected = true, .feeder = "in process", .current_as_of = absl::Now()};
           },
       .open_table = [this]() -> absl::StatusOr<std::unique_ptr<ipvs::Table>> {
         return std::make_unique<ipvs::MemoryTable>(table);
       }}};
  std::unique_ptr<grpc::Server> server_;
};

constexpr char kNeither[] =
    " is neither a Service (shop/cart, shop/cart:http, shop/ for all of a namespace) nor an "
    "address (10.96.0.10, 10.96.0.10:80, [fd00::1]:80) nor a mark (FWM:7)\n";

TEST_CASE("list shows what its arguments choose, by name and by address") {
  const TestInspection agent;
  const std::string cart =
      "-A -t 10.96.0.1:80 -s rr\n-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 1\n";
  const std::string dns = "-A -u 10.96.0.10:53 -s rr\n";
  struct Row {
    const char* arguments;
    Outcome outcome;
  };
  const Row kRows[] = {
      {"", {0, cart + dns, ""}},
      {"shop/cart", {0, cart, ""}},
      {"10.96.0.1:80", {0, cart, ""}},
      {"10.244.1.2", {0, cart, ""}},
      {"-n kube-system", {0, dns, ""}},
      {"--protocol udp shop/ kube-system/", {1, dns, "fairlead list: nothing fits shop/\n"}},
      {"shop/crat", {1, "", "fairlead list: nothing fits shop/crat\n"}},
      {"shop/cart 10.96.0.9", {1, cart, "fairlead list: nothing fits 10.96.0.9\n"}},
      {"cart", {2, "", absl::StrCat("fairlead list: \"cart\"", kNeither)}},
      {"--address cart", {2, "", absl::StrCat("fairlead list: --address: \"cart\"", kNeither)}},
  };
  for (const Row& row : kRows) {
    INFO(row.arguments);
    CHECK(agent.Run(absl::StrCat("list -o ipvsadm ", row.arguments)) == row.outcome);
  }
}

TEST_CASE("list has a form for each reader") {
  const TestInspection agent;
  CHECK(agent.Run("list --wide shop/cart").out == agent.Run("list -o wide shop/cart").out);
  CHECK(agent.Run("list --wide shop/cart").out.substr(0, 18) == "NAMESPACE  SERVICE");
  CHECK(agent.Run("list -o yaml shop/cart").out.substr(0, 30) ==
        "node: \"\"\ncomplete: true\nrevisi");
  CHECK(agent.Run("list -o json shop/crat").exit_code == 1);
  CHECK_THROWS_AS(agent.Run("list -o table"), CLI::ParseError);
}

TEST_CASE("stats and rates show what the kernel counts") {
  const TestInspection agent;
  const Outcome stats = agent.Run("stats shop/cart");
  CHECK(stats.exit_code == 0);
  CHECK(stats.err.empty());
  CHECK(stats.out.substr(stats.out.find('\n') + 1) ==
        R"(Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes Service
  -> RemoteAddress:Port                                                        Pod
TCP  10.96.0.1:80                  123456K        0        0        0        0 shop/cart
  -> 10.244.1.2:8080                     0        0        0        0        0 cart-5d9c
)");
  CHECK(agent.Run("stats --exact --address 10.96.0.1").out.find(" 123456789 ") !=
        std::string::npos);
  const Outcome rates = agent.Run("rates 10.96.0.1:80");
  CHECK(rates.exit_code == 0);
  CHECK(rates.out.substr(rates.out.find('\n') + 1) ==
        R"(Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS Service
  -> RemoteAddress:Port                                                        Pod
TCP  10.96.0.1:80                        7        0        0        0        0 shop/cart
  -> 10.244.1.2:8080                     0        0        0        0        0 cart-5d9c
)");
  CHECK(agent.Run("rates shop/crat").err == "fairlead rates: nothing fits shop/crat\n");
  CHECK(agent.Run("stats cart") ==
        Outcome{2, "", absl::StrCat("fairlead stats: \"cart\"", kNeither)});
}

constexpr char kConnections[] =
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
    "TCP 0AF40105 9C40 0A600001 0050 0AF40102 1F90 ESTABLISHED     899\n"
    "TCP 0AF40105 9C41 0A600001 0050 0AF40102 1F90 TIME_WAIT        60\n"
    "TCP C0000201 9C41 C0000202 0050 C0000203 1F90 ESTABLISHED      60\n";

constexpr char kHead[] =
    "IPVS connection entries\n"
    "pro expire state       source             virtual            destination           "
    "Service                        Pod\n";
constexpr char kFirst[] =
    "TCP 14:59  ESTABLISHED 10.244.1.5:40000   10.96.0.1:80       10.244.1.2:8080       "
    "shop/cart                      cart-5d9c\n";
constexpr char kSecond[] =
    "TCP 01:00  TIME_WAIT   10.244.1.5:40001   10.96.0.1:80       10.244.1.2:8080       "
    "shop/cart                      cart-5d9c\n";
constexpr char kForeign[] =
    "TCP 01:00  ESTABLISHED 192.0.2.1:40001    192.0.2.2:80       192.0.2.3:8080\n";

TEST_CASE("connections are shown with names, as the arguments choose") {
  const TestInspection agent;
  const std::string file = agent.File("ip_vs_conn", kConnections);
  struct Row {
    const char* arguments;
    Outcome outcome;
  };
  const Row kRows[] = {
      {"", {0, absl::StrCat(kHead, kFirst, kSecond, kForeign), ""}},
      {"shop/cart", {0, absl::StrCat(kHead, kFirst, kSecond), ""}},
      {"--state time_wait", {0, absl::StrCat(kHead, kSecond), ""}},
      {"--client 192.0.2.1", {0, absl::StrCat(kHead, kForeign), ""}},
      {"--limit 1 10.96.0.1",
       {0, absl::StrCat(kHead, kFirst),
        "fairlead connections: there are more than 1; --limit 0 shows all\n"}},
      {"--limit 2 shop/cart", {0, absl::StrCat(kHead, kFirst, kSecond), ""}},
      {"kube-system/dns", {0, kHead, ""}},
      {"shop/crat", {1, kHead, "fairlead connections: nothing fits shop/crat\n"}},
      {"cart", {2, "", absl::StrCat("fairlead connections: \"cart\"", kNeither)}},
  };
  for (const Row& row : kRows) {
    INFO(row.arguments);
    CHECK(agent.Run(absl::StrCat("connections --file ", file, " ", row.arguments)) == row.outcome);
  }
}

TEST_CASE("connections are shown without names where no agent answers, unless names choose") {
  const TemporaryFolder folder;
  const std::string command =
      absl::StrCat("connections --limit 1 --file ", folder.File("ip_vs_conn", kConnections),
                   " --socket ", folder.File("none.sock"));
  const Outcome nameless = RunCommand(command);
  CHECK(nameless.exit_code == 0);
  CHECK(nameless.out == absl::StrCat(kHead,
                                     "TCP 14:59  ESTABLISHED 10.244.1.5:40000   10.96.0.1:80       "
                                     "10.244.1.2:8080\n"));
  CHECK(nameless.err.substr(0, 51) == "fairlead connections: without names: no agent answe");
  const Outcome by_name = RunCommand(command + " shop/cart");
  CHECK(by_name.exit_code == 1);
  CHECK(by_name.out.empty());
}

TEST_CASE("connections that cannot be read are an error") {
  const TestInspection agent;
  const Outcome outcome = agent.Run("connections --file /nowhere/ip_vs_conn");
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.err ==
        "fairlead connections: /nowhere/ip_vs_conn: No such file or directory (has this kernel "
        "IPVS?)\n");
}

TEST_CASE("version tells of the agent where there is one") {
  const TestInspection agent;
  const std::string with_agent = agent.Run("version").out;
  CHECK(with_agent.find(absl::StrCat("fairlead ", kVersion, "\nprotocol fairlead.v1\nagent ",
                                     kVersion, "\nkernel ")) == 0);
  const TemporaryFolder folder;
  const Outcome alone = RunCommand("version --socket " + folder.File("none.sock"));
  CHECK(alone.exit_code == 0);
  CHECK(alone.err.empty());
  CHECK(alone.out.find("\nagent -\n") != std::string::npos);
}

}  // namespace
}  // namespace fairlead::testing
