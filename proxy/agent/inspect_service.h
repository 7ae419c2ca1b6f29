// The gRPC service behind the agent's Unix socket.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "fairlead/v1/inspect.grpc.pb.h"
#include "ipvs/table.h"
#include "proxy/agent/report.h"

namespace fairlead {

// Thread-safe. Reads the kernel by a socket of its own for each call, so that programming does not
// wait for an inspection.
class InspectService final : public v1::Inspect::Service {
 public:
  // `report` may be called from any thread; its error is passed on. `open_table` opens the kernel's
  // table in the agent's network namespace.
  using Report = std::function<absl::StatusOr<AgentReport>()>;
  using OpenTable = std::function<absl::StatusOr<std::unique_ptr<ipvs::Table>>()>;
  InspectService(Report report, OpenTable open_table);

  grpc::Status List(grpc::ServerContext* context, const v1::ListRequest* request,
                    grpc::ServerWriter<v1::VirtualServer>* writer) override;
  grpc::Status Status(grpc::ServerContext* context, const v1::StatusRequest* request,
                      v1::StatusResponse* response) override;

 private:
  const Report report_;
  const OpenTable open_table_;
};

// "IP Virtual Server version 1.2.1 (size=4096)", or without version and size where
// /proc/net/ip_vs cannot be read.
std::string ReadKernelTableTitle();

}  // namespace fairlead
