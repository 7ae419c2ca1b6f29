#include "proxy/cleanup/state_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

constexpr absl::string_view kFile = "file";
constexpr absl::string_view kNames[] = {"allocations.json", "drains", "picture"};
// As it is; being written; set aside.
constexpr absl::string_view kEndings[] = {"", ".new", ".damaged"};

void RemoveFile(const std::string& path, bool dry_run, CleanupReport& report) {
  struct stat file;
  if (lstat(path.c_str(), &file) != 0) {
    if (errno != ENOENT && errno != ENOTDIR) report.Failed(kFile, path, strerror(errno));
    return;
  }
  if (!S_ISREG(file.st_mode)) return;  // No agent made that.
  if (dry_run || unlink(path.c_str()) == 0) {
    report.Removed(kFile, path);
  } else if (errno != ENOENT) {
    report.Failed(kFile, path, strerror(errno));
  }
}

}  // namespace

CleanupReport RemoveStateFiles(const std::string& folder, bool dry_run) {
  CleanupReport report;
  for (const absl::string_view name : kNames) {
    for (const absl::string_view ending : kEndings) {
      RemoveFile(absl::StrCat(folder, "/", name, ending), dry_run, report);
    }
  }
  return report;
}

}  // namespace fairlead
