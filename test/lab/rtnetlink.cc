#include "test/lab/rtnetlink.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace fairlead::lab {
namespace {

// No request of ours comes near.
constexpr size_t kMessageLimit = 1024;

struct Prefix {
  int family = AF_UNSPEC;
  int length = 0;
  std::array<char, 16> bytes = {};

  size_t size() const { return family == AF_INET ? 4 : 16; }
};

// Parses ADDRESS or ADDRESS/LENGTH; without a length it is the whole address.
absl::StatusOr<Prefix> ParsePrefix(absl::string_view text) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits('/', 1));
  Prefix prefix;
  prefix.family = parts.first.find(':') == std::string::npos ? AF_INET : AF_INET6;
  prefix.length = static_cast<int>(prefix.size() * 8);
  const bool valid = ::inet_pton(prefix.family, parts.first.c_str(), prefix.bytes.data()) == 1 &&
                     (parts.second.empty() || absl::SimpleAtoi(parts.second, &prefix.length));
  if (!valid) return absl::InvalidArgumentError(absl::StrCat("not a prefix: '", text, "'"));
  return prefix;
}

}  // namespace

// One request, built in place. The attributes follow the header of its family.
class RtNetlink::Message {
 public:
  Message(int type, int flags) {
    header()->nlmsg_len = NLMSG_LENGTH(0);
    header()->nlmsg_type = static_cast<uint16_t>(type);
    header()->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
  }

  nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(bytes_); }

  // Appends a plain struct and returns where it is.
  template <typename Struct>
  Struct* Add(const Struct& value) {
    return static_cast<Struct*>(Append(&value, sizeof(value)));
  }

  void Attribute(int type, const void* data, size_t size) {
    rtattr attribute = {};
    attribute.rta_type = static_cast<uint16_t>(type);
    attribute.rta_len = static_cast<uint16_t>(RTA_LENGTH(size));
    Add(attribute);
    Append(data, size);
  }
  void Attribute(int type, absl::string_view text) { Attribute(type, text.data(), text.size()); }
  void Attribute(int type, int value) { Attribute(type, &value, sizeof(value)); }
  void Attribute(int type, const Prefix& prefix) {
    Attribute(type, prefix.bytes.data(), prefix.size());
  }

  rtattr* Open(int type) {
    rtattr attribute = {};
    attribute.rta_type = static_cast<uint16_t>(type);
    return Add(attribute);
  }
  void Close(rtattr* attribute) {
    attribute->rta_len =
        static_cast<uint16_t>(bytes_ + header()->nlmsg_len - reinterpret_cast<char*>(attribute));
  }

 private:
  void* Append(const void* data, size_t size) {
    const size_t at = header()->nlmsg_len;
    if (at + NLMSG_ALIGN(size) > sizeof(bytes_)) std::abort();
    if (size > 0) std::memcpy(bytes_ + at, data, size);
    header()->nlmsg_len = static_cast<uint32_t>(at + NLMSG_ALIGN(size));
    return bytes_ + at;
  }

  alignas(nlmsghdr) char bytes_[kMessageLimit] = {};
};

absl::StatusOr<std::unique_ptr<RtNetlink>> RtNetlink::Open(const NetNamespace& net_namespace) {
  const int socket = net_namespace.Run(
      [] { return ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE); });
  if (socket < 0) return absl::ErrnoToStatus(errno, "route netlink socket");
  return std::unique_ptr<RtNetlink>(new RtNetlink(socket));
}

RtNetlink::~RtNetlink() { ::close(socket_); }

absl::Status RtNetlink::AddVeth(absl::string_view name, const NetNamespace& peer_namespace,
                                absl::string_view peer_name) {
  const int peer =
      peer_namespace.Run([] { return ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC); });
  if (peer < 0) return absl::ErrnoToStatus(errno, "open namespace");
  const absl::Cleanup close_peer = [peer] { ::close(peer); };

  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.Add(ifinfomsg{});
  message.Attribute(IFLA_IFNAME, name);
  rtattr* info = message.Open(IFLA_LINKINFO);
  message.Attribute(IFLA_INFO_KIND, "veth");
  rtattr* data = message.Open(IFLA_INFO_DATA);
  rtattr* peer_info = message.Open(VETH_INFO_PEER);
  message.Add(ifinfomsg{});
  message.Attribute(IFLA_IFNAME, peer_name);
  message.Attribute(IFLA_NET_NS_FD, peer);
  message.Close(peer_info);
  message.Close(data);
  message.Close(info);
  return Send(message);
}

absl::Status RtNetlink::AddBridge(absl::string_view name) {
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.Add(ifinfomsg{});
  message.Attribute(IFLA_IFNAME, name);
  rtattr* info = message.Open(IFLA_LINKINFO);
  message.Attribute(IFLA_INFO_KIND, "bridge");
  message.Close(info);
  return Send(message);
}

absl::Status RtNetlink::SetUp(absl::string_view name, absl::string_view master) {
  if (master.empty()) return ChangeFlags(name, true, 0);
  const absl::StatusOr<int> master_index = Index(master);
  if (!master_index.ok()) return master_index.status();
  return ChangeFlags(name, true, *master_index);
}

absl::Status RtNetlink::SetDown(absl::string_view name) { return ChangeFlags(name, false, 0); }

absl::Status RtNetlink::DeleteLink(absl::string_view name) {
  const absl::StatusOr<int> index = Index(name);
  if (!index.ok()) return index.status();
  Message message(RTM_DELLINK, 0);
  message.Add(ifinfomsg{})->ifi_index = *index;
  return Send(message);
}

absl::Status RtNetlink::AddAddress(absl::string_view device, absl::string_view prefix) {
  return ChangeAddress(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, device, prefix);
}

absl::Status RtNetlink::DeleteAddress(absl::string_view device, absl::string_view prefix) {
  return ChangeAddress(RTM_DELADDR, 0, device, prefix);
}

absl::Status RtNetlink::SetRoute(const Route& route) {
  return ChangeRoute(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route);
}

absl::Status RtNetlink::DeleteRoute(const Route& route) {
  return ChangeRoute(RTM_DELROUTE, 0, route);
}

absl::StatusOr<int> RtNetlink::Index(absl::string_view device) const {
  ifreq request = {};
  if (device.size() >= sizeof(request.ifr_name)) {
    return absl::InvalidArgumentError(absl::StrCat("name too long: ", device));
  }
  std::memcpy(request.ifr_name, device.data(), device.size());
  if (::ioctl(socket_, SIOCGIFINDEX, &request) != 0) return absl::ErrnoToStatus(errno, device);
  return request.ifr_ifindex;
}

absl::Status RtNetlink::ChangeFlags(absl::string_view name, bool up, int master) {
  const absl::StatusOr<int> index = Index(name);
  if (!index.ok()) return index.status();
  Message message(RTM_NEWLINK, 0);
  ifinfomsg* link = message.Add(ifinfomsg{});
  link->ifi_index = *index;
  link->ifi_flags = up ? IFF_UP : 0;
  link->ifi_change = IFF_UP;
  if (master != 0) message.Attribute(IFLA_MASTER, master);
  return Send(message);
}

absl::Status RtNetlink::ChangeAddress(int type, int flags, absl::string_view device,
                                      absl::string_view prefix) {
  const absl::StatusOr<int> index = Index(device);
  if (!index.ok()) return index.status();
  const absl::StatusOr<Prefix> parsed = ParsePrefix(prefix);
  if (!parsed.ok()) return parsed.status();
  Message message(type, flags);
  ifaddrmsg* header = message.Add(ifaddrmsg{});
  header->ifa_family = static_cast<uint8_t>(parsed->family);
  header->ifa_prefixlen = static_cast<uint8_t>(parsed->length);
  header->ifa_flags = parsed->family == AF_INET6 ? IFA_F_NODAD : 0;
  header->ifa_index = static_cast<uint32_t>(*index);
  message.Attribute(IFA_LOCAL, *parsed);
  message.Attribute(IFA_ADDRESS, *parsed);
  return Send(message);
}

absl::Status RtNetlink::ChangeRoute(int type, int flags, const Route& route) {
  const absl::StatusOr<Prefix> destination = ParsePrefix(route.destination);
  if (!destination.ok()) return destination.status();
  Message message(type, flags);
  rtmsg* header = message.Add(rtmsg{});
  header->rtm_family = static_cast<uint8_t>(destination->family);
  header->rtm_dst_len = static_cast<uint8_t>(destination->length);
  header->rtm_table = route.local ? RT_TABLE_LOCAL : RT_TABLE_MAIN;
  header->rtm_protocol = RTPROT_STATIC;
  header->rtm_type = route.local ? RTN_LOCAL : RTN_UNICAST;
  header->rtm_scope = route.local             ? RT_SCOPE_HOST
                      : route.gateway.empty() ? RT_SCOPE_LINK
                                              : RT_SCOPE_UNIVERSE;
  if (type == RTM_DELROUTE) header->rtm_scope = RT_SCOPE_NOWHERE;
  if (route.onlink) header->rtm_flags = RTNH_F_ONLINK;
  if (destination->length > 0) message.Attribute(RTA_DST, *destination);
  if (!route.gateway.empty()) {
    const absl::StatusOr<Prefix> gateway = ParsePrefix(route.gateway);
    if (!gateway.ok()) return gateway.status();
    message.Attribute(RTA_GATEWAY, *gateway);
  }
  if (!route.source.empty()) {
    const absl::StatusOr<Prefix> source = ParsePrefix(route.source);
    if (!source.ok()) return source.status();
    message.Attribute(RTA_PREFSRC, *source);
  }
  if (!route.device.empty()) {
    const absl::StatusOr<int> index = Index(route.device);
    if (!index.ok()) return index.status();
    message.Attribute(RTA_OIF, *index);
  }
  if (absl::Status status = Send(message); !status.ok()) {
    return absl::Status(status.code(),
                        absl::StrCat("route ", route.destination, ": ", status.message()));
  }
  return absl::OkStatus();
}

absl::Status RtNetlink::Send(Message& message) {
  const nlmsghdr* request = message.header();
  if (::send(socket_, request, request->nlmsg_len, 0) < 0) {
    return absl::ErrnoToStatus(errno, "send to route netlink");
  }
  alignas(nlmsghdr) char reply[4096];
  const ssize_t size = ::recv(socket_, reply, sizeof(reply), 0);
  if (size < 0) return absl::ErrnoToStatus(errno, "receive from route netlink");
  const auto* header = reinterpret_cast<const nlmsghdr*>(reply);
  if (!NLMSG_OK(header, static_cast<size_t>(size)) || header->nlmsg_type != NLMSG_ERROR) {
    return absl::InternalError("route netlink answered with something else");
  }
  const int error = -static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
  if (error != 0) {
    return absl::ErrnoToStatus(error, absl::StrCat("route netlink request ", request->nlmsg_type));
  }
  return absl::OkStatus();
}

}  // namespace fairlead::lab
