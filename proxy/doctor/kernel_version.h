// The version of a kernel, as far as what it can do depends on it.
#pragma once

#include <compare>
#include <optional>
#include <string>

namespace fairlead {

struct KernelVersion {
  int major = 0;
  int minor = 0;

  auto operator<=>(const KernelVersion&) const = default;
};

// {6, 1} of "6.1.0-56-cloud-amd64"; nullopt if it does not begin like that.
std::optional<KernelVersion> ParseKernelVersion(const std::string& release);

}  // namespace fairlead
