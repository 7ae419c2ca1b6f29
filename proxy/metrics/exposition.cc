#include "proxy/metrics/exposition.h"

#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

void AppendEscaped(std::string& out, absl::string_view value) {
  for (const char c : value) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
}

}  // namespace

std::string FormatLabels(
    std::initializer_list<std::pair<absl::string_view, absl::string_view>> labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    absl::StrAppend(&text, text.empty() ? "{" : ",", name, "=\"");
    AppendEscaped(text, value);
    text += '"';
  }
  if (!text.empty()) text += '}';
  return text;
}

void AppendFamily(std::string& out, absl::string_view name, MetricType type,
                  absl::string_view help) {
  absl::StrAppend(&out, "# HELP ", name, " ", help, "\n# TYPE ", name,
                  type == MetricType::kCounter ? " counter\n" : " gauge\n");
}

void AppendSeries(std::string& out, absl::string_view name, absl::string_view labels,
                  uint64_t value) {
  absl::StrAppend(&out, name, labels, " ", value, "\n");
}

void AppendSeries(std::string& out, absl::string_view name, absl::string_view labels,
                  double value) {
  if (!std::isfinite(value)) {
    absl::StrAppend(&out, name, labels,
                    std::isnan(value) ? " NaN\n"
                    : value > 0       ? " +Inf\n"
                                      : " -Inf\n");
    return;
  }
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  absl::StrAppend(&out, name, labels, " ",
                  absl::string_view(digits, static_cast<size_t>(end - digits)), "\n");
}

}  // namespace fairlead
