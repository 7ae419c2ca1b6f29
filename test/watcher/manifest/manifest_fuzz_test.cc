// Documents that were changed at random: whatever comes in, nothing falls over.
#include <catch2/catch.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "test/watcher/manifest/testing.h"
#include "watcher/manifest/last_good.h"
#include "watcher/manifest/parse.h"

namespace fairlead::manifest {
namespace {

constexpr int kRounds = 3000;

const char* const kSeeds[] = {
    R"(apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop, labels: &l {app: cart}, creationTimestamp: 2024-05-01T10:00:00Z}
spec:
  type: NodePort
  selector: {<<: *l}
  ports: [{name: http, port: 80, targetPort: web, nodePort: 30080}, {name: dns, port: 53, protocol: UDP}]
  clusterIPs: [10.96.0.10, "fd00::10"]
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
status: {loadBalancer: {ingress: [{ip: 198.51.100.9}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: cart-1, namespace: shop, labels: {app: cart}}
spec: {nodeName: n1, containers: [{ports: [{name: web, containerPort: 8080}]}]}
status:
  phase: Running
  podIPs: [{ip: 10.244.0.5}, {ip: "fd01::5"}]
  conditions:
  - type: Ready
    status: "True"
)",
    R"({"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
   "metadata": {"name": "a-1", "labels": {"kubernetes.io/service-name": "a"}},
   "ports": [{"name": "http", "port": 8080}],
   "endpoints": [{"addresses": ["10.244.1.2"], "conditions": {"ready": true}, "nodeName": "n1",
                  "hints": {"forZones": [{"name": "z1"}]}}]},
  {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"},
   "spec": {"podCIDRs": ["10.244.1.0/24"]},
   "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}]})",
};

// Pieces that mean something to YAML, JSON or the decoders.
const char* const kTokens[] = {
    "---\n",  "...\n", "&a ",  "*a",           "<<: ",   "? ", ": ", "- ",    "[",     "]",
    "{",      "}",     "|\n",  ">-\n",         "!!str ", "!",  "\"", "'",     "#",     "%",
    "\t",     "\n",    "  ",   "null",         "~",      "0",  "-1", "65536", "1e999", "yes",
    "\\u00",  "\\",    "\xff", "\xef\xbb\xbf", "\r\n",   ",",  "@",  "`",     "0x",    "name",
    "items:", "\"\"",  "::"};

std::string Mutate(std::string text, std::mt19937* random) {
  const auto pick = [&](size_t n) { return static_cast<size_t>((*random)() % n); };
  for (size_t changes = 1 + pick(3); changes > 0 && !text.empty(); --changes) {
    const size_t at = pick(text.size());
    switch (pick(6)) {
      case 0:
        text[at] = static_cast<char>(pick(256));
        break;
      case 1:
        text.erase(at, 1 + pick(20));
        break;
      case 2:
        text.insert(at, kTokens[pick(std::size(kTokens))]);
        break;
      case 3:
        text.insert(pick(text.size()), text.substr(at, pick(60)));
        break;
      case 4:
        text.resize(at);
        break;
      case 5:
        text.replace(at, std::min<size_t>(text.size() - at, 1 + pick(8)),
                     kTokens[pick(std::size(kTokens))]);
        break;
    }
  }
  return text;
}

TEST_CASE("mutated documents do no harm") {
  std::mt19937 random(4711);
  const AllocationRanges ranges = DualStackRanges();
  DecodedFile previous;
  size_t decoded_objects = 0;
  size_t problems = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string text = Mutate(kSeeds[round % std::size(kSeeds)], &random);
    DecodedFile fresh = DecodeFile(round % 3 == 0 ? "fuzz.json" : "fuzz.yaml", text);
    decoded_objects += fresh.objects.size();
    KeepLastGood(
        "fuzz.yaml", previous,
        [&](const ManifestKey& key) -> const ManifestObject* {
          for (const ManifestObject& object : previous.objects) {
            if (object.key == key) return &object;
          }
          return nullptr;
        },
        &fresh);
    const Composition composition = Compose({&fresh}, {}, false, ranges);
    for (const Problem& problem : fresh.problems) {
      ++problems;
      CHECK(problem.Format().find('\n') == std::string::npos);
    }
    for (const auto& [id, object] : composition.picture) CHECK(id == IdOf(object));
    previous = std::move(fresh);
  }
  // The mutations are neither all harmless nor all fatal.
  CHECK(decoded_objects > kRounds / 4);
  CHECK(problems > kRounds / 4);
}

TEST_CASE("random tokens do no harm") {
  std::mt19937 random(815);
  for (int round = 0; round < kRounds; ++round) {
    std::string text;
    for (size_t i = random() % 40; i > 0; --i) text += kTokens[random() % std::size(kTokens)];
    const ParsedText parsed = ParseDocuments(text, round % 4 == 0);
    for (const Document& document : parsed.documents) CHECK(document.root != nullptr);
  }
}

TEST_CASE("mutated allocations do no harm") {
  std::mt19937 random(1234);
  Allocations allocations;
  allocations[{"a", "b"}] = {.cluster_ips = {*IpAddress::Parse("10.96.0.5")},
                             .node_ports = {{{80, ipvs::Protocol::kTcp}, 30080}},
                             .health_check_node_port = 31000};
  const std::string text = FormatAllocations(allocations);
  int good = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto parsed = ParseAllocations(Mutate(text, &random));
    if (parsed.ok()) ++good;
    if (parsed.ok()) CHECK(*ParseAllocations(FormatAllocations(*parsed)) == *parsed);
  }
  CHECK(good < kRounds);
}

}  // namespace
}  // namespace fairlead::manifest
