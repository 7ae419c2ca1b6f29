#include "test/watcher/feed/objects.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"

namespace fairlead::feed_test {
namespace {

int Below(Random& random, int limit) {
  return std::uniform_int_distribution<int>(0, limit - 1)(random);
}
bool Flip(Random& random) { return Below(random, 2) == 1; }

uint16_t RandomPort(Random& random) { return static_cast<uint16_t>(1 + Below(random, 65535)); }

IpAddress RandomAddress(Random& random, IpFamily family) {
  if (family == IpFamily::kIpv4) return IpAddress::V4(static_cast<uint32_t>(random()));
  std::array<uint8_t, 16> bytes;
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return IpAddress::V6(bytes);
}

IpFamily RandomFamily(Random& random) { return Flip(random) ? IpFamily::kIpv4 : IpFamily::kIpv6; }

std::vector<IpAddress> RandomAddresses(Random& random) {
  std::vector<IpAddress> result;
  for (int i = Below(random, 4); i > 0; --i) {
    const IpAddress address = RandomAddress(random, RandomFamily(random));
    if (std::find(result.begin(), result.end(), address) == result.end()) {
      result.push_back(address);
    }
  }
  return result;
}

std::vector<IpPrefix> RandomPrefixes(Random& random) {
  std::vector<IpPrefix> result;
  for (int i = Below(random, 3); i > 0; --i) {
    const IpAddress address = RandomAddress(random, RandomFamily(random));
    result.push_back(IpPrefix::Make(address, Below(random, address.bit_length() + 1)).value());
  }
  return result;
}

std::string RandomText(Random& random) {
  std::string text;
  for (int i = Below(random, 12); i > 0; --i) text += static_cast<char>('a' + Below(random, 26));
  return text;
}

std::vector<std::string> RandomTexts(Random& random) {
  std::vector<std::string> texts;
  for (int i = Below(random, 3); i > 0; --i) texts.push_back(RandomText(random));
  return texts;
}

ipvs::Protocol RandomProtocol(Random& random) {
  constexpr ipvs::Protocol kAll[] = {ipvs::Protocol::kTcp, ipvs::Protocol::kUdp,
                                     ipvs::Protocol::kSctp};
  return kAll[Below(random, 3)];
}

TrafficPolicy RandomPolicy(Random& random) {
  return Flip(random) ? TrafficPolicy::kCluster : TrafficPolicy::kLocal;
}

Service RandomService(Random& random, const std::string& name) {
  Service service;
  service.name = {"shop", name};
  service.type = static_cast<ServiceType>(Below(random, 4));
  if (Flip(random)) service.created = absl::FromUnixSeconds(Below(random, 2'000'000'000));
  service.headless_label = Flip(random);
  if (Flip(random)) service.proxy_name_label = RandomText(random);
  if (Flip(random)) service.cluster_ips.push_back(RandomAddress(random, IpFamily::kIpv6));
  if (Flip(random)) service.cluster_ips.push_back(RandomAddress(random, IpFamily::kIpv4));
  service.external_ips = RandomAddresses(random);
  service.load_balancer_ips = RandomAddresses(random);
  service.load_balancer_source_ranges = RandomPrefixes(random);
  service.internal_traffic_policy = RandomPolicy(random);
  service.external_traffic_policy = RandomPolicy(random);
  if (Flip(random)) service.affinity_timeout = absl::Seconds(1 + Below(random, 86400));
  if (Flip(random)) service.health_check_node_port = RandomPort(random);
  for (int i = Below(random, 3); i > 0; --i) {
    service.ports.push_back({.name = RandomText(random),
                             .protocol = RandomProtocol(random),
                             .port = RandomPort(random),
                             .node_port = Flip(random) ? RandomPort(random) : uint16_t{0}});
  }
  service.scheduler = RandomText(random);
  if (Flip(random)) service.drain_timeout = absl::Milliseconds(Below(random, 604'800'001));
  if (Flip(random)) service.udp_drain_timeout = absl::Milliseconds(Below(random, 604'800'001));
  return service;
}

EndpointSlice RandomSlice(Random& random, const std::string& name) {
  EndpointSlice slice;
  slice.name = {"shop", name};
  slice.service_name = absl::StrCat("s", Below(random, 5));
  slice.headless_label = Flip(random);
  if (Flip(random)) slice.proxy_name_label = RandomText(random);
  slice.family = RandomFamily(random);
  for (int i = Below(random, 3); i > 0; --i) {
    slice.ports.push_back({RandomText(random), RandomProtocol(random), RandomPort(random)});
  }
  for (int i = Below(random, 4); i > 0; --i) {
    slice.endpoints.push_back(
        {.address = RandomAddress(random, slice.family),
         .ready = Flip(random),
         .serving = Flip(random),
         .terminating = Flip(random),
         .node_name = RandomText(random),
         .zone = RandomText(random),
         .hints = EndpointHints{.zones = RandomTexts(random), .nodes = RandomTexts(random)},
         .target_name = RandomText(random)});
  }
  return slice;
}

Node RandomNode(Random& random, const std::string& name) {
  return {.name = name,
          .internal_ips = RandomAddresses(random),
          .pod_cidrs = RandomPrefixes(random),
          .zone = RandomText(random),
          .being_removed = Flip(random)};
}

}  // namespace

Object MakeService(const std::string& name, int version) {
  auto service = std::make_shared<Service>();
  service->name = {"shop", name};
  service->cluster_ips = {IpAddress::V4(0x0a600000 + static_cast<uint32_t>(version))};
  return std::shared_ptr<const Service>(std::move(service));
}

Object MakeSlice(const std::string& name, const std::string& service, int version) {
  auto slice = std::make_shared<EndpointSlice>();
  slice->name = {"shop", name};
  slice->service_name = service;
  slice->endpoints = {
      Endpoint{.address = IpAddress::V4(0x0af40000 + static_cast<uint32_t>(version))}};
  return std::shared_ptr<const EndpointSlice>(std::move(slice));
}

Object MakeNode(const std::string& name, const std::string& zone) {
  auto node = std::make_shared<Node>();
  node->name = name;
  node->zone = zone;
  return std::shared_ptr<const Node>(std::move(node));
}

ObjectId ServiceId(const std::string& name) { return {ObjectKind::kService, {"shop", name}}; }

Object RandomObject(Random& random, const std::string& name) {
  switch (Below(random, 3)) {
    case 0:
      return std::make_shared<const Service>(RandomService(random, name));
    case 1:
      return std::make_shared<const EndpointSlice>(RandomSlice(random, name));
    default:
      return std::make_shared<const Node>(RandomNode(random, name));
  }
}

std::vector<std::string> Names(const std::vector<ObjectId>& ids) {
  std::vector<std::string> names;
  names.reserve(ids.size());
  for (const ObjectId& id : ids) names.push_back(id.Format());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> Names(const std::vector<Object>& objects) {
  std::vector<ObjectId> ids;
  ids.reserve(objects.size());
  for (const Object& object : objects) ids.push_back(IdOf(object));
  return Names(ids);
}

void Signal::Raise() {
  std::lock_guard lock(mutex_);
  ++count_;
  raised_.notify_all();
}

bool Signal::Await(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + kBound;
  std::unique_lock lock(mutex_);
  while (true) {
    const uint64_t seen = count_;
    lock.unlock();
    if (condition()) return true;
    // A condition that raises this itself has its end here.
    if (std::chrono::steady_clock::now() > deadline) return false;
    lock.lock();
    if (!raised_.wait_until(lock, deadline, [&] { return count_ != seen; })) return false;
  }
}

Agent::Agent(std::shared_ptr<grpc::Channel> channel, const std::string& node)
    : Agent(std::vector<FeedTarget>{{"feeder", std::move(channel)}}, node) {}

Agent::Agent(std::vector<FeedTarget> targets, const std::string& node)
    : mailbox_([this] { signal_.Raise(); }),
      client_(std::move(targets),
              {.node_name = node,
               .min_reconnect_wait = absl::Milliseconds(1),
               .max_reconnect_wait = absl::Milliseconds(20),
               .seed = 1},
              mailbox_) {
  client_.Start();
}

FeedUpdate Agent::Next() {
  std::optional<FeedUpdate> update;
  REQUIRE(signal_.Await([&] { return (update = mailbox_.Take()).has_value(); }));
  ApplyUpdate(*update, snapshot_);
  if (update->snapshot) picture_.clear();
  for (const Object& object : update->upserts) picture_[IdOf(object)] = object;
  for (const ObjectId& id : update->removals) picture_.erase(id);
  return *std::move(update);
}

FeedUpdate Agent::Until(uint64_t revision) {
  while (true) {
    FeedUpdate update = Next();
    if (update.position.revision >= revision) return update;
  }
}

}  // namespace fairlead::feed_test
