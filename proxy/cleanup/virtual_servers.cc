#include "proxy/cleanup/virtual_servers.h"

#include <map>
#include <string>

namespace fairlead {
namespace {

using ipvs::VirtualServerKey;

constexpr absl::string_view kServer = "virtual server";

// Whether it is gone, after an answer that does not say so.
bool IsGone(ipvs::Table& table, const VirtualServerKey& key, const absl::Status& status) {
  return absl::IsUnknown(status) && absl::IsNotFound(table.Get(key).status());
}

}  // namespace

bool RemoveVirtualServers(ipvs::Table& table, absl::Span<const VirtualServerKey> keys,
                          CleanupReport& report) {
  std::vector<VirtualServerKey> left(keys.begin(), keys.end());
  std::map<VirtualServerKey, std::string> why;
  for (int attempt = 0; attempt < kRemovalAttempts && !left.empty(); ++attempt) {
    std::vector<ipvs::Operation> operations;
    operations.reserve(left.size());
    // From the last to the first: an agent that starts soon adds them from the first to the last,
    // and the kernel searches what was deleted from the end (see Reconciler::kernel_order_).
    for (auto key = left.rbegin(); key != left.rend(); ++key) {
      operations.push_back(ipvs::Operation::DeleteVirtualServer(*key));
    }
    const std::vector<absl::Status> results = table.Apply(operations);
    left.clear();
    for (size_t i = operations.size(); i-- > 0;) {
      const VirtualServerKey& key = operations[i].virtual_server;
      if (absl::IsNotFound(results[i])) continue;
      if (results[i].ok() || IsGone(table, key, results[i])) {
        report.Removed(kServer, key.Format());
        continue;
      }
      why[key] = std::string(results[i].message());
      left.push_back(key);
    }
  }
  for (const VirtualServerKey& key : left) report.Failed(kServer, key.Format(), why[key]);
  return left.empty();
}

}  // namespace fairlead
