// What the API server has of one resource, and how it comes into the journal.
#pragma once

#include <map>
#include <set>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "watcher/feed/journal.h"
#include "watcher/kubernetes/object_decoder.h"
#include "watcher/kubernetes/resource.h"

namespace fairlead::kubernetes {

// Problems of objects that one list logs; the rest is counted.
inline constexpr size_t kMaxLoggedProblems = 20;

// Carries out lists and events. Of an object that is invalid it keeps the version before, as long
// as the API server has the object. Problems are logged when they are new. Confined to one thread.
class ObjectStore {
 public:
  // Both outlive it.
  ObjectStore(const Resource& resource, Journal& journal)
      : resource_(resource), journal_(journal) {}

  // What was added since the last BeginList is forgotten.
  void BeginList();
  // The last one of an object counts.
  void AddListed(DecodedObject object);
  // Makes what was added all there is.
  void FinishList(absl::Time now);

  void Upsert(DecodedObject object, absl::Time now);
  void Remove(const ObjectId& id, absl::Time now);

  // Objects whose present version is invalid.
  size_t invalid_count() const { return current_.invalid.size(); }
  // Whether there is an object of which no version was ever valid.
  bool is_partial() const;

 private:
  struct State {
    Picture objects;
    std::set<ObjectId> invalid;
    // Of the objects that have any, as one text.
    std::map<ObjectId, std::string> problems;
    // Of the slices that have one. It is of a change if it differs from the one before.
    absl::flat_hash_map<ObjectName, absl::Time> trigger_times;
  };

  // Puts the object into `state`. The value that is there is kept where it is the same one, so that
  // the journal and we share it. An invalid object changes nothing but the lists of what is wrong.
  void Put(DecodedObject object, State* state) const;
  // When the change that led to this version was made, or `now`.
  absl::Time TriggerOf(const DecodedObject& object, absl::Time now) const;

  const Resource& resource_;
  Journal& journal_;
  // `objects` is what the journal has of this kind.
  State current_;
  State listed_;
  bool was_listed_ = false;
};

}  // namespace fairlead::kubernetes
