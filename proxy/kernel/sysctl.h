// Kernel settings that Fairlead needs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "ipvs/ip_address.h"

namespace fairlead {

struct Sysctl {
  std::string name;  // "net.ipv4.ip_forward".
  std::string value;
  std::string reason;    // A sentence, for operators.
  bool minimum = false;  // A larger number does as well.

  friend bool operator==(const Sysctl&, const Sysctl&) = default;
};

// What a node that serves these families needs.
std::vector<Sysctl> RequiredSysctls(absl::Span<const IpFamily> families);

// Where the kernel's settings are.
inline constexpr absl::string_view kProcRoot = "/proc";

// Whether `value` is what it has to be, or a larger one where that does.
bool IsMet(const Sysctl& sysctl, absl::string_view value);

// The value that it has. Settings below net are those of the calling thread's network namespace.
// Messages of all of these have the name, the wanted value and, where it could be read, the one it
// has, and say what to do.
//   NOT_FOUND            this kernel has no such setting, or its module is not loaded
//   PERMISSION_DENIED    it may not be read or written: not root, or /proc/sys is read-only
//   INVALID_ARGUMENT     the kernel refuses the value
absl::StatusOr<std::string> ReadSysctl(const Sysctl& sysctl,
                                       absl::string_view proc_root = kProcRoot);

// Sets it unless it is met. The value that was found before, where it was not; nullopt: nothing was
// written.
absl::StatusOr<std::optional<std::string>> RepairSysctl(const Sysctl& sysctl,
                                                        absl::string_view proc_root = kProcRoot);

// The same, for who does not care what was there.
absl::Status EnsureSysctl(const Sysctl& sysctl, absl::string_view proc_root = kProcRoot);

}  // namespace fairlead
