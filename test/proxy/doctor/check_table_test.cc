#include "expect.h"
#include "healthy_node.h"
#include "proxy/doctor/checks.h"

namespace fairlead {
namespace {

std::vector<Finding> Check(const Facts& facts) {
  return CheckTable(facts.table, facts.settings, facts.kernel);
}

TEST_CASE("the table is judged by its numbers") {
  struct Row {
    std::string name;
    std::function<void(Facts&)> change;
    std::vector<std::string> complaints;
  };
  const std::vector<Row> rows = {
      {"just few enough connections for the buckets",
       [](Facts& facts) { facts.table.connections = 4 * 4096 - 1; },
       {}},
      {"many connections in a bucket",
       [](Facts& facts) { facts.table.connections = 4 * 4096; },
       {"note table.size"}},
      {"too many connections in a bucket",
       [](Facts& facts) { facts.table.connections = 16 * 4096; },
       {"warning table.size"}},
      {"a size that cannot be read",
       [](Facts& facts) {
         facts.table.connections = 16 * 4096;
         facts.table.size.reset();
       },
       {}},
      {"just few enough entries for an old kernel",
       [](Facts& facts) {
         facts.table.virtual_servers = 9'999;
         facts.table.real_servers = 10'000;
       },
       {}},
      {"many entries on an old kernel",
       [](Facts& facts) {
         facts.table.virtual_servers = 10'000;
         facts.table.real_servers = 10'000;
       },
       {"warning table.estimators"}},
      {"many entries on a new kernel",
       [](Facts& facts) {
         facts.table.virtual_servers = 10'000;
         facts.table.real_servers = 100'000;
         facts.kernel.release = "6.2.0";
       },
       {}},
      {"many entries without statistics",
       [](Facts& facts) {
         facts.table.real_servers = 100'000;
         facts.settings.values["net.ipv4.vs.run_estimation"] = "0";
       },
       {"note table.estimators"}},
      {"connection tracking with room", [](Facts& facts) { facts.table.tracked = 45'874; }, {}},
      {"connection tracking that fills",
       [](Facts& facts) { facts.table.tracked = 45'876; },
       {"warning table.conntrack"}},
      {"connection tracking that is full",
       [](Facts& facts) { facts.table.tracked = 65'536; },
       {"error table.conntrack"}},
      {"no connection tracking",
       [](Facts& facts) {
         facts.table.tracked.reset();
         facts.table.tracked_limit.reset();
       },
       {}},
      {"a table that cannot be read",
       [](Facts& facts) { facts.table.read = absl::PermissionDeniedError("not permitted"); },
       {"error table.entries"}},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    Facts facts = HealthyNode();
    row.change(facts);
    CHECK(Complaints(Check(facts)) == row.complaints);
  }
}

TEST_CASE("numbers are told, with numbers to set") {
  Facts facts = HealthyNode();
  facts.table.connections = 300'000;
  facts.table.tracked = 60'000;
  CHECK(Only(Check(facts), "table.size") ==
        Finding{.check = "table.size",
                .severity = Severity::kWarning,
                .message = "IPVS's table of connections is small for what is in it: each packet "
                           "takes longer.",
                .evidence = "300000 connections in 4096 buckets",
                .fix = "echo 'options ip_vs conn_tab_bits=19' >/etc/modprobe.d/ip_vs.conf, and "
                       "restart the node"});
  CHECK(Only(Check(facts), "table.conntrack") ==
        Finding{.check = "table.conntrack",
                .severity = Severity::kError,
                .message = "Connection tracking is nearly full; beyond its limit new connections "
                           "are dropped.",
                .evidence = "net.netfilter.nf_conntrack_count = 60000, nf_conntrack_max = 65536: "
                            "91 %",
                .fix = "sysctl -w net.netfilter.nf_conntrack_max=131072"});
}

}  // namespace
}  // namespace fairlead
