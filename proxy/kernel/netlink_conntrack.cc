#include "proxy/kernel/netlink_conntrack.h"

#include <linux/netlink.h>

#include <cerrno>
#include <set>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "proxy/kernel/conntrack_codec.h"

namespace fairlead {
namespace {

constexpr char kDeletion[] = "delete tracked flows";

// nfnetlink refuses a subsystem that is not there with EINVAL.
absl::Status ExplainMissing(const absl::Status& status) {
  if (!absl::IsInvalidArgument(status) && !absl::IsFailedPrecondition(status)) return status;
  return absl::FailedPreconditionError(
      absl::StrCat(status.message(), ": is ctnetlink there? Run `modprobe nf_conntrack_netlink`"));
}

// Whether one of the matches fits: there are two that can.
bool FitsOne(const absl::flat_hash_set<FlowMatch>& matches, const Flow& flow) {
  FlowMatch match = {flow.protocol, flow.destination, flow.endpoint, flow.endpoint_port};
  if (matches.contains(match)) return true;
  match.destination.reset();
  return match.Fits(flow) && matches.contains(match);
}

}  // namespace

absl::StatusOr<std::unique_ptr<NetlinkConntrack>> NetlinkConntrack::Open() {
  absl::StatusOr<NetlinkSocket> socket = NetlinkSocket::Open(NETLINK_NETFILTER);
  if (!socket.ok()) return ExplainMissing(socket.status());
  return std::unique_ptr<NetlinkConntrack>(new NetlinkConntrack(*std::move(socket)));
}

absl::StatusOr<int> NetlinkConntrack::DeleteFlows(absl::Span<const FlowMatch> matches) {
  const absl::flat_hash_set<FlowMatch> wanted(matches.begin(), matches.end());
  int deleted = 0;
  for (const IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
    std::set<ipvs::Protocol> protocols;
    for (const FlowMatch& match : wanted) {
      if (match.endpoint.family() == family) protocols.insert(match.protocol);
    }
    if (protocols.empty()) continue;
    absl::StatusOr<std::vector<Batch>> batches =
        Select(family, protocols.size() == 1 ? std::optional(*protocols.begin()) : std::nullopt,
               [&](const Flow& flow) { return FitsOne(wanted, flow); });
    if (!batches.ok()) return batches.status();
    for (const Batch& batch : *batches) {
      absl::StatusOr<int> count = Delete(batch);
      if (!count.ok()) return count.status();
      deleted += *count;
    }
  }
  return deleted;
}

absl::StatusOr<std::vector<NetlinkConntrack::Batch>> NetlinkConntrack::Select(
    IpFamily family, std::optional<ipvs::Protocol> protocol,
    absl::FunctionRef<bool(const Flow&)> is_meant) {
  std::vector<Batch> batches;
  const std::string context = absl::StrCat("dump of ", FormatFamily(family), " flows");
  absl::Status status = RetryInterrupted([&] {
    batches.clear();
    return socket_.Dump(EncodeFlowDump(family, protocol, socket_.TakeSequences(1)), context,
                        [&](const Message& message) {
                          absl::StatusOr<std::optional<FlowEntry>> entry = DecodeFlow(message);
                          if (!entry.ok()) return entry.status();
                          if (!entry->has_value() || !is_meant((*entry)->flow)) {
                            return absl::OkStatus();
                          }
                          const uint32_t sequence = socket_.TakeSequences(1);
                          if (batches.empty() || batches.back().count == kMaxBatch) {
                            batches.push_back({{}, sequence, 0});
                          }
                          EncodeFlowDelete(**entry, sequence, batches.back().bytes);
                          ++batches.back().count;
                          return absl::OkStatus();
                        });
  });
  if (!status.ok()) return ExplainMissing(status);
  return batches;
}

absl::StatusOr<int> NetlinkConntrack::Delete(const Batch& batch) {
  uint32_t answers = 0;
  int deleted = 0;
  absl::Status failure;
  absl::Status status = socket_.Exchange(batch.bytes, [&](const Message& message) {
    absl::StatusOr<Acknowledgement> ack = DecodeAcknowledgement(message);
    if (!ack.ok()) return ack.status();
    if (message.sequence - batch.first_sequence >= batch.count) return absl::OkStatus();
    ++answers;
    if (ack->error == 0) {
      ++deleted;
    } else if (ack->error != ENOENT) {
      failure.Update(NetlinkStatus(ack->error, kDeletion, ack->text));
    }
    return absl::OkStatus();
  });
  if (!failure.ok()) return failure;
  if (!status.ok()) return status;
  if (answers != batch.count) {
    return absl::UnknownError(absl::StrCat(kDeletion, ": the kernel answered to ", answers, " of ",
                                           batch.count, " requests"));
  }
  return deleted;
}

}  // namespace fairlead
