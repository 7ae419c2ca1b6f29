#include "proxy/agent/inspect_service.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "proxy/cli/version.h"

namespace fairlead {
namespace {

using ipvs::VirtualServerKey;

grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

// Plans and drains by virtual server.
struct Index {
  explicit Index(const AgentReport& report) {
    for (const auto& plan : report.plans) {
      for (const PlannedVirtualServer& server : plan->virtual_servers) {
        // Two Services may claim one key; the older has it, as DesiredState decides.
        auto [it, added] = planned.try_emplace(server.key, Claim{plan.get(), &server});
        if (!added && std::tie(plan->created, plan->service) <
                          std::tie(it->second.plan->created, it->second.plan->service)) {
          it->second = {plan.get(), &server};
        }
      }
    }
    for (const DrainingServer& drain : report.draining) {
      draining.insert({drain.virtual_server, drain.real_server});
    }
  }

  const PlannedVirtualServer* Find(const VirtualServerKey& key) const {
    auto it = planned.find(key);
    return it == planned.end() ? nullptr : it->second.server;
  }

  struct Claim {
    const ServicePlan* plan;
    const PlannedVirtualServer* server;
  };
  absl::flat_hash_map<VirtualServerKey, Claim> planned;
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
  message.set_protocol(static_cast<v1::Protocol>(server.key.protocol));
  message.set_address(std::string(server.key.address.bytes()));
  message.set_port(server.key.port);
  message.set_scheduler(server.config.scheduler);
  message.set_flags(server.config.flags);
  message.set_persistence_timeout_seconds(
      static_cast<uint32_t>(absl::ToInt64Seconds(server.config.persistence_timeout)));
  message.set_persistence_prefix_length(server.config.persistence_prefix_length);
  const PlannedVirtualServer* planned = index.Find(server.key);
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

}  // namespace

InspectService::InspectService(Report report, OpenTable open_table)
    : report_(std::move(report)), open_table_(std::move(open_table)) {}

grpc::Status InspectService::List(grpc::ServerContext* /*context*/,
                                  const v1::ListRequest* /*request*/,
                                  grpc::ServerWriter<v1::VirtualServer>* writer) {
  absl::StatusOr<AgentReport> report = report_();
  if (!report.ok()) return ToGrpc(report.status());
  absl::StatusOr<std::unique_ptr<ipvs::Table>> table = open_table_();
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

grpc::Status InspectService::Status(grpc::ServerContext* /*context*/,
                                    const v1::StatusRequest* /*request*/,
                                    v1::StatusResponse* response) {
  absl::StatusOr<AgentReport> report = report_();
  if (!report.ok()) return ToGrpc(report.status());
  response->set_node_name(report->node_name);
  response->set_version(kVersion);
  response->set_complete(report->complete);
  response->set_revision(report->revision);
  if (report->programmed != absl::InfinitePast()) {
    response->mutable_programmed()->set_seconds(absl::ToUnixSeconds(report->programmed));
    response->mutable_programmed()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(
        report->programmed - absl::FromUnixSeconds(absl::ToUnixSeconds(report->programmed)))));
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
  return grpc::Status::OK;
}

std::string ReadKernelTableTitle() {
  std::ifstream file("/proc/net/ip_vs");
  std::string line;
  if (std::getline(file, line) && !line.empty()) return line;
  return "IP Virtual Server";
}

}  // namespace fairlead
