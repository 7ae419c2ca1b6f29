// One JSON text of the API as a tree.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "watcher/manifest/value.h"

namespace fairlead::kubernetes {

// Parses a text that holds one object. Fields that are large and that nothing reads are left out,
// metadata.managedFields among them; values have no line. INVALID_ARGUMENT: it is no JSON, or too
// deep or too large for a manifest::Document. Pure.
absl::StatusOr<manifest::Document> ParseJsonObject(absl::string_view text);

}  // namespace fairlead::kubernetes
