// The files that an agent keeps in its state folder.
#pragma once

#include <string>

#include "proxy/cleanup/report.h"

namespace fairlead {

// Removes the saved picture, the drains and the allocations of manifests from `folder`, with what
// an agent that was killed while it wrote one left, and what it set aside as damaged. Other files,
// and the folder, stay. A folder that is not there holds nothing. With `dry_run` only says what it
// would remove.
CleanupReport RemoveStateFiles(const std::string& folder, bool dry_run);

}  // namespace fairlead
