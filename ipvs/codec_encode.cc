#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "ipvs/codec.h"

namespace fairlead::ipvs {
namespace {

// The kernel's union nf_inet_addr: an address of either family.
constexpr size_t kAddressBytes = 16;

constexpr size_t Align(size_t size) { return (size + NLMSG_ALIGNTO - 1) & ~(NLMSG_ALIGNTO - 1); }

uint16_t FamilyNumber(IpFamily family) { return family == IpFamily::kIpv4 ? AF_INET : AF_INET6; }

uint32_t Ipv4Netmask(int prefix_length) {
  return htonl(prefix_length == 0 ? 0 : ~uint32_t{0} << (32 - std::min(prefix_length, 32)));
}

// Builds one message on the stack and copies it out whole.
class Writer {
 public:
  Writer(uint8_t command, uint16_t flags, const Frame& frame) {
    nlmsghdr header{};
    header.nlmsg_type = frame.family_id;
    header.nlmsg_flags = static_cast<uint16_t>(frame.flags | flags | NLM_F_REQUEST);
    header.nlmsg_seq = frame.sequence;
    const genlmsghdr generic{.cmd = command, .version = IPVS_GENL_VERSION};
    std::memcpy(data_, &header, sizeof(header));
    std::memcpy(data_ + NLMSG_HDRLEN, &generic, sizeof(generic));
  }

  template <typename T>
  void Put(uint16_t type, const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::memcpy(Reserve(type, sizeof(T)), &value, sizeof(T));
  }

  void PutAddress(uint16_t type, const IpAddress& address) {
    std::memcpy(Reserve(type, kAddressBytes), address.bytes().data(), address.bytes().size());
  }

  // With its terminating NUL.
  void PutName(uint16_t type, const std::string& name) {
    const size_t size = std::min<size_t>(name.size(), kMaxSchedulerName);
    std::memcpy(Reserve(type, size + 1), name.data(), size);
  }

  size_t BeginNest(uint16_t type) {
    const size_t start = size_;
    Reserve(static_cast<uint16_t>(type | NLA_F_NESTED), 0);
    return start;
  }
  void EndNest(size_t start) {
    const uint16_t length = static_cast<uint16_t>(size_ - start);
    std::memcpy(data_ + start, &length, sizeof(length));
  }

  void AppendTo(std::string* buffer) {
    const uint32_t length = static_cast<uint32_t>(size_);
    std::memcpy(data_, &length, sizeof(length));
    buffer->append(data_, size_);
  }

 private:
  // Room for an attribute's value; it and its padding are zero, as the whole array was.
  char* Reserve(uint16_t type, size_t size) {
    const nlattr attribute{.nla_len = static_cast<uint16_t>(NLA_HDRLEN + size), .nla_type = type};
    std::memcpy(data_ + size_, &attribute, sizeof(attribute));
    char* value = data_ + size_ + NLA_HDRLEN;
    size_ += Align(NLA_HDRLEN + size);
    return value;
  }

  char data_[kMaxRequestSize] = {};
  size_t size_ = NLMSG_HDRLEN + GENL_HDRLEN;
};

void PutKey(const VirtualServerKey& key, Writer* writer) {
  writer->Put(IPVS_SVC_ATTR_AF, FamilyNumber(key.family));
  if (key.is_mark()) {
    writer->Put(IPVS_SVC_ATTR_FWMARK, key.firewall_mark);
    return;
  }
  writer->Put(IPVS_SVC_ATTR_PROTOCOL, static_cast<uint16_t>(key.protocol));
  writer->PutAddress(IPVS_SVC_ATTR_ADDR, key.address);
  writer->Put(IPVS_SVC_ATTR_PORT, htons(key.port));
}

void PutConfig(const VirtualServerConfig& config, IpFamily family, Writer* writer) {
  writer->PutName(IPVS_SVC_ATTR_SCHED_NAME, config.scheduler);
  if (!config.persistence_engine.empty()) {
    writer->PutName(IPVS_SVC_ATTR_PE_NAME, config.persistence_engine);
  }
  writer->Put(IPVS_SVC_ATTR_FLAGS, ip_vs_flags{.flags = config.flags, .mask = ~uint32_t{0}});
  writer->Put(IPVS_SVC_ATTR_TIMEOUT,
              static_cast<uint32_t>(absl::ToInt64Seconds(config.persistence_timeout)));
  // The attribute is a mask in network order for IPv4, and a length in native order for IPv6.
  writer->Put(IPVS_SVC_ATTR_NETMASK, family == IpFamily::kIpv4
                                         ? Ipv4Netmask(config.persistence_prefix_length)
                                         : uint32_t{config.persistence_prefix_length});
}

void PutRealServer(const RealServerKey& key, const RealServerConfig* config, Writer* writer) {
  writer->Put(IPVS_DEST_ATTR_ADDR_FAMILY, FamilyNumber(key.address.family()));
  writer->PutAddress(IPVS_DEST_ATTR_ADDR, key.address);
  writer->Put(IPVS_DEST_ATTR_PORT, htons(key.port));
  if (config == nullptr) return;
  writer->Put(IPVS_DEST_ATTR_FWD_METHOD, static_cast<uint32_t>(config->forwarding));
  writer->Put(IPVS_DEST_ATTR_WEIGHT, config->weight);
  writer->Put(IPVS_DEST_ATTR_U_THRESH, config->upper_threshold);
  writer->Put(IPVS_DEST_ATTR_L_THRESH, config->lower_threshold);
}

struct VerbBytes {
  uint8_t command;
  bool has_virtual_config;
  bool has_real_server;
  bool has_real_config;
};

VerbBytes DescribeVerb(Verb verb) {
  switch (verb) {
    case Verb::kAddVirtualServer:
      return {IPVS_CMD_NEW_SERVICE, true, false, false};
    case Verb::kEditVirtualServer:
      return {IPVS_CMD_SET_SERVICE, true, false, false};
    case Verb::kDeleteVirtualServer:
      return {IPVS_CMD_DEL_SERVICE, false, false, false};
    case Verb::kAddRealServer:
      return {IPVS_CMD_NEW_DEST, false, true, true};
    case Verb::kEditRealServer:
      return {IPVS_CMD_SET_DEST, false, true, true};
    case Verb::kDeleteRealServer:
      return {IPVS_CMD_DEL_DEST, false, true, false};
  }
  return {IPVS_CMD_UNSPEC, false, false, false};
}

void EncodeKeyRequest(uint8_t command, uint16_t flags, const VirtualServerKey& key,
                      const Frame& frame, std::string* buffer) {
  Writer writer(command, flags, frame);
  const size_t nest = writer.BeginNest(IPVS_CMD_ATTR_SERVICE);
  PutKey(key, &writer);
  writer.EndNest(nest);
  writer.AppendTo(buffer);
}

}  // namespace

void EncodeOperation(const Operation& operation, const Frame& frame, std::string* buffer) {
  const VerbBytes verb = DescribeVerb(operation.verb);
  Writer writer(verb.command, 0, frame);
  const size_t service = writer.BeginNest(IPVS_CMD_ATTR_SERVICE);
  PutKey(operation.virtual_server, &writer);
  if (verb.has_virtual_config) {
    PutConfig(operation.virtual_config, operation.virtual_server.family, &writer);
  }
  writer.EndNest(service);
  if (verb.has_real_server) {
    const size_t destination = writer.BeginNest(IPVS_CMD_ATTR_DEST);
    PutRealServer(operation.real_server, verb.has_real_config ? &operation.real_config : nullptr,
                  &writer);
    writer.EndNest(destination);
  }
  writer.AppendTo(buffer);
}

void EncodeGetVirtualServer(const VirtualServerKey& key, const Frame& frame, std::string* buffer) {
  EncodeKeyRequest(IPVS_CMD_GET_SERVICE, 0, key, frame, buffer);
}

void EncodeDumpVirtualServers(const Frame& frame, std::string* buffer) {
  Writer(IPVS_CMD_GET_SERVICE, NLM_F_DUMP, frame).AppendTo(buffer);
}

void EncodeDumpRealServers(const VirtualServerKey& key, const Frame& frame, std::string* buffer) {
  EncodeKeyRequest(IPVS_CMD_GET_DEST, NLM_F_DUMP, key, frame, buffer);
}

void RequestAcknowledgement(size_t offset, std::string* buffer) {
  char* flags = buffer->data() + offset + offsetof(nlmsghdr, nlmsg_flags);
  uint16_t value;
  std::memcpy(&value, flags, sizeof(value));
  value |= NLM_F_ACK;
  std::memcpy(flags, &value, sizeof(value));
}

}  // namespace fairlead::ipvs
