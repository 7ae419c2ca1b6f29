// Firewall marks: how pods and the node reach another set of endpoints than the outside does.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ipvs/types.h"
#include "watcher/model.h"

namespace fairlead {

// The marks that are Fairlead's to give; both ends included, and never 0.
struct MarkRange {
  uint32_t first = 0x46000000;
  uint32_t last = 0x460fffff;

  bool Contains(uint32_t mark) const { return first <= mark && mark <= last; }
  uint64_t size() const { return uint64_t{last} - first + 1; }
  // "0x46000000-0x460fffff".
  std::string Format() const;

  friend bool operator==(const MarkRange&, const MarkRange&) = default;
};

// "FIRST-LAST", decimal or with 0x; INVALID_ARGUMENT says what is wrong. At least 256 marks.
absl::StatusOr<MarkRange> ParseMarkRange(absl::string_view text);

// A Service's port, as far as marks go. Both families have one mark.
struct MarkedPort {
  std::string port_name;
  ipvs::Protocol protocol = ipvs::Protocol::kTcp;

  auto operator<=>(const MarkedPort&) const = default;
};

// The marks of one Service's ports.
using ServiceMarks = std::map<MarkedPort, uint32_t>;

// Gives every port a mark of its own, which stays while it is asked for. Where nothing is known
// from before it is chosen by a hash of the port's name, so that it is the same on every node and
// in every run but where two hashes meet. Confined to one thread.
class MarkAllocator {
 public:
  // For marks to come: those that are given out stay.
  void SetRange(const MarkRange& range) { range_ = range; }

  // What was in the kernel before this run: each port of Services' addresses with its mark. The
  // Service that has the address now gets the mark.
  void Restore(const std::map<ipvs::VirtualServerKey, uint32_t>& marks);
  // Marks that somebody else's virtual servers have.
  void Avoid(const std::set<uint32_t>& marks);

  // What a port is marked on; for the marks of before.
  using Wanted = std::map<MarkedPort, std::vector<ipvs::VirtualServerKey>>;
  // The marks of the Service's ports: exactly those that are wanted keep or get one. A port is left
  // out where the range is used up.
  ServiceMarks Assign(const ObjectName& service, const Wanted& wanted);

 private:
  uint32_t Choose(const ObjectName& service, const MarkedPort& port,
                  const std::vector<ipvs::VirtualServerKey>& keys);

  MarkRange range_;
  std::map<ObjectName, ServiceMarks> given_;
  absl::flat_hash_set<uint32_t> taken_;
  std::map<ipvs::VirtualServerKey, uint32_t> restored_;
  // How often each mark is in restored_: nobody else gets it.
  absl::flat_hash_map<uint32_t, int> reserved_;
};

}  // namespace fairlead
