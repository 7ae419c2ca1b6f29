#include "proxy/inspect/shadow_watch.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"

namespace fairlead {
namespace {

// Longer ones, of a virtual server with many real servers, are cut.
constexpr size_t kMaxLines = 2;

struct KindNames {
  const char* one;
  const char* many;
};

KindNames NamesOf(DriftKind kind) {
  switch (kind) {
    case DriftKind::kVirtualServer:
      return {"virtual server", "virtual servers"};
    case DriftKind::kRealServer:
      return {"real server", "real servers"};
    case DriftKind::kElement:
      return {"element", "elements"};
    case DriftKind::kRuleset:
      return {"ruleset", "rulesets"};
    case DriftKind::kRoute:
      return {"route", "routes"};
    case DriftKind::kSysctl:
      break;
  }
  return {"sysctl", "sysctls"};
}

std::string Side(const std::vector<std::string>& lines) {
  if (lines.empty()) return "nothing";
  const absl::Span<const std::string> shown = absl::MakeConstSpan(lines).subspan(0, kMaxLines);
  return absl::StrCat(absl::StrJoin(shown, "; "), shown.size() < lines.size() ? "; …" : "");
}

std::string Describe(const Difference& difference) {
  return absl::StrCat(difference.object, difference.service.empty() ? "" : " of Service ",
                      difference.service, ": planned ", Side(difference.wanted), ", found ",
                      Side(difference.found));
}

size_t HashOf(const std::vector<Difference>& differences) {
  size_t hash = differences.size();
  for (const Difference& difference : differences) {
    hash = absl::HashOf(hash, difference.object, difference.wanted, difference.found);
  }
  return hash;
}

}  // namespace

std::optional<std::string> ShadowLog::Note(
    const absl::StatusOr<std::vector<Difference>>& differences) {
  const size_t hash =
      differences.ok() ? HashOf(*differences) : absl::HashOf(differences.status().message());
  if (std::exchange(told_, hash) == hash) return std::nullopt;
  if (!differences.ok()) {
    return absl::StrCat("shadow: cannot compare: ", differences.status().message());
  }
  if (differences->empty()) return "shadow: the kernel is as planned";
  std::string line = "shadow: the kernel differs from the plan in ";
  absl::StrAppend(
      &line,
      absl::StrJoin(CountByKind(*differences), ", ", [](std::string* out, const auto& entry) {
        const KindNames names = NamesOf(entry.first);
        absl::StrAppend(out, entry.second, " ", entry.second == 1 ? names.one : names.many);
      }));
  const size_t shown = std::min(differences->size(), kExamples);
  for (size_t i = 0; i < shown; ++i) {
    absl::StrAppend(&line, i == 0 ? ": " : " | ", Describe((*differences)[i]));
  }
  if (shown < differences->size()) {
    absl::StrAppend(&line, " | and ", differences->size() - shown, " more, see `fairlead diff`");
  }
  return line;
}

ShadowWatch::ShadowWatch(ShadowWatchOptions options)
    : options_(std::move(options)), thread_([this] { Run(); }) {}

ShadowWatch::~ShadowWatch() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  stopping_.notify_one();
  thread_.join();
}

void ShadowWatch::Run() {
  ShadowLog log;
  while (true) {
    const absl::Time start = options_.now();
    const absl::StatusOr<std::vector<Difference>> differences = options_.compare();
    // Until something is planned there is nothing to tell.
    if (absl::IsFailedPrecondition(differences.status())) {
      if (!Wait(std::min(options_.period, kShadowFirst))) return;
      continue;
    }
    if (differences.ok()) options_.publish(CountByKind(*differences));
    if (const std::optional<std::string> line = log.Note(differences)) {
      spdlog::log(differences.ok() ? spdlog::level::info : spdlog::level::warn, "{}", *line);
    }
    const absl::Duration took = options_.now() - start;
    if (!Wait(std::max(options_.period, kShadowRest * took))) return;
  }
}

bool ShadowWatch::Wait(absl::Duration duration) {
  std::unique_lock lock(mutex_);
  stopping_.wait_for(lock, absl::ToChronoNanoseconds(duration), [this] { return stopped_; });
  return !stopped_;
}

}  // namespace fairlead
