// What is read from files.
#include <dirent.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "proxy/doctor/read_facts.h"

namespace fairlead {
namespace {

// Other programs that balance Services, or write IPVS.
constexpr absl::string_view kProxyPrograms[] = {"kube-proxy", "keepalived", "kube-router"};
// Names of bridges that container networks make.
constexpr absl::string_view kBridgePrefixes[] = {"cni", "cbr", "docker", "kube-bridge", "br-"};

std::optional<std::string> ReadText(const std::string& path) {
  std::ifstream in(path);
  if (!in) return std::nullopt;
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (in.bad()) return std::nullopt;
  return std::string(absl::StripAsciiWhitespace(text));
}

std::string ReadFirstLine(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// Of a folder; empty if it cannot be read.
std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(folder, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool Exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

std::optional<int64_t> ReadNumber(const std::string& path) {
  const std::optional<std::string> text = ReadText(path);
  int64_t number = 0;
  if (!text || !absl::SimpleAtoi(*text, &number)) return std::nullopt;
  return number;
}

// Whether a list of module files has the module. File names have '-' where the kernel has '_'.
bool ListsModule(const std::string& path, absl::string_view module) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const std::string file = std::filesystem::path(line.substr(0, line.find(':'))).filename();
    if (absl::StrReplaceAll(file.substr(0, file.find('.')), {{"-", "_"}}) == module) return true;
  }
  return false;
}

bool IsLoaded(const MachineRoots& roots, absl::string_view module) {
  if (Exists(absl::StrCat(roots.sys, "/module/", module))) return true;
  std::ifstream in(absl::StrCat(roots.proc, "/modules"));
  for (std::string line; std::getline(in, line);) {
    if (absl::StartsWith(line, absl::StrCat(module, " "))) return true;
  }
  return false;
}

// The value of a line "NAME: VALUE".
std::optional<std::string> FieldOf(const std::string& path, absl::string_view name) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    absl::string_view rest = line;
    if (absl::ConsumePrefix(&rest, name)) return std::string(absl::StripAsciiWhitespace(rest));
  }
  return std::nullopt;
}

// Devices that are bridges of containers, with a port.
std::vector<std::string> ReadBridges(const MachineRoots& roots) {
  std::vector<std::string> bridges;
  const std::string folder = absl::StrCat(roots.sys, "/class/net");
  for (const std::string& device : NamesIn(folder)) {
    const bool named =
        std::any_of(std::begin(kBridgePrefixes), std::end(kBridgePrefixes),
                    [&](absl::string_view prefix) { return absl::StartsWith(device, prefix); });
    if (named && !NamesIn(absl::StrCat(folder, "/", device, "/brif")).empty()) {
      bridges.push_back(device);
    }
  }
  return bridges;
}

}  // namespace

std::string ReadKernelRelease(const MachineRoots& roots) {
  return ReadText(absl::StrCat(roots.proc, "/sys/kernel/osrelease")).value_or("");
}

ModuleState ReadModuleState(const MachineRoots& roots, absl::string_view release,
                            absl::string_view module) {
  if (IsLoaded(roots, module)) return ModuleState::kThere;
  const std::string folder = absl::StrCat(roots.modules, "/", release);
  if (ListsModule(absl::StrCat(folder, "/modules.builtin"), module)) return ModuleState::kThere;
  if (!Exists(absl::StrCat(folder, "/modules.dep"))) return ModuleState::kUnknown;
  return ListsModule(absl::StrCat(folder, "/modules.dep"), module) ? ModuleState::kLoadable
                                                                   : ModuleState::kMissing;
}

SettingFacts ReadSettings(const MachineRoots& roots, const std::vector<std::string>& names) {
  SettingFacts facts;
  const std::string folder = absl::StrCat(roots.proc, "/sys");
  for (const std::string& name : names) {
    facts.values[name] =
        ReadText(absl::StrCat(folder, "/", absl::StrReplaceAll(name, {{".", "/"}})));
  }
  const std::string devices = absl::StrCat(folder, "/net/ipv4/conf");
  for (const std::string& device : NamesIn(devices)) {
    // What `all` and `default` say is not of a device; the larger of a device's and `all` counts.
    if (device == "default") continue;
    facts.values[absl::StrCat("net.ipv4.conf.", device, ".rp_filter")] =
        ReadText(absl::StrCat(devices, "/", device, "/rp_filter"));
  }
  struct statvfs mount = {};
  facts.read_only = statvfs(folder.c_str(), &mount) == 0 && (mount.f_flag & ST_RDONLY) != 0;
  facts.bridges = ReadBridges(roots);
  return facts;
}

TableFacts ReadTableSizes(const MachineRoots& roots) {
  TableFacts facts;
  // "IP Virtual Server version 1.2.1 (size=4096)"
  const std::string title = ReadFirstLine(absl::StrCat(roots.proc, "/net/ip_vs"));
  constexpr absl::string_view kSize = "(size=";
  if (const size_t at = title.find(kSize.data(), 0, kSize.size()); at != std::string::npos) {
    int64_t size = 0;
    const std::string rest = title.substr(at + kSize.size());
    if (absl::SimpleAtoi(rest.substr(0, rest.find(')')), &size)) facts.size = size;
  }
  const std::string tracking = absl::StrCat(roots.proc, "/sys/net/netfilter/nf_conntrack_");
  facts.tracked = ReadNumber(absl::StrCat(tracking, "count"));
  facts.tracked_limit = ReadNumber(absl::StrCat(tracking, "max"));
  return facts;
}

ProxyFacts ReadProxies(const MachineRoots& roots) {
  ProxyFacts facts;
  for (const std::string& pid : NamesIn(roots.proc)) {
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string name = ReadText(absl::StrCat(roots.proc, "/", pid, "/comm")).value_or("");
    const auto* end = std::end(kProxyPrograms);
    if (std::find(std::begin(kProxyPrograms), end, name) == end) continue;
    if (std::find(facts.processes.begin(), facts.processes.end(), name) == facts.processes.end()) {
      facts.processes.push_back(name);
    }
  }
  std::sort(facts.processes.begin(), facts.processes.end());
  facts.kube_ipvs_device = Exists(absl::StrCat(roots.sys, "/class/net/kube-ipvs0"));
  for (const char* map : {"cilium_lb4_services_v2", "cilium_lb6_services_v2"}) {
    if (Exists(absl::StrCat(roots.sys, "/fs/bpf/tc/globals/", map))) facts.cilium_maps = true;
  }
  return facts;
}

std::optional<AgentProcessFacts> ReadAgentProcess(const MachineRoots& roots, pid_t pid) {
  const std::string folder = absl::StrCat(roots.proc, "/", pid);
  const std::optional<std::string> capabilities =
      FieldOf(absl::StrCat(folder, "/status"), "CapEff:");
  const std::optional<std::string> files =
      FieldOf(absl::StrCat(folder, "/limits"), "Max open files");
  AgentProcessFacts facts;
  if (!capabilities || !files || !absl::SimpleHexAtoi(*capabilities, &facts.capabilities)) {
    return std::nullopt;
  }
  const std::string soft = files->substr(0, files->find(' '));
  if (soft == "unlimited") {
    facts.open_files_limit = UINT64_MAX;
  } else if (!absl::SimpleAtoi(soft, &facts.open_files_limit)) {
    return std::nullopt;
  }
  return facts;
}

void ParseChains(absl::string_view listing, ProxyFacts& proxies) {
  std::string table;
  for (absl::string_view line : absl::StrSplit(listing, '\n')) {
    if (absl::ConsumePrefix(&line, "table ")) {
      table = std::string(absl::StripSuffix(line, " {"));
      proxies.nft_tables.push_back(table);
      continue;
    }
    line = absl::StripAsciiWhitespace(line);
    if (absl::ConsumePrefix(&line, "chain KUBE-")) {
      proxies.iptables_chains.push_back(
          absl::StrCat(table, " KUBE-", absl::StripSuffix(line, " {")));
    }
  }
}

void ParseIptablesSave(absl::string_view text, absl::string_view family, ProxyFacts& proxies) {
  std::string table;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::ConsumePrefix(&line, "*")) table = std::string(line);
    if (!absl::ConsumePrefix(&line, ":KUBE-")) continue;
    proxies.iptables_chains.push_back(
        absl::StrCat(family, " ", table, " KUBE-", line.substr(0, line.find(' '))));
  }
}

std::string ParseNftVersion(absl::string_view text) {
  if (!absl::ConsumePrefix(&text, "nftables v")) return "";
  return std::string(text.substr(0, text.find_first_of(" \n")));
}

}  // namespace fairlead
