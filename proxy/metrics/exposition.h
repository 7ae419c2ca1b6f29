// Prometheus's text format, version 0.0.4, written straight into a string: of families with very
// many series the client library's values would cost more than reading the kernel.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace fairlead {

enum class MetricType : uint8_t { kCounter, kGauge };

// `{name="value",…}` with the values escaped; "" of none.
std::string FormatLabels(
    std::initializer_list<std::pair<absl::string_view, absl::string_view>> labels);

// The head of a family. Its series follow, before another family's.
void AppendFamily(std::string& out, absl::string_view name, MetricType type,
                  absl::string_view help);

// `labels` as FormatLabels makes them.
void AppendSeries(std::string& out, absl::string_view name, absl::string_view labels,
                  uint64_t value);
void AppendSeries(std::string& out, absl::string_view name, absl::string_view labels, double value);

}  // namespace fairlead
