// From the objects of all files to the picture that they show.
#pragma once

#include <vector>

#include "watcher/manifest/allocate.h"
#include "watcher/manifest/objects.h"
#include "watcher/manifest/problem.h"
#include "watcher/model.h"

namespace fairlead::manifest {

struct Composition {
  Picture picture;
  std::vector<Problem> problems;
  Allocations allocations;
};

// Pure. Of objects that are there twice the first one is used, in the order of `files`; one that
// was kept from before gives way to a current one. Services get what they lack (AllocateServices),
// with `kept` as what they were given before, and, where no EndpointSlice names them, slices made
// of the Pods they select. An allocation is freed when no file knows of its Service any more, and
// `may_be_more` says that there may be files that are not known.
Composition Compose(const std::vector<const DecodedFile*>& files, const Allocations& kept,
                    bool may_be_more, const AllocationRanges& ranges);

}  // namespace fairlead::manifest
