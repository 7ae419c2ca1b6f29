// What the kernel's error numbers mean, as a Status.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "ipvs/table.h"

namespace fairlead::ipvs {

// `error` is a positive errno with which the kernel answered `operation`; 0 is OK. Codes are those
// that table.h lists; the message says what was asked for, what is missing, and what an operator
// does about it.
absl::Status StatusFromErrno(int error, const Operation& operation);

// The same for anything else, such as "dump virtual servers".
absl::Status StatusFromErrno(int error, absl::string_view action);

// What an operator does about an errno, whoever gave it, as the end of a message: ": run as root,
// or with CAP_NET_ADMIN". "" where there is nothing to say in general.
absl::string_view AdviceOnErrno(int error);

}  // namespace fairlead::ipvs
