#include "proxy/agent/drain_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

using ipvs::VirtualServerKey;
using Json = nlohmann::json;

constexpr int kVersion = 1;

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

// Throws, as Json does, where it is none.
absl::Time ParseTime(const std::string& text) {
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error)) {
    throw std::invalid_argument(absl::StrCat("\"", text, "\" is not a time"));
  }
  return time;
}

template <typename T>
T ValueOf(absl::StatusOr<T> value) {
  if (!value.ok()) throw std::invalid_argument(std::string(value.status().message()));
  return *std::move(value);
}

Json ToJson(const VirtualServerKey& key) {
  Json json = {{"family", std::string(FormatFamily(key.family))}};
  if (key.is_mark()) {
    json["firewallMark"] = key.firewall_mark;
  } else {
    json["protocol"] = std::string(ipvs::FormatProtocol(key.protocol));
    json["address"] = key.address.Format();
    json["port"] = key.port;
  }
  return json;
}

VirtualServerKey ToKey(const Json& json) {
  if (json.contains("firewallMark")) {
    const bool v4 = json.at("family").get<std::string>() == FormatFamily(IpFamily::kIpv4);
    return VirtualServerKey::ForMark(v4 ? IpFamily::kIpv4 : IpFamily::kIpv6,
                                     json.at("firewallMark").get<uint32_t>());
  }
  return VirtualServerKey::ForAddress(
      ValueOf(ipvs::ParseProtocol(json.at("protocol").get<std::string>())),
      ValueOf(IpAddress::Parse(json.at("address").get<std::string>())),
      json.at("port").get<uint16_t>());
}

absl::Status FileError(const std::string& path, absl::string_view what, int error) {
  return absl::ErrnoToStatus(error, absl::StrCat("drains ", path, ": ", what));
}

}  // namespace

std::string FormatDrains(const std::vector<DrainingServer>& drains) {
  Json list = Json::array();
  for (const DrainingServer& drain : drains) {
    list.push_back(
        {{"virtualServer", ToJson(drain.virtual_server)},
         {"realServer",
          {{"address", drain.real_server.address.Format()}, {"port", drain.real_server.port}}},
         {"since", TimeText(drain.since)},
         {"until", TimeText(drain.until)}});
  }
  return Json{{"version", kVersion}, {"drains", std::move(list)}}.dump() + "\n";
}

absl::StatusOr<std::vector<DrainingServer>> ParseDrains(absl::string_view text) {
  std::vector<DrainingServer> drains;
  try {
    const Json file = Json::parse(text.begin(), text.end());
    if (const int version = file.at("version").get<int>(); version != kVersion) {
      return absl::InvalidArgumentError(absl::StrCat("is of version ", version));
    }
    for (const Json& drain : file.at("drains")) {
      const Json& real = drain.at("realServer");
      drains.push_back({ToKey(drain.at("virtualServer")),
                        {ValueOf(IpAddress::Parse(real.at("address").get<std::string>())),
                         real.at("port").get<uint16_t>()},
                        ParseTime(drain.at("since").get<std::string>()),
                        ParseTime(drain.at("until").get<std::string>())});
    }
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(error.what());
  }
  return drains;
}

absl::Status SaveDrains(const std::string& path, const std::vector<DrainingServer>& drains) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  const std::string temporary = absl::StrCat(path, ".new");
  {
    std::ofstream out(temporary, std::ios::trunc);
    out << FormatDrains(drains);
    out.close();
    if (!out) return FileError(path, "cannot be written", errno);
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    return FileError(path, "cannot be replaced", errno);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<DrainingServer>> LoadDrains(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error) && !error) return std::vector<DrainingServer>();
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) return FileError(path, "cannot be read", errno);
  absl::StatusOr<std::vector<DrainingServer>> drains = ParseDrains(text.str());
  if (!drains.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("drains ", path, ": ", drains.status().message()));
  }
  return drains;
}

}  // namespace fairlead
