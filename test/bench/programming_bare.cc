#include "test/bench/programming_bare.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "ipvs/codec.h"
#include "ipvs/kernel_table.h"
#include "ipvs/netlink_socket.h"
#include "proxy/kernel/netlink_routes.h"
#include "proxy/kernel/nft_codec.h"
#include "proxy/kernel/nft_firewall.h"
#include "proxy/kernel/route_codec.h"
#include "test/bench/need.h"
#include "test/lab/process.h"

namespace fairlead::bench {
namespace {

absl::Duration ThreadCpu() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return absl::DurationFromTimespec(now);
}

// A socket of the namespace, and nothing around it.
class BareSocket {
 public:
  BareSocket(const lab::NetNamespace& net, int protocol) {
    fd_ = net.Run([&] { return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol); });
    const int bytes = 32 << 20;
    Need(fd_ >= 0 && setsockopt(fd_, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) == 0 &&
             setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) == 0,
         "netlink socket");
    // Else the kernel repeats a request in its answer.
    const int on = 1;
    setsockopt(fd_, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
    buffer_.resize(1 << 20);
  }
  ~BareSocket() { close(fd_); }
  BareSocket(const BareSocket&) = delete;
  BareSocket& operator=(const BareSocket&) = delete;

  // Requests of which the last is acknowledged, or one dump, sent and read to its end.
  void Exchange(const std::string& request) {
    Need(send(fd_, request.data(), request.size(), 0) == static_cast<ssize_t>(request.size()),
         "send");
    ++system_calls_;
    while (true) {
      const ssize_t size = recv(fd_, buffer_.data(), buffer_.size(), 0);
      ++system_calls_;
      Need(size >= static_cast<ssize_t>(sizeof(nlmsghdr)), "receive");
      if (AtEnd(static_cast<size_t>(size))) return;
    }
  }

  int64_t system_calls() const { return system_calls_; }

 private:
  // Whether an acknowledgement or the end of a dump is in the first bytes of the buffer.
  bool AtEnd(size_t size) const {
    for (size_t at = 0; at + sizeof(nlmsghdr) <= size;) {
      nlmsghdr header;
      std::memcpy(&header, buffer_.data() + at, sizeof(header));
      if (header.nlmsg_type == NLMSG_ERROR || header.nlmsg_type == NLMSG_DONE) {
        int error = 0;
        std::memcpy(&error, buffer_.data() + at + sizeof(header), sizeof(error));
        Need(error == 0, absl::StrCat("a bare message failed: ", std::strerror(-error)));
        return true;
      }
      at += NLMSG_ALIGN(std::max<size_t>(header.nlmsg_len, sizeof(header)));
    }
    return false;
  }

  int fd_ = -1;
  int64_t system_calls_ = 0;
  std::vector<char> buffer_;
};

BareCost ExchangeAll(BareSocket& socket, const std::vector<std::string>& requests,
                     int64_t messages) {
  const absl::Time start = absl::Now();
  const absl::Duration cpu = ThreadCpu();
  const int64_t calls = socket.system_calls();
  for (const std::string& request : requests) socket.Exchange(request);
  return {.time = absl::Now() - start,
          .cpu = ThreadCpu() - cpu,
          .messages = messages,
          .system_calls = socket.system_calls() - calls};
}

uint16_t IpvsFamily(const lab::NetNamespace& net) {
  return net.Run([] { return Need(ipvs::NetlinkSocket::Open({})).family_id(); });
}

bool IsOf(const Element& element, const ipvs::VirtualServerKey& key) {
  if (element.address != key.address) return false;
  return KeyOf(element.set) == SetKey::kAddress ||
         (KeyOf(element.set) == SetKey::kPort && element.protocol == key.protocol &&
          element.port == key.port);
}

void AddServer(const ipvs::VirtualServer& server, BareChanges& changes) {
  changes.operations.push_back(ipvs::Operation::AddVirtualServer(server.key, server.config));
  for (const ipvs::RealServer& real : server.real_servers) {
    changes.operations.push_back(ipvs::Operation::AddRealServer(server.key, real.key, real.config));
  }
}

}  // namespace

BareCost& BareCost::operator+=(const BareCost& other) {
  time += other.time;
  cpu += other.cpu;
  messages += other.messages;
  system_calls += other.system_calls;
  return *this;
}

KernelContent ReadContent(const lab::NetNamespace& net) {
  KernelContent content = net.Run([] {
    return KernelContent{.servers = Need(Need(ipvs::KernelTable::Open())->Dump()),
                         .elements = Need(Need(NftFirewall::Open())->Dump()),
                         .routes = Need(Need(NetlinkRoutes::Open())->Dump())};
  });
  content.ruleset =
      Need(lab::Shell(net, "nft --terse list table inet fairlead", "", absl::Minutes(2)));
  return content;
}

BareChanges Additions(const KernelContent& content) {
  BareChanges changes;
  for (const ipvs::VirtualServer& server : content.servers) AddServer(server, changes);
  for (const Element& element : content.elements) {
    changes.elements.push_back({ElementChange::Verb::kAdd, element});
  }
  for (const VipRoute& route : content.routes) {
    changes.routes.push_back({RouteChange::Verb::kPut, route});
  }
  return changes;
}

BareChanges AdditionsOf(const KernelContent& content, const ipvs::VirtualServerKey& key) {
  KernelContent part;
  for (const ipvs::VirtualServer& server : content.servers) {
    if (server.key == key) part.servers.push_back(server);
  }
  for (const Element& element : content.elements) {
    if (IsOf(element, key)) part.elements.push_back(element);
  }
  for (const VipRoute& route : content.routes) {
    if (route.vip == key.address) part.routes.push_back(route);
  }
  return Additions(part);
}

BareChanges Reverse(const BareChanges& additions) {
  BareChanges changes;
  for (const ElementChange& change : additions.elements) {
    changes.elements.push_back({ElementChange::Verb::kDelete, change.element});
  }
  for (const RouteChange& change : additions.routes) {
    changes.routes.push_back({RouteChange::Verb::kDelete, change.route});
  }
  // Its real servers go with it.
  for (const ipvs::Operation& operation : additions.operations) {
    if (operation.verb == ipvs::Verb::kAddVirtualServer) {
      changes.operations.push_back(ipvs::Operation::DeleteVirtualServer(operation.virtual_server));
    }
  }
  return changes;
}

BareCost SendBare(const lab::NetNamespace& net, const BareChanges& changes) {
  BareCost cost;
  if (!changes.operations.empty()) {
    const uint16_t family = IpvsFamily(net);
    std::vector<std::string> batches;
    for (size_t i = 0; i < changes.operations.size(); ++i) {
      if (i % ipvs::kMaxBatch == 0) batches.emplace_back();
      const bool last =
          i % ipvs::kMaxBatch == ipvs::kMaxBatch - 1 || i + 1 == changes.operations.size();
      ipvs::EncodeOperation(changes.operations[i],
                            {.family_id = family,
                             .flags = static_cast<uint16_t>(last ? NLM_F_ACK : 0),
                             .sequence = static_cast<uint32_t>(i + 1)},
                            &batches.back());
    }
    BareSocket socket(net, NETLINK_GENERIC);
    cost += ExchangeAll(socket, batches, static_cast<int64_t>(changes.operations.size()));
  }
  if (!changes.elements.empty()) {
    std::vector<std::string> batches;
    int64_t messages = 0;
    for (NftTransaction& transaction :
         EncodeTransactions(changes.elements, 1, NetlinkSocket::kMaxRequestBytes)) {
      messages += static_cast<int64_t>(transaction.messages.size());
      batches.push_back(std::move(transaction.bytes));
    }
    BareSocket socket(net, NETLINK_NETFILTER);
    cost += ExchangeAll(socket, batches, messages);
  }
  if (!changes.routes.empty()) {
    std::vector<std::string> batches;
    for (size_t i = 0; i < changes.routes.size(); ++i) {
      if (i % NetlinkRoutes::kMaxBatch == 0) batches.emplace_back();
      const bool last = i % NetlinkRoutes::kMaxBatch == NetlinkRoutes::kMaxBatch - 1 ||
                        i + 1 == changes.routes.size();
      const bool put = changes.routes[i].verb == RouteChange::Verb::kPut;
      EncodeRoute(put ? RouteVerb::kAdd : RouteVerb::kDelete, changes.routes[i].route,
                  static_cast<uint32_t>(i + 1), /*acknowledge=*/last, batches.back());
    }
    BareSocket socket(net, NETLINK_ROUTE);
    cost += ExchangeAll(socket, batches, static_cast<int64_t>(changes.routes.size()));
  }
  return cost;
}

BareCost DumpBare(const lab::NetNamespace& net, const KernelContent& content) {
  const uint16_t family = IpvsFamily(net);
  std::vector<std::string> tables(1);
  ipvs::EncodeDumpVirtualServers({.family_id = family, .sequence = 1}, &tables.back());
  for (const ipvs::VirtualServer& server : content.servers) {
    tables.emplace_back();
    ipvs::EncodeDumpRealServers(server.key, {.family_id = family, .sequence = 1}, &tables.back());
  }
  std::vector<std::string> sets = {EncodeSetDump(1), EncodeChainDump(1), EncodeRuleDump(1)};
  std::vector<std::string> routes;
  for (const IpFamily ip : {IpFamily::kIpv4, IpFamily::kIpv6}) {
    for (int set = 0; set < kSetNames; ++set) {
      sets.push_back(EncodeElementDump(static_cast<SetName>(set), ip, 1));
    }
    routes.push_back(EncodeRouteDump(ip, 1));
  }
  BareCost cost;
  BareSocket generic(net, NETLINK_GENERIC);
  cost += ExchangeAll(generic, tables, static_cast<int64_t>(tables.size()));
  BareSocket netfilter(net, NETLINK_NETFILTER);
  cost += ExchangeAll(netfilter, sets, static_cast<int64_t>(sets.size()));
  BareSocket route(net, NETLINK_ROUTE);
  cost += ExchangeAll(route, routes, static_cast<int64_t>(routes.size()));
  return cost;
}

}  // namespace fairlead::bench
