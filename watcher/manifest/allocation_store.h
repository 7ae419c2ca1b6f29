// The allocations on disk: allocations.json in the state folder.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "watcher/manifest/allocate.h"
#include "watcher/manifest/problem.h"

namespace fairlead {

inline constexpr char kAllocationsFile[] = "allocations.json";
// The format's number, which is in the file. A file with another number is set aside.
inline constexpr int kAllocationsFormat = 1;

// {"format": 1, "services": {"shop/cart": {"cluster_ips": ["10.96.1.2"],
//  "node_ports": {"80/TCP": 30080}, "health_check_node_port": 31000}}}
std::string FormatAllocations(const Allocations& allocations);
// INVALID_ARGUMENT says what is wrong with the text.
absl::StatusOr<Allocations> ParseAllocations(absl::string_view text);

// Loads and saves them. Confined to one thread.
class AllocationStore {
 public:
  // An empty folder's name keeps nothing. A read-only store loads, and changes nothing on disk.
  AllocationStore(std::string state_dir, bool read_only);

  // What is kept; empty where nothing is. A damaged or unreadable file is set aside as
  // allocations.json.damaged, with a problem, and read as empty.
  Allocations Load(std::vector<Problem>* problems);

  // Writes a new file beside the old one, syncs it, and renames it, so that there is a whole one at
  // any time. Creates the folder. Does nothing where the file says so already.
  absl::Status Save(const Allocations& allocations);

  const std::string& path() const { return path_; }

 private:
  const std::string state_dir_;
  const std::string path_;
  const bool read_only_;
  std::string saved_;  // The text on disk, as far as it is known.
};

}  // namespace fairlead
