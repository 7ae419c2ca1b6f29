#include "proxy/cleanup/kube_proxy.h"

#include <linux/netfilter.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proxy/cleanup/virtual_servers.h"

namespace fairlead {
namespace {

using ipvs::VirtualServerKey;

constexpr absl::string_view kDevice = "device";
constexpr absl::string_view kAddress = "address";
constexpr absl::string_view kServer = "virtual server";
constexpr absl::string_view kIpset = "ipset";
constexpr absl::string_view kTable = "table";
constexpr absl::string_view kIptables = "iptables";

constexpr absl::string_view kNftTable = "kube-proxy";
// Seconds in which another program that holds the lock of iptables has to be done.
constexpr char kLockPatience[] = "60";

// The two iptables of a family.
struct Backend {
  IpFamily family;
  bool nft;

  std::string program(absl::string_view ending) const {
    return absl::StrCat(prefix(), nft ? "-nft" : "-legacy", ending);
  }
  // As distributions with one iptables only have it.
  std::string plain_program(absl::string_view ending) const {
    return absl::StrCat(prefix(), ending);
  }
  std::string title() const { return program(""); }

 private:
  absl::string_view prefix() const { return family == IpFamily::kIpv4 ? "iptables" : "ip6tables"; }
};

constexpr Backend kBackends[] = {{IpFamily::kIpv4, true},
                                 {IpFamily::kIpv6, true},
                                 {IpFamily::kIpv4, false},
                                 {IpFamily::kIpv6, false}};

// Of chains of this family that `iptables-nft` made.
bool IsLeftover(const NftTableChain& chain, IpFamily family) {
  const uint8_t wanted = family == IpFamily::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
  return chain.table.family == wanted && IsKubeProxyChain(chain.table.name, chain.name);
}

bool HasLegacyTables(IpFamily family) {
  std::ifstream names(family == IpFamily::kIpv4 ? "/proc/thread-self/net/ip_tables_names"
                                                : "/proc/thread-self/net/ip6_tables_names");
  std::string name;
  return static_cast<bool>(names >> name);
}

void Unread(std::vector<CleanupRemark>& unread, absl::string_view kind, absl::string_view name,
            absl::string_view why) {
  unread.push_back({{std::string(kind), std::string(name)}, std::string(why)});
}

// Whether there is something to look at in it. Where that cannot be known, there is.
bool IsInUse(const KubeProxyKernel& kernel, const Backend& backend) {
  if (!backend.nft) return kernel.has_legacy_tables(backend.family);
  const absl::StatusOr<std::vector<NftTableChain>> chains = kernel.nft_chains();
  return !chains.ok() ||
         std::any_of(chains->begin(), chains->end(), [&backend](const NftTableChain& chain) {
           return IsLeftover(chain, backend.family);
         });
}

// What `save` prints, by the program of that backend; fills in which ones they are. NOT_FOUND:
// there is none.
absl::StatusOr<std::string> Save(const KubeProxyKernel& kernel, const Backend& backend,
                                 IptablesLeftovers& leftovers) {
  leftovers.family = backend.family;
  leftovers.nft = backend.nft;
  leftovers.title = backend.title();
  leftovers.save = backend.program("-save");
  leftovers.restore = backend.program("-restore");
  absl::StatusOr<std::string> text = kernel.run({leftovers.save}, "");
  if (!absl::IsNotFound(text.status())) return text;
  const std::string plain = backend.plain_program("-save");
  const absl::StatusOr<std::string> version = kernel.run({plain, "--version"}, "");
  // Before 1.8 there was one iptables, and it did not say which.
  if (!version.ok() || absl::StrContains(*version, "(nf_tables)") != backend.nft) {
    return absl::NotFoundError(
        absl::StrCat("there are tables, and no program ", leftovers.save,
                     " (package iptables) to look at them with: what kube-proxy has there stays"));
  }
  leftovers.save = plain;
  leftovers.restore = backend.plain_program("-restore");
  return kernel.run({leftovers.save}, "");
}

absl::StatusOr<IptablesLeftovers> FindIptables(const KubeProxyKernel& kernel,
                                               const Backend& backend,
                                               std::vector<std::string>& notes) {
  IptablesLeftovers leftovers;
  const absl::StatusOr<std::string> text = Save(kernel, backend, leftovers);
  if (!text.ok()) return text.status();
  const absl::StatusOr<IptablesSave> save = ParseIptablesSave(*text);
  if (!save.ok()) {
    return absl::InternalError(absl::StrCat(leftovers.save, ": ", save.status().message()));
  }
  for (const std::string& comment : save->incomplete) {
    notes.push_back(absl::StrCat(leftovers.save, " says: ", comment));
  }
  leftovers.removals = PlanIptablesRemoval(save->tables);
  for (const IptablesRemoval& removal : leftovers.removals) {
    if (!removal.forward_policy_drops) continue;
    notes.push_back(
        absl::StrCat(leftovers.title,
                     ": the policy of FORWARD is DROP, and KUBE-FORWARD let packets of Services "
                     "through. Make sure that a rule of the network plugin or of yours lets "
                     "pods' packets through: iptables -L FORWARD"));
  }
  return leftovers;
}

void FindIpsets(const KubeProxyKernel& kernel, KubeProxyThings& things) {
  const absl::StatusOr<std::string> text = kernel.run({"ipset", "save"}, "");
  absl::Status status = text.status();
  if (text.ok()) {
    absl::StatusOr<KubeProxyIpsets> ipsets = ParseIpsetSave(*text);
    status = ipsets.status();
    if (ipsets.ok()) things.ipsets = *std::move(ipsets);
  }
  if (status.ok()) return;
  const std::string why = absl::StrCat(
      status.message(),
      ": kube-proxy's ipsets, and its virtual servers of node ports, could not be looked for");
  // Where its IPVS mode was at work there are sets. Elsewhere most kernels cannot even have any.
  if (things.device.has_value()) {
    Unread(things.unread, kIpset, "all", why);
  } else {
    things.notes.push_back(why);
  }
}

// The addresses of this node that are not VIPs.
std::set<IpAddress> OwnAddresses(const std::vector<NodeAddress>& addresses) {
  std::set<IpAddress> own;
  for (const NodeAddress& address : addresses) {
    if (address.device != kKubeProxyDevice) own.insert(address.address);
  }
  return own;
}

void FindServers(const KubeProxyKernel& kernel, KubeProxyThings& things) {
  std::set<IpAddress> vips = things.ipsets.addresses;
  if (things.device.has_value()) {
    vips.insert(things.device->addresses.begin(), things.device->addresses.end());
  }
  if (kernel.table == nullptr || (vips.empty() && things.ipsets.node_ports.empty())) return;
  const auto elements = kernel.firewall.Dump();
  const auto addresses = kernel.node_addresses();
  const auto servers = kernel.table->Dump();
  absl::Status status = servers.status();
  // Without the record nobody knows which ones are Fairlead's.
  if (!absl::IsNotFound(elements.status())) status.Update(elements.status());
  status.Update(addresses.status());
  if (!status.ok()) {
    Unread(things.unread, kServer, "all of kube-proxy's", status.message());
    return;
  }
  std::set<Element> owned;
  if (elements.ok()) owned.insert(elements->begin(), elements->end());
  const std::set<IpAddress> own = OwnAddresses(*addresses);
  for (const ipvs::VirtualServer& server : *servers) {
    const VirtualServerKey& key = server.key;
    if (key.is_mark() || owned.contains(OwnedElement(key))) continue;
    const bool node_port =
        own.contains(key.address) && things.ipsets.node_ports.contains({key.protocol, key.port});
    if (node_port || (vips.contains(key.address) && !own.contains(key.address))) {
      things.virtual_servers.push_back(key);
    }
  }
}

std::string DeviceName(const FoundVipDevice& device) {
  return absl::StrCat(kKubeProxyDevice, " with ", device.addresses.size(),
                      device.addresses.size() == 1 ? " address" : " addresses");
}

void RecordIptables(const std::string& title, const IptablesRemoval& removal,
                    CleanupReport& report) {
  for (const IptablesRule& rule : removal.jumps) {
    report.Removed("rule",
                   absl::StrCat(title, " ", removal.table, " -A ", rule.chain, " ", rule.text));
  }
  for (const std::string& chain : removal.chains) {
    report.Removed("chain", absl::StrCat(title, " ", removal.table, " ", chain));
  }
}

void RecordKeptChains(const std::string& title, const IptablesRemoval& removal,
                      CleanupReport& report) {
  for (const KeptChain& chain : removal.kept) {
    report.Kept("chain", absl::StrCat(title, " ", removal.table, " ", chain.name),
                absl::StrCat("rules in ", chain.user, ", which is not kube-proxy's, need it"));
  }
}

const IptablesRemoval* FindRemoval(const IptablesLeftovers& leftovers, const std::string& table) {
  const auto found =
      std::find_if(leftovers.removals.begin(), leftovers.removals.end(),
                   [&table](const IptablesRemoval& removal) { return removal.table == table; });
  return found == leftovers.removals.end() ? nullptr : &*found;
}

// One table, in one transaction; again where somebody changed it meanwhile.
void RemoveIptablesTable(const KubeProxyKernel& kernel, const IptablesLeftovers& leftovers,
                         const IptablesRemoval& found, CleanupReport& report) {
  IptablesRemoval removal = found;
  absl::Status status;
  for (int attempt = 0; attempt < kRemovalAttempts && !removal.empty(); ++attempt) {
    status =
        kernel.run({leftovers.restore, "-w", kLockPatience, "--noflush"}, removal.RestoreText())
            .status();
    if (status.ok()) {
      RecordIptables(leftovers.title, removal, report);
      return;
    }
    std::vector<std::string> notes;  // They have been told.
    const auto again = FindIptables(kernel, {leftovers.family, leftovers.nft}, notes);
    if (!again.ok()) break;
    const IptablesRemoval* const now = FindRemoval(*again, removal.table);
    removal = now == nullptr ? IptablesRemoval{} : *now;
  }
  if (removal.empty()) return;  // Somebody else did it.
  report.Failed(kIptables, absl::StrCat(leftovers.title, " ", removal.table), status.message());
}

void RemoveIptables(const KubeProxyKernel& kernel, const KubeProxyThings& things,
                    CleanupReport& report) {
  for (const IptablesLeftovers& leftovers : things.iptables) {
    for (const IptablesRemoval& removal : leftovers.removals) {
      if (!removal.empty()) RemoveIptablesTable(kernel, leftovers, removal, report);
      RecordKeptChains(leftovers.title, removal, report);
    }
  }
}

void RemoveNftTables(const KubeProxyKernel& kernel, const KubeProxyThings& things,
                     CleanupReport& report) {
  for (const std::string& table : things.nft_tables) {
    const absl::Status status = kernel.delete_nft_table(table);
    if (status.ok()) {
      report.Removed(kTable, table);
    } else {
      report.Failed(kTable, table, status.message());
    }
  }
}

// The VIPs that would cease to be the node's own with kube-ipvs0.
absl::StatusOr<std::set<IpAddress>> VipsWithoutRoute(const KubeProxyKernel& kernel) {
  const auto elements = kernel.firewall.Dump();
  if (!elements.ok()) return elements.status();
  const auto routes = kernel.routes.Dump();
  if (!routes.ok()) return routes.status();
  std::set<IpAddress> vips;
  for (const Element& element : *elements) {
    if (element.set == SetName::kOwned) vips.insert(element.address);
  }
  for (const VipRoute& route : *routes) vips.erase(route.vip);
  return vips;
}

// Takes the addresses away that nobody needs, where others have to stay.
void RemoveAddresses(VipDevice& device, const FoundVipDevice& found,
                     const std::set<IpAddress>& needed, CleanupReport& report) {
  std::vector<IpAddress> going;
  for (const IpAddress& address : found.addresses) {
    if (!needed.contains(address)) going.push_back(address);
  }
  const std::vector<absl::Status> results = device.DeleteAddresses(going);
  for (size_t i = 0; i < going.size(); ++i) {
    const std::string name = absl::StrCat(going[i].Format(), " of ", kKubeProxyDevice);
    if (results[i].ok()) {
      report.Removed(kAddress, name);
    } else {
      report.Failed(kAddress, name, results[i].message());
    }
  }
  report.Failed(kDevice, kKubeProxyDevice,
                absl::StrCat("Fairlead serves ", needed.size(),
                             " of its addresses and has no route to them yet, ",
                             needed.begin()->Format(), " among them"));
}

// True if it is gone.
bool RemoveDevice(const KubeProxyKernel& kernel, const KubeProxyThings& things, bool serving,
                  CleanupReport& report) {
  if (!things.device.has_value()) return true;
  const FoundVipDevice& found = *things.device;
  std::set<IpAddress> needed;
  if (serving) {
    absl::StatusOr<std::set<IpAddress>> vips = VipsWithoutRoute(kernel);
    if (!vips.ok()) {
      report.Failed(kDevice, kKubeProxyDevice, vips.status().message());
      return false;
    }
    std::set_intersection(vips->begin(), vips->end(), found.addresses.begin(),
                          found.addresses.end(), std::inserter(needed, needed.end()));
  }
  if (!needed.empty()) {
    RemoveAddresses(kernel.device, found, needed, report);
    return false;
  }
  const absl::Status status = kernel.device.Delete();
  if (status.ok()) {
    report.Removed(kDevice, DeviceName(found));
  } else {
    report.Failed(kDevice, kKubeProxyDevice, status.message());
  }
  return status.ok();
}

// True if none of them is left.
bool RemoveServers(const KubeProxyKernel& kernel, const KubeProxyThings& things,
                   CleanupReport& report) {
  return things.virtual_servers.empty() ||
         RemoveVirtualServers(*kernel.table, things.virtual_servers, report);
}

void RemoveIpsets(const KubeProxyKernel& kernel, const KubeProxyThings& things, bool servers_left,
                  CleanupReport& report) {
  const bool chains_left = std::any_of(
      things.iptables.begin(), things.iptables.end(), [](const IptablesLeftovers& leftovers) {
        return std::any_of(leftovers.removals.begin(), leftovers.removals.end(),
                           [](const IptablesRemoval& removal) { return !removal.kept.empty(); });
      });
  for (const std::string& name : things.ipsets.names) {
    if (servers_left && IsKubeProxyRecord(name)) {
      report.Kept(kIpset, name,
                  "tells which virtual servers are kube-proxy's, and not all is gone");
      continue;
    }
    const absl::Status status = kernel.run({"ipset", "destroy", name}, "").status();
    if (status.ok()) {
      report.Removed(kIpset, name);
    } else if (chains_left && absl::StrContains(status.message(), "in use")) {
      report.Kept(kIpset, name, "a chain that is kept needs it");
    } else if (!absl::StrContains(status.message(), "does not exist")) {
      report.Failed(kIpset, name, status.message());
    }
  }
}

// Whether the ipsets tell of all of kube-ipvs0's addresses.
bool IsRecorded(const KubeProxyThings& things) {
  return !things.device.has_value() ||
         std::includes(things.ipsets.addresses.begin(), things.ipsets.addresses.end(),
                       things.device->addresses.begin(), things.device->addresses.end());
}

std::vector<std::string> FindNftTables(const std::vector<NftTable>& tables) {
  std::vector<std::string> found;
  for (const NftTable& table : tables) {
    const bool ip = table.family == NFPROTO_IPV4 || table.family == NFPROTO_IPV6;
    if (ip && table.name == kNftTable) found.push_back(table.Format());
  }
  return found;
}

}  // namespace

KubeProxyKernel KubeProxyKernel::Of(ipvs::Table* table, Firewall& firewall, Routes& routes,
                                    VipDevice& device) {
  return {.table = table,
          .firewall = firewall,
          .routes = routes,
          .device = device,
          .has_legacy_tables = HasLegacyTables,
          .run = [](const std::vector<std::string>& words, absl::string_view input) {
            return RunProgram(words, input);
          }};
}

KubeProxyThings FindKubeProxy(const KubeProxyKernel& kernel) {
  KubeProxyThings things;
  if (auto device = kernel.device.Read(); !device.ok()) {
    Unread(things.unread, kDevice, kKubeProxyDevice, device.status().message());
  } else if (device->has_value() && (*device)->kind != kVipDeviceKind) {
    things.notes.push_back(absl::StrCat("the device ", kKubeProxyDevice, " is of the kind \"",
                                        (*device)->kind, "\", not \"", kVipDeviceKind,
                                        "\": kube-proxy did not make it, and it is left alone"));
  } else {
    things.device = *std::move(device);
  }
  for (const Backend& backend : kBackends) {
    if (!IsInUse(kernel, backend)) continue;
    auto leftovers = FindIptables(kernel, backend, things.notes);
    if (!leftovers.ok()) {
      Unread(things.unread, kIptables, backend.title(), leftovers.status().message());
    } else if (!leftovers->removals.empty()) {
      things.iptables.push_back(*std::move(leftovers));
    }
  }
  if (const auto tables = kernel.nft_tables(); tables.ok()) {
    things.nft_tables = FindNftTables(*tables);
  } else {
    Unread(things.unread, kTable, "ip kube-proxy, ip6 kube-proxy", tables.status().message());
  }
  FindIpsets(kernel, things);
  FindServers(kernel, things);
  return things;
}

CleanupReport PlanKubeProxyRemoval(const KubeProxyThings& things) {
  CleanupReport report;
  if (things.device.has_value()) report.Removed(kDevice, DeviceName(*things.device));
  for (const VirtualServerKey& key : things.virtual_servers) report.Removed(kServer, key.Format());
  for (const IptablesLeftovers& leftovers : things.iptables) {
    for (const IptablesRemoval& removal : leftovers.removals) {
      RecordIptables(leftovers.title, removal, report);
      RecordKeptChains(leftovers.title, removal, report);
    }
  }
  for (const std::string& table : things.nft_tables) report.Removed(kTable, table);
  for (const std::string& name : things.ipsets.names) report.Removed(kIpset, name);
  report.failed.insert(report.failed.end(), things.unread.begin(), things.unread.end());
  report.notes = things.notes;
  return report;
}

CleanupReport RemoveKubeProxy(const KubeProxyKernel& kernel, const KubeProxyOptions& options) {
  const KubeProxyThings things = FindKubeProxy(kernel);
  CleanupReport report;
  report.failed = things.unread;
  report.notes = things.notes;
  const auto rules = [&] {
    RemoveIptables(kernel, things, report);
    RemoveNftTables(kernel, things, report);
  };
  bool gone = false;
  if (options.serving) {
    rules();
    gone = RemoveDevice(kernel, things, /*serving=*/true, report);
    gone = RemoveServers(kernel, things, report) && gone;
  } else if (IsRecorded(things)) {
    gone = RemoveDevice(kernel, things, /*serving=*/false, report);
    gone = RemoveServers(kernel, things, report) && gone;
    rules();
  } else {
    gone = RemoveServers(kernel, things, report);
    if (gone) {
      gone = RemoveDevice(kernel, things, /*serving=*/false, report);
    } else {
      report.Kept(kDevice, kKubeProxyDevice,
                  "its addresses tell which virtual servers are kube-proxy's, and some are left");
    }
    rules();
  }
  RemoveIpsets(kernel, things, !gone, report);
  return report;
}

std::vector<std::string> SignsOfKubeProxy(const KubeProxyKernel& kernel) {
  std::vector<std::string> signs;
  if (const auto device = kernel.device.Read();
      device.ok() && device->has_value() && (*device)->kind == kVipDeviceKind) {
    signs.push_back(absl::StrCat("device ", DeviceName(**device)));
  }
  if (const auto chains = kernel.nft_chains(); chains.ok()) {
    for (const Backend& backend : kBackends) {
      if (!backend.nft) continue;
      const auto count = std::count_if(
          chains->begin(), chains->end(),
          [&backend](const NftTableChain& chain) { return IsLeftover(chain, backend.family); });
      if (count > 0) signs.push_back(absl::StrCat(count, " chains of ", backend.title()));
    }
  }
  for (const Backend& backend : kBackends) {
    if (backend.nft || !kernel.has_legacy_tables(backend.family)) continue;
    std::vector<std::string> notes;
    const auto leftovers = FindIptables(kernel, backend, notes);
    size_t count = 0;
    if (leftovers.ok()) {
      for (const IptablesRemoval& removal : leftovers->removals) count += removal.chains.size();
    }
    if (count > 0) signs.push_back(absl::StrCat(count, " chains of ", backend.title()));
  }
  if (const auto tables = kernel.nft_tables(); tables.ok()) {
    for (const std::string& table : FindNftTables(*tables)) {
      signs.push_back(absl::StrCat("nftables table ", table));
    }
  }
  return signs;
}

}  // namespace fairlead
