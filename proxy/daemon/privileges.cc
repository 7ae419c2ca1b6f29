#include "proxy/daemon/privileges.h"

#include <cap-ng.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace fairlead {
namespace {

constexpr auto kAllSets = static_cast<capng_type_t>(
    CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE | CAPNG_BOUNDING_SET | CAPNG_AMBIENT);

std::string NameOf(int capability) {
  const char* name = capng_capability_to_name(static_cast<unsigned>(capability));
  return name == nullptr ? absl::StrCat("capability ", capability) : name;
}

// As container runtimes and systemd write it.
std::string LongNameOf(int capability) {
  return absl::StrCat("CAP_", absl::AsciiStrToUpper(NameOf(capability)));
}

// Of the library's picture of this thread.
std::vector<std::string> NamesIn(capng_type_t set) {
  std::vector<std::string> names;
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
    if (capng_have_capability(set, static_cast<unsigned>(capability)) == 1) {
      names.push_back(NameOf(capability));
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status Missing(absl::Span<const int> keep) {
  std::vector<std::string> missing;
  for (const int capability : keep) {
    if (capng_have_capability(CAPNG_PERMITTED, static_cast<unsigned>(capability)) != 1) {
      missing.push_back(LongNameOf(capability));
    }
  }
  if (missing.empty()) return absl::OkStatus();
  const std::string names = absl::StrJoin(missing, " ");
  return absl::PermissionDeniedError(
      absl::StrCat("this process does not have ", names,
                   ", which it needs: run it as root, or "
                   "give it that (systemd: AmbientCapabilities=",
                   names, "; Kubernetes: securityContext.capabilities.add)"));
}

}  // namespace

absl::StatusOr<Privileges> ReadPrivileges() {
  if (capng_get_caps_process() != 0) {
    return absl::InternalError("the capabilities of this process cannot be read");
  }
  return Privileges{.permitted = NamesIn(CAPNG_PERMITTED),
                    .bounding = NamesIn(CAPNG_BOUNDING_SET),
                    .no_new_privileges = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1};
}

absl::StatusOr<Privileges> DropPrivileges(absl::Span<const int> keep,
                                          absl::Span<const int> keep_if_there) {
  if (capng_get_caps_process() != 0) {
    return absl::InternalError("the capabilities of this process cannot be read");
  }
  if (absl::Status missing = Missing(keep); !missing.ok()) return missing;
  // Before the sets are narrowed: the kernel asks for CAP_SETPCAP.
  const bool may_narrow_bounds = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) == 1;
  std::vector<int> kept(keep.begin(), keep.end());
  std::copy_if(
      keep_if_there.begin(), keep_if_there.end(), std::back_inserter(kept), [](int capability) {
        return capng_have_capability(CAPNG_PERMITTED, static_cast<unsigned>(capability)) == 1;
      });
  capng_clear(CAPNG_SELECT_ALL);
  for (const int capability : kept) {
    capng_update(CAPNG_ADD, kAllSets, static_cast<unsigned>(capability));
  }
  if (may_narrow_bounds && capng_apply(CAPNG_SELECT_BOUNDS) != 0) {
    return absl::InternalError("the bounding set of capabilities cannot be narrowed");
  }
  if (capng_apply(CAPNG_SELECT_CAPS) != 0) {
    return absl::InternalError(
        absl::StrCat("capabilities cannot be given up: ", std::strerror(errno)));
  }
  // Without these a program that is executed by another user than root would have none.
  if (capng_apply(CAPNG_SELECT_AMBIENT) != 0) {
    return absl::InternalError(
        absl::StrCat("capabilities cannot be handed on: ", std::strerror(errno)));
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return absl::InternalError(absl::StrCat("no_new_privs: ", std::strerror(errno)));
  }
  return ReadPrivileges();
}

std::string FormatPrivileges(const Privileges& privileges) {
  return absl::StrCat(
      privileges.permitted.empty() ? "none" : absl::StrJoin(privileges.permitted, " "),
      privileges.no_new_privileges ? "; programs it runs can get no more" : "");
}

}  // namespace fairlead
