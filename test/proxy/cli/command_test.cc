// Subcommands as they are run: what they print, and their exit codes.

#include "proxy/cli/command.h"

#include <grpcpp/grpcpp.h>

#include <catch2/catch.hpp>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "ipvs/memory_table.h"
#include "proxy/agent/inspect_service.h"
#include "run_command.h"

namespace fairlead::testing {
namespace {

const IpAddress kVip = IpAddress::Parse("10.96.0.1").value();
const IpAddress kPod = IpAddress::Parse("10.244.1.2").value();
const auto kCart = ipvs::VirtualServerKey::ForAddress(ipvs::Protocol::kTcp, kVip, 80);

// An agent's inspection at a socket.
class TestInspection {
 public:
  TestInspection() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrCat("unix:", socket()), grpc::InsecureServerCredentials());
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
  }

  std::string socket() const { return folder_.File("proxy.sock"); }
  // `fairlead explain` of this agent.
  Outcome Explain(const std::string& arguments) {
    return RunCommand(absl::StrCat("explain --socket ", socket(), " ", arguments));
  }

  absl::StatusOr<Explanation> explanation = Explanation();
  absl::StatusOr<AgentReport> report = AgentReport();
  ExplainQuery query;
  ipvs::MemoryTable table;

 private:
  TemporaryFolder folder_;
  InspectService service_{{.report = [this] { return report; },
                           .explain =
                               [this](const ExplainQuery& asked) {
                                 query = asked;
                                 return explanation;
                               },
                           .feed =
                               [] {
                                 return FeedFreshness{.connected = true,
                                                      .feeder = "in process",
                                                      .current_as_of = absl::Now()};
                               },
                           .open_table = [this]() -> absl::StatusOr<std::unique_ptr<ipvs::Table>> {
                             return std::make_unique<ipvs::MemoryTable>(table);
                           }}};
  std::unique_ptr<grpc::Server> server_;
};

constexpr char kCartArguments[] = "--from 10.244.1.9 --to 10.96.0.1:80";

Explanation CartExplanation() {
  return {.verdict = ExplainedVerdict::kBalance,
          .service = "shop/cart:http",
          .endpoints = {{kPod, 8080}},
          .masquerade = true,
          .because = {"source: a reason", "masquerade: another"},
          .virtual_server = kCart};
}

// --- explain, by the agent -----------------------------------------------------------------------

TEST_CASE("explain prints the agent's answer, and what the kernel has") {
  TestInspection agent;
  agent.explanation = CartExplanation();
  agent.table.Apply({ipvs::Operation::AddVirtualServer(
                         kCart, ipvs::VirtualServerConfig::ForFamily(IpFamily::kIpv4, "rr")),
                     ipvs::Operation::AddRealServer(kCart, {kPod, 8080}, {.weight = 1})});
  REQUIRE(agent.table.SetConnections(kCart, {kPod, 8080}, 3, 2).ok());
  CHECK(agent.Explain(kCartArguments) ==
        Outcome{kExitOk,
                "balance shop/cart:http -> 10.244.1.2:8080, masqueraded\n"
                "  source: a reason\n"
                "  masquerade: another\n"
                "  kernel: TCP  10.96.0.1:80 rr\n"
                "  kernel: 10.244.1.2:8080: weight 1, 3 active and 2 inactive connections\n",
                ""});
  CHECK(agent.query.from == IpAddress::Parse("10.244.1.9").value());
  CHECK(agent.query.from_interface.empty());
  CHECK(agent.query.to == kVip);
  CHECK(agent.query.port == 80);
  CHECK(agent.query.protocol == ipvs::Protocol::kTcp);

  CHECK(agent.Explain(absl::StrCat(kCartArguments, " -o json")).out == R"({
  "verdict": "balance",
  "service": "shop/cart:http",
  "endpoints": [
    "10.244.1.2:8080"
  ],
  "masquerade": true,
  "because": [
    "source: a reason",
    "masquerade: another",
    "kernel: TCP  10.96.0.1:80 rr",
    "kernel: 10.244.1.2:8080: weight 1, 3 active and 2 inactive connections"
  ]
}
)");
}

TEST_CASE("explain passes on everything that is asked") {
  TestInspection agent;
  CHECK(agent.Explain("--from fd00::9 --from-interface cni0 --to [fd00:96::1]:53/udp") ==
        Outcome{kExitOk, "none\n", ""});
  CHECK(agent.query.from == IpAddress::Parse("fd00::9").value());
  CHECK(agent.query.from_interface == "cni0");
  CHECK(agent.query.to == IpAddress::Parse("fd00:96::1").value());
  CHECK(agent.query.port == 53);
  CHECK(agent.query.protocol == ipvs::Protocol::kUdp);
}

TEST_CASE("explain says what the kernel does not have yet") {
  TestInspection agent;
  agent.explanation = CartExplanation();
  CHECK(absl::EndsWith(agent.Explain(kCartArguments).out,
                       "\n  kernel: has no such virtual server, or not yet\n"));
  for (const ExplainedVerdict verdict :
       {ExplainedVerdict::kReject, ExplainedVerdict::kDrop, ExplainedVerdict::kNone}) {
    agent.explanation = Explanation{.verdict = verdict};
    CHECK(agent.Explain(kCartArguments) ==
          Outcome{kExitOk, absl::StrCat(FormatExplainedVerdict(verdict), "\n"), ""});
  }
}

TEST_CASE("explain tells an agent that cannot answer from a question that is wrong") {
  TestInspection agent;
  agent.explanation = absl::InvalidArgumentError("--from-interface: is needed");
  CHECK(agent.Explain(kCartArguments) ==
        Outcome{kExitUsage, "",
                absl::StrCat("fairlead explain: the agent at ", agent.socket(),
                             ": INVALID_ARGUMENT: --from-interface: is needed\n")});
  agent.explanation = absl::FailedPreconditionError("nothing is planned yet");
  CHECK(agent.Explain(kCartArguments) ==
        Outcome{kExitFailure, "",
                absl::StrCat("fairlead explain: the agent at ", agent.socket(),
                             ": FAILED_PRECONDITION: nothing is planned yet\n")});
  const Outcome nobody = RunCommand(
      "explain --socket /nowhere/proxy.sock --from 10.244.1.9 "
      "--to 10.96.0.1:80");
  CHECK(nobody.exit_code == kExitFailure);
  CHECK(nobody.out.empty());
  CHECK(
      absl::StartsWith(nobody.err, "fairlead explain: no agent answers at /nowhere/proxy.sock: "));
}

TEST_CASE("explain refuses what is no address, and names the flag") {
  struct Row {
    std::string arguments;
    std::string error;
  };
  const std::vector<Row> rows = {
      {"--from cart --to 10.96.0.1:80", "fairlead explain: --from: "},
      {"--from 10.244.1.9:80 --to 10.96.0.1:80", "fairlead explain: --from: "},
      {"--from 10.244.1.9 --to 10.96.0.1", "fairlead explain: --to: "},
      {"--from 10.244.1.9 --to 10.96.0.1:80/icmp", "fairlead explain: --to: "},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.arguments) {
      TestInspection agent;
      const Outcome outcome = agent.Explain(row.arguments);
      CHECK(outcome.exit_code == kExitUsage);
      CHECK(outcome.out.empty());
      CHECK(absl::StartsWith(outcome.err, row.error));
    }
  }
  CHECK_THROWS_AS(RunCommand("explain --from 10.244.1.9"), CLI::RequiredError);
  CHECK_THROWS_AS(RunCommand("explain --to 10.96.0.1:80"), CLI::RequiredError);
  CHECK_THROWS_AS(RunCommand("explain --from 10.244.1.9 --to 10.96.0.1:80 -o yaml"),
                  CLI::ValidationError);
}

// --- explain, by manifests -----------------------------------------------------------------------

constexpr char kManifest[] = R"(
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  type: NodePort
  clusterIP: 10.96.0.1
  externalTrafficPolicy: Local
  ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: cart-1
  namespace: shop
  labels: {kubernetes.io/service-name: cart}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.244.1.2], nodeName: n1, targetRef: {kind: Pod, name: cart-a}}
- {addresses: [10.244.2.2], nodeName: n2, targetRef: {kind: Pod, name: cart-b}}
)";

TEST_CASE("explain answers from manifests, without an agent") {
  const TemporaryFolder folder;
  const std::string start = absl::StrCat(
      "explain --node-name n1 --node-ip 192.168.1.1 --cluster-cidr 10.244.0.0/16 "
      "--manifests ",
      folder.File("shop.yaml", kManifest), " ");
  CHECK(RunCommand(absl::StrCat(start, "--from 198.51.100.9 --to 192.168.1.1:30080")) ==
        Outcome{kExitOk,
                "balance shop/cart:http -> 10.244.1.2:8080\n"
                "  source: 198.51.100.9 is outside: pods have addresses in 10.244.0.0/16\n"
                "  destination: TCP 192.168.1.1:30080 is a NodePort of Service shop/cart:http\n"
                "  policy: externalTrafficPolicy Local\n"
                "  balanced: scheduler rr\n"
                "  masquerade: no: policy Local keeps the client's address\n"
                "  endpoint 10.244.1.2:8080 (cart-a on n1): used\n"
                "  endpoint 10.244.2.2:8080 (cart-b on n2): not used: on node n2, and the policy "
                "is Local\n",
                ""});
  const Outcome inside =
      RunCommand(absl::StrCat(start, "--from 10.244.1.9 --to 192.168.1.1:30080"));
  CHECK(
      absl::StartsWith(inside.out, "balance shop/cart:http -> 10.244.1.2:8080, 10.244.2.2:8080\n"));
  // Nobody is there who finds the device.
  CHECK(RunCommand(absl::StrCat(start,
                                "--from 10.244.1.9 --to 10.96.0.1:80 --detect-local-mode "
                                "BridgeInterface --pod-bridge-interface cni0")) ==
        Outcome{kExitUsage, "",
                "fairlead explain: --from-interface: pods are told by the device \"cni0\", so it "
                "has to be known by which one the packet comes\n"});
}

TEST_CASE("explain from manifests says what is wrong with them and with the flags") {
  const TemporaryFolder folder;
  const std::string packet = " --from 10.244.1.9 --to 10.96.0.1:80";
  const Outcome bad_flag =
      RunCommand(absl::StrCat("explain --node-name n1 --mark-range 5 --manifests ",
                              folder.File("shop.yaml", kManifest), packet));
  CHECK(bad_flag.exit_code == kExitUsage);
  CHECK(absl::StartsWith(bad_flag.err, "fairlead explain: --mark-range: "));
  const Outcome no_file = RunCommand(
      absl::StrCat("explain --node-name n1 --manifests ", folder.File("none.yaml"), packet));
  CHECK(no_file.exit_code == kExitFailure);
  CHECK(no_file.out.empty());
  CHECK(absl::StrContains(no_file.err, "none.yaml"));
  const Outcome no_node =
      RunCommand(absl::StrCat("explain --manifests ", folder.File("shop.yaml"), packet));
  CHECK(no_node == Outcome{kExitUsage, "", "fairlead explain: --node-name: is empty\n"});
}

// --- list ----------------------------------------------------------------------------------------

TEST_CASE("list prints what the agent owns, firewall marks with it") {
  const auto mark = ipvs::VirtualServerKey::ForMark(IpFamily::kIpv4, 100);
  TestInspection agent;
  agent.table.Apply({ipvs::Operation::AddVirtualServer(
                         mark, ipvs::VirtualServerConfig::ForFamily(IpFamily::kIpv4, "rr")),
                     ipvs::Operation::AddRealServer(mark, {kPod, 8080}, {.weight = 1}),
                     ipvs::Operation::AddVirtualServer(kCart, {})});
  agent.report->complete = true;
  agent.report->owned = {mark};
  agent.report->failures = {{"TCP 10.96.0.1:80", "no memory", kCart}};
  const Outcome outcome = RunCommand(absl::StrCat("list --socket ", agent.socket()));
  CHECK(outcome.exit_code == kExitOk);
  CHECK(absl::EndsWith(
      outcome.out,
      " Pod\nFWM  100 rr\n  -> 10.244.1.2:8080              Masq    1      0          0         "
      "\n"));
  CHECK(outcome.err ==
        "fairlead list: not in the kernel, will be tried again: TCP 10.96.0.1:80: no memory\n");
}

// --- proxy ---------------------------------------------------------------------------------------

TEST_CASE("proxy refuses a bad value before it starts, and names the flag") {
  for (const char* flag :
       {"--drain-timeout 5", "--drain-timeout -5s", "--sync-period often", "--sync-period -1s",
        "--healthz-bind-address 10256", "--healthz-bind-address localhost:10256",
        "--metrics-bind-address 127.0.0.1", "--metrics-bind-address [::]:0", "--mark-range 1-2",
        "--node-ip n1"}) {
    DYNAMIC_SECTION(flag) {
      const TemporaryFolder folder;
      const Outcome outcome = RunCommand(
          absl::StrCat("proxy --node-name n1 --manifests ", folder.File("shop.yaml", kManifest),
                       " --socket ", folder.File("proxy.sock"), " ", flag));
      const std::string name = std::string(flag).substr(0, std::string(flag).find(' '));
      CHECK(outcome.exit_code == kExitUsage);
      CHECK(outcome.out.empty());
      INFO(outcome.err);
      CHECK(absl::StartsWith(outcome.err, absl::StrCat("fairlead proxy: ", name, ": ")));
    }
  }
}

}  // namespace
}  // namespace fairlead::testing
