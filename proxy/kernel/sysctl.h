// Kernel settings that Fairlead needs.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
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

// Sets it to its value unless it has that value, or a larger one where that does. Settings below
// net are those of the calling thread's network namespace. Messages have the name, the wanted value
// and, where it could be read, the one it has.
//   NOT_FOUND            this kernel has no such setting, or its module is not loaded
//   PERMISSION_DENIED    it may not be written: not root, or /proc/sys is mounted read-only
//   INVALID_ARGUMENT     the kernel refuses the value
absl::Status EnsureSysctl(const Sysctl& sysctl, absl::string_view proc_root = kProcRoot);

}  // namespace fairlead
