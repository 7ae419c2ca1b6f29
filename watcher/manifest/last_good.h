// What stays of a file's earlier content when it is faulty now.
#pragma once

#include <functional>

#include "watcher/manifest/objects.h"

namespace fairlead::manifest {

// Finds the last good version of an object in any file; nullptr if there is none.
using FindObject = std::function<const ManifestObject*(const ManifestKey&)>;

// Adds to `fresh`, which is `file` as it is now, what is to stay: of each invalid object its last
// good version, and, where a part of the file could not be told apart, all that `previous` held and
// `fresh` does not show. The problems say so.
void KeepLastGood(const std::string& file, const DecodedFile& previous, const FindObject& find,
                  DecodedFile* fresh);

}  // namespace fairlead::manifest
