// When to say that something does not work, and that it works again.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "absl/time/time.h"

namespace fairlead::kubernetes {

// An episode of failures, from the first one to the next success. Each cause is worth saying once
// in it. Thread-compatible.
class Trouble {
 public:
  // Whether this failure is to be said.
  bool Begin(const std::string& cause, absl::Time now);
  // After a success: how long the trouble lasted; nullopt where there was none.
  std::optional<absl::Duration> End(absl::Time now);

 private:
  // Causes of one episode that are told apart.
  static constexpr size_t kMaxCauses = 8;

  absl::Time since_ = absl::InfinitePast();
  std::set<std::string> causes_;
};

}  // namespace fairlead::kubernetes
