#include "watcher/kubernetes/object_store.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "watcher/log_object.h"

namespace fairlead::kubernetes {
namespace {

std::string FormatProblems(const std::vector<Problem>& problems) {
  return absl::StrJoin(problems, "; ", [](std::string* out, const Problem& problem) {
    absl::StrAppend(out, problem.Format());
  });
}

void LogProblem(const ObjectId& id, const std::string& problem, bool invalid) {
  if (invalid) {
    LogAbout(spdlog::level::err, id.Format(),
             absl::StrCat("kubernetes: ", problem, "; what was known of it before is kept"));
  } else {
    LogAbout(spdlog::level::warn, id.Format(), absl::StrCat("kubernetes: ", problem));
  }
}

}  // namespace

void ObjectStore::BeginList() { listed_ = State(); }

void ObjectStore::AddListed(DecodedObject object) { Put(std::move(object), &listed_); }

void ObjectStore::FinishList(absl::Time now) {
  for (const ObjectId& id : listed_.invalid) {
    const auto kept = current_.objects.find(id);
    if (kept != current_.objects.end()) listed_.objects.insert(*kept);
  }
  size_t logged = 0;
  for (const auto& [id, problem] : listed_.problems) {
    const auto before = current_.problems.find(id);
    if (before != current_.problems.end() && before->second == problem) continue;
    if (++logged <= kMaxLoggedProblems) LogProblem(id, problem, listed_.invalid.contains(id));
  }
  if (logged > kMaxLoggedProblems) {
    spdlog::warn("kubernetes: {} more {} have problems", logged - kMaxLoggedProblems,
                 std::string(resource_.name));
  }
  // When the changes of a first list were made cannot be known.
  journal_.ReplaceKind(resource_.object_kind, listed_.objects,
                       was_listed_ ? now : absl::InfiniteFuture());
  current_ = std::exchange(listed_, State());
  was_listed_ = true;
}

void ObjectStore::Put(DecodedObject object, State* state) const {
  if (object.problems.empty()) {
    state->problems.erase(object.id);
  } else {
    state->problems[object.id] = FormatProblems(object.problems);
  }
  if (object.invalid) {
    state->invalid.insert(object.id);
    return;
  }
  state->invalid.erase(object.id);
  if (object.trigger_time.has_value()) {
    state->trigger_times[object.id.name] = *object.trigger_time;
  } else {
    state->trigger_times.erase(object.id.name);
  }
  if (!object.object.has_value()) {
    state->objects.erase(object.id);
    return;
  }
  const auto present = current_.objects.find(object.id);
  if (present != current_.objects.end() && SameValue(present->second, *object.object)) {
    object.object = present->second;
  }
  state->objects.insert_or_assign(std::move(object.id), *std::move(object.object));
}

absl::Time ObjectStore::TriggerOf(const DecodedObject& object, absl::Time now) const {
  if (!object.trigger_time.has_value() || *object.trigger_time > now) return now;
  const auto before = current_.trigger_times.find(object.id.name);
  const bool is_old =
      before != current_.trigger_times.end() && before->second == *object.trigger_time;
  return is_old ? now : *object.trigger_time;
}

void ObjectStore::Upsert(DecodedObject object, absl::Time now) {
  const ObjectId id = object.id;
  const absl::Time triggered = TriggerOf(object, now);
  const auto known = current_.problems.find(id);
  const std::string before = known == current_.problems.end() ? "" : known->second;
  Put(std::move(object), &current_);
  const auto problem = current_.problems.find(id);
  if (problem != current_.problems.end() && problem->second != before) {
    LogProblem(id, problem->second, current_.invalid.contains(id));
  }
  if (current_.invalid.contains(id)) return;
  const auto present = current_.objects.find(id);
  if (present == current_.objects.end()) {
    journal_.Remove(id, triggered);
  } else {
    journal_.Upsert(present->second, triggered);
  }
}

void ObjectStore::Remove(const ObjectId& id, absl::Time now) {
  current_.objects.erase(id);
  current_.invalid.erase(id);
  current_.problems.erase(id);
  current_.trigger_times.erase(id.name);
  journal_.Remove(id, now);
}

bool ObjectStore::is_partial() const {
  return std::any_of(current_.invalid.begin(), current_.invalid.end(),
                     [this](const ObjectId& id) { return !current_.objects.contains(id); });
}

}  // namespace fairlead::kubernetes
