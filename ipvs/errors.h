// What the kernel's error numbers mean, as a Status.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "ipvs/table.h"

namespace fairlead::ipvs {

// `error` is a positive errno with which the kernel answered `operation`; 0 is OK. Codes are those
// that table.h lists, the message says what was asked for and what is missing.
absl::Status StatusFromErrno(int error, const Operation& operation);

// The same for anything else, such as "dump virtual servers".
absl::Status StatusFromErrno(int error, absl::string_view action);

}  // namespace fairlead::ipvs
