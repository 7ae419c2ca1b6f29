// The drains of an agent on disk, so that the next one goes on with them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proxy/reconcile/drains.h"

namespace fairlead {

// JSON: {"version": 1, "drains": [{"virtualServer": {"family": "IPv4", "protocol": "TCP",
// "address": "10.96.0.1", "port": 80}, "realServer": {"address": "10.244.1.2", "port": 8080},
// "since": "2026-01-02T03:04:05.678Z", "until": …}]}; a virtual server for a mark has "family" and
// "firewallMark".
std::string FormatDrains(const std::vector<DrainingServer>& drains);
// INVALID_ARGUMENT names what is wrong.
absl::StatusOr<std::vector<DrainingServer>> ParseDrains(absl::string_view text);

// Replaces the file as a whole. It does not wait for the disk: where the machine stops, the drains
// in its kernel are gone too.
absl::Status SaveDrains(const std::string& path, const std::vector<DrainingServer>& drains);
// Empty where there is no file.
absl::StatusOr<std::vector<DrainingServer>> LoadDrains(const std::string& path);

}  // namespace fairlead
