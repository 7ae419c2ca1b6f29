#include "proxy/agent/inspect_service.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proxy/cli/version.h"
#include "watcher/feed/proto_time.h"

namespace fairlead {
namespace {

using ipvs::VirtualServerKey;

grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

// Plans and drains by virtual server.
struct Index {
  explicit Index(const AgentReport& report) : servers(report.servers) {
    for (const DrainingServer& drain : report.draining) {
      draining.insert({drain.virtual_server, drain.real_server});
    }
  }

  const PlannedVirtualServer* Find(const VirtualServerKey& key) const {
    auto it = std::lower_bound(
        servers.begin(), servers.end(), key,
        [](const PlannedVirtualServer* a, const VirtualServerKey& b) { return a->key < b; });
    return it == servers.end() || (*it)->key != key ? nullptr : *it;
  }

  const std::vector<const PlannedVirtualServer*>& servers;
  std::set<std::pair<VirtualServerKey, ipvs::RealServerKey>> draining;
};

void FillRealServer(const ipvs::RealServer& real, const PlannedVirtualServer* planned,
                    bool draining, v1::RealServer* out) {
  out->set_address(std::string(real.key.address.bytes()));
  out->set_port(real.key.port);
  out->set_forwarding(std::string(ipvs::FormatForwardingMethod(real.config.forwarding)));
  out->set_weight(real.config.weight);
  out->set_active_connections(real.active_connections);
  out->set_inactive_connections(real.inactive_connections);
  if (draining) out->set_state("draining");
  if (planned == nullptr) return;
  for (const PlannedRealServer& known : planned->real_servers) {
    if (known.key != real.key) continue;
    out->set_target_name(known.target_name);
    out->set_node_name(known.node_name);
    out->set_state(std::string(FormatEndpointState(known.state)));
  }
}

v1::VirtualServer ToMessage(const ipvs::VirtualServer& server, const Index& index) {
  v1::VirtualServer message;
  message.set_family(server.key.family == IpFamily::kIpv4 ? v1::IPV4 : v1::IPV6);
  const PlannedVirtualServer* planned = index.Find(server.key);
  if (server.key.is_mark()) {
    message.set_firewall_mark(server.key.firewall_mark);
    if (planned != nullptr) message.set_protocol(static_cast<v1::Protocol>(planned->protocol));
  } else {
    message.set_protocol(static_cast<v1::Protocol>(server.key.protocol));
    message.set_address(std::string(server.key.address.bytes()));
    message.set_port(server.key.port);
  }
  message.set_scheduler(server.config.scheduler);
  message.set_flags(server.config.flags);
  message.set_persistence_timeout_seconds(
      static_cast<uint32_t>(absl::ToInt64Seconds(server.config.persistence_timeout)));
  message.set_persistence_prefix_length(server.config.persistence_prefix_length);
  if (planned != nullptr) {
    message.set_service_namespace(planned->service.name_space);
    message.set_service_name(planned->service.name);
    message.set_port_name(planned->port_name);
    message.set_address_kind(std::string(FormatAddressKind(planned->kind)));
    message.set_policy(std::string(FormatPolicy(planned->policy)));
    message.set_verdict(std::string(FormatVerdict(planned->verdict)));
  }
  for (const ipvs::RealServer& real : server.real_servers) {
    FillRealServer(real, planned, index.draining.contains({server.key, real.key}),
                   message.add_real_servers());
  }
  return message;
}

absl::StatusOr<ExplainQuery> ToQuery(const v1::ExplainRequest& request) {
  ExplainQuery query{.from_interface = request.from_interface()};
  for (const auto& [field, bytes, address] : {std::tuple("from: ", &request.from(), &query.from),
                                              std::tuple("to: ", &request.to(), &query.to)}) {
    absl::StatusOr<IpAddress> parsed = IpAddress::FromBytes(*bytes);
    if (!parsed.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(field, parsed.status().message()));
    }
    *address = *parsed;
  }
  if (request.port() < 1 || request.port() > std::numeric_limits<uint16_t>::max()) {
    return absl::InvalidArgumentError(absl::StrCat("port: ", request.port(), " is no port"));
  }
  query.port = static_cast<uint16_t>(request.port());
  const v1::Protocol protocol = request.protocol();
  if (protocol != v1::TCP && protocol != v1::UDP && protocol != v1::SCTP) {
    return absl::InvalidArgumentError(
        absl::StrCat("protocol: ", static_cast<int>(protocol), " is not TCP, UDP or SCTP"));
  }
  query.protocol = static_cast<ipvs::Protocol>(protocol);
  return query;
}

}  // namespace

InspectService::InspectService(InspectEnvironment environment)
    : environment_(std::move(environment)) {}

grpc::Status InspectService::List(grpc::ServerContext* /*context*/,
                                  const v1::ListRequest* /*request*/,
                                  grpc::ServerWriter<v1::VirtualServer>* writer) {
  absl::StatusOr<AgentReport> report = environment_.report();
  if (!report.ok()) return ToGrpc(report.status());
  absl::StatusOr<std::unique_ptr<ipvs::Table>> table = environment_.open_table();
  if (!table.ok()) return ToGrpc(table.status());
  absl::StatusOr<std::vector<ipvs::VirtualServer>> servers = (*table)->Dump();
  if (!servers.ok()) return ToGrpc(servers.status());
  const Index index(*report);
  for (const ipvs::VirtualServer& server : *servers) {
    if (!std::binary_search(report->owned.begin(), report->owned.end(), server.key)) continue;
    if (!writer->Write(ToMessage(server, index))) break;  // The client has gone.
  }
  return grpc::Status::OK;
}

grpc::Status InspectService::Explain(grpc::ServerContext* /*context*/,
                                     const v1::ExplainRequest* request,
                                     v1::ExplainResponse* response) {
  absl::StatusOr<ExplainQuery> query = ToQuery(*request);
  if (!query.ok()) return ToGrpc(query.status());
  absl::StatusOr<Explanation> explanation = environment_.explain(*query);
  if (!explanation.ok()) return ToGrpc(explanation.status());
  response->set_verdict(std::string(FormatExplainedVerdict(explanation->verdict)));
  response->set_service(explanation->service);
  for (const ipvs::RealServerKey& endpoint : explanation->endpoints) {
    v1::ExplainResponse::Endpoint* added = response->add_endpoints();
    added->set_address(std::string(endpoint.address.bytes()));
    added->set_port(endpoint.port);
  }
  response->set_masquerade(explanation->masquerade);
  for (const std::string& reason : explanation->because) response->add_because(reason);
  if (!explanation->virtual_server.has_value()) return grpc::Status::OK;

  absl::StatusOr<AgentReport> report = environment_.report();
  if (!report.ok()) return ToGrpc(report.status());
  absl::StatusOr<std::unique_ptr<ipvs::Table>> table = environment_.open_table();
  if (!table.ok()) return ToGrpc(table.status());
  absl::StatusOr<ipvs::VirtualServer> server = (*table)->Get(*explanation->virtual_server);
  if (absl::IsNotFound(server.status())) return grpc::Status::OK;
  if (!server.ok()) return ToGrpc(server.status());
  *response->mutable_kernel() = ToMessage(*server, Index(*report));
  return grpc::Status::OK;
}

grpc::Status InspectService::Status(grpc::ServerContext* /*context*/,
                                    const v1::StatusRequest* /*request*/,
                                    v1::StatusResponse* response) {
  absl::StatusOr<AgentReport> report = environment_.report();
  if (!report.ok()) return ToGrpc(report.status());
  response->set_node_name(report->node_name);
  response->set_version(kVersion);
  response->set_complete(report->complete);
  response->set_revision(report->revision);
  if (report->programmed != absl::InfinitePast()) {
    EncodeTime(report->programmed, response->mutable_programmed());
  }
  response->set_services(static_cast<uint32_t>(report->plans.size()));
  response->set_virtual_servers(static_cast<uint32_t>(report->owned.size()));
  response->set_draining(static_cast<uint32_t>(report->draining.size()));
  const Index index(*report);
  for (const ReconcileFailure& failure : report->failures) {
    v1::Problem* problem = response->add_failures();
    const PlannedVirtualServer* planned =
        failure.virtual_server.has_value() ? index.Find(*failure.virtual_server) : nullptr;
    problem->set_object(planned == nullptr ? failure.what
                                           : absl::StrCat("Service ", planned->service.Format(),
                                                          ": ", failure.what));
    problem->set_message(failure.why);
  }
  for (const std::string& warning : report->warnings) response->add_warnings(warning);
  response->set_operations_written(report->counters.operations);
  response->set_elements_written(report->counters.elements);
  response->set_routes_written(report->counters.routes);
  response->set_kernel_table(ReadKernelTableTitle());
  const FeedFreshness feed = environment_.feed();
  v1::FeedState* state = response->mutable_feed();
  state->set_connected(feed.connected);
  state->set_feeder(feed.feeder);
  state->set_revision(feed.revision);
  state->set_head_revision(feed.head_revision);
  if (feed.current_as_of != absl::InfinitePast()) {
    EncodeTime(feed.current_as_of, state->mutable_current_as_of());
  }
  state->set_saved_picture(feed.saved);
  return grpc::Status::OK;
}

std::string ReadKernelTableTitle() {
  std::ifstream file("/proc/net/ip_vs");
  std::string line;
  if (std::getline(file, line) && !line.empty()) return line;
  return "IP Virtual Server";
}

}  // namespace fairlead
