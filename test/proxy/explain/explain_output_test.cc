#include <catch2/catch.hpp>

#include "world.h"

namespace fairlead::testing {
namespace {

TEST_CASE("a destination is read with its protocol, TCP where there is none") {
  struct Row {
    std::string text;
    std::string address;
    uint16_t port;
    ipvs::Protocol protocol;
  };
  const std::vector<Row> rows = {
      {"10.96.0.10:80", "10.96.0.10", 80, ipvs::Protocol::kTcp},
      {"10.96.0.10:80/tcp", "10.96.0.10", 80, ipvs::Protocol::kTcp},
      {"10.96.0.10:53/udp", "10.96.0.10", 53, ipvs::Protocol::kUdp},
      {"10.96.0.10:53/UDP", "10.96.0.10", 53, ipvs::Protocol::kUdp},
      {"[fd00::1]:5060/sctp", "fd00::1", 5060, ipvs::Protocol::kSctp},
      {"[fd00::1]:65535", "fd00::1", 65535, ipvs::Protocol::kTcp},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.text) {
      const absl::StatusOr<Destination> destination = ParseDestination(row.text);
      REQUIRE(destination.ok());
      CHECK(destination->address == Address(row.address));
      CHECK(destination->port == row.port);
      CHECK(destination->protocol == row.protocol);
    }
  }
}

TEST_CASE("what is no destination is refused, and the error has the text") {
  struct Row {
    std::string text;
    std::string part;  // What is said of.
  };
  const std::vector<Row> rows = {
      {"", ""},
      {"10.96.0.10", "10.96.0.10"},
      {"10.96.0.10:", "10.96.0.10:"},
      {"10.96.0.10:0", "10.96.0.10:0"},
      {"10.96.0.10:65536", "10.96.0.10:65536"},
      {"10.96.0.10:80/icmp", "ICMP"},
      {"10.96.0.10:80/", ""},
      {"10.96.0.10:80/tcp/udp", "10.96.0.10:80/tcp"},
      {"fd00::1:80", "fd00::1:80"},
      {"[10.96.0.10]:80", "[10.96.0.10]:80"},
      {"cart:80", "cart:80"},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION("\"" << row.text << "\"") {
      const absl::Status status = ParseDestination(row.text).status();
      CHECK(absl::IsInvalidArgument(status));
      CHECK(std::string(status.message()).find(row.part) != std::string::npos);
    }
  }
}

Explanation Balanced() {
  return {.verdict = ExplainedVerdict::kBalance,
          .service = "shop/cart:http",
          .endpoints = {{Address("10.244.1.2"), 8080}, {Address("10.244.2.2"), 8080}},
          .masquerade = true,
          .because = {"source: one", "destination: \"two\""},
          .virtual_server = std::nullopt};
}

TEST_CASE("an explanation for people has the answer first, and then why") {
  CHECK(FormatExplanationText(Balanced()) ==
        "balance shop/cart:http -> 10.244.1.2:8080, 10.244.2.2:8080, masqueraded\n"
        "  source: one\n"
        "  destination: \"two\"\n");
  Explanation explanation = Balanced();
  explanation.masquerade = false;
  explanation.endpoints = {{Address("fd00:244::2"), 8080}};
  explanation.because.clear();
  CHECK(FormatExplanationText(explanation) == "balance shop/cart:http -> [fd00:244::2]:8080\n");
  explanation.endpoints.clear();
  explanation.verdict = ExplainedVerdict::kReject;
  CHECK(FormatExplanationText(explanation) == "reject shop/cart:http\n");
  explanation.verdict = ExplainedVerdict::kDrop;
  CHECK(FormatExplanationText(explanation) == "drop shop/cart:http\n");
  CHECK(FormatExplanationText({}) == "none\n");
}

TEST_CASE("an explanation as JSON has everything") {
  CHECK(FormatExplanationJson(Balanced()) == R"({
  "verdict": "balance",
  "service": "shop/cart:http",
  "endpoints": [
    "10.244.1.2:8080",
    "10.244.2.2:8080"
  ],
  "masquerade": true,
  "because": [
    "source: one",
    "destination: \"two\""
  ]
}
)");
  CHECK(FormatExplanationJson({}) == R"({
  "verdict": "none",
  "service": "",
  "endpoints": [],
  "masquerade": false,
  "because": []
}
)");
}

TEST_CASE("a name that is no UTF-8 is no reason to fail") {
  Explanation explanation;
  explanation.service = "shop/\xff";
  CHECK(FormatExplanationJson(explanation).find("shop/\xEF\xBF\xBD") != std::string::npos);
}

TEST_CASE("an answer is whole: source, destination, policy, verdict, masquerade, endpoints") {
  CHECK(FormatExplanationText(World().Ask("198.51.100.9", "192.0.2.7:80").value()) ==
        "balance shop/cart:http -> 10.244.1.2:8080, 10.244.2.2:8080, masqueraded\n"
        "  source: 198.51.100.9 is outside: pods have addresses in 10.244.0.0/16, fd00:244::/48\n"
        "  destination: TCP 192.0.2.7:80 is a LoadBalancer of Service shop/cart:http\n"
        "  policy: externalTrafficPolicy Cluster\n"
        "  balanced: scheduler rr\n"
        "  masquerade: yes: policy Cluster, the reply has to come back through this node\n"
        "  endpoint 10.244.1.2:8080 (pod-10.244.1.2 on n1): used\n"
        "  endpoint 10.244.2.2:8080 (pod-10.244.2.2 on n2): used\n");
}

}  // namespace
}  // namespace fairlead::testing
