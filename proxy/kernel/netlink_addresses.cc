// ReadNodeAddresses, by rtnetlink (include/uapi/linux/if_addr.h). Apart from the rest, which is
// pure.
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <optional>

#include "proxy/kernel/netlink_socket.h"
#include "proxy/kernel/node_addresses.h"

namespace fairlead {
namespace {

std::string EncodeAddressDump(uint32_t sequence) {
  const ifaddrmsg header{};  // Both families.
  std::string out;
  MessageWriter(out, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, sequence, AsBytes(header)).Finish();
  return out;
}

// The device's name; its number where it has gone meanwhile.
std::string DeviceName(uint32_t index) {
  char name[IF_NAMESIZE] = {};
  return if_indextoname(index, name) != nullptr ? name : std::to_string(index);
}

absl::Status DecodeAddress(const Message& message, std::vector<NodeAddress>& addresses) {
  ifaddrmsg header;
  absl::string_view rest = message.payload;
  if (message.type != RTM_NEWADDR || !ConsumeHeader(rest, &header, sizeof(header))) {
    return absl::DataLossError("rtnetlink: not an address");
  }
  // IFA_LOCAL is the node's own where IFA_ADDRESS is its peer's; IPv6 has it only then.
  std::optional<absl::string_view> local, address;
  absl::Status status = ForEachAttribute(rest, [&](uint16_t type, absl::string_view payload) {
    if (type == IFA_LOCAL) local = payload;
    if (type == IFA_ADDRESS) address = payload;
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  if (!local.has_value()) local = address;
  // Other families have addresses too.
  if (!local.has_value() || (local->size() != 4 && local->size() != 16)) return absl::OkStatus();
  addresses.push_back({*IpAddress::FromBytes(*local), DeviceName(header.ifa_index)});
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<NodeAddress>> ReadNodeAddresses() {
  absl::StatusOr<NetlinkSocket> socket = NetlinkSocket::Open(NETLINK_ROUTE);
  if (!socket.ok()) return socket.status();
  std::vector<NodeAddress> addresses;
  absl::Status status = RetryInterrupted([&] {
    addresses.clear();
    return socket->Dump(EncodeAddressDump(socket->TakeSequences(1)), "dump of the node's addresses",
                        [&](const Message& message) { return DecodeAddress(message, addresses); });
  });
  if (!status.ok()) return status;
  std::sort(addresses.begin(), addresses.end());
  return addresses;
}

}  // namespace fairlead
