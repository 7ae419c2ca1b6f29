// What kernel tests need of the kernel, and what to do where it is missing.
#pragma once

#include "absl/status/status.h"

namespace fairlead::lab {

// OK if we are root, may make network namespaces, and the kernel answers for IPVS in one.
// Unavailable, with the reason, otherwise.
absl::Status CheckIpvs();

// True in CI (the variable CI is set to something else than "" and "false"): there a kernel test
// that cannot run has failed.
bool MustNotSkip();

}  // namespace fairlead::lab

// The first line of a kernel test (Catch2): leaves it, loudly, where there is no IPVS, and fails it
// in CI.
#define FAIRLEAD_NEEDS_IPVS()                                                               \
  do {                                                                                      \
    if (const absl::Status ipvs_status = ::fairlead::lab::CheckIpvs(); !ipvs_status.ok()) { \
      if (::fairlead::lab::MustNotSkip()) FAIL(ipvs_status.message());                      \
      WARN("SKIPPED: " << ipvs_status.message() << " (run it with test/lab/run)");          \
      return;                                                                               \
    }                                                                                       \
  } while (false)
