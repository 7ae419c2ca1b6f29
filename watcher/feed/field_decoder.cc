#include "watcher/feed/field_decoder.h"

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "watcher/feed/feed_codec.h"

namespace fairlead {
namespace {

// Years 1 to 9999, as google/protobuf/timestamp.proto says.
constexpr int64_t kMinSeconds = -62135596800;
constexpr int64_t kMaxSeconds = 253402300799;
constexpr int32_t kNanosPerSecond = 1'000'000'000;

}  // namespace

std::string FieldPath::Format() const {
  std::string text(field);
  if (index >= 0) absl::StrAppend(&text, "[", index, "]");
  if (!member.empty()) absl::StrAppend(&text, ".", member);
  return text;
}

absl::Status FieldDecoder::StatusOf(const ObjectId& object) const {
  if (ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(object.Format(), ": ", error_));
}

void FieldDecoder::Fail(const FieldPath& path, absl::string_view problem) {
  if (ok()) error_ = absl::StrCat(path.Format(), ": ", problem);
}

std::string FieldDecoder::Name(const FieldPath& path, const std::string& name) {
  if (name.empty()) Fail(path, "is empty");
  return Text(path, name);
}

std::string FieldDecoder::Text(const FieldPath& path, const std::string& text) {
  if (text.size() <= kMaxTextLength) return text;
  Fail(path, absl::StrCat("has ", text.size(), " bytes, more than ", kMaxTextLength));
  return "";
}

std::vector<std::string> FieldDecoder::Texts(
    const FieldPath& path, const google::protobuf::RepeatedPtrField<std::string>& texts) {
  std::vector<std::string> result;
  result.reserve(texts.size());
  for (const std::string& text : texts) result.push_back(Text(path, text));
  return result;
}

uint16_t FieldDecoder::Port(const FieldPath& path, uint32_t port) {
  return static_cast<uint16_t>(InRange(path, port, 1, 65535));
}

uint16_t FieldDecoder::OptionalPort(const FieldPath& path, uint32_t port) {
  return static_cast<uint16_t>(InRange(path, port, 0, 65535));
}

uint32_t FieldDecoder::InRange(const FieldPath& path, uint64_t value, uint32_t low, uint32_t high) {
  if (value >= low && value <= high) return static_cast<uint32_t>(value);
  Fail(path, absl::StrCat(value, " is not in ", low, " to ", high));
  return low;
}

ipvs::Protocol FieldDecoder::Protocol(const FieldPath& path, v1::Protocol protocol) {
  switch (protocol) {
    case v1::TCP:
      return ipvs::Protocol::kTcp;
    case v1::UDP:
      return ipvs::Protocol::kUdp;
    case v1::SCTP:
      return ipvs::Protocol::kSctp;
    default:
      Fail(path, absl::StrCat(static_cast<int>(protocol), " is not a protocol"));
      return ipvs::Protocol::kTcp;
  }
}

IpFamily FieldDecoder::Family(const FieldPath& path, v1::IpFamily family) {
  if (family == v1::IPV4) return IpFamily::kIpv4;
  if (family == v1::IPV6) return IpFamily::kIpv6;
  Fail(path, absl::StrCat(static_cast<int>(family), " is not an IP family"));
  return IpFamily::kIpv4;
}

IpAddress FieldDecoder::Address(const FieldPath& path, const std::string& bytes) {
  const absl::StatusOr<IpAddress> address = IpAddress::FromBytes(bytes);
  if (address.ok()) return *address;
  Fail(path, address.status().message());
  return IpAddress();
}

std::vector<IpAddress> FieldDecoder::Addresses(
    absl::string_view field, const google::protobuf::RepeatedPtrField<std::string>& list) {
  std::vector<IpAddress> result;
  result.reserve(list.size());
  absl::flat_hash_set<IpAddress> seen;
  for (int i = 0; i < list.size() && ok(); ++i) {
    const IpAddress address = Address({field, i}, list[i]);
    if (ok() && !seen.insert(address).second) {
      Fail({field, i}, absl::StrCat(address.Format(), " is there twice"));
    }
    result.push_back(address);
  }
  return result;
}

std::vector<IpPrefix> FieldDecoder::Prefixes(
    absl::string_view field, const google::protobuf::RepeatedPtrField<v1::Prefix>& list) {
  std::vector<IpPrefix> result;
  result.reserve(list.size());
  for (int i = 0; i < list.size() && ok(); ++i) {
    const IpAddress address = Address({field, i, "address"}, list[i].address());
    const int length =
        static_cast<int>(InRange({field, i, "length"}, list[i].length(), 0, address.bit_length()));
    const absl::StatusOr<IpPrefix> prefix = IpPrefix::Make(address, length);
    if (!prefix.ok()) {
      Fail({field, i}, prefix.status().message());
    } else if (prefix->address() != address) {
      Fail({field, i}, absl::StrCat(address.Format(), "/", length, " has host bits"));
    } else {
      result.push_back(*prefix);
    }
  }
  return result;
}

absl::Time FieldDecoder::Timestamp(const FieldPath& path,
                                   const google::protobuf::Timestamp& timestamp) {
  if (timestamp.seconds() < kMinSeconds || timestamp.seconds() > kMaxSeconds ||
      timestamp.nanos() < 0 || timestamp.nanos() >= kNanosPerSecond) {
    Fail(path, "is out of range");
    return absl::InfinitePast();
  }
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

}  // namespace fairlead
