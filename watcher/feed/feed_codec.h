// Objects of the feed as messages of proto/fairlead/v1/feed.proto, and back with validation.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fairlead/v1/feed.pb.h"
#include "watcher/model.h"

namespace fairlead {

// Longest text of a field: that of a DNS name, which bounds names, labels and zones alike.
inline constexpr size_t kMaxTextLength = 253;

// A change as it was received.
struct DecodedChange {
  uint64_t revision = 0;
  // When the source learnt of it, if it said so.
  std::optional<absl::Time> triggered;
  ObjectId id;
  // nullopt: the object does not exist any more.
  std::optional<Object> object;
};

// An infinite `triggered` is one that is not known.
v1::Change EncodeChange(const Object& object, uint64_t revision, absl::Time triggered);
v1::Change EncodeRemoval(const ObjectId& id, uint64_t revision, absl::Time triggered);

// INVALID_ARGUMENT names the object and the first field that is not as feed.proto demands. What
// comes out keeps every promise of watcher/model.h.
absl::StatusOr<DecodedChange> DecodeChange(const v1::Change& change);

// The object of a change that need not be valid otherwise; nullopt where that is not said.
std::optional<ObjectId> IdentifyChange(const v1::Change& change);

// The text as a proto3 string can hold it: cut to `max_length` bytes, and without what is not
// UTF-8, for which a receiver would refuse the whole message.
std::string EncodeText(absl::string_view text, size_t max_length = std::string::npos);

v1::ObjectRef EncodeRef(const ObjectId& id);
absl::StatusOr<ObjectId> DecodeRef(const v1::ObjectRef& ref);

}  // namespace fairlead
