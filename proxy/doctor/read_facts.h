// Reads a node for `fairlead doctor`. Nothing is written, but for what is tried in network
// namespaces that are made for it and go with it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proxy/doctor/facts.h"

namespace fairlead {

// Where the files of a machine are. Tests have folders of their own.
struct MachineRoots {
  std::string proc = "/proc";
  std::string sys = "/sys";
  std::string modules = "/lib/modules";
};

// From files alone.
std::string ReadKernelRelease(const MachineRoots& roots);
ModuleState ReadModuleState(const MachineRoots& roots, absl::string_view release,
                            absl::string_view module);
// `read_only`, `bridges` and the values of `names`.
SettingFacts ReadSettings(const MachineRoots& roots, const std::vector<std::string>& names);
// Sizes and connection tracking.
TableFacts ReadTableSizes(const MachineRoots& roots);
// Processes and devices.
ProxyFacts ReadProxies(const MachineRoots& roots);
std::optional<AgentProcessFacts> ReadAgentProcess(const MachineRoots& roots, pid_t pid);
// Adds to `proxies` what `nft list chains` or `iptables-save` printed.
void ParseChains(absl::string_view listing, ProxyFacts& proxies);
void ParseIptablesSave(absl::string_view text, absl::string_view family, ProxyFacts& proxies);
// "1.0.6" of "nftables v1.0.6 (Lester Gooch #5)".
std::string ParseNftVersion(absl::string_view text);

struct NodeQuestions {
  std::string state_folder;
  // Tried besides "rr", and "mh", which affinity to external addresses needs.
  std::vector<std::string> schedulers;
};

// Everything but the agent: asks the kernel too, and runs `nft` and, where there are tables of
// legacy iptables, its programs. Call it on a thread that may stay in its network namespace.
Facts ReadNode(const NodeQuestions& questions, const MachineRoots& roots = {});

}  // namespace fairlead
