#include "watcher/manifest/file_watch.h"

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"

namespace fairlead::manifest {
namespace {

constexpr uint32_t kMask = IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM |
                           IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

// Room for a few hundred events in one read.
constexpr size_t kBufferBytes = 1 << 16;

EntryType TypeOf(const std::string& path) {
  struct stat stat;
  if (lstat(path.c_str(), &stat) != 0) return EntryType::kGone;
  if (S_ISLNK(stat.st_mode)) return EntryType::kSymbolicLink;
  if (S_ISDIR(stat.st_mode)) return EntryType::kFolder;
  if (!S_ISREG(stat.st_mode)) return EntryType::kOther;
  return stat.st_nlink > 1 ? EntryType::kLinkedFile : EntryType::kFile;
}

std::optional<FolderEvent::Action> ActionOf(uint32_t mask) {
  using Action = FolderEvent::Action;
  if (mask & IN_Q_OVERFLOW) return Action::kOverflow;
  if (mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) return Action::kFolderGone;
  if (mask & IN_CREATE) return Action::kCreated;
  if (mask & IN_MODIFY) return Action::kModified;
  if (mask & IN_CLOSE_WRITE) return Action::kClosed;
  if (mask & IN_MOVED_TO) return Action::kMovedIn;
  if (mask & IN_MOVED_FROM) return Action::kMovedOut;
  if (mask & IN_DELETE) return Action::kDeleted;
  if (mask & IN_ATTRIB) return Action::kAttributes;
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileWatch>> FileWatch::Create() {
  const int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, "inotify");
  return std::unique_ptr<FileWatch>(new FileWatch(fd));
}

FileWatch::~FileWatch() { close(fd_); }

bool FileWatch::SetFolders(const std::set<std::string>& folders,
                           std::vector<absl::Status>* failures) {
  std::map<std::string, int> watches;
  std::map<int, std::set<std::string>> paths;
  bool has_new = false;
  for (const std::string& folder : folders) {
    // For a folder that is watched already this gives the watch that is there.
    const int watch = inotify_add_watch(fd_, folder.c_str(), kMask);
    if (watch < 0) {
      if (errno != ENOENT && errno != ENOTDIR) {
        failures->push_back(absl::ErrnoToStatus(errno, absl::StrCat("watching ", folder)));
      }
      continue;
    }
    const auto it = watches_.find(folder);
    has_new = has_new || it == watches_.end() || it->second != watch;
    watches[folder] = watch;
    paths[watch].insert(folder);
  }
  for (const auto& [watch, old_paths] : paths_) {
    if (paths.count(watch) == 0) inotify_rm_watch(fd_, watch);  // Fails where the folder is gone.
  }
  watches_ = std::move(watches);
  paths_ = std::move(paths);
  return has_new;
}

void FileWatch::ReadEvents(std::vector<FolderEvent>* events) {
  alignas(inotify_event) char buffer[kBufferBytes];
  for (;;) {
    const ssize_t size = read(fd_, buffer, sizeof(buffer));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return;
    for (ssize_t offset = 0; offset < size;) {
      const auto* raw = reinterpret_cast<const inotify_event*>(buffer + offset);
      offset += static_cast<ssize_t>(sizeof(inotify_event) + raw->len);
      const std::optional<FolderEvent::Action> action = ActionOf(raw->mask);
      if (!action.has_value()) continue;
      FolderEvent event{.action = *action, .is_folder = (raw->mask & IN_ISDIR) != 0};
      if (event.action == FolderEvent::Action::kOverflow) {
        events->push_back(std::move(event));
        continue;
      }
      if (raw->len > 0) event.name = raw->name;
      // An attribute or a deletion of the watched folder itself has no name.
      if (event.name.empty() && event.action != FolderEvent::Action::kFolderGone) continue;
      const auto it = paths_.find(raw->wd);
      if (it == paths_.end()) continue;
      for (const std::string& folder : it->second) {
        event.folder = folder;
        event.type = TypeOf(absl::StrCat(folder, "/", event.name));
        events->push_back(event);
      }
    }
  }
}

}  // namespace fairlead::manifest
