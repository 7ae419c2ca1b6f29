// Somebody flushes and edits what is Fairlead's, and finds it as it was a moment later.
#include <stdlib.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <future>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "proxy/kernel/sysctl.h"
#include "test/lab/requirements.h"
#include "test/life/stage.h"
#include "test/life/summary.h"

namespace fairlead::lab {
namespace {

// A flush is repaired within a second, anything within the audit's cycle of ten: the figures that
// are printed are to be held against that. Measured from the start of the command that does it, on
// an emulated machine that may have much else to do, which is what these limits leave room for.
constexpr absl::Duration kFlushRepaired = absl::Seconds(20);
constexpr absl::Duration kEditRepaired = absl::Seconds(60);

// What somebody else has on the node, made again where it is not there.
constexpr char kMakeForeign[] = R"(
ipvsadm -A -t 192.0.2.1:80 -s lc 2>/dev/null
ipvsadm -a -t 192.0.2.1:80 -r 192.0.2.2:80 -m -w 3 2>/dev/null
ipvsadm -A -f 77 -s wrr 2>/dev/null
ipvsadm -a -f 77 -r 192.0.2.3 -m -w 2 2>/dev/null
nft -f - <<'END'
table ip theirs {
  set addresses { type ipv4_addr; elements = { 192.0.2.4, 192.0.2.5 }; }
  chain input { type filter hook input priority 0; ip saddr @addresses drop; }
}
END
ip route replace local 192.0.2.6 dev lo table local proto 118
ip route replace blackhole 192.0.2.64/26 proto static
ip address replace 192.0.2.7/32 dev lo
true)";

constexpr char kShowForeign[] = R"(
ipvsadm --save -n | grep -e 192.0.2. -e '-f 77'
nft list ruleset | sed -n '/^table ip theirs/,/^}/p' | sort -u
ip route show table all | grep -F 192.0.2.
ip address show dev lo | grep -F 192.0.2.
true)";

// The chains of the firewall; its elements are compared with the plan.
constexpr char kShowRuleset[] = "nft -t list table inet fairlead";

struct Harm {
  std::string name;
  std::string command;
  // One of the kinds by which the repair is counted; others may be counted too. Empty: none is.
  std::string kind;
  absl::Duration within = kEditRepaired;
  // It takes something that is not Fairlead's too.
  bool harms_others = false;
};

// The address's route is replaced, and the node's own address is taken from it for a moment; both
// take with them what belongs to others, which is put back.
constexpr char kLoseAddress[] = R"(
routes=$(ip route show | grep -v 'proto kernel')
ip address del 172.18.0.11/24 dev eth0
ip address add 172.18.0.11/24 dev eth0
echo "$routes" | sed 's/^/route replace /' | ip -batch -)";

std::vector<Harm> Harms(const Stage& stage) {
  const ServiceShape web = stage.Web();
  const std::string server = absl::StrCat("-t ", web.cluster_ip, ":80");
  const std::string real = absl::StrCat("-r ", stage.Endpoint("web-1").address, ":8080");
  const std::string port = absl::StrCat("{ ", web.cluster_ip, " . tcp . 80 }");
  std::vector<Harm> harms = {
      {"IPVS flushed", "ipvsadm -C", "virtual_server", kFlushRepaired, true},
      {"virtual server deleted", "ipvsadm -D " + server, "virtual_server"},
      {"scheduler changed", absl::StrCat("ipvsadm -E ", server, " -s wlc"), "virtual_server"},
      {"persistence added", absl::StrCat("ipvsadm -E ", server, " -s rr -p 60"), "virtual_server"},
      {"real server deleted", absl::StrCat("ipvsadm -d ", server, " ", real), "real_server"},
      {"weight changed", absl::StrCat("ipvsadm -e ", server, " ", real, " -m -w 7"), "real_server"},
      {"weight taken", absl::StrCat("ipvsadm -e ", server, " ", real, " -m -w 0"), "real_server"},
      {"real server added", absl::StrCat("ipvsadm -a ", server, " -r 10.245.9.9:8080 -m -w 1"),
       "real_server"},
      {"all of nftables flushed", "nft flush ruleset", "ruleset", kFlushRepaired, true},
      {"nftables table deleted", "nft delete table inet fairlead", "ruleset", kFlushRepaired},
      {"nftables table flushed of rules", "nft flush table inet fairlead", "ruleset",
       kFlushRepaired},
      {"chain flushed", "nft flush chain inet fairlead guard", "ruleset"},
      {"rule added", "nft insert rule inet fairlead input ip daddr 192.0.2.99 drop", "ruleset"},
      {"set flushed", "nft flush set inet fairlead served4", "element"},
      {"record of ownership flushed", "nft flush set inet fairlead owned4", "element"},
      {"element deleted", "nft delete element inet fairlead served4 " + port, "element"},
      {"element added", "nft add element inet fairlead drop4 " + port, "element"},
      {"route deleted", absl::StrCat("ip route del local ", web.cluster_ip, " table local"),
       "route"},
      {"routes flushed", "ip route flush table local proto 119", "route", kFlushRepaired},
      {"route with another source",
       absl::StrCat("ip route replace local ", web.cluster_ip,
                    " dev lo table local proto 119 src 192.0.2.7"),
       "route"},
      {"lo down and up", "ip link set lo down; ip link set lo up", "", kEditRepaired, true},
      // The agent follows the node's addresses, and so puts back what went with one.
      {"the node's address taken and given back", kLoseAddress, "", kEditRepaired, true},
  };
  std::vector<std::string> settings;
  for (const Sysctl& sysctl : RequiredSysctls({IpFamily::kIpv4, IpFamily::kIpv6})) {
    settings.push_back(sysctl.name + "=0");
  }
  harms.push_back(
      {"sysctls changed", absl::StrCat("sysctl -q -w ", absl::StrJoin(settings, " ")), "sysctl"});
  return harms;
}

// Names of required settings that have not the value they need.
std::vector<std::string> WrongSysctls(const Stage& stage) {
  std::vector<std::string> wrong;
  for (const Sysctl& sysctl : RequiredSysctls({IpFamily::kIpv4, IpFamily::kIpv6})) {
    const std::string value = stage.Run("sysctl -n " + sysctl.name);
    if (value != sysctl.value + "\n") wrong.push_back(absl::StrCat(sysctl.name, " = ", value));
  }
  return wrong;
}

// What is not as it was; empty if all is.
std::string Broken(const Stage& stage, const std::string& ruleset) {
  std::string broken = stage.DifferenceNow();
  if (stage.TryRun(kShowRuleset).value_or("") != ruleset) absl::StrAppend(&broken, "ruleset\n");
  return absl::StrCat(broken, absl::StrJoin(WrongSysctls(stage), ""));
}

using Repairs = std::map<std::string, int64_t>;

// By kind, those that `before` does not have yet.
Repairs RepairsSince(const Stage& stage, const Repairs& before) {
  Repairs repairs = stage.ByKind("fairlead_repairs_total");
  for (const auto& [kind, count] : before) repairs[kind] -= count;
  return repairs;
}

TEST_CASE("What somebody changes by hand is repaired, and what is theirs is left alone") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  stage.StartAgent({"--drain-timeout", "5s"});
  stage.AwaitPlan();
  const std::string ruleset = stage.Run(kShowRuleset);
  // One kind alone, for whoever looks into it.
  const char* wanted = getenv("FAIRLEAD_LIFE_HARM");
  const std::string only = wanted == nullptr ? "" : wanted;

  std::vector<FlowSummary> all;
  std::vector<std::string> lines;
  Repairs repairs;
  for (const Harm& harm : Harms(stage)) {
    if (!absl::StrContains(harm.name, only)) continue;
    INFO(harm.name << ": " << harm.command);
    stage.Run(kMakeForeign);
    Traffic traffic(stage.Flows());
    REQUIRE(traffic.AwaitAnswers(Agent::kPatience));
    const auto before = stage.ByKind("fairlead_repairs_total");
    const std::string foreign_before = stage.Run(kShowForeign);
    const size_t log_before = stage.AgentLog().size();

    traffic.Note(harm.name);
    const absl::Time start = absl::Now();
    auto repaired = std::async(std::launch::async, [&] {
      if (harm.kind.empty()) return absl::ZeroDuration();
      // A repair is logged; what is logged is read without the agent.
      size_t log_size = log_before;
      const bool counted = WaitUntil(harm.within + Agent::kPatience / 2, [&] {
        const size_t now = stage.AgentLog().size();
        if (std::exchange(log_size, now) == now) return false;
        return RepairsSince(stage, before)[harm.kind] > 0;
      });
      return counted ? absl::Now() - start : absl::InfiniteDuration();
    });
    const auto foreign =
        stage.TryRun(absl::StrCat("{ ", harm.command, "\n} || exit\n", kShowForeign));
    const absl::Duration took = repaired.get();
    INFO(stage.AgentLog().substr(log_before));
    INFO(foreign.status());
    REQUIRE(foreign.ok());
    CHECK(took < harm.within);
    // The rest of what is broken follows at once, or when the audit gets there.
    std::string broken;
    WaitUntil(kEditRepaired, [&] { return (broken = Broken(stage, ruleset)).empty(); });
    CHECK(broken == "");
    CHECK(traffic.AwaitAnswers(Agent::kPatience));
    if (!harm.harms_others) CHECK(*foreign == foreign_before);
    CHECK(stage.Run(kShowForeign) == *foreign);
    for (const auto& [kind, count] : RepairsSince(stage, before)) repairs[kind] += count;
    const FlowSummary total = Total(traffic.Stop());
    all.push_back(total);
    lines.push_back(absl::StrCat(
        harm.name, ": ",
        harm.kind.empty() ? "no repair counted" : absl::StrCat("repaired after ", Brief(took)),
        "; ", total.failed, " of ", total.requests, " requests failed, ", total.lost, " of ",
        total.held, " connections lost, worst gap ", Brief(total.worst_gap)));
    std::printf("%s\n", lines.back().c_str());
    if (total.failed > 0) std::printf("  first %s\n", total.failures[0].what.c_str());
    std::fflush(stdout);
  }
  REQUIRE_FALSE(lines.empty());
  std::string by_kind;
  for (const auto& [kind, count] : repairs) absl::StrAppend(&by_kind, ", ", count, " ", kind);
  Conclude({.name = "flushes and edits by hand",
            .traffic = Total(all),
            .counted = absl::StrCat(lines.size(), " kinds of harm; repaired", by_kind)});
}

}  // namespace
}  // namespace fairlead::lab
