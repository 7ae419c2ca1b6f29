// The last complete picture of a feed, on disk: what an agent begins with while no feeder answers.
//
// A file is, with integers in network order:
//
//   magic        8 bytes   "fairlead"
//   version      4         1
//   saved        8         Unix time in nanoseconds
//   revision     8
//   epoch        4 + n     length, bytes
//   objects      8         their number
//   each object  4 + n     length, a fairlead.v1.Change
//   checksum     32        SHA-256 of all that is before it
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "watcher/feed/feed_update.h"
#include "watcher/model.h"

namespace fairlead {

inline constexpr uint32_t kPictureFileVersion = 1;
// Longest epoch, and largest encoded object: that of a message of the feed.
inline constexpr size_t kMaxPictureEpochBytes = 253;
inline constexpr size_t kMaxPictureObjectBytes = 64 << 20;

struct SavedPicture {
  FeedPosition position;
  absl::Time saved;
  std::vector<Object> objects;
};

// Writes the picture, in which no object occurs twice, to a temporary file beside `path`, brings it
// to the disk and puts it in the place of `path`: after an error, or a loss of power at any moment,
// the old file or the new one is there, whole. Needs memory for one object. Errors name the file
// and are those of the system's calls; INVALID_ARGUMENT: a limit is exceeded. Not to be called by
// two threads for one path at once.
absl::Status SavePicture(const std::string& path, const FeedPosition& position, absl::Time when,
                         const std::vector<Object>& objects);

// NOT_FOUND: there is none. DATA_LOSS: the file is damaged, in the way that is told.
// FAILED_PRECONDITION: it is of another version. Other codes: it could not be read. Allocates in
// proportion to what the file really holds.
absl::StatusOr<SavedPicture> LoadPicture(const std::string& path);

// Renames a file that LoadPicture refused to `path` + ".damaged", for people to look at. An older
// one of that name is replaced.
absl::Status SetAside(const std::string& path);

// Removes what a process that was killed while it saved has left.
void RemoveTemporaryPicture(const std::string& path);

}  // namespace fairlead
