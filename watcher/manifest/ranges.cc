#include "watcher/manifest/ranges.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace fairlead {
namespace {

// Digits only: no sign, no blanks.
bool ParsePort(absl::string_view text, uint16_t* port) {
  uint32_t number = 0;
  if (text.empty() || text.find_first_not_of("0123456789") != text.npos) return false;
  if (!absl::SimpleAtoi(text, &number) || number < 1 || number > 65535) return false;
  *port = static_cast<uint16_t>(number);
  return true;
}

}  // namespace

std::string PortRange::Format() const { return absl::StrCat(first, "-", last); }

absl::StatusOr<std::vector<IpPrefix>> ParseServiceClusterIpRanges(absl::string_view text) {
  std::vector<IpPrefix> ranges;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    absl::StatusOr<IpPrefix> range = IpPrefix::Parse(absl::StripAsciiWhitespace(part));
    if (!range.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("service cluster IP range \"", text, "\": \"",
                                                     part, "\" is not an address range"));
    }
    const IpAddress& address = range->address();
    if (address.IsLoopback() || address.IsLinkLocal() || address.IsMulticast() ||
        (address.IsUnspecified() && range->length() == 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("service cluster IP range \"", text, "\": ", range->Format(),
                       " is not a range that Services can have addresses of"));
    }
    ranges.push_back(*range);
  }
  if (ranges.size() > 2 || (ranges.size() == 2 && ranges[0].family() == ranges[1].family())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "service cluster IP range \"", text, "\": at most one range of each family is possible"));
  }
  return ranges;
}

absl::StatusOr<PortRange> ParsePortRange(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits('-', 1));
  PortRange range;
  if (!ParsePort(parts.front(), &range.first) || !ParsePort(parts.back(), &range.last)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "port range \"", text, "\" is not of the form 30000-32767, with ports from 1 to 65535"));
  }
  if (range.first > range.last) {
    return absl::InvalidArgumentError(
        absl::StrCat("port range \"", text, "\" ends before it begins"));
  }
  return range;
}

}  // namespace fairlead
