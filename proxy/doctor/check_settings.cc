#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proxy/doctor/checks.h"
#include "proxy/kernel/sysctl.h"

namespace fairlead {
namespace {

constexpr char kBridgeCalls[] = "net.bridge.bridge-nf-call-iptables";

// nullopt: there is no such setting.
std::optional<std::string> ValueOf(const SettingFacts& settings, const std::string& name) {
  const auto found = settings.values.find(name);
  return found == settings.values.end() ? std::nullopt : found->second;
}

int64_t NumberOf(const std::optional<std::string>& value) {
  int64_t number = 0;
  return value && absl::SimpleAtoi(*value, &number) ? number : 0;
}

std::string SetCommand(absl::string_view name, absl::string_view value) {
  return absl::StrCat("sysctl -w ", name, "=", value, "; for good: echo '", name, " = ", value,
                      "' >>/etc/sysctl.d/90-fairlead.conf");
}

std::string Equals(absl::string_view name, absl::string_view value) {
  return absl::StrCat(name, " = ", value);
}

bool IsAsWanted(const Sysctl& sysctl, const std::string& value) {
  int64_t number = 0;
  int64_t least = 0;
  if (value == sysctl.value) return true;
  return sysctl.minimum && absl::SimpleAtoi(value, &number) &&
         absl::SimpleAtoi(sysctl.value, &least) && number > least;
}

// How much is lost without it.
Severity WithoutIt(const Sysctl& sysctl, const SettingFacts& settings) {
  if (absl::StrContains(sysctl.name, "forward") || sysctl.name == "net.ipv4.vs.conntrack") {
    return Severity::kError;
  }
  const bool draws_others = sysctl.name == "net.ipv4.conf.all.arp_ignore";
  return draws_others && !settings.vips_in_subnets.empty() ? Severity::kError : Severity::kWarning;
}

Finding CheckRequired(const Sysctl& sysctl, const SettingFacts& settings) {
  Finding finding = {.check = absl::StrCat("settings.", sysctl.name), .message = sysctl.reason};
  const std::optional<std::string> value = ValueOf(settings, sysctl.name);
  if (!value) {
    // Those of IPVS are there once its module is; without IPv6 there is none to forward.
    finding.severity = Severity::kNote;
    finding.message = absl::StrCat("The kernel has no setting ", sysctl.name, ".");
    finding.evidence = "no such file below /proc/sys";
    if (absl::StartsWith(sysctl.name, "net.ipv4.vs.")) finding.fix = "modprobe ip_vs";
    return finding;
  }
  finding.evidence = Equals(sysctl.name, *value);
  if (IsAsWanted(sysctl, *value)) return finding;
  finding.severity = WithoutIt(sysctl, settings);
  finding.message = absl::StrCat(sysctl.name, " has to be ", sysctl.minimum ? "at least " : "",
                                 sysctl.value, ". ", sysctl.reason);
  if (finding.severity == Severity::kError && sysctl.minimum) {
    absl::StrAppend(
        &finding.evidence, "; in a subnet of the node: ",
        absl::StrJoin(settings.vips_in_subnets, ", ", [](std::string* out, const IpAddress& vip) {
          absl::StrAppend(out, vip.Format());
        }));
  }
  finding.fix = SetCommand(sysctl.name, sysctl.value);
  if (settings.read_only) absl::StrAppend(&finding.fix, " (on the node: it is read-only here)");
  return finding;
}

// Strict filtering by source on any device.
Finding CheckReversePaths(const SettingFacts& settings) {
  std::vector<std::string> strict;
  for (const auto& [name, value] : settings.values) {
    if (absl::EndsWith(name, ".rp_filter") && value == "1") strict.push_back(Equals(name, "1"));
  }
  Finding finding = {.check = "settings.rp_filter",
                     .message = "No device drops packets for the way that they came.",
                     .evidence = "no rp_filter is 1"};
  if (strict.empty()) return finding;
  finding.severity = Severity::kNote;
  finding.message =
      "Packets are dropped that come in by another device than the one that leads "
      "back; with several ways between nodes that loses replies.";
  finding.evidence = absl::StrJoin(strict, ", ");
  finding.fix =
      "only where nodes have several ways to each other: sysctl -w "
      "net.ipv4.conf.all.rp_filter=2";
  return finding;
}

Finding CheckBridges(const SettingFacts& settings) {
  const std::optional<std::string> calls = ValueOf(settings, kBridgeCalls);
  const bool passes = calls == "1";
  Finding finding = {
      .check = absl::StrCat("settings.", kBridgeCalls),
      .message = "Replies between pods of one bridge come back through IPVS.",
      .evidence =
          absl::StrCat(calls ? Equals(kBridgeCalls, *calls)
                             : absl::StrCat("no ", kBridgeCalls, ": br_netfilter is not loaded"),
                       "; bridges: ",
                       settings.bridges.empty() ? "none" : absl::StrJoin(settings.bridges, ", "))};
  if (passes || settings.bridges.empty()) return finding;
  finding.severity = Severity::kNote;
  finding.message =
      "Pods on one bridge that reach each other directly, and not by way of the node, "
      "get replies of a Service past IPVS, which they refuse.";
  finding.fix = absl::StrCat(
      "where pods have addresses of one subnet on such a bridge: modprobe "
      "br_netfilter; sysctl -w ",
      kBridgeCalls, "=1");
  return finding;
}

// Of IPVS's own defences, which drop what is good while memory is short, or always.
Finding CheckDefences(const SettingFacts& settings) {
  std::vector<std::string> always;
  for (const char* name :
       {"net.ipv4.vs.drop_entry", "net.ipv4.vs.drop_packet", "net.ipv4.vs.secure_tcp"}) {
    if (NumberOf(ValueOf(settings, name)) >= 2) {
      always.push_back(Equals(name, *ValueOf(settings, name)));
    }
  }
  Finding finding = {.check = "settings.defences",
                     .message = "IPVS drops nothing to defend itself.",
                     .evidence = "drop_entry, drop_packet and secure_tcp are below 2"};
  if (always.empty()) return finding;
  finding.severity = Severity::kWarning;
  finding.message = "IPVS drops connections or packets to defend itself.";
  finding.evidence = absl::StrJoin(always, ", ");
  finding.fix =
      "sysctl -w net.ipv4.vs.drop_entry=0 net.ipv4.vs.drop_packet=0 "
      "net.ipv4.vs.secure_tcp=0";
  return finding;
}

}  // namespace

std::vector<std::string> WatchedSettings() {
  return {kBridgeCalls,
          "net.ipv4.conf.all.rp_filter",
          "net.ipv4.vs.drop_entry",
          "net.ipv4.vs.drop_packet",
          "net.ipv4.vs.run_estimation",
          "net.ipv4.vs.secure_tcp"};
}

std::vector<Finding> CheckSettings(const SettingFacts& settings) {
  std::vector<Finding> findings;
  for (const Sysctl& sysctl : RequiredSysctls({IpFamily::kIpv4, IpFamily::kIpv6})) {
    findings.push_back(CheckRequired(sysctl, settings));
  }
  findings.push_back(CheckReversePaths(settings));
  findings.push_back(CheckBridges(settings));
  findings.push_back(CheckDefences(settings));
  return findings;
}

}  // namespace fairlead
