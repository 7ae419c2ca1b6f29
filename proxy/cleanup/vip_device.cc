#include "proxy/cleanup/vip_device.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

std::string Text(absl::string_view bytes) {
  return std::string(bytes.substr(0, std::min(bytes.find('\0'), bytes.size())));
}

std::string EncodeLinkRequest(uint16_t type, uint16_t flags, uint32_t sequence) {
  const ifinfomsg header{};
  std::string out;
  MessageWriter writer(out, type, NLM_F_REQUEST | flags, sequence, AsBytes(header));
  writer.PutText(IFLA_IFNAME, kKubeProxyDevice);
  writer.Finish();
  return out;
}

std::string EncodeAddressDump(uint32_t sequence) {
  const ifaddrmsg header{};  // Both families.
  std::string out;
  MessageWriter(out, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, sequence, AsBytes(header)).Finish();
  return out;
}

std::string EncodeAddressDelete(int index, const IpAddress& address, uint32_t sequence) {
  ifaddrmsg header{};
  header.ifa_family = address.is_v4() ? AF_INET : AF_INET6;
  header.ifa_prefixlen = static_cast<uint8_t>(address.bit_length());
  header.ifa_index = static_cast<uint32_t>(index);
  std::string out;
  MessageWriter writer(out, RTM_DELADDR, NLM_F_REQUEST | NLM_F_ACK, sequence, AsBytes(header));
  writer.Put(IFA_LOCAL, address.bytes());
  writer.Finish();
  return out;
}

}  // namespace

absl::StatusOr<std::unique_ptr<NetlinkVipDevice>> NetlinkVipDevice::Open() {
  absl::StatusOr<NetlinkSocket> socket = NetlinkSocket::Open(NETLINK_ROUTE);
  if (!socket.ok()) return socket.status();
  return std::unique_ptr<NetlinkVipDevice>(new NetlinkVipDevice(*std::move(socket)));
}

absl::StatusOr<std::optional<NetlinkVipDevice::Link>> NetlinkVipDevice::ReadLink() {
  std::optional<Link> link;
  int error = 0;
  absl::Status status = socket_.Exchange(
      EncodeLinkRequest(RTM_GETLINK, 0, socket_.TakeSequences(1)), [&](const Message& message) {
        if (message.type == NLMSG_ERROR) {
          absl::StatusOr<Acknowledgement> ack = DecodeAcknowledgement(message);
          if (ack.ok()) error = ack->error;
          return ack.status();
        }
        ifinfomsg header;
        absl::string_view rest = message.payload;
        if (message.type != RTM_NEWLINK || !ConsumeHeader(rest, &header, sizeof(header))) {
          return absl::DataLossError("rtnetlink: not a device");
        }
        link = Link{.index = header.ifi_index, .kind = ""};
        return ForEachAttribute(rest, [&](uint16_t type, absl::string_view info) {
          if (type != IFLA_LINKINFO) return absl::OkStatus();
          return ForEachAttribute(info, [&](uint16_t inner, absl::string_view payload) {
            if (inner == IFLA_INFO_KIND) link->kind = Text(payload);
            return absl::OkStatus();
          });
        });
      });
  if (!status.ok()) return status;
  if (error == ENODEV) return std::nullopt;
  if (error != 0) return NetlinkStatus(error, absl::StrCat("device ", kKubeProxyDevice));
  return link;
}

absl::Status NetlinkVipDevice::ReadAddresses(int index, std::vector<IpAddress>& addresses) {
  absl::Status status = RetryInterrupted([&] {
    addresses.clear();
    return socket_.Dump(
        EncodeAddressDump(socket_.TakeSequences(1)),
        absl::StrCat("dump of the addresses of ", kKubeProxyDevice), [&](const Message& message) {
          ifaddrmsg header;
          absl::string_view rest = message.payload;
          if (message.type != RTM_NEWADDR || !ConsumeHeader(rest, &header, sizeof(header))) {
            return absl::DataLossError("rtnetlink: not an address");
          }
          if (static_cast<int>(header.ifa_index) != index) return absl::OkStatus();
          std::optional<absl::string_view> local, address;
          absl::Status read = ForEachAttribute(rest, [&](uint16_t type, absl::string_view bytes) {
            if (type == IFA_LOCAL) local = bytes;
            if (type == IFA_ADDRESS) address = bytes;
            return absl::OkStatus();
          });
          if (!local.has_value()) local = address;
          if (!read.ok() || !local.has_value()) return read;
          absl::StatusOr<IpAddress> parsed = IpAddress::FromBytes(*local);
          if (parsed.ok() && !parsed->IsLinkLocal()) addresses.push_back(*parsed);
          return absl::OkStatus();
        });
  });
  std::sort(addresses.begin(), addresses.end());
  return status;
}

absl::StatusOr<std::optional<FoundVipDevice>> NetlinkVipDevice::Read() {
  absl::StatusOr<std::optional<Link>> link = ReadLink();
  if (!link.ok()) return link.status();
  if (!link->has_value()) return std::nullopt;
  FoundVipDevice found{.kind = (*link)->kind, .addresses = {}};
  absl::Status status = ReadAddresses((*link)->index, found.addresses);
  if (!status.ok()) return status;
  return found;
}

absl::Status NetlinkVipDevice::Request(const std::string& request, const std::string& context) {
  absl::Status failure = absl::UnknownError(absl::StrCat(context, ": the kernel did not answer"));
  absl::Status status = socket_.Exchange(request, [&](const Message& message) {
    absl::StatusOr<Acknowledgement> ack = DecodeAcknowledgement(message);
    if (!ack.ok()) return ack.status();
    failure = ack->error == 0 ? absl::OkStatus() : NetlinkStatus(ack->error, context, ack->text);
    return absl::OkStatus();
  });
  return status.ok() ? failure : status;
}

std::vector<absl::Status> NetlinkVipDevice::DeleteAddresses(absl::Span<const IpAddress> addresses) {
  absl::StatusOr<std::optional<Link>> link = ReadLink();
  std::vector<absl::Status> results(addresses.size(), link.status());
  if (!link.ok() || !link->has_value()) return results;
  for (size_t i = 0; i < addresses.size(); ++i) {
    results[i] =
        Request(EncodeAddressDelete((*link)->index, addresses[i], socket_.TakeSequences(1)),
                absl::StrCat("address ", addresses[i].Format(), " of ", kKubeProxyDevice));
    // EADDRNOTAVAIL, which NetlinkStatus does not tell apart.
    if (results[i].ok()) continue;
    std::vector<IpAddress> left;
    if (!ReadAddresses((*link)->index, left).ok()) continue;
    if (!std::binary_search(left.begin(), left.end(), addresses[i])) results[i] = absl::OkStatus();
  }
  return results;
}

absl::Status NetlinkVipDevice::Delete() {
  absl::Status status = Request(EncodeLinkRequest(RTM_DELLINK, NLM_F_ACK, socket_.TakeSequences(1)),
                                absl::StrCat("device ", kKubeProxyDevice));
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

}  // namespace fairlead
