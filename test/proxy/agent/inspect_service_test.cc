#include "proxy/agent/inspect_service.h"

#include <google/protobuf/text_format.h>
#include <grpcpp/grpcpp.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <set>

#include "memory_kernel.h"
#include "proxy/cli/version.h"

namespace fairlead::testing {
namespace {

using ipvs::Operation;
using ipvs::VirtualServerKey;

const VirtualServerKey kCart = Tcp("10.96.0.1", 80);

// The service behind a server in this process.
class Inspection {
 public:
  Inspection()
      : service_({.report = [this] { return report; },
                  .explain =
                      [this](const ExplainQuery& query) {
                        query_ = query;
                        return explanation;
                      },
                  .feed = [this] { return feed; },
                  .open_table = [this] { return OpenTable(); },
                  .wanted = [this] { return wanted; },
                  .read_kernel = [this] { return kernel; },
                  .slices = [this](const std::set<ObjectName>& names) { return Slices(names); },
                  .end_drains =
                      [this](const std::function<bool(const DrainingServer&)>& which) {
                        return End(which);
                      }}) {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    stub_ = v1::Inspect::NewStub(server_->InProcessChannel({}));
  }

  // The text of each message.
  Lines List(const v1::ListRequest& request = {}) {
    grpc::ClientContext context;
    auto reader = stub_->List(&context, request);
    Lines lines;
    v1::VirtualServer server;
    while (reader->Read(&server)) lines.push_back(server.DebugString());
    status = reader->Finish();
    return lines;
  }

  v1::ExplainResponse Explain(const v1::ExplainRequest& request) {
    grpc::ClientContext context;
    v1::ExplainResponse response;
    status = stub_->Explain(&context, request, &response);
    return response;
  }

  v1::StatusResponse Status() {
    grpc::ClientContext context;
    v1::StatusResponse response;
    status = stub_->Status(&context, {}, &response);
    return response;
  }

  // The text of each message.
  Lines Diff() {
    grpc::ClientContext context;
    auto reader = stub_->Diff(&context, {});
    Lines lines;
    v1::Difference difference;
    while (reader->Read(&difference)) lines.push_back(difference.DebugString());
    status = reader->Finish();
    return lines;
  }

  std::vector<v1::Drain> Drains() {
    grpc::ClientContext context;
    auto reader = stub_->Drains(&context, {});
    std::vector<v1::Drain> drains;
    v1::Drain drain;
    while (reader->Read(&drain)) drains.push_back(drain);
    status = reader->Finish();
    return drains;
  }

  uint32_t EndDrains(const v1::EndDrainsRequest& request) {
    grpc::ClientContext context;
    v1::EndDrainsResponse response;
    status = stub_->EndDrains(&context, request, &response);
    return response.ended();
  }

  // What the agent wants, as its report has it.
  void Want(const std::vector<std::shared_ptr<const ServicePlan>>& plans) {
    for (const auto& plan : plans) desired_.Update(plan);
    report->plans = plans;
    report->servers = desired_.VirtualServers();
    wanted->plans = plans;
    wanted->servers = report->servers;
  }

  const ExplainQuery& query() const { return query_; }

  absl::StatusOr<AgentReport> report = AgentReport();
  absl::StatusOr<Explanation> explanation = Explanation();
  absl::StatusOr<WantedState> wanted = WantedState();
  absl::StatusOr<KernelState> kernel = KernelState();
  // Of Service shop/cart.
  absl::StatusOr<Snapshot::Slices> slices = Snapshot::Slices();
  absl::Status end_status;
  std::vector<DrainingServer> ended;
  FeedFreshness feed;
  ipvs::MemoryTable table;
  absl::Status open_status;
  grpc::Status status;

 private:
  absl::StatusOr<std::unique_ptr<ipvs::Table>> OpenTable() {
    if (!open_status.ok()) return open_status;
    return std::make_unique<ipvs::MemoryTable>(table);
  }

  absl::StatusOr<InspectEnvironment::SlicesOfServices> Slices(const std::set<ObjectName>& names) {
    if (!slices.ok()) return slices.status();
    InspectEnvironment::SlicesOfServices found;
    if (names.contains({"shop", "cart"})) found[{"shop", "cart"}] = *slices;
    return found;
  }

  absl::StatusOr<size_t> End(const std::function<bool(const DrainingServer&)>& which) {
    if (!end_status.ok()) return end_status;
    for (const DrainingServer& drain : wanted->draining) {
      if (which(drain)) ended.push_back(drain);
    }
    return ended.size();
  }

  DesiredState desired_;
  ExplainQuery query_;
  InspectService service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::Inspect::Stub> stub_;
};

template <typename Message>
Message Parse(const std::string& text) {
  Message message;
  REQUIRE(google::protobuf::TextFormat::ParseFromString(text, &message));
  return message;
}

// The text of a message, as DebugString has it.
template <typename Message>
std::string Text(const std::string& text) {
  return Parse<Message>(text).DebugString();
}

std::shared_ptr<const ServicePlan> CartPlan() {
  PlannedVirtualServer server = Vip(kCart, {"10.244.1.2"});
  server.port_name = "http";
  server.real_servers[0].node_name = "n1";
  server.real_servers[0].target_name = "cart-5d9c";
  server.config.flags = ipvs::kFlagPersistent;
  server.config.persistence_timeout = absl::Seconds(10800);
  return MakePlan("cart", {server});
}

void Program(ipvs::MemoryTable& table, const std::shared_ptr<const ServicePlan>& plan) {
  for (const PlannedVirtualServer& server : plan->virtual_servers) {
    table.Apply({Operation::AddVirtualServer(server.key, server.config)});
    for (const PlannedRealServer& real : server.real_servers) {
      table.Apply({Operation::AddRealServer(server.key, real.key, real.config)});
    }
  }
}

TEST_CASE("a list has what is in the kernel with the names of the plan") {
  Inspection inspection;
  Program(inspection.table, CartPlan());
  inspection.table.Apply({Operation::AddRealServer(kCart, Pod("10.244.2.2"), {.weight = 0}),
                          Operation::AddVirtualServer(Tcp("203.0.113.1", 443), {})});
  REQUIRE(inspection.table.SetConnections(kCart, Pod("10.244.2.2"), 3, 2).ok());
  inspection.Want({CartPlan()});
  inspection.report->owned = {kCart};
  inspection.report->draining = {{kCart, Pod("10.244.2.2"), absl::InfiniteFuture()}};
  CHECK(inspection.List() == Lines{Text<v1::VirtualServer>(R"pb(
          family: IPV4
          protocol: TCP
          address: "\n`\000\001"
          port: 80
          scheduler: "rr"
          flags: 1
          persistence_timeout_seconds: 10800
          persistence_prefix_length: 32
          service_namespace: "shop"
          service_name: "cart"
          port_name: "http"
          address_kind: "ClusterIP"
          policy: "Cluster"
          verdict: "balance"
          real_servers {
            address: "\n\364\001\002"
            port: 8080
            forwarding: "Masq"
            weight: 1
            target_name: "cart-5d9c"
            node_name: "n1"
            state: "ready"
          }
          real_servers {
            address: "\n\364\002\002"
            port: 8080
            forwarding: "Masq"
            active_connections: 3
            inactive_connections: 2
            state: "draining"
          }
        )pb")});
  CHECK(inspection.status.ok());
}

// Services shop/cart at 10.96.0.1 and shop/web at 10.96.0.2, each with an endpoint.
void WantTwo(Inspection& inspection) {
  PlannedVirtualServer web = Vip(Tcp("10.96.0.2", 80), {"10.244.1.3"});
  web.service = {"shop", "web"};
  const auto web_plan = MakePlan("web", {web});
  Program(inspection.table, CartPlan());
  Program(inspection.table, web_plan);
  inspection.Want({CartPlan(), web_plan});
  inspection.report->owned = {kCart, Tcp("10.96.0.2", 80)};
}

// Of the virtual servers that were listed, the Services.
Lines ServicesOf(const Lines& servers) {
  Lines names;
  for (const std::string& text : servers) {
    names.push_back(Parse<v1::VirtualServer>(text).service_name());
  }
  return names;
}

TEST_CASE("a list has what its selectors choose") {
  Inspection inspection;
  WantTwo(inspection);
  struct Row {
    const char* name;
    const char* request;
    Lines services;
  };
  const Row kRows[] = {
      {"all", "", {"cart", "web"}},
      {"a Service", R"pb(groups { any_of { service_name: "web" } })pb", {"web"}},
      {"one of two",
       R"pb(groups {
              any_of { service_name: "web" }
              any_of { service_name: "cart" }
            })pb",
       {"cart", "web"}},
      {"both of two",
       R"pb(groups { any_of { service_name: "web" } }
            groups { any_of { service_name: "cart" } })pb",
       {}},
      {"a virtual server's address",
       R"pb(groups { any_of { address: "\n`\000\002" port: 80 } })pb",
       {"web"}},
      {"an endpoint's address", R"pb(groups { any_of { address: "\n\364\001\002" } })pb", {"cart"}},
      {"a protocol", R"pb(groups { any_of { protocol: UDP } })pb", {}},
      {"nothing", R"pb(groups { any_of { service_name: "none" } })pb", {}},
  };
  for (const Row& row : kRows) {
    INFO(row.name);
    CHECK(ServicesOf(inspection.List(Parse<v1::ListRequest>(row.request))) == row.services);
    CHECK(inspection.status.ok());
  }
  inspection.List(Parse<v1::ListRequest>(R"pb(groups { any_of { address: "123" } })pb"));
  CHECK(inspection.status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_CASE("a virtual server that goes while a selection is read is left out") {
  Inspection inspection;
  WantTwo(inspection);
  inspection.table.Apply({Operation::DeleteVirtualServer(kCart)});
  const v1::ListRequest both =
      Parse<v1::ListRequest>(R"pb(groups { any_of { service_namespace: "shop" } })pb");
  CHECK(ServicesOf(inspection.List(both)) == Lines{"web"});
  CHECK(inspection.status.ok());
}

TEST_CASE("a list has statistics where they are asked for") {
  Inspection inspection;
  WantTwo(inspection);
  REQUIRE(inspection.table
              .SetStatistics(kCart, {.connections = 1,
                                     .packets_in = 2,
                                     .packets_out = 3,
                                     .bytes_in = 4,
                                     .bytes_out = 5,
                                     .connections_per_second = 6,
                                     .packets_in_per_second = 7,
                                     .packets_out_per_second = 8,
                                     .bytes_in_per_second = 9,
                                     .bytes_out_per_second = 10})
              .ok());
  REQUIRE(inspection.table.SetStatistics(kCart, Pod("10.244.1.2"), {.connections = 11}).ok());
  v1::ListRequest request =
      Parse<v1::ListRequest>(R"pb(groups { any_of { service_name: "cart" } })pb");
  REQUIRE(inspection.List(request).size() == 1);
  CHECK_FALSE(Parse<v1::VirtualServer>(inspection.List(request)[0]).has_statistics());
  request.set_statistics(true);
  const v1::VirtualServer server = Parse<v1::VirtualServer>(inspection.List(request)[0]);
  CHECK(server.statistics().DebugString() == Text<v1::Statistics>(R"pb(
          connections: 1
          packets_in: 2
          packets_out: 3
          bytes_in: 4
          bytes_out: 5
          connections_per_second: 6
          packets_in_per_second: 7
          packets_out_per_second: 8
          bytes_in_per_second: 9
          bytes_out_per_second: 10
        )pb"));
  REQUIRE(server.real_servers_size() == 1);
  CHECK(server.real_servers(0).statistics().connections() == 11);
}

TEST_CASE("one that is being removed has no names") {
  Inspection inspection;
  inspection.table.Apply({Operation::AddVirtualServer(
      Udp("fd00:96::1", 53), ipvs::VirtualServerConfig::ForFamily(IpFamily::kIpv6, "lc"))});
  inspection.report->owned = {Udp("fd00:96::1", 53)};
  CHECK(inspection.List() == Lines{Text<v1::VirtualServer>(R"pb(
          family: IPV6
          protocol: UDP
          address: "\375\000\000\226\000\000\000\000\000\000\000\000\000\000\000\001"
          port: 53
          scheduler: "lc"
          persistence_prefix_length: 128
        )pb")});
}

TEST_CASE("of two Services that claim a virtual server the one that has it is named") {
  const auto claim = [](const std::string& name, absl::Time created) {
    auto plan = std::make_shared<ServicePlan>(*MakePlan(name, {Vip(kCart, {})}));
    plan->created = created;
    return plan;
  };
  struct Row {
    std::string name;
    std::vector<std::shared_ptr<const ServicePlan>> plans;  // By name, as a report has them.
    std::string winner;
  };
  const absl::Time early = absl::FromUnixSeconds(1);
  const absl::Time late = absl::FromUnixSeconds(2);
  const std::vector<Row> rows = {
      {"the older one, first by name", {claim("a", early), claim("b", late)}, "a"},
      {"the older one, last by name", {claim("a", late), claim("b", early)}, "b"},
      {"of one age: the first by name", {claim("a", early), claim("b", early)}, "a"},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Inspection inspection;
      Program(inspection.table, row.plans[0]);
      inspection.Want(row.plans);
      inspection.report->owned = {kCart};
      const Lines list = inspection.List();
      REQUIRE(list.size() == 1);
      CHECK(list[0].find("service_name: \"" + row.winner + "\"") != std::string::npos);
    }
  }
}

TEST_CASE("errors of the agent and of the kernel are the caller's to see") {
  const absl::Status busy = absl::UnavailableError("the agent is busy");
  const std::map<std::string, std::function<void(Inspection&)>> rows = {
      {"the agent", [&](Inspection& inspection) { inspection.report = busy; }},
      {"opening the table", [&](Inspection& inspection) { inspection.open_status = busy; }},
      {"reading the table", [&](Inspection& inspection) { inspection.table.FailReads(busy); }},
  };
  for (const auto& [name, fail] : rows) {
    INFO(name);
    Inspection inspection;
    fail(inspection);
    CHECK(inspection.List() == Lines{});
    CHECK(inspection.status.error_code() == grpc::StatusCode::UNAVAILABLE);
    CHECK(inspection.status.error_message() == "the agent is busy");
  }
}

TEST_CASE("a virtual server for a mark has the mark and the protocol of its Service's port") {
  Inspection inspection;
  const auto plan =
      MakePlan("dns", {Internal(Mark(0x46000001), {"10.244.1.2"}, ipvs::Protocol::kUdp)});
  Program(inspection.table, plan);
  inspection.table.Apply(
      {Operation::AddVirtualServer(VirtualServerKey::ForMark(IpFamily::kIpv6, 7),
                                   ipvs::VirtualServerConfig::ForFamily(IpFamily::kIpv6, "lc"))});
  inspection.Want({plan});
  inspection.report->owned = {Mark(0x46000001), VirtualServerKey::ForMark(IpFamily::kIpv6, 7)};
  CHECK(inspection.List() == Lines{Text<v1::VirtualServer>(R"pb(
                                     family: IPV4
                                     protocol: UDP
                                     firewall_mark: 1174405121
                                     scheduler: "rr"
                                     persistence_prefix_length: 32
                                     service_namespace: "shop"
                                     service_name: "dns"
                                     port_name: "p0"
                                     address_kind: "Internal"
                                     policy: "Cluster"
                                     verdict: "balance"
                                     real_servers {
                                       address: "\n\364\001\002"
                                       port: 8080
                                       forwarding: "Masq"
                                       weight: 1
                                       target_name: "pod-10.244.1.2"
                                       state: "ready"
                                     }
                                   )pb"),
                                   Text<v1::VirtualServer>(R"pb(
                                     family: IPV6
                                     firewall_mark: 7
                                     scheduler: "lc"
                                     persistence_prefix_length: 128
                                   )pb")});
}

// --- Explanations --------------------------------------------------------------------------------

v1::ExplainRequest MakeRequest(const std::string& from, const std::string& to) {
  v1::ExplainRequest request;
  request.set_from(std::string(Address(from).bytes()));
  request.set_to(std::string(Address(to).bytes()));
  request.set_port(80);
  request.set_protocol(v1::TCP);
  return request;
}

TEST_CASE("an explanation has what was asked answered, and the kernel beside it") {
  Inspection inspection;
  Program(inspection.table, CartPlan());
  REQUIRE(inspection.table.SetConnections(kCart, Pod("10.244.1.2"), 3, 2).ok());
  inspection.Want({CartPlan()});
  inspection.report->owned = {kCart};
  inspection.explanation = Explanation{.verdict = ExplainedVerdict::kBalance,
                                       .service = "shop/cart:http",
                                       .endpoints = {Pod("10.244.1.2")},
                                       .masquerade = true,
                                       .because = {"one", "two"},
                                       .virtual_server = kCart};
  v1::ExplainRequest request = MakeRequest("10.244.1.9", "10.96.0.1");
  request.set_from_interface("cni0");
  const v1::ExplainResponse response = inspection.Explain(request);
  CHECK(inspection.status.ok());
  CHECK(inspection.query().from == Address("10.244.1.9"));
  CHECK(inspection.query().from_interface == "cni0");
  CHECK(inspection.query().to == Address("10.96.0.1"));
  CHECK(inspection.query().port == 80);
  CHECK(inspection.query().protocol == ipvs::Protocol::kTcp);
  CHECK(response.DebugString() == Text<v1::ExplainResponse>(R"pb(
          verdict: "balance"
          service: "shop/cart:http"
          endpoints { address: "\n\364\001\002" port: 8080 }
          masquerade: true
          because: "one"
          because: "two"
          kernel {
            family: IPV4
            protocol: TCP
            address: "\n`\000\001"
            port: 80
            scheduler: "rr"
            flags: 1
            persistence_timeout_seconds: 10800
            persistence_prefix_length: 32
            service_namespace: "shop"
            service_name: "cart"
            port_name: "http"
            address_kind: "ClusterIP"
            policy: "Cluster"
            verdict: "balance"
            real_servers {
              address: "\n\364\001\002"
              port: 8080
              forwarding: "Masq"
              weight: 1
              active_connections: 3
              inactive_connections: 2
              target_name: "cart-5d9c"
              node_name: "n1"
              state: "ready"
            }
          }
        )pb"));
}

TEST_CASE("what the kernel does not balance is explained without it") {
  Inspection inspection;
  // Nobody is asked for a virtual server that there is none of.
  inspection.open_status = absl::UnavailableError("no IPVS");
  CHECK(inspection.Explain(MakeRequest("10.244.1.9", "10.1.1.1")).DebugString() ==
        Text<v1::ExplainResponse>(R"pb(verdict: "none")pb"));
  CHECK(inspection.status.ok());
  // Wanted, and not there yet.
  inspection.open_status = absl::OkStatus();
  inspection.explanation->verdict = ExplainedVerdict::kBalance;
  inspection.explanation->virtual_server = kCart;
  CHECK(inspection.Explain(MakeRequest("10.244.1.9", "10.96.0.1")).DebugString() ==
        Text<v1::ExplainResponse>(R"pb(verdict: "balance")pb"));
  CHECK(inspection.status.ok());
}

TEST_CASE("a request that lacks something is refused, and says what") {
  struct Row {
    std::string name;
    std::function<void(v1::ExplainRequest&)> change;
    std::string message;
  };
  const std::vector<Row> rows = {
      {"no source", [](auto& request) { request.clear_from(); }, "from: "},
      {"half a destination", [](auto& request) { request.set_to("ab"); }, "to: "},
      {"no port", [](auto& request) { request.clear_port(); }, "port: 0 is no port"},
      {"too large a port", [](auto& request) { request.set_port(65536 + 80); },
       "port: 65616 is no port"},
      {"no protocol", [](auto& request) { request.clear_protocol(); },
       "protocol: 0 is not TCP, UDP or SCTP"},
      {"an unknown protocol",
       [](auto& request) { request.set_protocol(static_cast<v1::Protocol>(1)); },
       "protocol: 1 is not TCP, UDP or SCTP"},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Inspection inspection;
      v1::ExplainRequest request = MakeRequest("10.244.1.9", "10.96.0.1");
      row.change(request);
      inspection.Explain(request);
      CHECK(inspection.status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
      CHECK(inspection.status.error_message().substr(0, row.message.size()) == row.message);
    }
  }
}

TEST_CASE("errors of an explanation are the caller's to see") {
  const absl::Status needed = absl::InvalidArgumentError("--from-interface: needed");
  const absl::Status busy = absl::UnavailableError("busy");
  const auto balanced = [](Inspection& inspection) {
    inspection.explanation->virtual_server = kCart;
  };
  struct Row {
    std::string name;
    std::function<void(Inspection&)> fail;
    grpc::StatusCode code;
    std::string message;
  };
  const std::vector<Row> rows = {
      {"the agent's", [&](Inspection& inspection) { inspection.explanation = needed; },
       grpc::StatusCode::INVALID_ARGUMENT, "--from-interface: needed"},
      {"the report",
       [&](Inspection& inspection) {
         balanced(inspection);
         inspection.report = busy;
       },
       grpc::StatusCode::UNAVAILABLE, "busy"},
      {"opening the table",
       [&](Inspection& inspection) {
         balanced(inspection);
         inspection.open_status = busy;
       },
       grpc::StatusCode::UNAVAILABLE, "busy"},
      {"reading the table",
       [&](Inspection& inspection) {
         balanced(inspection);
         inspection.table.FailReads(busy);
       },
       grpc::StatusCode::UNAVAILABLE, "busy"},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Inspection inspection;
      row.fail(inspection);
      inspection.Explain(MakeRequest("10.244.1.9", "10.96.0.1"));
      CHECK(inspection.status.error_code() == row.code);
      CHECK(inspection.status.error_message() == row.message);
    }
  }
}

// --- Status --------------------------------------------------------------------------------------

ino_t ThisNetworkNamespace() {
  struct stat net {};
  REQUIRE(stat("/proc/self/ns/net", &net) == 0);
  return net.st_ino;
}

TEST_CASE("a status tells how far the agent is, and what fails") {
  Inspection inspection;
  AgentReport& report = *inspection.report;
  report.node_name = "n1";
  report.complete = true;
  report.revision = 7;
  report.programmed = absl::FromUnixMillis(1'700'000'000'250);
  inspection.Want({CartPlan()});
  report.owned = {kCart, Tcp("10.96.0.2", 80)};
  report.draining = {{kCart, Pod("10.244.2.2"), absl::InfiniteFuture()}};
  report.failures = {{"TCP 10.96.0.1:80", "no memory", kCart},
                     {"TCP 10.96.0.2:80", "busy", Tcp("10.96.0.2", 80)},
                     {"route 10.96.0.1", "lo is down", std::nullopt}};
  report.warnings = {"Service shop/cart: odd"};
  report.counters = {.operations = 1, .elements = 2, .routes = 3};
  inspection.feed = {.connected = true,
                     .feeder = "10.0.0.5:10270",
                     .revision = 8,
                     .head_revision = 9,
                     .current_as_of = absl::FromUnixMillis(1'700'000'001'500),
                     .saved = true};
  v1::StatusResponse response = inspection.Status();
  CHECK(response.version() == kVersion);
  CHECK(response.kernel_table() == ReadKernelTableTitle());
  CHECK(response.network_namespace() == ThisNetworkNamespace());
  response.clear_version();
  response.clear_kernel_table();
  response.clear_network_namespace();
  CHECK(response.DebugString() == Text<v1::StatusResponse>(R"pb(
          node_name: "n1"
          complete: true
          revision: 7
          programmed { seconds: 1700000000 nanos: 250000000 }
          services: 1
          virtual_servers: 2
          draining: 1
          failures { object: "Service shop/cart: TCP 10.96.0.1:80" message: "no memory" }
          failures { object: "TCP 10.96.0.2:80" message: "busy" }
          failures { object: "route 10.96.0.1" message: "lo is down" }
          warnings: "Service shop/cart: odd"
          operations_written: 1
          elements_written: 2
          routes_written: 3
          feed {
            connected: true
            feeder: "10.0.0.5:10270"
            revision: 8
            head_revision: 9
            current_as_of { seconds: 1700000001 nanos: 500000000 }
            saved_picture: true
          }
        )pb"));
}

TEST_CASE("a status before the first picture has no time") {
  Inspection inspection;
  v1::StatusResponse response = inspection.Status();
  CHECK(inspection.status.ok());
  CHECK_FALSE(response.complete());
  CHECK_FALSE(response.has_programmed());
  inspection.report = absl::UnavailableError("the agent is stopping");
  inspection.Status();
  CHECK(inspection.status.error_code() == grpc::StatusCode::UNAVAILABLE);
}

// --- Diff ----------------------------------------------------------------------------------------

TEST_CASE("a difference is told with both sides") {
  Inspection inspection;
  inspection.report->programmed = absl::FromUnixSeconds(1);
  inspection.Want({CartPlan()});
  Program(inspection.table, CartPlan());
  inspection.table.Apply({Operation::EditRealServer(kCart, Pod("10.244.1.2"), {.weight = 7})});
  inspection.kernel->servers = inspection.table.Dump().value();
  CHECK(inspection.Diff() == Lines{Text<v1::Difference>(R"pb(
          kind: "real_server"
          object: "10.244.1.2:8080 of TCP 10.96.0.1:80"
          service: "shop/cart:http"
          group: "TCP 10.96.0.1:80"
          context: "-A -t 10.96.0.1:80 -s rr -p 10800"
          wanted: "-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 1"
          found: "-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 7"
        )pb")});
  CHECK(inspection.status.ok());
}

TEST_CASE("a difference that cannot be found out is an error") {
  Inspection inspection;
  CHECK(inspection.Diff() == Lines{});
  CHECK(inspection.status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  inspection.report->programmed = absl::FromUnixSeconds(1);
  inspection.kernel = absl::UnavailableError("interrupted");
  CHECK(inspection.Diff() == Lines{});
  CHECK(inspection.status.error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(inspection.status.error_message() == "interrupted");
}

// --- Drains --------------------------------------------------------------------------------------

// Of an endpoint of shop/cart that terminates, and of a mark that nobody wants.
void AddDrains(Inspection& inspection) {
  inspection.Want({CartPlan()});
  auto slice = std::make_shared<EndpointSlice>();
  slice->ports = {{.name = "http", .port = 8080}};
  slice->endpoints = {{.address = Address("10.244.1.9"),
                       .ready = false,
                       .terminating = true,
                       .node_name = "n1",
                       .target_name = "cart-old"}};
  inspection.slices = Snapshot::Slices{{{"shop", "cart-1"}, slice}};
  Program(inspection.table, CartPlan());
  inspection.table.Apply({Operation::AddRealServer(kCart, Pod("10.244.1.9"), {.weight = 0}),
                          Operation::AddVirtualServer(Mark(7), {})});
  REQUIRE(inspection.table.SetConnections(kCart, Pod("10.244.1.9"), 3, 2).ok());
  inspection.wanted->draining = {
      {kCart, Pod("10.244.1.9"), absl::FromUnixSeconds(1), absl::FromUnixSeconds(301)},
      {Mark(7), Pod("10.244.2.9"), absl::FromUnixSeconds(2), absl::InfiniteFuture()}};
}

TEST_CASE("drains are told with what the plan, the slices and the kernel know of them") {
  Inspection inspection;
  AddDrains(inspection);
  Lines lines;
  for (const v1::Drain& drain : inspection.Drains()) lines.push_back(drain.DebugString());
  CHECK(lines == Lines{Text<v1::Drain>(R"pb(
                         key {
                           family: IPV4
                           protocol: TCP
                           address: "\n`\000\001"
                           port: 80
                           endpoint_address: "\n\364\001\t"
                           endpoint_port: 8080
                         }
                         service_namespace: "shop"
                         service_name: "cart"
                         port_name: "http"
                         target_name: "cart-old"
                         node_name: "n1"
                         active_connections: 3
                         inactive_connections: 2
                         since { seconds: 1 }
                         until { seconds: 301 }
                         reason: "terminating"
                       )pb"),
                       Text<v1::Drain>(R"pb(
                         key {
                           family: IPV4
                           firewall_mark: 7
                           endpoint_address: "\n\364\002\t"
                           endpoint_port: 8080
                         }
                         since { seconds: 2 }
                         reason: "no Service"
                       )pb")});
  CHECK(inspection.status.ok());
}

TEST_CASE("with nothing that drains the kernel is not read") {
  Inspection inspection;
  inspection.open_status = absl::UnavailableError("busy");
  CHECK(inspection.Drains().empty());
  CHECK(inspection.status.ok());
}

TEST_CASE("drains that cannot be read are an error") {
  const absl::Status busy = absl::UnavailableError("busy");
  const std::vector<std::pair<std::string, std::function<void(Inspection&)>>> rows = {
      {"plan", [&](Inspection& inspection) { inspection.wanted = busy; }},
      {"slices", [&](Inspection& inspection) { inspection.slices = busy; }},
      {"opening the table", [&](Inspection& inspection) { inspection.open_status = busy; }},
      {"reading the table", [&](Inspection& inspection) { inspection.table.FailReads(busy); }},
  };
  for (const auto& [name, fail] : rows) {
    DYNAMIC_SECTION(name) {
      Inspection inspection;
      AddDrains(inspection);
      fail(inspection);
      CHECK(inspection.Drains().empty());
      CHECK(inspection.status.error_code() == grpc::StatusCode::UNAVAILABLE);
    }
  }
}

TEST_CASE("exactly the drains that are named are ended") {
  Inspection inspection;
  AddDrains(inspection);
  const std::vector<v1::Drain> drains = inspection.Drains();
  REQUIRE(drains.size() == 2);
  for (const size_t i : {size_t{0}, size_t{1}}) {
    inspection.ended.clear();
    v1::EndDrainsRequest request;
    *request.add_endpoints() = drains[i].key();
    CHECK(inspection.EndDrains(request) == 1);
    CHECK(inspection.ended == std::vector<DrainingServer>{inspection.wanted->draining[i]});
  }
  inspection.ended.clear();
  CHECK(inspection.EndDrains({}) == 0);
  CHECK(inspection.ended.empty());
}

TEST_CASE("an end of drains that cannot be is an error") {
  Inspection inspection;
  AddDrains(inspection);
  v1::EndDrainsRequest request;
  request.add_endpoints()->set_firewall_mark(7);
  inspection.EndDrains(request);
  CHECK(inspection.status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  inspection.end_status = absl::UnavailableError("the agent is busy");
  inspection.EndDrains({});
  CHECK(inspection.status.error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(inspection.ended.empty());
}

}  // namespace
}  // namespace fairlead::testing
