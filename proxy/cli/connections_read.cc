#include "proxy/cli/connections_read.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace fairlead {
namespace {

// Columns of ip_vs_conn_seq_show in net/netfilter/ipvs/ip_vs_conn.c.
enum Field {
  kProtocol,
  kFrom,
  kFromPort,
  kTo,
  kToPort,
  kReal,
  kRealPort,
  kState,
  kExpires,
  kFields
};

template <typename T>
std::optional<T> ParseHex(absl::string_view text) {
  uint32_t number = 0;
  if (text.size() > 2 * sizeof(T) || !absl::SimpleHexAtoi(text, &number)) return std::nullopt;
  return static_cast<T>(number);
}

// An IPv4 address is a number in hexadecimal, one of IPv6 is written in full.
std::optional<AddressPort> ParsePlace(absl::string_view address, absl::string_view port) {
  const std::optional<uint16_t> number = ParseHex<uint16_t>(port);
  if (!number) return std::nullopt;
  if (const std::optional<uint32_t> four = ParseHex<uint32_t>(address)) {
    return AddressPort{IpAddress::V4(*four), *number};
  }
  const absl::StatusOr<IpAddress> parsed = IpAddress::Parse(address);
  if (!parsed.ok()) return std::nullopt;
  return AddressPort{*parsed, *number};
}

}  // namespace

absl::StatusOr<BalancedConnection> ParseConnection(absl::string_view line) {
  const std::vector<absl::string_view> fields =
      absl::StrSplit(line, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  const auto wrong = [&] {
    return absl::InvalidArgumentError(
        absl::StrCat("not a connection of IPVS's: \"", absl::CHexEscape(line), "\""));
  };
  if (fields.size() < kFields) return wrong();
  const auto client = ParsePlace(fields[kFrom], fields[kFromPort]);
  const auto virtual_server = ParsePlace(fields[kTo], fields[kToPort]);
  const auto real_server = ParsePlace(fields[kReal], fields[kRealPort]);
  uint32_t expires = 0;
  if (!client || !virtual_server || !real_server || !absl::SimpleAtoi(fields[kExpires], &expires)) {
    return wrong();
  }
  return BalancedConnection{std::string(fields[kProtocol]), *client, *virtual_server, *real_server,
                            std::string(fields[kState]),    expires};
}

absl::Status ReadConnections(const std::string& path,
                             absl::FunctionRef<bool(const BalancedConnection&)> take) {
  std::ifstream file(path);
  if (!file) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": ", std::strerror(errno), errno == ENOENT ? " (has this kernel IPVS?)" : ""));
  }
  std::string line;
  std::getline(file, line);  // The headers.
  while (std::getline(file, line)) {
    const absl::StatusOr<BalancedConnection> connection = ParseConnection(line);
    if (!connection.ok()) {
      return absl::InternalError(absl::StrCat(path, ": ", connection.status().message()));
    }
    if (!take(*connection)) return absl::OkStatus();
  }
  // What fails on the way is no end.
  if (file.bad()) return absl::InternalError(absl::StrCat(path, ": ", std::strerror(errno)));
  return absl::OkStatus();
}

}  // namespace fairlead
