#include "proxy/agent/drain_file.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"

namespace fairlead {
namespace {

using ipvs::VirtualServerKey;

const absl::Time kSince = absl::FromUnixMillis(1'700'000'000'123);

ipvs::RealServerKey Real(const char* address) { return {*IpAddress::Parse(address), 8080}; }

std::vector<DrainingServer> Drains() {
  const auto key = [](ipvs::Protocol protocol, const char* address) {
    return VirtualServerKey::ForAddress(protocol, *IpAddress::Parse(address), 53);
  };
  return {{key(ipvs::Protocol::kTcp, "10.96.0.1"), Real("10.244.1.2"), kSince,
           kSince + absl::Minutes(5)},
          {key(ipvs::Protocol::kUdp, "fd00:96::1"), Real("fd00:244::2"), kSince, kSince},
          {VirtualServerKey::ForMark(IpFamily::kIpv6, 0x46000001), Real("fd00:244::3"), kSince,
           kSince + absl::Seconds(1)}};
}

class TemporaryFile {
 public:
  TemporaryFile() : folder_(std::filesystem::temp_directory_path() / "fairlead-drains-XXXXXX") {
    REQUIRE(mkdtemp(folder_.data()) != nullptr);
  }
  ~TemporaryFile() { std::filesystem::remove_all(folder_); }
  std::string path() const { return folder_ + "/drains"; }

 private:
  std::string folder_;
};

TEST_CASE("drains come back from a file as they were") {
  const TemporaryFile file;
  CHECK(*LoadDrains(file.path()) == std::vector<DrainingServer>());
  REQUIRE(SaveDrains(file.path(), Drains()).ok());
  CHECK(*LoadDrains(file.path()) == Drains());
  REQUIRE(SaveDrains(file.path(), {}).ok());
  CHECK(*LoadDrains(file.path()) == std::vector<DrainingServer>());
}

TEST_CASE("a file that is none of drains is an error that names it") {
  const TemporaryFile file;
  const std::string good = FormatDrains(Drains());
  for (const std::string& text : {std::string(), good.substr(0, good.size() / 2), std::string("[]"),
                                  absl::StrReplaceAll(good, {{"\"version\":1", "\"version\":2"}}),
                                  absl::StrReplaceAll(good, {{"10.96.0.1", "10.96.0"}}),
                                  absl::StrReplaceAll(good, {{"TCP", "ICMP"}}),
                                  absl::StrReplaceAll(good, {{"2023-11-14T", "yesterday "}})}) {
    INFO(text);
    std::ofstream(file.path(), std::ios::trunc) << text;
    const auto drains = LoadDrains(file.path());
    REQUIRE(absl::IsInvalidArgument(drains.status()));
    CHECK(absl::StrContains(drains.status().message(), file.path()));
  }
}

TEST_CASE("a folder that is not there is made; one that cannot be is an error with the file") {
  const TemporaryFile file;
  CHECK(SaveDrains(file.path() + "/of/n1", Drains()).ok());
  CHECK(*LoadDrains(file.path() + "/of/n1") == Drains());
  const absl::Status saved = SaveDrains("/proc/nowhere/drains", Drains());
  CHECK(absl::IsNotFound(saved));
  CHECK(absl::StrContains(saved.message(), "/proc/nowhere/drains"));
}

}  // namespace
}  // namespace fairlead
