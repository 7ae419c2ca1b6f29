// Files with credentials.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace fairlead::kubernetes {

// Largest file that is read: a kubeconfig of many clusters.
inline constexpr size_t kMaxSmallFileBytes = 4 << 20;

// The whole file. The status names it.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path);

}  // namespace fairlead::kubernetes
