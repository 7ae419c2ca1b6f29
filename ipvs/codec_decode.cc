#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "ipvs/codec.h"

namespace fairlead::ipvs {
namespace {

absl::Status Malformed(absl::string_view what) {
  return absl::InternalError(absl::StrCat("malformed netlink message: ", what));
}

constexpr size_t Align(size_t size) { return (size + NLMSG_ALIGNTO - 1) & ~(NLMSG_ALIGNTO - 1); }

// `data` has at least sizeof(T) bytes, at any alignment.
template <typename T>
T Load(absl::string_view data) {
  T value;
  std::memcpy(&value, data.data(), sizeof(T));
  return value;
}

// The values of the attributes of one level by type. Those with a type beyond the array are newer
// than this code, and skipped; of one that is there twice the last counts, as in the kernel.
template <size_t kTypes>
class Attributes {
 public:
  static absl::StatusOr<Attributes> Decode(absl::string_view data) {
    Attributes result;
    while (!data.empty()) {
      if (data.size() < sizeof(nlattr)) return Malformed("half an attribute's header");
      const nlattr header = Load<nlattr>(data);
      if (header.nla_len < sizeof(nlattr) || header.nla_len > data.size()) {
        return Malformed("an attribute's length");
      }
      const size_t type = header.nla_type & NLA_TYPE_MASK;
      if (type < kTypes) {
        result.values_[type] = data.substr(sizeof(nlattr), header.nla_len - sizeof(nlattr));
      }
      data.remove_prefix(std::min(Align(header.nla_len), data.size()));
    }
    return result;
  }

  std::optional<absl::string_view> Find(size_t type) const { return values_[type]; }

  // An unsigned number of exactly T's size; nothing if it is absent or of another size.
  template <typename T>
  std::optional<T> FindNumber(size_t type) const {
    const std::optional<absl::string_view>& value = values_[type];
    if (!value || value->size() != sizeof(T)) return std::nullopt;
    return Load<T>(*value);
  }

 private:
  std::array<std::optional<absl::string_view>, kTypes> values_;
};

using CommandAttributes = Attributes<IPVS_CMD_ATTR_MAX + 1>;
using ServiceAttributes = Attributes<IPVS_SVC_ATTR_MAX + 1>;
using DestinationAttributes = Attributes<IPVS_DEST_ATTR_MAX + 1>;
using StatisticsAttributes = Attributes<IPVS_STATS_ATTR_MAX + 1>;

// Attributes of the nested attribute `type` of a generic netlink payload.
template <typename Result>
absl::StatusOr<Result> DecodeCommand(absl::string_view payload, size_t type) {
  if (payload.size() < GENL_HDRLEN) return Malformed("no generic netlink header");
  const absl::StatusOr<CommandAttributes> command =
      CommandAttributes::Decode(payload.substr(GENL_HDRLEN));
  if (!command.ok()) return command.status();
  const std::optional<absl::string_view> nested = command->Find(type);
  if (!nested) return Malformed("nothing of the kind that was asked for");
  return Result::Decode(*nested);
}

std::optional<IpFamily> FamilyFromNumber(uint16_t number) {
  if (number == AF_INET) return IpFamily::kIpv4;
  if (number == AF_INET6) return IpFamily::kIpv6;
  return std::nullopt;
}

// The kernel sends room for either family: 16 bytes.
std::optional<IpAddress> DecodeAddress(const std::optional<absl::string_view>& value,
                                       IpFamily family) {
  const size_t size = family == IpFamily::kIpv4 ? 4 : 16;
  if (!value || value->size() < size) return std::nullopt;
  absl::StatusOr<IpAddress> address = IpAddress::FromBytes(value->substr(0, size));
  if (!address.ok()) return std::nullopt;
  return *address;
}

std::string DecodeName(absl::string_view value) {
  return std::string(value.substr(0, value.find('\0')));
}

absl::StatusOr<Statistics> DecodeStatistics(absl::string_view nested) {
  const absl::StatusOr<StatisticsAttributes> attributes = StatisticsAttributes::Decode(nested);
  if (!attributes.ok()) return attributes.status();
  // STATS has 32 bits but for the bytes, STATS64 has 64 throughout.
  const auto number = [&](size_t type) -> uint64_t {
    if (const auto wide = attributes->FindNumber<uint64_t>(type)) return *wide;
    return attributes->FindNumber<uint32_t>(type).value_or(0);
  };
  return Statistics{
      .connections = number(IPVS_STATS_ATTR_CONNS),
      .packets_in = number(IPVS_STATS_ATTR_INPKTS),
      .packets_out = number(IPVS_STATS_ATTR_OUTPKTS),
      .bytes_in = number(IPVS_STATS_ATTR_INBYTES),
      .bytes_out = number(IPVS_STATS_ATTR_OUTBYTES),
      .connections_per_second = number(IPVS_STATS_ATTR_CPS),
      .packets_in_per_second = number(IPVS_STATS_ATTR_INPPS),
      .packets_out_per_second = number(IPVS_STATS_ATTR_OUTPPS),
      .bytes_in_per_second = number(IPVS_STATS_ATTR_INBPS),
      .bytes_out_per_second = number(IPVS_STATS_ATTR_OUTBPS),
  };
}

// None are zero: a kernel with neither attribute is not one that we know, but not an error.
absl::StatusOr<Statistics> DecodeStatistics(const std::optional<absl::string_view>& wide,
                                            const std::optional<absl::string_view>& narrow) {
  if (wide) return DecodeStatistics(*wide);
  if (narrow) return DecodeStatistics(*narrow);
  return Statistics{};
}

absl::StatusOr<VirtualServerKey> DecodeKey(const ServiceAttributes& service) {
  const std::optional<IpFamily> family =
      FamilyFromNumber(service.FindNumber<uint16_t>(IPVS_SVC_ATTR_AF).value_or(AF_UNSPEC));
  if (!family) return Malformed("a virtual server's family");
  if (const auto mark = service.FindNumber<uint32_t>(IPVS_SVC_ATTR_FWMARK); mark && *mark != 0) {
    return VirtualServerKey::ForMark(*family, *mark);
  }
  const auto protocol = service.FindNumber<uint16_t>(IPVS_SVC_ATTR_PROTOCOL);
  const auto address = DecodeAddress(service.Find(IPVS_SVC_ATTR_ADDR), *family);
  const auto port = service.FindNumber<uint16_t>(IPVS_SVC_ATTR_PORT);
  if (!protocol || !address || !port) return Malformed("a virtual server's key");
  return VirtualServerKey::ForAddress(static_cast<Protocol>(*protocol), *address, ntohs(*port));
}

int DecodePrefixLength(uint32_t netmask, IpFamily family) {
  if (family == IpFamily::kIpv4) return std::countl_one(ntohl(netmask));
  return static_cast<int>(std::min<uint32_t>(netmask, 128));
}

absl::StatusOr<VirtualServerConfig> DecodeConfig(const ServiceAttributes& service,
                                                 IpFamily family) {
  const auto scheduler = service.Find(IPVS_SVC_ATTR_SCHED_NAME);
  const auto flags = service.Find(IPVS_SVC_ATTR_FLAGS);
  const auto timeout = service.FindNumber<uint32_t>(IPVS_SVC_ATTR_TIMEOUT);
  const auto netmask = service.FindNumber<uint32_t>(IPVS_SVC_ATTR_NETMASK);
  if (!scheduler || !flags || flags->size() < sizeof(ip_vs_flags) || !timeout || !netmask) {
    return Malformed("a virtual server's configuration");
  }
  return VirtualServerConfig{
      .scheduler = DecodeName(*scheduler),
      .flags = Load<ip_vs_flags>(*flags).flags & kConfigurableFlags,
      .persistence_timeout = absl::Seconds(*timeout),
      .persistence_prefix_length = static_cast<uint8_t>(DecodePrefixLength(*netmask, family)),
      .persistence_engine = DecodeName(service.Find(IPVS_SVC_ATTR_PE_NAME).value_or("")),
  };
}

}  // namespace

absl::StatusOr<Message> DecodeMessage(absl::string_view* buffer) {
  if (buffer->size() < sizeof(nlmsghdr)) return Malformed("half a header");
  const nlmsghdr header = Load<nlmsghdr>(*buffer);
  if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > buffer->size()) {
    return Malformed("its length");
  }
  Message message{.type = header.nlmsg_type,
                  .flags = header.nlmsg_flags,
                  .sequence = header.nlmsg_seq,
                  .payload = buffer->substr(NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN)};
  buffer->remove_prefix(std::min(Align(header.nlmsg_len), buffer->size()));
  return message;
}

absl::StatusOr<int> DecodeErrno(absl::string_view payload) {
  if (payload.size() < sizeof(int32_t)) return Malformed("half an error number");
  const int32_t error = Load<int32_t>(payload);
  constexpr int kMaxErrno = 4095;  // include/linux/err.h
  if (error > 0 || error < -kMaxErrno) return Malformed("an error number");
  return -error;
}

absl::StatusOr<VirtualServer> DecodeVirtualServer(absl::string_view payload) {
  const auto service = DecodeCommand<ServiceAttributes>(payload, IPVS_CMD_ATTR_SERVICE);
  if (!service.ok()) return service.status();
  const absl::StatusOr<VirtualServerKey> key = DecodeKey(*service);
  if (!key.ok()) return key.status();
  absl::StatusOr<VirtualServerConfig> config = DecodeConfig(*service, key->family);
  if (!config.ok()) return config.status();
  const absl::StatusOr<Statistics> statistics =
      DecodeStatistics(service->Find(IPVS_SVC_ATTR_STATS64), service->Find(IPVS_SVC_ATTR_STATS));
  if (!statistics.ok()) return statistics.status();
  return VirtualServer{.key = *key, .config = *std::move(config), .statistics = *statistics};
}

absl::StatusOr<RealServer> DecodeRealServer(absl::string_view payload, IpFamily family) {
  const auto destination = DecodeCommand<DestinationAttributes>(payload, IPVS_CMD_ATTR_DEST);
  if (!destination.ok()) return destination.status();
  if (const auto number = destination->FindNumber<uint16_t>(IPVS_DEST_ATTR_ADDR_FAMILY)) {
    const std::optional<IpFamily> own = FamilyFromNumber(*number);
    if (!own) return Malformed("a real server's family");
    family = *own;
  }
  const auto address = DecodeAddress(destination->Find(IPVS_DEST_ATTR_ADDR), family);
  const auto port = destination->FindNumber<uint16_t>(IPVS_DEST_ATTR_PORT);
  const auto forwarding = destination->FindNumber<uint32_t>(IPVS_DEST_ATTR_FWD_METHOD);
  const auto weight = destination->FindNumber<int32_t>(IPVS_DEST_ATTR_WEIGHT);
  if (!address || !port || !forwarding || !weight) return Malformed("a real server");
  const auto count = [&](size_t type) {
    return destination->FindNumber<uint32_t>(type).value_or(0);
  };
  const absl::StatusOr<Statistics> statistics = DecodeStatistics(
      destination->Find(IPVS_DEST_ATTR_STATS64), destination->Find(IPVS_DEST_ATTR_STATS));
  if (!statistics.ok()) return statistics.status();
  return RealServer{
      .key = {.address = *address, .port = ntohs(*port)},
      .config = {.forwarding = static_cast<ForwardingMethod>(*forwarding & IP_VS_CONN_F_FWD_MASK),
                 .weight = *weight,
                 .upper_threshold = count(IPVS_DEST_ATTR_U_THRESH),
                 .lower_threshold = count(IPVS_DEST_ATTR_L_THRESH)},
      .active_connections = count(IPVS_DEST_ATTR_ACTIVE_CONNS),
      .inactive_connections = count(IPVS_DEST_ATTR_INACT_CONNS),
      .persistent_connections = count(IPVS_DEST_ATTR_PERSIST_CONNS),
      .statistics = *statistics,
  };
}

}  // namespace fairlead::ipvs
