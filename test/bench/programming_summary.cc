#include "test/bench/programming_summary.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_format.h"

namespace fairlead::bench {

void Summary::Add(const std::string& proxy, const std::string& row, const std::string& unit,
                  double value) {
  if (std::find(proxies_.begin(), proxies_.end(), proxy) == proxies_.end()) {
    proxies_.push_back(proxy);
  }
  const std::pair key(row, unit);
  if (std::find(rows_.begin(), rows_.end(), key) == rows_.end()) rows_.push_back(key);
  values_[{row, proxy}] = value;
}

void Summary::Print(int services) const {
  if (proxies_.size() < 2) return;
  absl::PrintF("\n%d Services side by side, medians\n\n| |", services);
  for (const std::string& proxy : proxies_) absl::PrintF(" %s |", proxy);
  absl::PrintF("\n|---|");
  for (size_t i = 0; i < proxies_.size(); ++i) absl::PrintF("---:|");
  for (const auto& [row, unit] : rows_) {
    absl::PrintF("\n| %s, %s |", row, unit);
    for (const std::string& proxy : proxies_) {
      const auto value = values_.find({row, proxy});
      if (value == values_.end()) {
        absl::PrintF(" - |");
      } else {
        absl::PrintF(" %.4g |", value->second);
      }
    }
  }
  absl::PrintF("\n");
  std::fflush(stdout);
}

}  // namespace fairlead::bench
