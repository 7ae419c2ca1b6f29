#include "test/feed/churn.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace fairlead::feed_test {
namespace {

constexpr int kNames = 120;
constexpr int kLastingNames = 30;

ObjectId SliceId(const std::string& name) { return {ObjectKind::kEndpointSlice, {"shop", name}}; }

}  // namespace

Churn::Churn(Journal& journal, uint64_t seed) : journal_(journal), random_(seed) {
  for (int i = 0; i < kLastingNames; ++i) {
    const std::string name = absl::StrCat("object-", i);
    Upsert(name, /*slice=*/false);
    Upsert(name, /*slice=*/true);
    lasting_.insert(ServiceId(name));
    lasting_.insert(SliceId(name));
  }
  journal.MarkComplete();
}

void Churn::Change(int count) {
  for (int i = 0; i < count; ++i) {
    const std::string name = absl::StrCat("object-", random_() % kNames);
    const bool slice = random_() % 2 == 0;
    const ObjectId id = slice ? SliceId(name) : ServiceId(name);
    if (random_() % 3 == 0 && picture_.contains(id) && !lasting_.contains(id)) {
      journal_.Remove(id, absl::Now());
      picture_.erase(id);
      removed_.insert(id);
    } else {
      Upsert(name, slice);
    }
  }
}

void Churn::Upsert(const std::string& name, bool slice) {
  ++version_;
  const Object object = slice ? MakeSlice(name, name, version_) : MakeService(name, version_);
  journal_.Upsert(object, absl::Now());
  picture_[IdOf(object)] = object;
}

}  // namespace fairlead::feed_test
