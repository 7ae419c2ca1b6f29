#include "proxy/plan/marks.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "watcher/fnv.h"

namespace fairlead {
namespace {

constexpr uint64_t kFewestMarks = 256;

bool ParseMark(absl::string_view text, uint32_t* mark) {
  text = absl::StripAsciiWhitespace(text);
  if (absl::ConsumePrefix(&text, "0x")) return absl::SimpleHexAtoi(text, mark);
  return absl::SimpleAtoi(text, mark);
}

}  // namespace

std::string MarkRange::Format() const { return absl::StrFormat("0x%08x-0x%08x", first, last); }

absl::StatusOr<MarkRange> ParseMarkRange(absl::string_view text) {
  MarkRange range;
  const std::vector<absl::string_view> ends = absl::StrSplit(text, '-');
  if (ends.size() != 2 || !ParseMark(ends[0], &range.first) || !ParseMark(ends[1], &range.last)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", text, "\" is no range of firewall marks such as ", MarkRange().Format()));
  }
  if (range.first == 0) return absl::InvalidArgumentError("mark 0 is that of unmarked packets");
  if (range.last < range.first || range.size() < kFewestMarks) {
    return absl::InvalidArgumentError(
        absl::StrCat(range.Format(), " holds fewer than ", kFewestMarks, " marks"));
  }
  return range;
}

void MarkAllocator::Restore(const std::map<ipvs::VirtualServerKey, uint32_t>& marks) {
  for (const auto& [key, mark] : marks) {
    if (restored_.emplace(key, mark).second) ++reserved_[mark];
  }
}

void MarkAllocator::Avoid(const std::set<uint32_t>& marks) {
  taken_.insert(marks.begin(), marks.end());
}

ServiceMarks MarkAllocator::Assign(const ObjectName& service, const Wanted& wanted) {
  auto it = given_.find(service);
  if (wanted.empty() && it == given_.end()) return {};
  ServiceMarks before = it == given_.end() ? ServiceMarks() : std::move(it->second);
  ServiceMarks marks;
  for (const auto& [port, keys] : wanted) {
    if (auto had = before.find(port); had != before.end()) {
      marks.insert(before.extract(had));
    } else if (const uint32_t mark = Choose(service, port, keys); mark != 0) {
      marks[port] = mark;
    }
  }
  for (const auto& [port, mark] : before) taken_.erase(mark);
  if (marks.empty()) {
    given_.erase(service);
  } else {
    given_[service] = marks;
  }
  return marks;
}

uint32_t MarkAllocator::Choose(const ObjectName& service, const MarkedPort& port,
                               const std::vector<ipvs::VirtualServerKey>& keys) {
  for (const ipvs::VirtualServerKey& key : keys) {
    auto found = restored_.find(key);
    if (found == restored_.end()) continue;
    const uint32_t mark = found->second;
    restored_.erase(found);
    if (--reserved_[mark] == 0) reserved_.erase(mark);
    if (range_.Contains(mark) && taken_.insert(mark).second) return mark;
  }
  // No name holds a zero byte.
  const uint64_t hash =
      Fnv1a(absl::StrCat(service.Format(), absl::string_view("\0", 1), port.port_name,
                         absl::string_view("\0", 1), ipvs::FormatProtocol(port.protocol)));
  for (uint64_t step = 0; step < range_.size(); ++step) {
    const uint32_t mark = range_.first + static_cast<uint32_t>((hash + step) % range_.size());
    if (!reserved_.contains(mark) && taken_.insert(mark).second) return mark;
  }
  return 0;
}

}  // namespace fairlead
