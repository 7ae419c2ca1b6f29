#include "ipvs/ip_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

constexpr size_t kIpv4Bytes = 4;
constexpr size_t kIpv6Bytes = 16;

absl::Status InvalidText(absl::string_view what, absl::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat("not ", what, ": \"", absl::CHexEscape(text), "\""));
}

bool HasPrefix(absl::string_view bytes, absl::string_view prefix, int length) {
  const size_t whole = length / 8;
  if (bytes.substr(0, whole) != prefix.substr(0, whole)) return false;
  const int rest = length % 8;
  if (rest == 0) return true;
  const uint8_t mask = static_cast<uint8_t>(0xff << (8 - rest));
  return ((static_cast<uint8_t>(bytes[whole]) ^ static_cast<uint8_t>(prefix[whole])) & mask) == 0;
}

// A decimal number up to `max`, without a sign or leading zeros.
bool ParseNumber(absl::string_view text, int max, int* number) {
  const bool digits_only = text.find_first_not_of("0123456789") == absl::string_view::npos;
  const bool padded = text.size() > 1 && text[0] == '0';
  return digits_only && !padded && absl::SimpleAtoi(text, number) && *number <= max;
}

}  // namespace

absl::string_view FormatFamily(IpFamily family) {
  return family == IpFamily::kIpv4 ? "IPv4" : "IPv6";
}

IpAddress IpAddress::V4(uint32_t host_order) {
  IpAddress result;
  for (size_t i = 0; i < kIpv4Bytes; ++i) {
    result.bytes_[i] = static_cast<uint8_t>(host_order >> (24 - 8 * i));
  }
  return result;
}

IpAddress IpAddress::V6(const std::array<uint8_t, 16>& bytes) {
  IpAddress result;
  result.family_ = IpFamily::kIpv6;
  result.bytes_ = bytes;
  return result;
}

absl::StatusOr<IpAddress> IpAddress::FromBytes(absl::string_view bytes) {
  if (bytes.size() != kIpv4Bytes && bytes.size() != kIpv6Bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("an address has 4 or 16 bytes, not ", bytes.size()));
  }
  IpAddress result;
  result.family_ = bytes.size() == kIpv4Bytes ? IpFamily::kIpv4 : IpFamily::kIpv6;
  std::memcpy(result.bytes_.data(), bytes.data(), bytes.size());
  return result;
}

absl::StatusOr<IpAddress> IpAddress::Parse(absl::string_view text) {
  // inet_pton wants a terminated string, and would not see what follows a NUL.
  char terminated[INET6_ADDRSTRLEN];
  if (text.size() >= sizeof(terminated) || text.find('\0') != absl::string_view::npos) {
    return InvalidText("an IP address", text);
  }
  std::memcpy(terminated, text.data(), text.size());
  terminated[text.size()] = '\0';

  IpAddress result;
  result.family_ = text.find(':') == absl::string_view::npos ? IpFamily::kIpv4 : IpFamily::kIpv6;
  if (inet_pton(result.is_v4() ? AF_INET : AF_INET6, terminated, result.bytes_.data()) != 1) {
    return InvalidText("an IP address", text);
  }
  return result;
}

absl::string_view IpAddress::bytes() const {
  return {reinterpret_cast<const char*>(bytes_.data()), is_v4() ? kIpv4Bytes : kIpv6Bytes};
}

bool IpAddress::IsLoopback() const {
  if (is_v4()) return bytes_[0] == 127;
  return std::all_of(bytes_.begin(), bytes_.end() - 1, [](uint8_t b) { return b == 0; }) &&
         bytes_.back() == 1;
}

bool IpAddress::IsLinkLocal() const {
  if (is_v4()) return bytes_[0] == 169 && bytes_[1] == 254;
  return bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

bool IpAddress::IsUnspecified() const {
  return std::all_of(bytes_.begin(), bytes_.end(), [](uint8_t b) { return b == 0; });
}

bool IpAddress::IsMulticast() const {
  return is_v4() ? (bytes_[0] & 0xf0) == 0xe0 : bytes_[0] == 0xff;
}

IpAddress IpAddress::Plus(uint64_t offset) const {
  IpAddress result = *this;
  unsigned carry = 0;
  for (size_t i = bytes().size(); i-- > 0; offset >>= 8) {
    const unsigned sum = result.bytes_[i] + static_cast<unsigned>(offset & 0xff) + carry;
    result.bytes_[i] = static_cast<uint8_t>(sum);
    carry = sum >> 8;
  }
  return result;
}

std::string IpAddress::Format() const {
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes_.data(), text, sizeof(text));
}

std::string FormatAddressPort(const IpAddress& address, uint16_t port) {
  return address.is_v4() ? absl::StrCat(address.Format(), ":", port)
                         : absl::StrCat("[", address.Format(), "]:", port);
}

absl::StatusOr<AddressPort> ParseAddressPort(absl::string_view text) {
  const auto bad = [text](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", absl::CHexEscape(text),
                     "\" is no address with a port such as 10.0.0.1:80 or [fd00::1]:80: ", what));
  };
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return bad("it has no port");
  absl::string_view address = text.substr(0, colon);
  int port = 0;
  if (!ParseNumber(text.substr(colon + 1), 65535, &port) || port == 0) {
    return bad("the port is not a number from 1 to 65535");
  }
  const bool bracketed = absl::StartsWith(address, "[") && absl::EndsWith(address, "]");
  if (bracketed) address = address.substr(1, address.size() - 2);
  absl::StatusOr<IpAddress> parsed = IpAddress::Parse(address);
  if (!parsed.ok()) return bad(parsed.status().message());
  if (bracketed == parsed->is_v4()) return bad("brackets are for IPv6 addresses, and only those");
  return AddressPort{*parsed, static_cast<uint16_t>(port)};
}

absl::StatusOr<IpPrefix> IpPrefix::Make(const IpAddress& address, int length) {
  if (length < 0 || length > address.bit_length()) {
    return absl::InvalidArgumentError(
        absl::StrCat("prefix length ", length, " does not fit ", FormatFamily(address.family())));
  }
  std::string masked(address.bytes());
  for (int i = 0; i < static_cast<int>(masked.size()); ++i) {
    const int kept = std::clamp(length - 8 * i, 0, 8);
    masked[i] = static_cast<char>(masked[i] & (0xff << (8 - kept)));
  }
  absl::StatusOr<IpAddress> network = IpAddress::FromBytes(masked);
  if (!network.ok()) return network.status();
  IpPrefix result;
  result.address_ = *network;
  result.length_ = length;
  return result;
}

absl::StatusOr<IpPrefix> IpPrefix::Parse(absl::string_view text) {
  const size_t slash = text.find('/');
  if (slash == absl::string_view::npos) return InvalidText("a prefix", text);
  const absl::StatusOr<IpAddress> address = IpAddress::Parse(text.substr(0, slash));
  int length = 0;
  if (!address.ok() || !ParseNumber(text.substr(slash + 1), address->bit_length(), &length)) {
    return InvalidText("a prefix", text);
  }
  return Make(*address, length);
}

IpAddress IpPrefix::last() const {
  std::string bytes(address_.bytes());
  for (size_t bit = static_cast<size_t>(length_); bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(static_cast<uint8_t>(bytes[bit / 8]) | (0x80U >> bit % 8));
  }
  return *IpAddress::FromBytes(bytes);
}

bool IpPrefix::Contains(const IpAddress& address) const {
  return address.family() == family() && HasPrefix(address.bytes(), address_.bytes(), length_);
}

std::string IpPrefix::Format() const { return absl::StrCat(address_.Format(), "/", length_); }

}  // namespace fairlead
