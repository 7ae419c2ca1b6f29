#include "watcher/feed/feed_codec.h"

#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

#include "test/watcher/feed/objects.h"
#include "watcher/feed/batch_bytes.h"

namespace fairlead {
namespace {

using feed_test::Random;

const absl::Time kTriggered = absl::FromUnixSeconds(1'700'000'000) + absl::Nanoseconds(42);

TEST_CASE("Any valid object survives the wire") {
  for (int seed = 0; seed < 2000; ++seed) {
    Random random(seed);
    const Object object = feed_test::RandomObject(random, "o");
    v1::Change change;
    REQUIRE(change.ParseFromString(EncodeChange(object, 7, kTriggered).SerializeAsString()));

    const absl::StatusOr<DecodedChange> decoded = DecodeChange(change);

    INFO("seed " << seed << ": " << decoded.status());
    REQUIRE(decoded.ok());
    CHECK(decoded->revision == 7);
    CHECK(decoded->triggered == kTriggered);
    CHECK(decoded->id == IdOf(object));
    REQUIRE(decoded->object.has_value());
    CHECK(SameValue(*decoded->object, object));
  }
}

TEST_CASE("A slice's labels survive the wire, an empty name apart from none") {
  struct Case {
    const char* name;
    bool headless;
    std::optional<std::string> proxy_name;
  };
  const Case kCases[] = {
      {"none", false, std::nullopt}, {"headless", true, std::nullopt}, {"a name", false, "other"},
      {"an empty name", false, ""},  {"both", true, "other"},
  };
  for (const Case& test : kCases) {
    INFO(test.name);
    auto slice = std::make_shared<EndpointSlice>();
    slice->name = {"shop", "cart-x"};
    slice->service_name = "cart";
    slice->headless_label = test.headless;
    slice->proxy_name_label = test.proxy_name;
    const v1::Change change =
        EncodeChange(std::shared_ptr<const EndpointSlice>(slice), 1, absl::InfinitePast());
    CHECK(change.endpoint_slice().headless_label() == test.headless);
    CHECK(change.endpoint_slice().has_service_proxy_name() == test.proxy_name.has_value());
    const absl::StatusOr<DecodedChange> decoded = DecodeChange(change);
    REQUIRE(decoded.ok());
    CHECK(*std::get<std::shared_ptr<const EndpointSlice>>(*decoded->object) == *slice);
  }
}

TEST_CASE("A removal survives the wire") {
  for (const ObjectId& id : {ObjectId{ObjectKind::kService, {"shop", "cart"}},
                             ObjectId{ObjectKind::kEndpointSlice, {"shop", "x"}},
                             ObjectId{ObjectKind::kNode, {"", "n"}}}) {
    const absl::StatusOr<DecodedChange> decoded =
        DecodeChange(EncodeRemoval(id, 3, absl::InfinitePast()));
    REQUIRE(decoded.ok());
    CHECK(decoded->id == id);
    CHECK(decoded->triggered == std::nullopt);
    CHECK(!decoded->object.has_value());
  }
}

v1::Change ValidService() {
  auto service = std::make_shared<Service>();
  service->name = {"shop", "cart"};
  service->cluster_ips = {IpAddress::V4(0x0a600001)};
  service->ports = {{.name = "http", .port = 80}};
  return EncodeChange(std::shared_ptr<const Service>(service), 1, absl::InfinitePast());
}

v1::Change ValidSlice() {
  auto slice = std::make_shared<EndpointSlice>();
  slice->name = {"shop", "cart-x"};
  slice->service_name = "cart";
  slice->ports = {{.name = "http", .port = 80}};
  slice->endpoints = {{.address = IpAddress::V4(0x0af40101)},
                      {.address = IpAddress::V4(0x0af40102)}};
  return EncodeChange(std::shared_ptr<const EndpointSlice>(slice), 1, absl::InfinitePast());
}

v1::Change ValidNode() { return EncodeChange(feed_test::MakeNode("n1"), 1, absl::InfinitePast()); }

v1::Change ValidRemoval() {
  return EncodeRemoval({ObjectKind::kService, {"shop", "cart"}}, 1, absl::InfinitePast());
}

struct BadService {
  const char* name;
  std::function<void(v1::Service&)> spoil;
  const char* error;
};

TEST_CASE("An invalid Service is refused by object and field") {
  const std::string v4("\x0a\x60\x00\x01", 4);
  const BadService kCases[] = {
      {"no name", [](auto& s) { s.clear_name(); }, "Service shop/: name: is empty"},
      {"no namespace", [](auto& s) { s.clear_namespace_(); }, "Service /cart: namespace: is empty"},
      {"long name", [](auto& s) { s.set_name(std::string(254, 'x')); },
       "name: has 254 bytes, more than 253"},
      {"no type", [](auto& s) { s.clear_type(); }, "type: 0 is not a type"},
      {"unknown type", [](auto& s) { s.set_type(static_cast<v1::Service::Type>(9)); },
       "type: 9 is not a type"},
      {"creation in the year 10000",
       [](auto& s) { s.mutable_creation_timestamp()->set_seconds(253402300800); },
       "creation_timestamp: is out of range"},
      {"negative nanoseconds", [](auto& s) { s.mutable_creation_timestamp()->set_nanos(-1); },
       "creation_timestamp: is out of range"},
      {"address of 5 bytes", [](auto& s) { s.add_external_ips("12345"); },
       "external_ips[0]: an address has 4 or 16 bytes, not 5"},
      {"empty address", [](auto& s) { s.add_load_balancer_ips(""); },
       "load_balancer_ips[0]: an address has 4 or 16 bytes, not 0"},
      {"address twice",
       [v4](auto& s) {
         s.add_external_ips(v4);
         s.add_external_ips(v4);
       },
       "external_ips[1]: 10.96.0.1 is there twice"},
      {"two clusterIPs of a family",
       [](auto& s) { s.add_cluster_ips(std::string("\x0a\x60\x00\x02", 4)); },
       "cluster_ips: more than one address of a family"},
      {"prefix too long",
       [v4](auto& s) {
         s.add_load_balancer_source_ranges()->set_address(v4);
         s.mutable_load_balancer_source_ranges(0)->set_length(33);
       },
       "load_balancer_source_ranges[0].length: 33 is not in 0 to 32"},
      {"prefix with host bits",
       [v4](auto& s) {
         s.add_load_balancer_source_ranges()->set_address(v4);
         s.mutable_load_balancer_source_ranges(0)->set_length(8);
       },
       "load_balancer_source_ranges[0]: 10.96.0.1/8 has host bits"},
      {"no internal policy", [](auto& s) { s.clear_internal_traffic_policy(); },
       "internal_traffic_policy: 0 is not a traffic policy"},
      {"unknown external policy",
       [](auto& s) { s.set_external_traffic_policy(static_cast<v1::Service::TrafficPolicy>(3)); },
       "external_traffic_policy: 3 is not a traffic policy"},
      {"affinity of no time", [](auto& s) { s.set_affinity_timeout_seconds(0); },
       "affinity_timeout_seconds: 0 is not in 1 to 86400"},
      {"affinity over a day", [](auto& s) { s.set_affinity_timeout_seconds(86401); },
       "affinity_timeout_seconds: 86401 is not in 1 to 86400"},
      {"health check port", [](auto& s) { s.set_health_check_node_port(65536); },
       "health_check_node_port: 65536 is not in 0 to 65535"},
      {"unknown protocol", [](auto& s) { s.mutable_ports(0)->set_protocol(v1::Protocol(1)); },
       "ports[0].protocol: 1 is not a protocol"},
      {"port 0", [](auto& s) { s.add_ports()->set_protocol(v1::UDP); },
       "ports[1].port: 0 is not in 1 to 65535"},
      {"port above the range", [](auto& s) { s.mutable_ports(0)->set_port(65616); },
       "Service shop/cart: ports[0].port: 65616 is not in 1 to 65535"},
      {"node port above the range", [](auto& s) { s.mutable_ports(0)->set_node_port(70000); },
       "ports[0].node_port: 70000 is not in 0 to 65535"},
  };
  for (const BadService& test : kCases) {
    INFO(test.name);
    v1::Change change = ValidService();
    REQUIRE(DecodeChange(change).ok());
    test.spoil(*change.mutable_service());
    const absl::StatusOr<DecodedChange> decoded = DecodeChange(change);
    REQUIRE(decoded.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(decoded.status().message()), Catch::EndsWith(test.error));
  }
}

struct BadChange {
  const char* name;
  v1::Change change;
  std::function<void(v1::Change&)> spoil;
  const char* error;
};

TEST_CASE("An invalid change of another kind is refused by object and field") {
  const BadChange kCases[] = {
      {"slice without Service", ValidSlice(),
       [](auto& c) { c.mutable_endpoint_slice()->clear_service_name(); },
       "EndpointSlice shop/cart-x: service_name: is empty"},
      {"slice without family", ValidSlice(),
       [](auto& c) { c.mutable_endpoint_slice()->clear_family(); },
       "EndpointSlice shop/cart-x: family: 0 is not an IP family"},
      {"IPv4 endpoints in an IPv6 slice", ValidSlice(),
       [](auto& c) { c.mutable_endpoint_slice()->set_family(v1::IPV6); },
       "EndpointSlice shop/cart-x: endpoints[0].address: is IPv4 in a slice of IPv6"},
      {"one endpoint of the other family", ValidSlice(),
       [](auto& c) {
         c.mutable_endpoint_slice()->mutable_endpoints(1)->set_address(std::string(16, '\1'));
       },
       "EndpointSlice shop/cart-x: endpoints[1].address: is IPv6 in a slice of IPv4"},
      {"endpoint without address", ValidSlice(),
       [](auto& c) { c.mutable_endpoint_slice()->mutable_endpoints(1)->clear_address(); },
       "EndpointSlice shop/cart-x: endpoints[1].address: an address has 4 or 16 bytes, not 0"},
      {"slice with port 0", ValidSlice(),
       [](auto& c) { c.mutable_endpoint_slice()->mutable_ports(0)->set_port(0); },
       "EndpointSlice shop/cart-x: ports[0].port: 0 is not in 1 to 65535"},
      {"long hint", ValidSlice(),
       [](auto& c) {
         c.mutable_endpoint_slice()->mutable_endpoints(1)->add_zone_hints(std::string(300, 'z'));
       },
       "EndpointSlice shop/cart-x: endpoints[1].zone_hints: has 300 bytes, more than 253"},
      {"long name of a proxy", ValidSlice(),
       [](auto& c) { c.mutable_endpoint_slice()->set_service_proxy_name(std::string(254, 'p')); },
       "EndpointSlice shop/cart-x: service_proxy_name: has 254 bytes, more than 253"},
      {"node without name", ValidNode(), [](auto& c) { c.mutable_node()->clear_name(); },
       "Node : name: is empty"},
      {"node with an address of 3 bytes", ValidNode(),
       [](auto& c) { c.mutable_node()->add_internal_ips("abc"); },
       "Node n1: internal_ips[0]: an address has 4 or 16 bytes, not 3"},
      {"removal of an unknown kind", ValidRemoval(),
       [](auto& c) { c.mutable_removed()->set_kind(static_cast<v1::ObjectRef::Kind>(7)); },
       "reference to shop/cart: kind: 7 is not a kind"},
      {"removal without name", ValidRemoval(), [](auto& c) { c.mutable_removed()->clear_name(); },
       "Service shop/: name: is empty"},
      {"removal of a Node with a namespace", ValidRemoval(),
       [](auto& c) { c.mutable_removed()->set_kind(v1::ObjectRef::NODE); },
       "Node cart: namespace: a Node has none"},
      {"no kind", ValidNode(), [](auto& c) { c.clear_kind(); },
       "the change of revision 1 has no known kind"},
      {"trigger out of range", ValidNode(),
       [](auto& c) { c.mutable_triggered()->set_nanos(1'000'000'000); },
       "Node n1: triggered: is out of range"},
  };
  for (const BadChange& test : kCases) {
    INFO(test.name);
    v1::Change change = test.change;
    REQUIRE(DecodeChange(change).ok());
    test.spoil(change);
    const absl::StatusOr<DecodedChange> decoded = DecodeChange(change);
    REQUIRE(decoded.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK(std::string(decoded.status().message()) == test.error);
  }
}

TEST_CASE("An invalid change is identified where its name can be read") {
  v1::Change change = ValidService();
  change.mutable_service()->clear_type();
  CHECK(IdentifyChange(change) == ObjectId{ObjectKind::kService, {"shop", "cart"}});
  change.mutable_service()->clear_name();
  CHECK(IdentifyChange(change) == std::nullopt);
  CHECK(IdentifyChange(v1::Change()) == std::nullopt);
}

TEST_CASE("Text that is not UTF-8 does not spoil the message it is in") {
  struct Case {
    const char* name;
    std::string text;
    size_t max_length;
    std::string encoded;
  };
  const Case kCases[] = {
      {"plain", "cart", 10, "cart"},
      {"UTF-8", "c\xc3\xa4rt", 10, "c\xc3\xa4rt"},
      {"Latin-1", "c\xe4rt", 10, "c?rt"},
      {"cut", "cart", 2, "ca"},
      {"cut before a character of two bytes", "c\xc3\xa4rt", 2, "c"},
      {"cut after it", "c\xc3\xa4rt", 3, "c\xc3\xa4"},
  };
  for (const Case& test : kCases) {
    INFO(test.name);
    CHECK(EncodeText(test.text, test.max_length) == test.encoded);
  }
  auto node = std::make_shared<Node>();
  node->name = "n1";
  node->zone = "\xff";
  v1::Change change;
  CHECK(change.ParseFromString(
      EncodeChange(std::shared_ptr<const Node>(node), 1, absl::InfinitePast())
          .SerializeAsString()));
}

TEST_CASE("A joined batch is the message that protobuf would have made") {
  for (const bool marked : {false, true}) {
    INFO("marked " << marked);
    v1::SubscribeResponse expected;
    *expected.mutable_batch()->add_changes() = ValidService();
    *expected.mutable_batch()->add_changes() = ValidSlice();
    *expected.mutable_batch()->add_changes() = ValidRemoval();
    std::optional<CompleteMark> mark;
    if (marked) {
      mark = {.revision = 300, .partial = true};
      expected.mutable_batch()->set_complete_revision(300);
      expected.mutable_batch()->set_partial(true);
    }

    std::vector<grpc::Slice> slices;
    REQUIRE(JoinBatch({SerializeElement(ValidService()), SerializeElement(ValidSlice()),
                       SerializeElement(ValidRemoval())},
                      mark)
                .Dump(&slices)
                .ok());

    std::string bytes;
    for (const grpc::Slice& slice : slices) {
      bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    CHECK(bytes == expected.SerializeAsString());
  }
}

}  // namespace
}  // namespace fairlead
