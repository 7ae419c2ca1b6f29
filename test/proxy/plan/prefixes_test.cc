#include "proxy/plan/prefixes.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "test/proxy/plan/builders.h"

namespace fairlead {
namespace {

using testing::Lines;
using testing::Prefix;

struct DisjointCase {
  std::string name;
  Lines prefixes;
  Lines v4;
  Lines v6 = {};
};

Lines FormatDisjoint(const std::vector<IpPrefix>& prefixes, IpFamily family) {
  Lines lines;
  for (const IpPrefix& prefix : Disjoint(prefixes, family)) lines.push_back(prefix.Format());
  return lines;
}

TEST_CASE("Of prefixes those remain that no other contains, sorted, whatever their order") {
  const auto row = GENERATE(values<DisjointCase>({
      {"none", {}, {}},
      {"one", {"10.0.0.0/8"}, {"10.0.0.0/8"}},
      {"sorted as numbers",
       {"9.0.0.0/8", "192.0.2.0/24", "10.0.0.0/8"},
       {"9.0.0.0/8", "10.0.0.0/8", "192.0.2.0/24"}},
      {"one twice", {"10.0.0.0/8", "10.0.0.0/8"}, {"10.0.0.0/8"}},
      {"a contained one goes", {"10.1.0.0/16", "10.0.0.0/8"}, {"10.0.0.0/8"}},
      {"one with the same first address goes",
       {"10.0.0.0/16", "10.0.0.0/8", "10.0.0.0/32"},
       {"10.0.0.0/8"}},
      {"the last address of another goes", {"10.255.255.255/32", "10.0.0.0/8"}, {"10.0.0.0/8"}},
      {"neighbours stay, and are not joined",
       {"10.0.0.0/9", "10.128.0.0/9"},
       {"10.0.0.0/9", "10.128.0.0/9"}},
      {"what follows a contained one stays",
       {"10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/8"},
       {"10.0.0.0/8", "11.0.0.0/8"}},
      {"everything contains all", {"10.0.0.0/8", "0.0.0.0/0", "0.0.0.0/8"}, {"0.0.0.0/0"}},
      {"each family for itself",
       {"0.0.0.0/0", "::/0", "fd00::/8", "10.0.0.0/8"},
       {"0.0.0.0/0"},
       {"::/0"}},
      {"IPv6",
       {"fd00:2::/32", "fd00:1::/48", "fd00:1::1/128", "fd00:1:0:8000::/49"},
       {},
       {"fd00:1::/48", "fd00:2::/32"}},
  }));
  INFO(row.name);
  std::vector<IpPrefix> prefixes;
  for (const std::string& text : row.prefixes) prefixes.push_back(Prefix(text));
  std::sort(prefixes.begin(), prefixes.end());
  do {
    CHECK(FormatDisjoint(prefixes, IpFamily::kIpv4) == row.v4);
    CHECK(FormatDisjoint(prefixes, IpFamily::kIpv6) == row.v6);
  } while (std::next_permutation(prefixes.begin(), prefixes.end()));
}

}  // namespace
}  // namespace fairlead
