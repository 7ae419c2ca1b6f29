#include "proxy/kernel/ipvs_timeouts.h"

#include <catch2/catch.hpp>

namespace fairlead {
namespace {

TEST_CASE("timeouts that are all left as they are need no kernel") {
  CHECK(SetIpvsTimeouts({}).ok());
}

TEST_CASE("a timeout that the kernel cannot count is refused before it is asked") {
  for (const absl::Duration bad :
       {absl::Seconds(-1), absl::Seconds(2'147'484), absl::InfiniteDuration()}) {
    INFO(bad);
    CHECK(absl::IsInvalidArgument(SetIpvsTimeouts({.tcp = bad})));
    CHECK(absl::IsInvalidArgument(SetIpvsTimeouts({.tcp_fin = bad})));
    CHECK(absl::IsInvalidArgument(SetIpvsTimeouts({.udp = bad})));
  }
}

}  // namespace
}  // namespace fairlead
