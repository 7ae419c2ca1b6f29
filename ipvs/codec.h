// The bytes of IPVS's generic netlink messages: include/uapi/linux/ip_vs.h. No socket here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ipvs/table.h"

namespace fairlead::ipvs {

// No message that Encode… makes is longer: names are bounded, the rest is of fixed size.
inline constexpr size_t kMaxRequestSize = 384;

// What a request carries besides its meaning.
struct Frame {
  uint16_t family_id = 0;  // The number that this kernel gave the family "IPVS".
  uint16_t flags = 0;      // NLM_F_…; NLM_F_REQUEST, and NLM_F_DUMP for dumps, are added.
  uint32_t sequence = 0;
};

// Each appends one message, padded to four bytes, to `*buffer`.
//
// `operation` has passed ValidateOperation; of one that has not, the kernel gets other values.
void EncodeOperation(const Operation& operation, const Frame& frame, std::string* buffer);
void EncodeGetVirtualServer(const VirtualServerKey& key, const Frame& frame, std::string* buffer);
void EncodeDumpVirtualServers(const Frame& frame, std::string* buffer);
void EncodeDumpRealServers(const VirtualServerKey& key, const Frame& frame, std::string* buffer);

// Adds NLM_F_ACK to the message at `offset`, where an Encode… function has put one.
void RequestAcknowledgement(size_t offset, std::string* buffer);

// One message of what the kernel sent.
struct Message {
  uint16_t type = 0;   // The family's number, NLMSG_ERROR or NLMSG_DONE.
  uint16_t flags = 0;  // NLM_F_DUMP_INTR is of interest.
  uint32_t sequence = 0;
  absl::string_view payload;  // Points into the buffer.
};

// The functions below never read beyond what they are given. INTERNAL says what is malformed.

// Takes the first message off `*buffer`, which is not empty.
absl::StatusOr<Message> DecodeMessage(absl::string_view* buffer);

// The errno, 0 or positive, of the payload of NLMSG_ERROR (0 acknowledges), or of NLMSG_DONE.
absl::StatusOr<int> DecodeErrno(absl::string_view payload);

// The payload of one entry of a dump, or of the answer to a get. Real servers are not in it.
//
// The kernel's own flags are masked. An IPv4 persistence mask with holes, which only others can
// have set, counts as its leading ones. Statistics are the 64-bit ones where the kernel sends them
// (since 4.1).
absl::StatusOr<VirtualServer> DecodeVirtualServer(absl::string_view payload);

// `family` is the virtual server's: kernels before 3.18 do not send the real server's own.
absl::StatusOr<RealServer> DecodeRealServer(absl::string_view payload, IpFamily family);

}  // namespace fairlead::ipvs
