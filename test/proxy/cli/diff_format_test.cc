#include "proxy/cli/diff_format.h"

#include <catch2/catch.hpp>

namespace fairlead {
namespace {

v1::Difference Make(const std::string& kind, const std::string& object, const std::string& service,
                    const std::string& group, const std::string& context,
                    const std::vector<std::string>& wanted, const std::vector<std::string>& found) {
  v1::Difference difference;
  difference.set_kind(kind);
  difference.set_object(object);
  difference.set_service(service);
  difference.set_group(group);
  difference.set_context(context);
  difference.mutable_wanted()->Add(wanted.begin(), wanted.end());
  difference.mutable_found()->Add(found.begin(), found.end());
  return difference;
}

std::vector<v1::Difference> MakeDifferences() {
  return {
      Make("real_server", "10.244.1.2:8080 of TCP 10.96.0.1:80", "shop/cart:http",
           "TCP 10.96.0.1:80", "-A -t 10.96.0.1:80 -s rr",
           {"-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 1"},
           {"-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 7"}),
      Make("real_server", "10.244.1.9:8080 of TCP 10.96.0.1:80", "shop/cart:http",
           "TCP 10.96.0.1:80", "-A -t 10.96.0.1:80 -s rr", {},
           {"-a -t 10.96.0.1:80 -r 10.244.1.9:8080 -m -w 1"}),
      Make("virtual_server", "TCP 10.96.0.9:80", "", "TCP 10.96.0.9:80", "", {},
           {"-A -t 10.96.0.9:80 -s rr"}),
      Make("element", "open4 10.96.0.1 . tcp . 80", "shop/cart:http", "set open4", "",
           {"add element inet fairlead open4 { 10.96.0.1 . tcp . 80 }"}, {}),
      Make("element", "open4 10.96.0.2 . tcp . 80", "shop/other:http", "set open4", "",
           {"add element inet fairlead open4 { 10.96.0.2 . tcp . 80 }"}, {}),
      Make("sysctl", "net.ipv4.ip_forward", "", "net.ipv4.ip_forward", "",
           {"net.ipv4.ip_forward = 1"}, {"net.ipv4.ip_forward = 0"}),
  };
}

TEST_CASE("differences are shown as diff -u has them, in hunks that name the Service") {
  CHECK(FormatDiffUnified(MakeDifferences()) ==
        "--- plan\n"
        "+++ kernel\n"
        "@@ TCP 10.96.0.1:80, Service shop/cart:http @@\n"
        " -A -t 10.96.0.1:80 -s rr\n"
        "--a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 1\n"
        "+-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 7\n"
        "+-a -t 10.96.0.1:80 -r 10.244.1.9:8080 -m -w 1\n"
        "@@ TCP 10.96.0.9:80 @@\n"
        "+-A -t 10.96.0.9:80 -s rr\n"
        "@@ set open4, Service shop/cart:http @@\n"
        "-add element inet fairlead open4 { 10.96.0.1 . tcp . 80 }\n"
        "@@ set open4, Service shop/other:http @@\n"
        "-add element inet fairlead open4 { 10.96.0.2 . tcp . 80 }\n"
        "@@ net.ipv4.ip_forward @@\n"
        "-net.ipv4.ip_forward = 1\n"
        "+net.ipv4.ip_forward = 0\n");
}

TEST_CASE("without differences there is nothing to show") {
  CHECK(FormatDiffUnified({}).empty());
  CHECK(FormatDiffJson({}) == R"({
  "equal": true,
  "counts": {},
  "differences": []
}
)");
}

TEST_CASE("differences as JSON have both sides and are counted") {
  const std::vector<v1::Difference> all = MakeDifferences();
  CHECK(FormatDiffJson({all[0], all[2]}) == R"({
  "equal": false,
  "counts": {
    "real_server": 1,
    "virtual_server": 1
  },
  "differences": [
    {
      "kind": "real_server",
      "object": "10.244.1.2:8080 of TCP 10.96.0.1:80",
      "service": "shop/cart:http",
      "wanted": [
        "-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 1"
      ],
      "found": [
        "-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 7"
      ]
    },
    {
      "kind": "virtual_server",
      "object": "TCP 10.96.0.9:80",
      "service": "",
      "wanted": [],
      "found": [
        "-A -t 10.96.0.9:80 -s rr"
      ]
    }
  ]
}
)");
}

}  // namespace
}  // namespace fairlead
