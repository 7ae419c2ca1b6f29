// The gRPC service behind the agent's Unix socket.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "fairlead/v1/inspect.grpc.pb.h"
#include "ipvs/table.h"
#include "proxy/agent/report.h"
#include "proxy/daemon/log_control.h"
#include "proxy/explain/explain.h"
#include "proxy/health/node_health.h"
#include "proxy/inspect/difference.h"
#include "watcher/snapshot.h"

namespace fairlead {

// What the service asks; each may be called from any thread, and its error is passed on.
struct InspectEnvironment {
  std::function<absl::StatusOr<AgentReport>()> report;
  std::function<absl::StatusOr<Explanation>(const ExplainQuery&)> explain;
  std::function<FeedFreshness()> feed;
  // Opens the kernel's table in the agent's network namespace.
  std::function<absl::StatusOr<std::unique_ptr<ipvs::Table>>()> open_table;
  // For differences and drains.
  std::function<absl::StatusOr<WantedState>()> wanted = {};
  // Reads the kernel in the agent's network namespace.
  std::function<absl::StatusOr<KernelState>()> read_kernel = {};
  // The EndpointSlices of Services.
  using SlicesOfServices = std::map<ObjectName, Snapshot::Slices>;
  std::function<absl::StatusOr<SlicesOfServices>(const std::set<ObjectName>&)> slices = {};
  // Ends the drains for which the argument says so; how many they were.
  std::function<absl::StatusOr<size_t>(std::function<bool(const DrainingServer&)>)> end_drains = {};
  // The agent writes nothing to the kernel, see DifferenceSources.
  bool shadow = false;
};

// Thread-safe. Reads the kernel by a socket of its own for each call, so that programming does not
// wait for an inspection. The level of the default logger is in its hands from the start on.
class InspectService final : public v1::Inspect::Service {
 public:
  explicit InspectService(InspectEnvironment environment);

  grpc::Status List(grpc::ServerContext* context, const v1::ListRequest* request,
                    grpc::ServerWriter<v1::VirtualServer>* writer) override;
  grpc::Status Explain(grpc::ServerContext* context, const v1::ExplainRequest* request,
                       v1::ExplainResponse* response) override;
  grpc::Status Status(grpc::ServerContext* context, const v1::StatusRequest* request,
                      v1::StatusResponse* response) override;
  grpc::Status Diff(grpc::ServerContext* context, const v1::DiffRequest* request,
                    grpc::ServerWriter<v1::Difference>* writer) override;
  grpc::Status Drains(grpc::ServerContext* context, const v1::DrainsRequest* request,
                      grpc::ServerWriter<v1::Drain>* writer) override;
  grpc::Status EndDrains(grpc::ServerContext* context, const v1::EndDrainsRequest* request,
                         v1::EndDrainsResponse* response) override;
  grpc::Status LogLevel(grpc::ServerContext* context, const v1::LogLevelRequest* request,
                        v1::LogLevelResponse* response) override;

 private:
  const InspectEnvironment environment_;
  LogControl log_;
};

// "IP Virtual Server version 1.2.1 (size=4096)", or without version and size where
// /proc/net/ip_vs cannot be read.
std::string ReadKernelTableTitle();

}  // namespace fairlead
