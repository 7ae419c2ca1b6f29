#include "proxy/plan/endpoint_sets.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "test/proxy/plan/builders.h"

namespace fairlead {
namespace {

using testing::Lines;
using testing::MakeSlice;
using testing::MakeSlices;

ServicePort HttpPort() { return {"http", ipvs::Protocol::kTcp, 80}; }

EndpointSlice WithPorts(EndpointSlice slice, std::vector<EndpointPort> ports) {
  slice.ports = std::move(ports);
  return slice;
}

EndpointSlice OfFamily(EndpointSlice slice, IpFamily family) {
  slice.family = family;
  return slice;
}

// Address, port, and where each comes from.
Lines DescribeMerged(const std::vector<PortEndpoint>& endpoints) {
  Lines lines;
  for (const PortEndpoint& endpoint : endpoints) {
    lines.push_back(absl::StrCat(FormatAddressPort(endpoint.endpoint->address, endpoint.port),
                                 endpoint.local ? " local" : " remote",
                                 endpoint.endpoint->ready ? "" : " unready"));
  }
  return lines;
}

struct MergeCase {
  std::string name;
  ServicePort port;
  std::vector<EndpointSlice> slices;
  Lines expected;
  IpFamily family = IpFamily::kIpv4;
};

TEST_CASE("Slices of a Service are merged by port, family and address") {
  using ipvs::Protocol;
  const auto row = GENERATE(values<MergeCase>({
      {"no slices", HttpPort(), {}, {}},
      {"slices of one Service are merged, sorted by address as numbers",
       HttpPort(),
       {MakeSlice("s1", {"10.244.1.10@n1", "10.244.1.9@n2"}), MakeSlice("s2", {"10.244.0.7@n1"})},
       {"10.244.0.7:8080 local", "10.244.1.9:8080 remote", "10.244.1.10:8080 local"}},
      {"a port of another name does not match",
       HttpPort(),
       {WithPorts(MakeSlice("s1", {"10.244.1.1@n1"}), {{"web", Protocol::kTcp, 8080}})},
       {}},
      {"a port of the name but another protocol does not match",
       HttpPort(),
       {WithPorts(MakeSlice("s1", {"10.244.1.1@n1"}), {{"http", Protocol::kUdp, 8080}})},
       {}},
      {"the empty string is a name",
       {"", Protocol::kTcp, 80},
       {WithPorts(MakeSlice("s1", {"10.244.1.1@n1"}), {{"", Protocol::kTcp, 8080}}),
        MakeSlice("s2", {"10.244.1.2@n1"})},
       {"10.244.1.1:8080 local"}},
      {"one name may resolve to different ports in different slices",
       HttpPort(),
       {MakeSlice("s1", {"10.244.1.1@n1"}),
        WithPorts(MakeSlice("s2", {"10.244.1.2@n1"}), {{"http", Protocol::kTcp, 9090}})},
       {"10.244.1.1:8080 local", "10.244.1.2:9090 local"}},
      {"one address with two ports is two endpoints",
       HttpPort(),
       {MakeSlice("s1", {"10.244.1.1@n1"}),
        WithPorts(MakeSlice("s2", {"10.244.1.1@n1"}), {{"http", Protocol::kTcp, 81}})},
       {"10.244.1.1:81 local", "10.244.1.1:8080 local"}},
      {"of duplicates the one of the first slice is kept",
       HttpPort(),
       {MakeSlice("s1", {"10.244.1.1@n2"}), MakeSlice("s2", {"10.244.1.1@n2 unready"})},
       {"10.244.1.1:8080 remote"}},
      {"of duplicates a local one is kept, wherever it is",
       HttpPort(),
       {MakeSlice("s1", {"10.244.1.1@n2"}), MakeSlice("s2", {"10.244.1.1@n1 unready"}),
        MakeSlice("s3", {"10.244.1.1@n3"})},
       {"10.244.1.1:8080 local unready"}},
      {"an endpoint of no known node is not local",
       HttpPort(),
       {MakeSlice("s1", {"10.244.1.1"})},
       {"10.244.1.1:8080 remote"}},
      {"slices of the other family do not count",
       HttpPort(),
       {MakeSlice("s1", {"10.244.1.1@n1"}), MakeSlice("s2", {"fd00:244::1@n1"})},
       {"[fd00:244::1]:8080 local"},
       IpFamily::kIpv6},
      {"a slice without endpoints adds none",
       HttpPort(),
       {OfFamily(MakeSlice("s1", {}), IpFamily::kIpv4)},
       {}},
  }));
  INFO(row.name);
  const Snapshot::Slices slices = MakeSlices(row.slices);
  CHECK(DescribeMerged(MergeEndpoints(slices, row.family, row.port, "n1")) == row.expected);
}

TEST_CASE("Without a node name no endpoint is local") {
  const Snapshot::Slices slices = MakeSlices({MakeSlice("s1", {"10.244.1.1"})});
  CHECK(DescribeMerged(MergeEndpoints(slices, IpFamily::kIpv4, HttpPort(), "")) ==
        Lines{"10.244.1.1:8080 remote"});
}

TEST_CASE("The merge does not depend on the order in which slices arrive") {
  std::vector<EndpointSlice> arrivals = {
      MakeSlice("s1", {"10.244.1.1@n2", "10.244.1.2@n3"}),
      MakeSlice("s2", {"10.244.1.2@n1 unready", "10.244.1.1@n3 unready"}),
      MakeSlice("s3", {"10.244.1.1@n2 terminating", "10.244.1.2@n1"}),
  };
  const Lines expected = {"10.244.1.1:8080 remote", "10.244.1.2:8080 local unready"};
  std::sort(arrivals.begin(), arrivals.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  do {
    Snapshot snapshot;
    for (const EndpointSlice& slice : arrivals) {
      snapshot.Upsert(std::make_shared<const EndpointSlice>(slice));
    }
    CHECK(DescribeMerged(MergeEndpoints(snapshot.SlicesOf({"shop", "cart"}), IpFamily::kIpv4,
                                        HttpPort(), "n1")) == expected);
  } while (std::next_permutation(arrivals.begin(), arrivals.end(),
                                 [](const auto& a, const auto& b) { return a.name < b.name; }));
}

struct SelectCase {
  std::string name;
  Lines endpoints;
  Lines cluster;
  Lines local;
  std::string zone = "a";
  Topology topology = Topology::kNone;
};

Lines Addresses(const std::vector<PortEndpoint>& endpoints) {
  Lines addresses;
  for (const PortEndpoint& endpoint : endpoints) {
    addresses.push_back(endpoint.endpoint->address.Format());
  }
  return addresses;
}

void CheckSelection(const SelectCase& row) {
  INFO(row.name);
  const Snapshot::Slices slices = MakeSlices({MakeSlice("s1", row.endpoints)});
  const EndpointSets sets =
      SelectEndpoints(MergeEndpoints(slices, IpFamily::kIpv4, HttpPort(), "n1"), "n1", row.zone);
  CHECK(Addresses(sets.cluster) == row.cluster);
  CHECK(Addresses(sets.local) == row.local);
  CHECK(sets.topology == row.topology);
  CHECK(sets.any() == !(row.cluster.empty() && row.local.empty()));
}

TEST_CASE("Readiness decides which endpoints are used, and terminating ones are the fallback") {
  CheckSelection(GENERATE(values<SelectCase>({
      {"no endpoints: both sets are empty", {}, {}, {}},
      {"ready ones everywhere: all, and the local ones",
       {"10.0.0.1@n1", "10.0.0.2@n2"},
       {"10.0.0.1", "10.0.0.2"},
       {"10.0.0.1"}},
      {"one that is not ready is not used",
       {"10.0.0.1@n1 unready", "10.0.0.2@n2"},
       {"10.0.0.2"},
       {}},
      {"not ready but serving is not used either, as long as it does not terminate",
       {"10.0.0.1@n1 unready"},
       {},
       {}},
      {"no ready one: all that serve while they terminate, wherever they are",
       {"10.0.0.1@n1 unready terminating", "10.0.0.2@n2 unready terminating",
        "10.0.0.3@n2 unready"},
       {"10.0.0.1", "10.0.0.2"},
       {"10.0.0.1"}},
      {"terminating and not serving is never used",
       {"10.0.0.1@n1 unready terminating not-serving",
        "10.0.0.2@n2 unready terminating not-serving"},
       {},
       {}},
      {"ready wins even if it terminates",
       {"10.0.0.1@n1 terminating", "10.0.0.2@n2 unready terminating"},
       {"10.0.0.1"},
       {"10.0.0.1"}},
      {"ready counts although it does not serve, as publishNotReadyAddresses asks",
       {"10.0.0.1@n1 not-serving"},
       {"10.0.0.1"},
       {"10.0.0.1"}},
      {"the local set falls back although the cluster set does not",
       {"10.0.0.1@n1 unready terminating", "10.0.0.2@n2"},
       {"10.0.0.2"},
       {"10.0.0.1"}},
      {"only remote ones terminate: the cluster set falls back, the local set is empty",
       {"10.0.0.2@n2 unready terminating"},
       {"10.0.0.2"},
       {}},
      {"a ready local one keeps terminating local ones out of both sets",
       {"10.0.0.1@n1", "10.0.0.2@n1 unready terminating"},
       {"10.0.0.1"},
       {"10.0.0.1"}},
  })));
}

TEST_CASE("Topology hints narrow the ready endpoints of the cluster set") {
  CheckSelection(GENERATE(values<SelectCase>({
      {"zone hints: those that name this node's zone",
       {"10.0.0.1@n1 zone:b", "10.0.0.2@n2 zone:a", "10.0.0.3@n3 zone:b zone:a"},
       {"10.0.0.2", "10.0.0.3"},
       {"10.0.0.1"},
       "a",
       Topology::kZone},
      {"no zone hint names this zone: all",
       {"10.0.0.1@n2 zone:b", "10.0.0.2@n3 zone:c"},
       {"10.0.0.1", "10.0.0.2"},
       {}},
      {"one ready endpoint without a zone hint: all",
       {"10.0.0.1@n2 zone:a", "10.0.0.2@n3"},
       {"10.0.0.1", "10.0.0.2"},
       {}},
      {"one without a hint that is not ready does not count",
       {"10.0.0.1@n2 zone:a", "10.0.0.2@n3 zone:b", "10.0.0.3@n3 unready"},
       {"10.0.0.1"},
       {},
       "a",
       Topology::kZone},
      {"one that names this zone but is not ready does not count",
       {"10.0.0.1@n2 zone:a unready", "10.0.0.2@n3 zone:b"},
       {"10.0.0.2"},
       {}},
      {"a node whose zone is not known: all",
       {"10.0.0.1@n2 zone:a", "10.0.0.2@n3 zone:b"},
       {"10.0.0.1", "10.0.0.2"},
       {},
       ""},
      {"a node whose zone is not known is in none, not even in one without a name",
       {"10.0.0.1@n2 zone:", "10.0.0.2@n3 zone:b"},
       {"10.0.0.1", "10.0.0.2"},
       {},
       ""},
      {"node hints: those that name this node",
       {"10.0.0.1@n1 node:n1", "10.0.0.2@n2 node:n2", "10.0.0.3@n3 node:n3 node:n1"},
       {"10.0.0.1", "10.0.0.3"},
       {"10.0.0.1"},
       "a",
       Topology::kNode},
      {"node hints come before zone hints",
       {"10.0.0.1@n1 node:n1 zone:b", "10.0.0.2@n2 node:n2 zone:a"},
       {"10.0.0.1"},
       {"10.0.0.1"},
       "a",
       Topology::kNode},
      {"no node hint names this node: the zone hints decide",
       {"10.0.0.1@n2 node:n2 zone:a", "10.0.0.2@n3 node:n3 zone:b"},
       {"10.0.0.1"},
       {},
       "a",
       Topology::kZone},
      {"one ready endpoint without a node hint: the zone hints decide",
       {"10.0.0.1@n1 node:n1 zone:b", "10.0.0.2@n2 zone:a"},
       {"10.0.0.2"},
       {"10.0.0.1"},
       "a",
       Topology::kZone},
      {"hints do not touch the local set",
       {"10.0.0.1@n1 zone:b node:n2", "10.0.0.2@n2 zone:a node:n1"},
       {"10.0.0.2"},
       {"10.0.0.1"},
       "a",
       Topology::kNode},
      {"the fallback does not look at hints",
       {"10.0.0.1@n2 unready terminating zone:a", "10.0.0.2@n3 unready terminating zone:b"},
       {"10.0.0.1", "10.0.0.2"},
       {}},
  })));
}

}  // namespace
}  // namespace fairlead
