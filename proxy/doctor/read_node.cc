// What is asked of the kernel and of programs.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <filesystem>
#include <set>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "ipvs/kernel_table.h"
#include "ipvs/scheduler_probe.h"
#include "proxy/doctor/checks.h"
#include "proxy/doctor/read_facts.h"
#include "proxy/kernel/modules.h"
#include "proxy/kernel/netlink_routes.h"
#include "proxy/kernel/nft_firewall.h"
#include "proxy/kernel/nft_program.h"
#include "proxy/kernel/ruleset.h"
#include "proxy/kernel/sysctl.h"

namespace fairlead {
namespace {

// What a program printed, of at most kMaxOutput bytes; empty if it cannot be run. `command` is one
// of ours, for a shell.
std::string OutputOf(const char* command) {
  constexpr size_t kMaxOutput = 16 << 20;
  FILE* pipe = popen(command, "re");
  if (pipe == nullptr) return "";
  std::string output;
  char buffer[4096];
  size_t size = 0;
  while ((size = fread(buffer, 1, sizeof(buffer), pipe)) > 0) {
    if (output.size() < kMaxOutput) output.append(buffer, size);
  }
  pclose(pipe);
  return output;
}

// In a network namespace that goes with the thread.
absl::Status TryRuleset() {
  absl::Status status;
  std::thread thread([&status] {
    if (unshare(CLONE_NEWNET) != 0) {
      status = absl::PermissionDeniedError("a network namespace to try it in cannot be made");
      return;
    }
    status = RunNft(RulesetText(RulesetConfig()));
  });
  thread.join();
  return status;
}

// Prefixes of the node's devices.
std::vector<IpPrefix> ReadSubnets() {
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return {};
  const absl::Cleanup free_all = [first] { freeifaddrs(first); };
  std::vector<IpPrefix> subnets;
  for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
    // Only IPv4 has ARP.
    if (entry->ifa_addr == nullptr || entry->ifa_netmask == nullptr) continue;
    if (entry->ifa_addr->sa_family != AF_INET || (entry->ifa_flags & IFF_LOOPBACK) != 0) continue;
    char text[INET_ADDRSTRLEN] = "";
    const auto* address = reinterpret_cast<const sockaddr_in*>(entry->ifa_addr);
    const auto* mask = reinterpret_cast<const sockaddr_in*>(entry->ifa_netmask);
    const in_addr network = {address->sin_addr.s_addr & mask->sin_addr.s_addr};
    if (inet_ntop(AF_INET, &network, text, sizeof(text)) == nullptr) continue;
    const int length = std::popcount(mask->sin_addr.s_addr);
    if (absl::StatusOr<IpPrefix> prefix = IpPrefix::Parse(absl::StrCat(text, "/", length));
        prefix.ok()) {
      subnets.push_back(*prefix);
    }
  }
  return subnets;
}

std::vector<IpAddress> ReadVipsInSubnets() {
  auto routes = NetlinkRoutes::Open();
  if (!routes.ok()) return {};
  const auto dump = (*routes)->Dump();
  if (!dump.ok()) return {};
  const std::vector<IpPrefix> subnets = ReadSubnets();
  std::vector<IpAddress> vips;
  for (const VipRoute& route : *dump) {
    if (std::any_of(subnets.begin(), subnets.end(),
                    [&](const IpPrefix& subnet) { return subnet.Contains(route.vip); })) {
      vips.push_back(route.vip);
    }
  }
  return vips;
}

// The record of what Fairlead made; empty where there is none.
absl::StatusOr<std::set<Element>> ReadOwned() {
  auto firewall = NftFirewall::Open();
  if (!firewall.ok()) return firewall.status();
  const auto dump = (*firewall)->Dump();
  if (absl::IsNotFound(dump.status())) return std::set<Element>();
  if (!dump.ok()) return dump.status();
  return std::set<Element>(dump->begin(), dump->end());
}

absl::Status ReadTable(TableFacts& facts) {
  auto table = ipvs::KernelTable::Open();
  if (!table.ok()) return table.status();
  const auto servers = (*table)->Dump();
  if (!servers.ok()) return servers.status();
  const absl::StatusOr<std::set<Element>> owned = ReadOwned();
  if (!owned.ok()) return owned.status();
  facts.virtual_servers = servers->size();
  for (const ipvs::VirtualServer& server : *servers) {
    facts.real_servers += server.real_servers.size();
    for (const ipvs::RealServer& real_server : server.real_servers) {
      facts.connections += real_server.active_connections + real_server.inactive_connections;
    }
    if (!owned->contains(OwnedElement(server.key))) facts.foreign.push_back(server.key);
  }
  return absl::OkStatus();
}

KernelFacts ReadKernel(const NodeQuestions& questions, const MachineRoots& roots) {
  KernelFacts facts;
  facts.release = ReadKernelRelease(roots);
  facts.ipvs = ipvs::KernelTable::Open().status();
  std::set<std::string> schedulers = {"rr", "mh"};
  schedulers.insert(questions.schedulers.begin(), questions.schedulers.end());
  if (facts.ipvs.ok()) {
    for (const std::string& name : schedulers) facts.schedulers[name] = ipvs::ProbeScheduler(name);
  }
  facts.nft_version = ParseNftVersion(OutputOf("nft --version 2>/dev/null"));
  facts.ruleset = facts.nft_version.empty()
                      ? absl::PermissionDeniedError("there is no program nft to try it with")
                      : TryRuleset();
  // After all that has had the kernel load them.
  for (const std::string& name : NeededModules()) {
    facts.modules[name] = ReadModuleState(roots, facts.release, name);
  }
  return facts;
}

void ReadRules(const MachineRoots& roots, ProxyFacts& proxies) {
  ParseChains(OutputOf("timeout 30 nft list chains 2>/dev/null"), proxies);
  // Only where the kernel has tables of that kind: asking would make it load them.
  for (const auto& [names, command, family] :
       {std::tuple("/net/ip_tables_names", "timeout 30 iptables-legacy-save 2>/dev/null", "ip"),
        {"/net/ip6_tables_names", "timeout 30 ip6tables-legacy-save 2>/dev/null", "ip6"}}) {
    std::error_code error;
    if (!std::filesystem::exists(absl::StrCat(roots.proc, names), error)) continue;
    ParseIptablesSave(OutputOf(command), family, proxies);
  }
}

ClockFacts ReadClock(const std::string& state_folder) {
  ClockFacts facts;
  timex clock = {};
  if (adjtimex(&clock) >= 0) {
    facts.synchronised = (clock.status & STA_UNSYNC) == 0;
    facts.largest_error = absl::Microseconds(clock.maxerror);
  }
  facts.now = absl::Now();
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(state_folder, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    struct stat file = {};
    if (stat(entry->path().c_str(), &file) != 0 || !S_ISREG(file.st_mode)) continue;
    const absl::Time written = absl::TimeFromTimespec(file.st_mtim);
    facts.newest_file = std::max(facts.newest_file.value_or(written), written);
  }
  return facts;
}

RightsFacts ReadRights(const MachineRoots& roots) {
  RightsFacts facts;
  if (const auto self = ReadAgentProcess(roots, getpid())) facts.capabilities = self->capabilities;
  const int probe = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
  const int size = 1 << 20;
  if (probe >= 0) {
    facts.large_buffers = setsockopt(probe, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) == 0;
    close(probe);
  }
  const SettingFacts settings = ReadSettings(roots, {"net.core.rmem_max"});
  if (const auto& value = settings.values.at("net.core.rmem_max")) {
    facts.largest_buffer = std::strtoll(value->c_str(), nullptr, 10);
  }
  return facts;
}

StateFolderFacts ReadStateFolder(const std::string& path) {
  StateFolderFacts facts = {.path = path};
  struct statvfs volume = {};
  if (statvfs(path.c_str(), &volume) != 0) return facts;
  facts.exists = true;
  facts.writable = access(path.c_str(), W_OK | X_OK) == 0;
  facts.free_bytes = uint64_t{volume.f_bavail} * volume.f_frsize;
  if (volume.f_files > 0) facts.free_files = volume.f_favail;
  return facts;
}

std::vector<std::string> SettingNames() {
  std::vector<std::string> names = WatchedSettings();
  for (const Sysctl& sysctl : RequiredSysctls({IpFamily::kIpv4, IpFamily::kIpv6})) {
    names.push_back(sysctl.name);
  }
  return names;
}

}  // namespace

Facts ReadNode(const NodeQuestions& questions, const MachineRoots& roots) {
  Facts facts;
  facts.kernel = ReadKernel(questions, roots);
  facts.settings = ReadSettings(roots, SettingNames());
  facts.settings.vips_in_subnets = ReadVipsInSubnets();
  facts.table = ReadTableSizes(roots);
  facts.table.read = ReadTable(facts.table);
  facts.proxies = ReadProxies(roots);
  ReadRules(roots, facts.proxies);
  facts.clock = ReadClock(questions.state_folder);
  facts.rights = ReadRights(roots);
  facts.state = ReadStateFolder(questions.state_folder);
  return facts;
}

}  // namespace fairlead
