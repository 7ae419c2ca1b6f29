// A source that never rests.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "test/watcher/feed/objects.h"
#include "watcher/feed/journal.h"
#include "watcher/model.h"

namespace fairlead::feed_test {

// Writes a journal: Services and slices come, change, go and come again, as a seed has it. Some are
// never removed, so that no agent's table may ever be without them. No value occurs twice. Confined
// to one thread.
class Churn {
 public:
  // The journal gets its first picture. It outlives this.
  Churn(Journal& journal, uint64_t seed);

  // Makes so many changes, each a revision.
  void Change(int count);

  // What the journal should hold.
  const Picture& picture() const { return picture_; }
  // Objects that are there from the first picture to the last.
  const std::set<ObjectId>& lasting() const { return lasting_; }
  // Objects that were removed at some time.
  const std::set<ObjectId>& removed() const { return removed_; }

 private:
  void Upsert(const std::string& name, bool slice);

  Journal& journal_;
  Random random_;
  // Of the next value.
  int version_ = 0;
  Picture picture_;
  std::set<ObjectId> lasting_;
  std::set<ObjectId> removed_;
};

}  // namespace fairlead::feed_test
