#include "watcher/manifest/ranges.h"

#include <catch2/catch.hpp>

namespace fairlead {
namespace {

TEST_CASE("service cluster IP ranges are one prefix, or one of each family") {
  struct Case {
    const char* name;
    const char* text;
    std::vector<std::string> want;  // Empty: INVALID_ARGUMENT.
  };
  const Case cases[] = {
      {"the default", "10.96.0.0/12", {"10.96.0.0/12"}},
      {"dual-stack", "10.96.0.0/12,fd00::/112", {"10.96.0.0/12", "fd00::/112"}},
      {"IPv6 first, with a blank", "fd00::/112, 10.96.0.0/12", {"fd00::/112", "10.96.0.0/12"}},
      {"host bits", "10.96.0.7/24", {"10.96.0.0/24"}},
      {"nothing", "", {}},
      {"no prefix length", "10.96.0.0", {}},
      {"a trailing comma", "10.96.0.0/12,", {}},
      {"twice the same family", "10.96.0.0/12,10.200.0.0/16", {}},
      {"three", "10.96.0.0/12,fd00::/112,fd01::/112", {}},
      {"loopback", "127.0.0.0/8", {}},
      {"everything", "0.0.0.0/0", {}},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    const auto ranges = ParseServiceClusterIpRanges(c.text);
    CHECK(ranges.ok() == !c.want.empty());
    if (!ranges.ok()) {
      CHECK(ranges.status().code() == absl::StatusCode::kInvalidArgument);
      CHECK(std::string(ranges.status().message()).find(c.text) != std::string::npos);
      continue;
    }
    std::vector<std::string> got;
    for (const IpPrefix& range : *ranges) got.push_back(range.Format());
    CHECK(got == c.want);
  }
}

TEST_CASE("a port range is two ports, or one") {
  struct Case {
    const char* name;
    const char* text;
    const char* want;  // Empty: INVALID_ARGUMENT.
  };
  const Case cases[] = {
      {"the default", "30000-32767", "30000-32767"},
      {"one port", "30000", "30000-30000"},
      {"all ports", "1-65535", "1-65535"},
      {"nothing", "", ""},
      {"zero", "0-10", ""},
      {"too large", "30000-65536", ""},
      {"backwards", "32767-30000", ""},
      {"no end", "30000-", ""},
      {"three parts", "1-2-3", ""},
      {"a sign", "+30000-32767", ""},
      {"a blank", "30000 - 32767", ""},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    const auto range = ParsePortRange(c.text);
    CHECK((range.ok() ? range->Format() : "") == c.want);
    if (!range.ok()) CHECK(range.status().code() == absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace fairlead
