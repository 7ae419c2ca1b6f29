// Benchmarks have nobody to hand an error to: what fails ends them, by an exception that main
// prints.
#pragma once

#include <cstdio>
#include <exception>
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

// Runs a benchmark and returns main's exit code: 1, having said why, where it fails.
template <typename Benchmark>
int ExitCodeOf(const char* name, const Benchmark& benchmark) {
  try {
    benchmark();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}

}  // namespace fairlead::bench
