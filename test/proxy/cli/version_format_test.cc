#include "proxy/cli/version_format.h"

#include <catch2/catch.hpp>

namespace fairlead {
namespace {

TEST_CASE("the kernel's version is found in what it says of its table") {
  CHECK(ParseIpvsVersion("IP Virtual Server version 1.2.1 (size=4096)") == "1.2.1");
  CHECK(ParseIpvsVersion("IP Virtual Server version 1.2.1") == "1.2.1");
  CHECK(ParseIpvsVersion("IP Virtual Server").empty());
  CHECK(ParseIpvsVersion("").empty());
}

TEST_CASE("versions are a word and a version in a line each") {
  CHECK(FormatVersionsText({"0.1.0", "0.0.9", "6.1.0-28-cloud-amd64", "1.2.1"}) ==
        "fairlead 0.1.0\nprotocol fairlead.v1\nagent 0.0.9\nkernel 6.1.0-28-cloud-amd64\n"
        "ipvs 1.2.1\n");
  CHECK(FormatVersionsText({.program = "0.1.0"}) ==
        "fairlead 0.1.0\nprotocol fairlead.v1\nagent -\nkernel -\nipvs -\n");
}

TEST_CASE("in a document what is not known is null") {
  CHECK(FormatVersionsDocument({.program = "0.1.0", .ipvs = "1.2.1"}, Output::kJson) ==
        "{\n  \"version\": \"0.1.0\",\n  \"protocol\": \"fairlead.v1\",\n  \"agent\": null,\n"
        "  \"kernel\": null,\n  \"ipvs\": \"1.2.1\"\n}\n");
}

}  // namespace
}  // namespace fairlead
