// IP addresses and prefixes of either family, as plain values.
#pragma once

#include <endian.h>

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fairlead {

enum class IpFamily : uint8_t { kIpv4, kIpv6 };

// "IPv4" or "IPv6".
absl::string_view FormatFamily(IpFamily family);

// An IPv4 or IPv6 address. Bytes are in network order; for IPv4 the first four are used and the
// rest are zero, so that the defaulted comparison is the comparison of addresses: IPv4 sorts before
// IPv6, and within a family addresses sort as numbers.
class IpAddress {
 public:
  // 0.0.0.0.
  IpAddress() = default;

  // `host_order` is the address as a number: 0x7f000001 is 127.0.0.1.
  static IpAddress V4(uint32_t host_order);
  static IpAddress V6(const std::array<uint8_t, 16>& bytes);

  // `bytes` holds 4 or 16 bytes in network order; INVALID_ARGUMENT for any other length.
  static absl::StatusOr<IpAddress> FromBytes(absl::string_view bytes);

  // Dotted quad or RFC 4291 text, without zone or prefix length; INVALID_ARGUMENT names the text.
  // An IPv4-mapped IPv6 address stays an IPv6 address. Octets with leading zeros are refused.
  static absl::StatusOr<IpAddress> Parse(absl::string_view text);

  IpFamily family() const { return family_; }
  bool is_v4() const { return family_ == IpFamily::kIpv4; }

  // The 4 or 16 bytes of the address, in network order. Valid as long as the object is.
  absl::string_view bytes() const;

  // 32 or 128.
  int bit_length() const { return is_v4() ? 32 : 128; }

  // 127.0.0.0/8 or ::1.
  bool IsLoopback() const;
  // 169.254.0.0/16 or fe80::/10.
  bool IsLinkLocal() const;
  // 0.0.0.0 or ::.
  bool IsUnspecified() const;
  // 224.0.0.0/4 or ff00::/8.
  bool IsMulticast() const;

  // The address as a number plus `offset`, wrapping at the family's end.
  IpAddress Plus(uint64_t offset) const;

  // "10.0.0.1" or "fd00::1" (RFC 5952).
  std::string Format() const;

  // As of the members in their order, but by two numbers: sets of addresses, and of what has them,
  // are compared more than anything else.
  friend bool operator==(const IpAddress& a, const IpAddress& b) {
    return a.family_ == b.family_ && a.High() == b.High() && a.Low() == b.Low();
  }
  friend std::strong_ordering operator<=>(const IpAddress& a, const IpAddress& b) {
    if (a.family_ != b.family_) return a.family_ <=> b.family_;
    if (a.High() != b.High()) return a.High() <=> b.High();
    return a.Low() <=> b.Low();
  }

  template <typename H>
  friend H AbslHashValue(H state, const IpAddress& address) {
    return H::combine(std::move(state), address.family_, address.bytes_);
  }

 private:
  // Eight bytes as a number.
  uint64_t NumberAt(size_t offset) const {
    uint64_t number;
    std::memcpy(&number, bytes_.data() + offset, sizeof(number));
    return be64toh(number);
  }
  uint64_t High() const { return NumberAt(0); }
  uint64_t Low() const { return NumberAt(8); }

  IpFamily family_ = IpFamily::kIpv4;
  std::array<uint8_t, 16> bytes_{};
};

// "10.0.0.1:80" or "[fd00::1]:80".
std::string FormatAddressPort(const IpAddress& address, uint16_t port);

struct AddressPort {
  IpAddress address;
  uint16_t port = 0;

  friend bool operator==(const AddressPort&, const AddressPort&) = default;
};

// As FormatAddressPort writes it, with a port from 1 to 65535; INVALID_ARGUMENT names the text.
absl::StatusOr<AddressPort> ParseAddressPort(absl::string_view text);

// An address range in CIDR form. Host bits are zero.
class IpPrefix {
 public:
  // 0.0.0.0/0.
  IpPrefix() = default;

  // Host bits of `address` are cleared; INVALID_ARGUMENT where `length` does not fit the family.
  static absl::StatusOr<IpPrefix> Make(const IpAddress& address, int length);

  // "10.96.0.0/12" or "fd00::/64"; a bare address is refused. INVALID_ARGUMENT names the text.
  static absl::StatusOr<IpPrefix> Parse(absl::string_view text);

  const IpAddress& address() const { return address_; }
  // The last address in it: all host bits are one.
  IpAddress last() const;
  int length() const { return length_; }
  IpFamily family() const { return address_.family(); }

  // False for an address of the other family.
  bool Contains(const IpAddress& address) const;

  // "10.96.0.0/12".
  std::string Format() const;

  auto operator<=>(const IpPrefix&) const = default;

 private:
  IpAddress address_;
  int length_ = 0;
};

}  // namespace fairlead
