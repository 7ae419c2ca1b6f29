// `fairlead diff` and `fairlead drain` as they are run against an agent's inspection.
#include <grpcpp/grpcpp.h>

#include <catch2/catch.hpp>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "ipvs/memory_table.h"
#include "proxy/agent/inspect_service.h"
#include "proxy/cli/command.h"
#include "run_command.h"

namespace fairlead::testing {
namespace {

using ipvs::Operation;

const auto kCart = ipvs::VirtualServerKey::ForAddress(ipvs::Protocol::kTcp,
                                                      IpAddress::Parse("10.96.0.1").value(), 80);
const auto kOld = ipvs::VirtualServerKey::ForAddress(ipvs::Protocol::kTcp,
                                                     IpAddress::Parse("10.96.0.9").value(), 80);

ipvs::RealServerKey Pod(const char* address) { return {IpAddress::Parse(address).value(), 8080}; }

// Wants a virtual server of Service shop/cart with one endpoint, 10.244.1.2.
class TestInspection {
 public:
  TestInspection() {
    auto plan = std::make_shared<ServicePlan>();
    plan->service = {"shop", "cart"};
    PlannedVirtualServer& server = plan->virtual_servers.emplace_back();
    server.key = kCart;
    server.config = ipvs::VirtualServerConfig::ForFamily(IpFamily::kIpv4, "rr");
    server.service = plan->service;
    server.port_name = "http";
    server.real_servers.emplace_back().key = Pod("10.244.1.2");
    wanted.plans = {plan};
    wanted.servers = {&plan->virtual_servers[0]};
    wanted.owned = {kCart};
    report.programmed = absl::FromUnixSeconds(1);
    table.Apply({Operation::AddVirtualServer(kCart, server.config),
                 Operation::AddRealServer(kCart, Pod("10.244.1.2"), {})});

    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrCat("unix:", socket()), grpc::InsecureServerCredentials());
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
  }

  std::string socket() const { return folder_.File("proxy.sock"); }

  Outcome Run(const std::string& command) {
    return RunCommand(absl::StrCat(command, " --socket ", socket()));
  }

  // A real server that drains, with connections.
  void Drain(const ipvs::VirtualServerKey& key, const ipvs::RealServerKey& real, uint32_t active) {
    table.Apply(
        {Operation::AddVirtualServer(key, {}), Operation::AddRealServer(key, real, {.weight = 0})});
    REQUIRE(table.SetConnections(key, real, active, 1).ok());
    const absl::Time now = absl::Now();
    wanted.draining.push_back({key, real, now - absl::Seconds(90), now + absl::Minutes(3)});
  }

  WantedState wanted;
  AgentReport report;
  ipvs::MemoryTable table;
  absl::Status kernel_status;
  std::vector<DrainingServer> ended;

 private:
  absl::StatusOr<KernelState> ReadKernel() {
    if (!kernel_status.ok()) return kernel_status;
    KernelState state;
    state.servers = table.Dump().value();
    return state;
  }

  TemporaryFolder folder_;
  InspectService service_{
      {.report = [this]() -> absl::StatusOr<AgentReport> { return report; },
       .explain = [](const ExplainQuery&) -> absl::StatusOr<Explanation> { return Explanation(); },
       .feed = [] { return FeedFreshness(); },
       .open_table = [this]() -> absl::StatusOr<std::unique_ptr<ipvs::Table>> {
         return std::make_unique<ipvs::MemoryTable>(table);
       },
       .wanted = [this]() -> absl::StatusOr<WantedState> { return wanted; },
       .read_kernel = [this] { return ReadKernel(); },
       .slices =
           [](const std::set<ObjectName>&) -> absl::StatusOr<InspectEnvironment::SlicesOfServices> {
         auto slice = std::make_shared<EndpointSlice>();
         slice->ports = {{.name = "http", .port = 8080}};
         slice->endpoints = {{.address = Pod("10.244.1.9").address,
                              .ready = false,
                              .terminating = true,
                              .node_name = "n1",
                              .target_name = "cart-old"}};
         return InspectEnvironment::SlicesOfServices{
             {{"shop", "cart"}, {{{"shop", "cart-1"}, slice}}}};
       },
       .end_drains = [this](const std::function<bool(const DrainingServer&)>& which)
           -> absl::StatusOr<size_t> {
         for (const DrainingServer& drain : wanted.draining) {
           if (which(drain)) ended.push_back(drain);
         }
         return ended.size();
       }}};
  std::unique_ptr<grpc::Server> server_;
};

// --- diff ----------------------------------------------------------------------------------------

TEST_CASE("diff exits with 0 where the kernel is as planned") {
  TestInspection agent;
  CHECK(agent.Run("diff") == Outcome{0, "", ""});
}

TEST_CASE("diff exits with 1 where the kernel differs, and shows how") {
  TestInspection agent;
  agent.table.Apply({Operation::EditRealServer(kCart, Pod("10.244.1.2"), {.weight = 7})});
  CHECK(agent.Run("diff") == Outcome{1,
                                     "--- plan\n"
                                     "+++ kernel\n"
                                     "@@ TCP 10.96.0.1:80, Service shop/cart:http @@\n"
                                     " -A -t 10.96.0.1:80 -s rr\n"
                                     "--a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 1\n"
                                     "+-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 7\n",
                                     ""});
  const Outcome json = agent.Run("diff -o json");
  CHECK(json.exit_code == 1);
  CHECK(json.out.find("\"object\": \"10.244.1.2:8080 of TCP 10.96.0.1:80\"") != std::string::npos);
}

TEST_CASE("diff exits with 2 where it cannot be found out") {
  TestInspection agent;
  agent.kernel_status = absl::UnavailableError("interrupted");
  CHECK(agent.Run("diff").exit_code == 2);
  CHECK(agent.Run("diff").err.find("interrupted") != std::string::npos);
  agent.report.programmed = absl::InfinitePast();
  CHECK(agent.Run("diff").exit_code == 2);
  CHECK(agent.Run("diff").err.find("nothing is planned yet") != std::string::npos);
  CHECK(RunCommand(absl::StrCat("diff --socket ", agent.socket(), ".not")).exit_code == 2);
}

// --- drain ---------------------------------------------------------------------------------------

TEST_CASE("drain lists what drains, with the kernel's connections") {
  TestInspection agent;
  agent.Drain(kCart, Pod("10.244.1.9"), 3);
  agent.Drain(kOld, Pod("10.244.2.9"), 1);
  const Outcome outcome = agent.Run("drain");
  CHECK(outcome.exit_code == kExitOk);
  CHECK(outcome.err.empty());
  CHECK(outcome.out ==
        "SERVICE         VIRTUAL-SERVER    ENDPOINT         POD       ACTIVE  INACTIVE  SINCE  "
        "LEFT   REASON\n"
        "shop/cart:http  TCP 10.96.0.1:80  10.244.1.9:8080  cart-old  3       1         1m30s  "
        "2m59s  terminating\n"
        "-               TCP 10.96.0.9:80  10.244.2.9:8080  -         1       1         1m30s  "
        "2m59s  no Service\n");
  CHECK(agent.Run("drain shop/cart -o json").out.find("10.96.0.9") == std::string::npos);
  CHECK(agent.ended.empty());
}

TEST_CASE("drain --now ends what is chosen and says what that was") {
  TestInspection agent;
  agent.Drain(kCart, Pod("10.244.1.9"), 3);
  agent.Drain(kOld, Pod("10.244.2.9"), 1);
  CHECK(agent.Run("drain --now 10.244.1.9:8080") ==
        Outcome{kExitOk,
                "ended: 10.244.1.9:8080 of TCP 10.96.0.1:80 (Service shop/cart:http, Pod "
                "cart-old), with 3 active and 1 inactive connections\n",
                ""});
  CHECK(agent.ended == std::vector<DrainingServer>{agent.wanted.draining[0]});
  agent.ended.clear();
  CHECK(agent.Run("drain --now --all -o json").exit_code == kExitOk);
  CHECK(agent.ended == agent.wanted.draining);
}

TEST_CASE("drain --now of what does not drain fails") {
  TestInspection agent;
  CHECK(agent.Run("drain --now --all") ==
        Outcome{kExitFailure, "", "fairlead drain: nothing drains\n"});
  CHECK(agent.Run("drain --now 10.244.1.2:8080 --virtual-server 10.96.0.1:80") ==
        Outcome{kExitFailure, "",
                "fairlead drain: nothing drains that is 10.244.1.2:8080 and 10.96.0.1:80\n"});
}

TEST_CASE("drain wants to know what --now is to end") {
  TestInspection agent;
  for (const std::string arguments :
       {"--now", "--all", "--now --all shop/cart", "nonsense", "--virtual-server nonsense"}) {
    DYNAMIC_SECTION(arguments) {
      const Outcome outcome = agent.Run(absl::StrCat("drain ", arguments));
      CHECK(outcome.exit_code == kExitUsage);
      CHECK(outcome.err.find("fairlead drain: ") == 0);
      CHECK(agent.ended.empty());
    }
  }
}

}  // namespace
}  // namespace fairlead::testing
