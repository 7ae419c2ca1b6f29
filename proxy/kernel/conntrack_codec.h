// Bytes of ctnetlink requests and of what they are answered with, as in
// include/uapi/linux/netfilter/nfnetlink_conntrack.h. No I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proxy/kernel/conntrack.h"
#include "proxy/kernel/netlink_message.h"

namespace fairlead {

// A dump of a family's flows, of one protocol or (unset) of all. Kernels before 5.8 do not know the
// filter and answer with all.
std::string EncodeFlowDump(IpFamily family, std::optional<ipvs::Protocol> protocol,
                           uint32_t sequence);

// An entry of a dump.
struct FlowEntry {
  Flow flow;
  // What the kernel knows the entry by, as it was sent. Points into the message.
  absl::string_view original;  // Payload of CTA_TUPLE_ORIG.
  absl::string_view zone;      // Payload of CTA_ZONE; empty: there is none.
  absl::string_view id;        // Payload of CTA_ID.
};

// Unset: of a family or protocol that IPVS does not balance. DATA_LOSS if it is no whole entry.
absl::StatusOr<std::optional<FlowEntry>> DecodeFlow(const Message& message);

// Appends a request to delete an entry that DecodeFlow returned; it is always answered, with ENOENT
// if the entry is not there (any more). A new flow between the same addresses has another id,
// unless the kernel put it where the old one was in memory (net/netfilter/nf_conntrack_core.c,
// nf_ct_get_id).
void EncodeFlowDelete(const FlowEntry& entry, uint32_t sequence, std::string& out);

}  // namespace fairlead
