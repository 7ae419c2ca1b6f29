#include <catch2/catch.hpp>

#include "proxy/kernel/memory_firewall.h"
#include "proxy/kernel/memory_routes.h"
#include "proxy/kernel/ruleset.h"

// What the fakes do as the kernel does is tested beside the kernel, in *_native_test.cc. Here is
// what only they can.
namespace fairlead {
namespace {

const IpAddress kVip = *IpAddress::Parse("10.96.0.1");
const Element kElement = {SetName::kGuarded, kVip};
const Element kOther = {SetName::kGuarded, *IpAddress::Parse("10.96.0.2")};

ElementChange Add(const Element& element) { return {ElementChange::Verb::kAdd, element}; }

TEST_CASE("a firewall in memory fails where it is told to, and does nothing then") {
  MemoryFirewall firewall;
  REQUIRE(*firewall.EnsureRuleset(RulesetText({})));

  firewall.FailNextCalls(2, absl::UnavailableError("busy"));
  CHECK(absl::IsUnavailable(firewall.Apply({Add(kElement)})));
  CHECK(absl::IsUnavailable(firewall.Dump().status()));
  CHECK(firewall.Dump()->empty());

  firewall.FailElement(kElement, 1, absl::ResourceExhaustedError("full"));
  CHECK(firewall.Apply({Add(kOther)}).ok());
  CHECK(absl::IsResourceExhausted(
      firewall.Apply({{ElementChange::Verb::kDelete, kOther}, Add(kElement)})));
  CHECK(*firewall.Dump() == std::vector<Element>{kOther});
  CHECK(firewall.Apply({Add(kElement)}).ok());

  CHECK(firewall.changes() == 2);
  CHECK(firewall.transactions() == 2);
  CHECK(firewall.rulesets_loaded() == 1);
  firewall.DeleteTable();
  CHECK(absl::IsNotFound(firewall.Dump().status()));
}

TEST_CASE("routes in memory fail where they are told to, and do nothing then") {
  const VipRoute route = {kVip, std::nullopt};
  const VipRoute other = {kOther.address, std::nullopt};
  const RouteChange put = {RouteChange::Verb::kPut, route};
  const RouteChange put_other = {RouteChange::Verb::kPut, other};
  MemoryRoutes routes;

  routes.FailChanges(kVip, 1, absl::UnavailableError("busy"));
  auto results = routes.Apply({put, put_other});
  CHECK(absl::IsUnavailable(results[0]));
  CHECK(results[1].ok());
  CHECK(*routes.Dump() == std::vector<VipRoute>{other});
  CHECK(routes.Apply({put})[0].ok());
  CHECK(routes.writes() == 2);

  routes.FailNextDumps(1, absl::UnavailableError("busy"));
  CHECK(absl::IsUnavailable(routes.Dump().status()));
  CHECK(routes.Dump()->size() == 2);
  routes.Flush();
  CHECK(routes.Dump()->empty());
}

}  // namespace
}  // namespace fairlead
