#include "proxy/agent/inspect_service.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <set>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "proxy/agent/estimation.h"
#include "proxy/cli/select.h"
#include "proxy/cli/version.h"
#include "proxy/daemon/log_rpc.h"
#include "proxy/inspect/describe_drain.h"
#include "proxy/inspect/read_differences.h"
#include "watcher/feed/proto_time.h"

namespace fairlead {
namespace {

using ipvs::VirtualServerKey;

grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

// `servers` are sorted by key; nullptr if there is none.
const PlannedVirtualServer* FindPlanned(const std::vector<const PlannedVirtualServer*>& servers,
                                        const VirtualServerKey& key) {
  auto it = std::lower_bound(
      servers.begin(), servers.end(), key,
      [](const PlannedVirtualServer* a, const VirtualServerKey& b) { return a->key < b; });
  return it == servers.end() || (*it)->key != key ? nullptr : *it;
}

// Plans and drains by virtual server.
struct Index {
  explicit Index(const AgentReport& report) : servers(report.servers) {
    for (const DrainingServer& drain : report.draining) {
      draining.insert({drain.virtual_server, drain.real_server});
    }
  }

  const PlannedVirtualServer* Find(const VirtualServerKey& key) const {
    return FindPlanned(servers, key);
  }

  const std::vector<const PlannedVirtualServer*>& servers;
  std::set<std::pair<VirtualServerKey, ipvs::RealServerKey>> draining;
};

void EncodeStatistics(const ipvs::Statistics& statistics, v1::Statistics* out) {
  out->set_connections(statistics.connections);
  out->set_packets_in(statistics.packets_in);
  out->set_packets_out(statistics.packets_out);
  out->set_bytes_in(statistics.bytes_in);
  out->set_bytes_out(statistics.bytes_out);
  out->set_connections_per_second(statistics.connections_per_second);
  out->set_packets_in_per_second(statistics.packets_in_per_second);
  out->set_packets_out_per_second(statistics.packets_out_per_second);
  out->set_bytes_in_per_second(statistics.bytes_in_per_second);
  out->set_bytes_out_per_second(statistics.bytes_out_per_second);
}

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
    out->set_target_name(known.target_name.str());
    out->set_node_name(known.node_name.str());
    out->set_state(std::string(FormatEndpointState(known.state)));
  }
}

// What there is to say of a virtual server without the kernel.
v1::VirtualServer IdentityToMessage(const VirtualServerKey& key,
                                    const PlannedVirtualServer* planned) {
  v1::VirtualServer message;
  message.set_family(key.family == IpFamily::kIpv4 ? v1::IPV4 : v1::IPV6);
  if (key.is_mark()) {
    message.set_firewall_mark(key.firewall_mark);
    if (planned != nullptr) message.set_protocol(static_cast<v1::Protocol>(planned->protocol));
  } else {
    message.set_protocol(static_cast<v1::Protocol>(key.protocol));
    message.set_address(std::string(key.address.bytes()));
    message.set_port(key.port);
  }
  if (planned == nullptr) return message;
  message.set_service_namespace(planned->service.name_space.str());
  message.set_service_name(planned->service.name.str());
  message.set_port_name(planned->port_name);
  message.set_address_kind(std::string(FormatAddressKind(planned->kind)));
  message.set_policy(std::string(FormatPolicy(planned->policy)));
  message.set_verdict(std::string(FormatVerdict(planned->verdict)));
  return message;
}

v1::VirtualServer ToMessage(const ipvs::VirtualServer& server, const Index& index,
                            bool statistics = false) {
  const PlannedVirtualServer* planned = index.Find(server.key);
  v1::VirtualServer message = IdentityToMessage(server.key, planned);
  message.set_scheduler(server.config.scheduler);
  message.set_flags(server.config.flags);
  message.set_persistence_timeout_seconds(
      static_cast<uint32_t>(absl::ToInt64Seconds(server.config.persistence_timeout)));
  message.set_persistence_prefix_length(server.config.persistence_prefix_length);
  message.set_persistence_engine(server.config.persistence_engine);
  if (statistics) EncodeStatistics(server.statistics, message.mutable_statistics());
  for (const ipvs::RealServer& real : server.real_servers) {
    v1::RealServer* added = message.add_real_servers();
    FillRealServer(real, planned, index.draining.contains({server.key, real.key}), added);
    if (statistics) EncodeStatistics(real.statistics, added->mutable_statistics());
  }
  return message;
}

// A reading of the whole table costs about as much per virtual server as readings of single ones.
constexpr size_t kManyServers = 1000;

// Of the kernel's table what the selectors may fit, which are valid: few virtual servers are read
// each on its own.
absl::StatusOr<std::vector<ipvs::VirtualServer>> ReadSelected(ipvs::Table& table,
                                                              const SelectorGroups& groups,
                                                              const AgentReport& report,
                                                              const Index& index) {
  if (groups.empty() || SelectByAddress(groups)) return table.Dump();
  std::vector<VirtualServerKey> keys;
  for (const VirtualServerKey& key : report.owned) {
    if (IsSelected(groups, IdentityToMessage(key, index.Find(key)))) keys.push_back(key);
  }
  if (keys.size() > kManyServers) return table.Dump();
  std::vector<ipvs::VirtualServer> servers;
  for (const VirtualServerKey& key : keys) {
    absl::StatusOr<ipvs::VirtualServer> server = table.Get(key);
    if (absl::IsNotFound(server.status())) continue;
    if (!server.ok()) return server.status();
    servers.push_back(*std::move(server));
  }
  return servers;
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

v1::Difference ToMessage(const Difference& difference) {
  v1::Difference message;
  message.set_kind(std::string(FormatDriftKind(difference.kind)));
  message.set_object(difference.object);
  message.set_service(difference.service);
  message.set_group(difference.group);
  message.set_context(difference.context);
  message.mutable_wanted()->Add(difference.wanted.begin(), difference.wanted.end());
  message.mutable_found()->Add(difference.found.begin(), difference.found.end());
  return message;
}

// --- Drains --------------------------------------------------------------------------------------

using DrainId = std::pair<VirtualServerKey, ipvs::RealServerKey>;

void EncodeDrainId(const DrainId& id, v1::DrainKey* out) {
  const auto& [server, real] = id;
  out->set_family(server.family == IpFamily::kIpv4 ? v1::IPV4 : v1::IPV6);
  if (server.is_mark()) {
    out->set_firewall_mark(server.firewall_mark);
  } else {
    out->set_protocol(static_cast<v1::Protocol>(server.protocol));
    out->set_address(std::string(server.address.bytes()));
    out->set_port(server.port);
  }
  out->set_endpoint_address(std::string(real.address.bytes()));
  out->set_endpoint_port(real.port);
}

absl::StatusOr<DrainId> DecodeDrainId(const v1::DrainKey& key) {
  DrainId id;
  const absl::StatusOr<IpAddress> endpoint = IpAddress::FromBytes(key.endpoint_address());
  if (!endpoint.ok()) return endpoint.status();
  id.second = {*endpoint, static_cast<uint16_t>(key.endpoint_port())};
  if (key.firewall_mark() != 0) {
    const IpFamily family = key.family() == v1::IPV6 ? IpFamily::kIpv6 : IpFamily::kIpv4;
    id.first = VirtualServerKey::ForMark(family, key.firewall_mark());
    return id;
  }
  const absl::StatusOr<IpAddress> address = IpAddress::FromBytes(key.address());
  if (!address.ok()) return address.status();
  id.first = VirtualServerKey::ForAddress(static_cast<ipvs::Protocol>(key.protocol()), *address,
                                          static_cast<uint16_t>(key.port()));
  return id;
}

// What the kernel counts of the virtual servers in which something drains, each read on its own as
// a rule; one that has gone meanwhile has no connections.
class Connections {
 public:
  struct Count {
    uint32_t active = 0;
    uint32_t inactive = 0;
  };

  absl::Status Read(ipvs::Table& table, const std::set<VirtualServerKey>& keys) {
    if (keys.size() > kManyServers) {
      absl::StatusOr<std::vector<ipvs::VirtualServer>> servers = table.Dump();
      if (!servers.ok()) return servers.status();
      for (const ipvs::VirtualServer& server : *servers) Add(server);
      return absl::OkStatus();
    }
    for (const VirtualServerKey& key : keys) {
      absl::StatusOr<ipvs::VirtualServer> server = table.Get(key);
      if (absl::IsNotFound(server.status())) continue;
      if (!server.ok()) return server.status();
      Add(*server);
    }
    return absl::OkStatus();
  }

  Count Of(const DrainId& id) const {
    const auto it = counts_.find(id);
    return it == counts_.end() ? Count() : it->second;
  }

 private:
  void Add(const ipvs::VirtualServer& server) {
    for (const ipvs::RealServer& real : server.real_servers) {
      if (real.config.weight != 0) continue;
      counts_[{server.key, real.key}] = {real.active_connections, real.inactive_connections};
    }
  }

  absl::flat_hash_map<DrainId, Count> counts_;
};

v1::Drain ToMessage(const DrainingServer& drain, const DrainDescription& description,
                    const Connections::Count& count) {
  v1::Drain message;
  EncodeDrainId({drain.virtual_server, drain.real_server}, message.mutable_key());
  message.set_service_namespace(description.service.name_space.str());
  message.set_service_name(description.service.name.str());
  message.set_port_name(description.port_name);
  message.set_target_name(description.target_name);
  message.set_node_name(description.node_name);
  message.set_active_connections(count.active);
  message.set_inactive_connections(count.inactive);
  EncodeTime(drain.since, message.mutable_since());
  if (drain.until != absl::InfiniteFuture()) EncodeTime(drain.until, message.mutable_until());
  message.set_reason(description.reason);
  return message;
}

}  // namespace

InspectService::InspectService(InspectEnvironment environment)
    : environment_(std::move(environment)) {}

grpc::Status InspectService::List(grpc::ServerContext* /*context*/, const v1::ListRequest* request,
                                  grpc::ServerWriter<v1::VirtualServer>* writer) {
  const absl::Status valid = ValidateSelectors(request->groups());
  if (!valid.ok()) return ToGrpc(valid);
  absl::StatusOr<AgentReport> report = environment_.report();
  if (!report.ok()) return ToGrpc(report.status());
  absl::StatusOr<std::unique_ptr<ipvs::Table>> table = environment_.open_table();
  if (!table.ok()) return ToGrpc(table.status());
  const Index index(*report);
  const absl::StatusOr<std::vector<ipvs::VirtualServer>> servers =
      ReadSelected(**table, request->groups(), *report, index);
  if (!servers.ok()) return ToGrpc(servers.status());
  for (const ipvs::VirtualServer& server : *servers) {
    if (!std::binary_search(report->owned.begin(), report->owned.end(), server.key)) continue;
    const v1::VirtualServer message = ToMessage(server, index, request->statistics());
    if (!IsSelected(request->groups(), message)) continue;
    if (!writer->Write(message)) break;  // The client has gone.
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
  if (struct stat net{}; stat("/proc/self/ns/net", &net) == 0) {
    response->set_network_namespace(net.st_ino);
  }
  response->set_estimation_off(IsEstimationOff());
  return grpc::Status::OK;
}

grpc::Status InspectService::Diff(grpc::ServerContext* /*context*/,
                                  const v1::DiffRequest* /*request*/,
                                  grpc::ServerWriter<v1::Difference>* writer) {
  const absl::StatusOr<std::vector<Difference>> differences =
      ReadDifferences({.report = environment_.report,
                       .wanted = environment_.wanted,
                       .kernel = environment_.read_kernel,
                       .shadow = environment_.shadow});
  if (!differences.ok()) return ToGrpc(differences.status());
  for (const Difference& difference : *differences) {
    if (!writer->Write(ToMessage(difference))) break;  // The client has gone.
  }
  return grpc::Status::OK;
}

grpc::Status InspectService::Drains(grpc::ServerContext* /*context*/,
                                    const v1::DrainsRequest* /*request*/,
                                    grpc::ServerWriter<v1::Drain>* writer) {
  const absl::StatusOr<WantedState> wanted = environment_.wanted();
  if (!wanted.ok()) return ToGrpc(wanted.status());
  std::set<VirtualServerKey> keys;
  std::set<ObjectName> services;
  for (const DrainingServer& drain : wanted->draining) {
    if (!keys.insert(drain.virtual_server).second) continue;
    const PlannedVirtualServer* planned = FindPlanned(wanted->servers, drain.virtual_server);
    if (planned != nullptr) services.insert(planned->service);
  }
  const auto slices = environment_.slices(services);
  if (!slices.ok()) return ToGrpc(slices.status());
  Connections connections;
  if (!keys.empty()) {
    absl::StatusOr<std::unique_ptr<ipvs::Table>> table = environment_.open_table();
    if (!table.ok()) return ToGrpc(table.status());
    if (absl::Status read = connections.Read(**table, keys); !read.ok()) return ToGrpc(read);
  }
  static const Snapshot::Slices kNone;
  for (const DrainingServer& drain : wanted->draining) {
    const PlannedVirtualServer* planned = FindPlanned(wanted->servers, drain.virtual_server);
    const auto found = planned == nullptr ? slices->end() : slices->find(planned->service);
    const DrainDescription description =
        DescribeDrain(drain, planned, found == slices->end() ? kNone : found->second);
    const auto count = connections.Of({drain.virtual_server, drain.real_server});
    if (!writer->Write(ToMessage(drain, description, count))) break;  // The client has gone.
  }
  return grpc::Status::OK;
}

grpc::Status InspectService::EndDrains(grpc::ServerContext* /*context*/,
                                       const v1::EndDrainsRequest* request,
                                       v1::EndDrainsResponse* response) {
  std::set<DrainId> ids;
  for (const v1::DrainKey& key : request->endpoints()) {
    absl::StatusOr<DrainId> id = DecodeDrainId(key);
    if (!id.ok()) return ToGrpc(id.status());
    ids.insert(*std::move(id));
  }
  const absl::StatusOr<size_t> ended =
      environment_.end_drains([ids = std::move(ids)](const DrainingServer& drain) {
        return ids.contains({drain.virtual_server, drain.real_server});
      });
  if (!ended.ok()) return ToGrpc(ended.status());
  response->set_ended(static_cast<uint32_t>(*ended));
  return grpc::Status::OK;
}

grpc::Status InspectService::LogLevel(grpc::ServerContext* /*context*/,
                                      const v1::LogLevelRequest* request,
                                      v1::LogLevelResponse* response) {
  return AnswerLogLevel(log_, *request, *response);
}

std::string ReadKernelTableTitle() {
  std::ifstream file("/proc/net/ip_vs");
  std::string line;
  if (std::getline(file, line) && !line.empty()) return line;
  return "IP Virtual Server";
}

}  // namespace fairlead
