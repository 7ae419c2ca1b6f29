#include "proxy/kernel/netlink_routes.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "proxy/kernel/node_addresses.h"
#include "proxy/kernel/route_codec.h"

namespace fairlead {
namespace {

std::string Describe(const RouteChange& change) {
  const std::string vip = change.route.vip.Format();
  return change.verb == RouteChange::Verb::kPut ? absl::StrCat("put the route to ", vip)
                                                : absl::StrCat("delete the route to ", vip);
}

absl::Status WriteStatus(const RouteChange& change, RouteVerb verb, const Acknowledgement& ack) {
  const bool put = change.verb == RouteChange::Verb::kPut;
  if (verb == RouteVerb::kDelete && ack.error == ESRCH) return absl::OkStatus();
  absl::Status status = NetlinkStatus(ack.error, Describe(change), ack.text);
  if (put && absl::IsInvalidArgument(status) && change.route.source.has_value()) {
    return absl::FailedPreconditionError(absl::StrCat(status.message(), ": is the source ",
                                                      change.route.source->Format(),
                                                      " an address of this node?"));
  }
  return status;
}

// Errors that say that no table has a route to the address (net/ipv4/fib_semantics.c, fib_props).
bool MeansNoRoute(int error) {
  return error == ENETUNREACH || error == EHOSTUNREACH || error == EACCES || error == EINVAL ||
         error == ENODEV;
}

// Whether it is the kernel's own for an address that kube-proxy gave its device.
bool IsOfKubeProxy(const RouteEntry& route) {
  return route.protocol == RTPROT_KERNEL && route.device != 0 &&
         route.device == if_nametoindex(kKubeProxyDevice);
}

// What has to be written for a change where the kernel takes `found`; none: nothing.
absl::StatusOr<std::vector<RouteVerb>> SelectVerbs(
    const RouteChange& change, const absl::StatusOr<std::optional<RouteEntry>>& found) {
  using Verbs = std::vector<RouteVerb>;
  if (!found.ok()) return found.status();
  if (change.verb == RouteChange::Verb::kDelete) return Verbs{RouteVerb::kDelete};
  const std::optional<RouteEntry>& present = *found;
  if (!present.has_value() || !present->IsLocalTo(change.route.vip)) return Verbs{RouteVerb::kAdd};
  if (present->IsOurs()) {
    return present->source == change.route.source ? Verbs{} : Verbs{RouteVerb::kReplace};
  }
  // There may be ours behind it, with another source. Meanwhile the VIP stays the node's own.
  if (IsOfKubeProxy(*present)) return Verbs{RouteVerb::kDelete, RouteVerb::kPrepend};
  return absl::AlreadyExistsError(absl::StrCat(
      Describe(change), ": there is a local route of others (protocol ", present->protocol, ")"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<NetlinkRoutes>> NetlinkRoutes::Open() {
  absl::StatusOr<NetlinkSocket> socket = NetlinkSocket::Open(NETLINK_ROUTE);
  if (!socket.ok()) return socket.status();
  return std::unique_ptr<NetlinkRoutes>(new NetlinkRoutes(*std::move(socket)));
}

absl::Status NetlinkRoutes::DumpFamily(IpFamily family, std::vector<VipRoute>& routes) {
  const size_t before = routes.size();
  const std::string context = absl::StrCat("dump of ", FormatFamily(family), " routes");
  return RetryInterrupted([&] {
    routes.resize(before);
    return socket_.Dump(EncodeRouteDump(family, socket_.TakeSequences(1)), context,
                        [&](const Message& message) {
                          absl::StatusOr<std::optional<RouteEntry>> route = DecodeRoute(message);
                          if (!route.ok()) return route.status();
                          if (!route->has_value()) return absl::OkStatus();
                          const RouteEntry& entry = **route;
                          const IpAddress& vip = entry.destination.address();
                          // The kernel may not have filtered, and answers for all families if it
                          // lacks this one.
                          if (vip.family() == family && entry.IsOurs() && entry.IsInTableLocal() &&
                              entry.IsLocalTo(vip)) {
                            routes.push_back({vip, entry.source});
                          }
                          return absl::OkStatus();
                        });
  });
}

absl::StatusOr<std::vector<VipRoute>> NetlinkRoutes::Dump() {
  std::vector<VipRoute> routes;
  for (const IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
    if (absl::Status status = DumpFamily(family, routes); !status.ok()) return status;
  }
  std::sort(routes.begin(), routes.end(),
            [](const VipRoute& a, const VipRoute& b) { return a.vip < b.vip; });
  return routes;
}

std::vector<absl::Status> NetlinkRoutes::Apply(absl::Span<const RouteChange> changes) {
  std::vector<absl::Status> results(changes.size());
  for (size_t first = 0; first < changes.size();) {
    // A batch asks first and writes then: a VIP that comes again has to wait for the next one.
    absl::flat_hash_set<IpAddress> vips;
    size_t end = first;
    while (end < changes.size() && end - first < kMaxBatch &&
           vips.insert(changes[end].route.vip).second) {
      ++end;
    }
    ApplyBatch(changes.subspan(first, end - first),
               absl::MakeSpan(results).subspan(first, end - first));
    first = end;
  }
  return results;
}

void NetlinkRoutes::ApplyBatch(absl::Span<const RouteChange> changes,
                               absl::Span<absl::Status> results) {
  const std::vector<absl::StatusOr<Present>> present = Lookup(changes);
  std::vector<Step> steps;
  for (size_t i = 0; i < changes.size(); ++i) {
    absl::StatusOr<std::vector<RouteVerb>> verbs = SelectVerbs(changes[i], present[i]);
    if (!verbs.ok()) {
      results[i] = verbs.status();
      continue;
    }
    for (const RouteVerb verb : *verbs) steps.push_back({i, verb});
  }
  Write(changes, steps, results);
}

std::vector<absl::StatusOr<NetlinkRoutes::Present>> NetlinkRoutes::Lookup(
    absl::Span<const RouteChange> changes) {
  std::vector<absl::StatusOr<Present>> present(
      changes.size(), absl::UnknownError("the kernel did not say which route there is"));
  const uint32_t first = socket_.TakeSequences(static_cast<uint32_t>(changes.size()));
  std::string request;
  for (size_t i = 0; i < changes.size(); ++i) {
    if (changes[i].verb == RouteChange::Verb::kDelete) {
      present[i] = std::nullopt;
    } else {
      EncodeRouteLookup(changes[i].route.vip, first + static_cast<uint32_t>(i), request);
    }
  }
  if (request.empty()) return present;
  absl::Status status = socket_.Exchange(request, [&](const Message& message) {
    const size_t i = message.sequence - first;
    if (i >= changes.size()) return absl::OkStatus();
    if (message.type != NLMSG_ERROR) {
      present[i] = DecodeRoute(message);
      return absl::OkStatus();
    }
    absl::StatusOr<Acknowledgement> ack = DecodeAcknowledgement(message);
    if (!ack.ok()) return ack.status();
    if (MeansNoRoute(ack->error)) {
      present[i] = std::nullopt;
    } else {
      present[i] = NetlinkStatus(ack->error, Describe(changes[i]), ack->text);
    }
    return absl::OkStatus();
  });
  for (absl::StatusOr<Present>& route : present) {
    if (!status.ok() && absl::IsUnknown(route.status())) route = status;
  }
  return present;
}

void NetlinkRoutes::Write(absl::Span<const RouteChange> changes, absl::Span<const Step> steps,
                          absl::Span<absl::Status> results) {
  if (steps.empty()) return;
  const uint32_t first = socket_.TakeSequences(static_cast<uint32_t>(steps.size()));
  std::string request;
  for (size_t i = 0; i < steps.size(); ++i) {
    EncodeRoute(steps[i].verb, changes[steps[i].change].route, first + static_cast<uint32_t>(i),
                /*acknowledge=*/i + 1 == steps.size(), request);
  }
  // Errors are always answered, so that the answer to the last message speaks for the others.
  bool complete = false;
  absl::Status status = socket_.Exchange(request, [&](const Message& message) {
    const size_t i = message.sequence - first;
    absl::StatusOr<Acknowledgement> ack = DecodeAcknowledgement(message);
    if (!ack.ok()) return ack.status();
    if (i >= steps.size()) return absl::OkStatus();
    const Step& step = steps[i];
    if (ack->error != 0) {
      results[step.change].Update(WriteStatus(changes[step.change], step.verb, *ack));
    }
    complete |= i + 1 == steps.size();
    return absl::OkStatus();
  });
  if (status.ok() && complete) return;
  for (const Step& step : steps) {
    if (!results[step.change].ok()) continue;
    results[step.change] = absl::UnknownError(
        absl::StrCat(Describe(changes[step.change]), ": the kernel's answer was lost"));
  }
}

absl::StatusOr<std::string> DeviceTowards(const IpAddress& address) {
  absl::StatusOr<NetlinkSocket> socket = NetlinkSocket::Open(NETLINK_ROUTE);
  if (!socket.ok()) return socket.status();
  const std::string context = absl::StrCat("route to ", address.Format());
  std::string request;
  EncodeDeviceLookup(address, socket->TakeSequences(1), request);
  uint32_t device = 0;
  absl::Status status = socket->Exchange(request, [&](const Message& message) {
    if (message.type == NLMSG_ERROR) {
      absl::StatusOr<Acknowledgement> ack = DecodeAcknowledgement(message);
      if (!ack.ok()) return ack.status();
      return NetlinkStatus(ack->error, context, ack->text);
    }
    absl::StatusOr<uint32_t> found = DecodeDevice(message);
    if (found.ok()) device = *found;
    return found.status();
  });
  if (!status.ok()) return status;
  char name[IF_NAMESIZE];
  if (device == 0 || if_indextoname(device, name) == nullptr) {
    return absl::UnavailableError(absl::StrCat(context, ": its device is not known"));
  }
  return std::string(name);
}

}  // namespace fairlead
