// What the proxies of one size have in common, in one table.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace fairlead::bench {

// Medians, side by side: by row, then by proxy.
class Summary {
 public:
  void Add(const std::string& proxy, const std::string& row, const std::string& unit, double value);
  // As Markdown, on stdout.
  void Print(int services) const;

 private:
  std::vector<std::string> proxies_;
  std::vector<std::pair<std::string, std::string>> rows_;  // With units.
  std::map<std::pair<std::string, std::string>, double> values_;
};

}  // namespace fairlead::bench
