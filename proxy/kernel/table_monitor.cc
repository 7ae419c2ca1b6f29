#include "proxy/kernel/table_monitor.h"

#include <arpa/inet.h>
#include <linux/bpf_common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstddef>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "proxy/kernel/netlink_message.h"
#include "proxy/kernel/routes.h"
#include "proxy/kernel/ruleset.h"

namespace fairlead {
namespace {

// Room for several thousand notifications, of about 1 KiB each as the kernel counts.
constexpr int kReceiveBufferBytes = 8 << 20;

// The device lo is the first of every network namespace (include/net/flow.h, LOOPBACK_IFINDEX).
constexpr uint32_t kLoopbackIndex = 1;

// What all nf_tables messages about objects have in common: the table's name comes as attribute 1
// (NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, NFTA_SET_TABLE, NFTA_SET_ELEM_LIST_TABLE,
// NFTA_OBJ_TABLE, NFTA_FLOWTABLE_TABLE).
constexpr uint16_t kTableAttribute = 1;

// A classic BPF program, statement by statement. It reads numbers in network order, so constants in
// the machine's order are turned.
class Filter {
 public:
  void LoadByte(size_t offset) { Load(BPF_B, offset); }
  void LoadShort(size_t offset) { Load(BPF_H, offset); }
  void LoadWord(size_t offset) { Load(BPF_W, offset); }
  // Ends with `accept` if the loaded number is `value`.
  void EndIf(uint32_t value, bool accept) {
    SkipUnless(value, 1);
    End(accept);
  }
  // Leaves out `count` statements unless the loaded number is `value`.
  void SkipUnless(uint32_t value, uint8_t count) {
    program_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, count));
  }
  void End(bool accept) { program_.push_back(BPF_STMT(BPF_RET | BPF_K, accept ? ~0U : 0U)); }

  // Ends without, for what follows from requests of these ports.
  void DropPorts(const std::vector<uint32_t>& ports) {
    LoadWord(offsetof(nlmsghdr, nlmsg_pid));
    for (const uint32_t port : ports) EndIf(htonl(port), false);
  }

  std::vector<sock_filter> Take() { return std::move(program_); }

 private:
  void Load(uint16_t size, size_t offset) {
    program_.push_back(
        BPF_STMT(static_cast<uint16_t>(BPF_LD | BPF_ABS | size), static_cast<uint32_t>(offset)));
  }

  std::vector<sock_filter> program_;
};

// rtnetlink tells of one object in a datagram (net/ipv4/fib_semantics.c, rtmsg_fib).
std::vector<sock_filter> RouteFilter(const std::vector<uint32_t>& own_ports) {
  Filter filter;
  filter.LoadShort(offsetof(nlmsghdr, nlmsg_type));
  filter.EndIf(htons(RTM_DELLINK), false);
  // The four statements of the next three lines are for devices.
  filter.SkipUnless(htons(RTM_NEWLINK), 4);
  filter.LoadWord(NLMSG_HDRLEN + offsetof(ifinfomsg, ifi_index));
  filter.EndIf(htonl(kLoopbackIndex), true);
  filter.End(false);
  filter.DropPorts(own_ports);
  filter.LoadByte(NLMSG_HDRLEN + offsetof(rtmsg, rtm_protocol));
  filter.EndIf(kRouteProtocol, true);
  filter.EndIf(RTPROT_KERNEL, false);
  filter.LoadByte(NLMSG_HDRLEN + offsetof(rtmsg, rtm_table));
  filter.EndIf(RT_TABLE_LOCAL, true);
  filter.End(false);
  return filter.Take();
}

// nf_tables tells of several objects in a datagram, of one transaction, hence of one port
// (net/netfilter/nf_tables_api.c, nft_commit_notify).
std::vector<sock_filter> FirewallFilter(const std::vector<uint32_t>& own_ports) {
  Filter filter;
  filter.DropPorts(own_ports);
  filter.End(true);
  return filter.Take();
}

// "nft[4711]" of the message that ends a transaction.
std::string DescribeProcess(absl::string_view attributes) {
  uint32_t process = 0;
  std::string name;
  const absl::Status status =
      ForEachAttribute(attributes, [&](uint16_t type, absl::string_view payload) {
        if (type == NFTA_GEN_PROC_NAME) name = std::string(payload.substr(0, payload.find('\0')));
        if (type == NFTA_GEN_PROC_PID && payload.size() == sizeof(process)) {
          std::memcpy(&process, payload.data(), sizeof(process));
        }
        return absl::OkStatus();
      });
  if (!status.ok() || name.empty()) return "";
  return absl::StrCat(name, "[", ntohl(process), "]");
}

// Whether the first attributes name Fairlead's table.
bool NamesTable(absl::string_view attributes) {
  bool named = false;
  // Ends at the table's name, which comes first.
  ForEachAttribute(attributes, [&](uint16_t type, absl::string_view payload) {
    if (type != kTableAttribute) return absl::OkStatus();
    named = payload.substr(0, payload.find('\0')) == kTableName;
    return absl::CancelledError();
  }).IgnoreError();
  return named;
}

bool IsOfElements(uint8_t type) { return type == NFT_MSG_NEWSETELEM || type == NFT_MSG_DELSETELEM; }

}  // namespace

absl::StatusOr<std::unique_ptr<TableMonitor>> TableMonitor::Start(TableMonitorOptions options) {
  auto firewall = NetlinkEvents::Open({.protocol = NETLINK_NETFILTER,
                                       .groups = {NFNLGRP_NFTABLES},
                                       .what = "changes of nftables",
                                       .filter = FirewallFilter(options.firewall_ports),
                                       .receive_buffer_bytes = kReceiveBufferBytes});
  if (!firewall.ok()) return firewall.status();
  auto routes =
      NetlinkEvents::Open({.protocol = NETLINK_ROUTE,
                           .groups = {RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_LINK},
                           .what = "changes of routes",
                           .filter = RouteFilter(options.route_ports),
                           .receive_buffer_bytes = kReceiveBufferBytes});
  if (!routes.ok()) return routes.status();
  std::unique_ptr<TableMonitor> monitor(
      new TableMonitor(std::move(options.changed), *std::move(firewall), *std::move(routes)));
  auto thread = EventThread::Start({monitor->firewall_.fd(), monitor->routes_.fd()},
                                   [raw = monitor.get()] { raw->ReadEvents(); });
  if (!thread.ok()) return thread.status();
  monitor->thread_ = *std::move(thread);
  return monitor;
}

TableMonitor::TableMonitor(std::function<void(const TableChange&)> changed, NetlinkEvents firewall,
                           NetlinkEvents routes)
    : changed_(std::move(changed)), firewall_(std::move(firewall)), routes_(std::move(routes)) {}

absl::Status TableMonitor::LeaveFirewall() { return firewall_.Leave(NFNLGRP_NFTABLES); }

absl::Status TableMonitor::JoinFirewall() { return firewall_.Join(NFNLGRP_NFTABLES); }

void TableMonitor::ReadEvents() {
  TableChange change;
  if (!firewall_.Read([&](const Message& message) { return TakeFirewall(message, change); })) {
    change.firewall = true;
    change.ruleset = true;
    uncommitted_ = {};
  }
  // The filter has let through only what concerns us.
  if (!routes_.Read([&](const Message&) {
        change.routes = true;
        return absl::OkStatus();
      })) {
    change.routes = true;
  }
  if (change.firewall || change.routes) changed_(change);
}

absl::Status TableMonitor::TakeFirewall(const Message& message, TableChange& change) {
  if (NFNL_SUBSYS_ID(message.type) != NFNL_SUBSYS_NFTABLES) return absl::OkStatus();
  nfgenmsg header;
  absl::string_view attributes = message.payload;
  if (!ConsumeHeader(attributes, &header, sizeof(header))) {
    return absl::DataLossError("nftables: not a notification");
  }
  const uint8_t type = NFNL_MSG_TYPE(message.type);
  if (type == NFT_MSG_NEWGEN) {
    // Ends every transaction, and is told even where nobody was told of what it did.
    const TableChange committed = std::exchange(uncommitted_, {});
    change.firewall |= committed.firewall;
    change.ruleset |= committed.ruleset;
    if (committed.firewall) change.firewall_by = DescribeProcess(attributes);
  } else if (header.nfgen_family == NFPROTO_INET && NamesTable(attributes)) {
    uncommitted_.firewall = true;
    uncommitted_.ruleset |= !IsOfElements(type);
  }
  return absl::OkStatus();
}

}  // namespace fairlead
