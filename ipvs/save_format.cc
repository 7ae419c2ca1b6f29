#include "ipvs/save_format.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace fairlead::ipvs {
namespace {

// Space for one line, so that a big table does not grow the text by doubling.
constexpr size_t kTypicalLine = 72;

// What ipvsadm adds to each real server with tunnelling. Others than IPIP are not in types.h.
constexpr char kTunnelType[] = " --tun-type ipip";

// ipvsadm (libipvs.c) subtracts unsigned numbers and takes the result as signed, so that
// 192.168.0.1 comes before 10.0.0.1. The functions that are called Compare return less than, equal
// to or more than zero, as it does.
int CompareNumbers(uint32_t a, uint32_t b) { return static_cast<int>(a - b); }

// The 32-bit number at `word` of an address; 0 beyond its end.
uint32_t LoadWord(const IpAddress& address, size_t word) {
  uint32_t value = 0;
  for (size_t i = 4 * word; i < 4 * word + 4 && i < address.bytes().size(); ++i) {
    value = value << 8 | static_cast<uint8_t>(address.bytes()[i]);
  }
  return value;
}

// The first decides the family of both, where real servers are of two.
int CompareAddresses(const IpAddress& a, const IpAddress& b) {
  int order = 0;
  for (size_t word = 0; order == 0 && word < a.bytes().size() / 4; ++word) {
    order = CompareNumbers(LoadWord(a, word), LoadWord(b, word));
  }
  return order;
}

int CompareServers(const VirtualServer& a, const VirtualServer& b) {
  int order = CompareNumbers(a.key.firewall_mark, b.key.firewall_mark);
  if (order == 0) order = static_cast<int>(a.key.family) - static_cast<int>(b.key.family);
  if (order == 0) order = static_cast<int>(a.key.protocol) - static_cast<int>(b.key.protocol);
  if (order == 0) order = CompareAddresses(a.key.address, b.key.address);
  return order != 0 ? order : a.key.port - b.key.port;
}

int CompareRealServers(const RealServer& a, const RealServer& b) {
  const int order = CompareAddresses(a.key.address, b.key.address);
  return order != 0 ? order : a.key.port - b.key.port;
}

// A merge sort, as glibc's qsort, because those comparisons can contradict each other, which
// std::sort does not allow: where they do not, the order is ipvsadm's whatever the algorithm.
template <typename T>
void MergeSort(absl::Span<const T*> values, int (*compare)(const T&, const T&)) {
  if (values.size() < 2) return;
  const size_t half = values.size() / 2;
  MergeSort(values.subspan(0, half), compare);
  MergeSort(values.subspan(half), compare);
  if (compare(*values[half - 1], *values[half]) <= 0) return;
  const std::vector<const T*> left(values.begin(), values.begin() + half);
  size_t next_left = 0;
  size_t next_right = half;
  for (size_t i = 0; next_left < left.size(); ++i) {
    const bool take_left =
        next_right == values.size() || compare(*left[next_left], *values[next_right]) <= 0;
    values[i] = take_left ? left[next_left++] : values[next_right++];
  }
}

// First by key, so that the result does not depend on the order of `values`.
template <typename T>
std::vector<const T*> Sorted(absl::Span<const T> values, int (*compare)(const T&, const T&)) {
  std::vector<const T*> sorted;
  sorted.reserve(values.size());
  for (const T& value : values) sorted.push_back(&value);
  std::sort(sorted.begin(), sorted.end(), [](const T* a, const T* b) { return a->key < b->key; });
  MergeSort<T>(absl::MakeSpan(sorted), compare);
  return sorted;
}

absl::string_view ProtocolOption(Protocol protocol) {
  switch (protocol) {
    case Protocol::kTcp:
      return "-t";
    case Protocol::kUdp:
      return "-u";
    case Protocol::kSctp:
      return "--sctp-service";
  }
  return "-t";
}

absl::string_view ForwardingOption(ForwardingMethod method) {
  switch (method) {
    case ForwardingMethod::kMasquerade:
      return "-m";
    case ForwardingMethod::kTunnel:
      return "-i";
    case ForwardingMethod::kLocal:  // Cannot be asked for: the kernel finds it out by itself.
    case ForwardingMethod::kRoute:
      return "-g";
  }
  return "-g";
}

std::string FormatService(const VirtualServerKey& key) {
  if (key.is_mark()) {
    // A signed number, as ipvsadm prints and reads it.
    return absl::StrCat("-f ", static_cast<int32_t>(key.firewall_mark),
                        key.family == IpFamily::kIpv6 ? " -6" : "");
  }
  return absl::StrCat(ProtocolOption(key.protocol), " ", FormatAddressPort(key.address, key.port));
}

std::string FormatNetmask(IpFamily family, int prefix_length) {
  if (family == IpFamily::kIpv6) return absl::StrCat(prefix_length);
  const uint32_t mask = prefix_length == 0 ? 0 : ~uint32_t{0} << (32 - prefix_length);
  return IpAddress::V4(mask).Format();
}

void AppendVirtualServer(const VirtualServer& server, absl::string_view service, std::string* out) {
  const VirtualServerConfig& config = server.config;
  absl::StrAppend(out, "-A ", service, " -s ", config.scheduler);
  if (config.persistent()) {
    absl::StrAppend(out, " -p ", absl::ToInt64Seconds(config.persistence_timeout));
    const std::string mask = FormatPersistenceMask(server.key.family, config);
    if (!mask.empty()) absl::StrAppend(out, " -M ", mask);
    if (!config.persistence_engine.empty()) {
      absl::StrAppend(out, " --pe ", config.persistence_engine);
    }
  }
  if ((config.flags & kFlagOnePacket) != 0) *out += " -o";
  constexpr uint32_t kSchedulerFlags = kFlagScheduler1 | kFlagScheduler2 | kFlagScheduler3;
  // Also where no flag has a name: ipvsadm prints the option with nothing after it.
  if ((config.flags & kSchedulerFlags) != 0) {
    absl::StrAppend(out, " -b ", FormatSchedulerFlags(config));
  }
  *out += '\n';
}

}  // namespace

std::string FormatSchedulerFlags(const VirtualServerConfig& config) {
  const bool named = config.scheduler == "sh" || config.scheduler == "mh";
  std::vector<std::string> names;
  const auto name = [&](uint32_t flag, absl::string_view suffix, absl::string_view number) {
    if ((config.flags & flag) == 0) return;
    if (!named) {
      names.push_back(absl::StrCat("flag-", number));
    } else if (!suffix.empty()) {
      names.push_back(absl::StrCat(config.scheduler, suffix));
    }
  };
  name(kFlagScheduler1, "-fallback", "1");
  name(kFlagScheduler2, "-port", "2");
  name(kFlagScheduler3, "", "3");
  return absl::StrJoin(names, ",");
}

std::string FormatPersistenceMask(IpFamily family, const VirtualServerConfig& config) {
  const int whole = family == IpFamily::kIpv4 ? 32 : 128;
  if (!config.persistent() || config.persistence_prefix_length == whole) return "";
  return FormatNetmask(family, config.persistence_prefix_length);
}

std::string FormatSave(absl::Span<const VirtualServer> virtual_servers) {
  size_t lines = virtual_servers.size();
  for (const VirtualServer& server : virtual_servers) lines += server.real_servers.size();
  std::string result;
  result.reserve(lines * kTypicalLine);
  for (const VirtualServer* server : Sorted<VirtualServer>(virtual_servers, CompareServers)) {
    const std::string service = FormatService(server->key);
    AppendVirtualServer(*server, service, &result);
    for (const RealServer* real : Sorted<RealServer>(server->real_servers, CompareRealServers)) {
      absl::StrAppend(&result, "-a ", service, " -r ", real->key.Format(), " ",
                      ForwardingOption(real->config.forwarding), " -w ", real->config.weight,
                      real->config.forwarding == ForwardingMethod::kTunnel ? kTunnelType : "",
                      "\n");
    }
  }
  return result;
}

}  // namespace fairlead::ipvs
