// What a cleanup removes, or has removed, for people and programs.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace fairlead {

// One thing, as an operator names it: {"route", "10.96.0.1"}, {"virtual server", "TCP
// 10.96.0.1:80"}, {"chain", "iptables-nft nat KUBE-SERVICES"}.
struct CleanupItem {
  std::string kind;
  std::string name;

  friend bool operator==(const CleanupItem&, const CleanupItem&) = default;
};

struct CleanupRemark {
  CleanupItem item;
  std::string why;

  friend bool operator==(const CleanupRemark&, const CleanupRemark&) = default;
};

struct CleanupReport {
  // In the order in which they went; of a rehearsal: in which they would go.
  std::vector<CleanupItem> removed;
  // Left where they are on purpose.
  std::vector<CleanupRemark> kept;
  // Could not be removed or looked at. What came after them was tried all the same.
  std::vector<CleanupRemark> failed;
  // Sentences that an operator has to know: what could not be looked at, what follows.
  std::vector<std::string> notes;

  void Removed(absl::string_view kind, absl::string_view name);
  void Kept(absl::string_view kind, absl::string_view name, absl::string_view why);
  void Failed(absl::string_view kind, absl::string_view name, absl::string_view why);
  // Puts what is in `later` behind what is here.
  void Append(CleanupReport later);

  friend bool operator==(const CleanupReport&, const CleanupReport&) = default;
};

// A line for each thing, "removed  route  10.96.0.1", or "would remove …" of a rehearsal, then
// those that are kept, those that failed, and the notes. Says so where nothing was found.
std::string FormatCleanupText(const CleanupReport& report, bool dry_run);

// {"dryRun": false, "removed": [{"kind": "route", "name": "10.96.0.1"}], "kept": [{"kind": …,
// "name": …, "reason": …}], "failed": […], "notes": […]}.
std::string FormatCleanupJson(const CleanupReport& report, bool dry_run);

}  // namespace fairlead
