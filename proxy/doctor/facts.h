// What `fairlead doctor` has read of a node. Values: who reads them is read_facts.h, what follows
// from them checks.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "ipvs/ip_address.h"
#include "ipvs/types.h"

namespace fairlead {

enum class ModuleState : uint8_t {
  kThere,     // Loaded, or built in.
  kLoadable,  // Its file is there.
  kMissing,   // Nor is its file.
  kUnknown,   // The kernel's modules cannot be seen from here.
};

struct KernelFacts {
  std::string release;  // "6.1.0-56-cloud-amd64".
  std::map<std::string, ModuleState> modules;
  // Whether the kernel answers for IPVS.
  absl::Status ipvs;
  // Of each scheduler that was tried; NOT_FOUND: the kernel does not have it. Other errors: it
  // could not be tried.
  std::map<std::string, absl::Status> schedulers;
  std::string nft_version;  // "1.0.6"; empty: the program cannot be run.
  // Fairlead's ruleset, loaded in a network namespace made for it. PERMISSION_DENIED: it could not
  // be tried.
  absl::Status ruleset;
};

struct SettingFacts {
  // By name; nullopt: there is no such setting.
  std::map<std::string, std::optional<std::string>> values;
  // /proc/sys cannot be written from here.
  bool read_only = false;
  // Devices that connect pods or containers on the link layer, with at least one port.
  std::vector<std::string> bridges;
  // VIPs of Fairlead's routes that are in a subnet of one of the node's devices.
  std::vector<IpAddress> vips_in_subnets;
};

struct TableFacts {
  absl::Status read;  // Of everything here but connection tracking and the size.
  size_t virtual_servers = 0;
  size_t real_servers = 0;
  uint64_t connections = 0;
  // Not Fairlead's, sorted.
  std::vector<ipvs::VirtualServerKey> foreign;
  // Buckets of the table of connections.
  std::optional<int64_t> size;
  std::optional<int64_t> tracked;  // nf_conntrack_count.
  std::optional<int64_t> tracked_limit;
};

struct ProxyFacts {
  // Of the programs that are known to write what Fairlead writes, those that run.
  std::vector<std::string> processes;
  bool kube_ipvs_device = false;
  // "ip kube-proxy".
  std::vector<std::string> nft_tables;
  // Chains KUBE-… of iptables, with their table: "ip nat KUBE-SERVICES".
  std::vector<std::string> iptables_chains;
  // Cilium's maps for balancing are pinned.
  bool cilium_maps = false;
};

struct ClockFacts {
  // nullopt: the kernel was not to be asked.
  std::optional<bool> synchronised;
  absl::Duration largest_error;
  absl::Time now;
  // The newest of Fairlead's own files.
  std::optional<absl::Time> newest_file;
};

struct RightsFacts {
  uint64_t capabilities = 0;  // Bits of those in effect, of this process.
  // Whether a socket may have a larger buffer than net.core.rmem_max.
  bool large_buffers = false;
  int64_t largest_buffer = 0;  // That setting, in bytes.
};

struct StateFolderFacts {
  std::string path;
  bool exists = false;
  bool writable = false;
  uint64_t free_bytes = 0;
  std::optional<uint64_t> free_files;  // nullopt: this file system has no limit of files.
};

// Of /proc/PID.
struct AgentProcessFacts {
  uint64_t capabilities = 0;  // Bits of those in effect.
  uint64_t open_files_limit = 0;
};

struct AgentFacts {
  absl::Status asked;
  std::string socket;
  std::string version;
  std::string own_version;  // This program's.
  bool complete = false;    // It has had a complete picture.
  bool programmed = false;  // And has carried it out.
  uint64_t revision = 0;
  std::vector<std::string> failures;  // "OBJECT: MESSAGE".
  size_t warnings = 0;
  bool connected = false;
  std::string feeder;
  // When the picture was last known to be the newest; InfinitePast before the first.
  absl::Time current_as_of = absl::InfinitePast();
  bool saved_picture = false;
  std::optional<AgentProcessFacts> process;
};

struct Facts {
  KernelFacts kernel;
  SettingFacts settings;
  TableFacts table;
  ProxyFacts proxies;
  ClockFacts clock;
  RightsFacts rights;
  StateFolderFacts state;
  AgentFacts agent;
};

}  // namespace fairlead
