// Benchmarks have nobody to hand an error to: what fails ends them, by an exception that
// BenchProgram prints.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fairlead::bench {

// Each throws std::runtime_error.
inline void Need(bool condition, absl::string_view what) {
  if (!condition) throw std::runtime_error(std::string(what));
}

inline void Need(const absl::Status& status) { Need(status.ok(), status.ToString()); }

template <typename T>
T Need(absl::StatusOr<T> value) {
  Need(value.status());
  return *std::move(value);
}

}  // namespace fairlead::bench
