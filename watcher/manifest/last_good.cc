#include "watcher/manifest/last_good.h"

#include <set>

#include "absl/strings/str_cat.h"

namespace fairlead::manifest {
namespace {

void Append(absl::string_view text, std::vector<Problem>* problems) {
  for (Problem& problem : *problems) {
    if (problem.severity == Severity::kError) absl::StrAppend(&problem.message, "; ", text);
  }
}

}  // namespace

void KeepLastGood(const std::string& file, const DecodedFile& previous, const FindObject& find,
                  DecodedFile* fresh) {
  std::set<ManifestKey> shown;
  for (const ManifestObject& object : fresh->objects) shown.insert(object.key);
  const auto keep = [&](ManifestObject object) {
    object.file = file;
    object.stale = true;
    fresh->objects.push_back(std::move(object));
  };
  for (InvalidObject& invalid : fresh->invalid) {
    if (invalid.key.name.name.empty()) continue;
    if (!shown.insert(invalid.key).second) {
      Append("left out", &invalid.problems);
    } else if (const ManifestObject* good = find(invalid.key)) {
      keep(*good);
      Append("its last good version is kept", &invalid.problems);
    } else {
      Append("the object is left out", &invalid.problems);
    }
  }
  if (!fresh->has_unknown) return;
  int kept = 0;
  for (const ManifestObject& object : previous.objects) {
    if (!shown.insert(object.key).second) continue;
    keep(object);
    ++kept;
  }
  const std::string text = kept == 0 ? std::string("left out")
                                     : absl::StrCat("what it may have held before is kept (", kept,
                                                    kept == 1 ? " object)" : " objects)");
  Append(text, &fresh->problems);
  for (InvalidObject& invalid : fresh->invalid) {
    if (invalid.key.name.name.empty()) Append(text, &invalid.problems);
  }
}

}  // namespace fairlead::manifest
