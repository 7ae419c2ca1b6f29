// The kernel's word on what happens in folders: inotify.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "watcher/manifest/folder_events.h"

namespace fairlead::manifest {

// Watches a set of folders. Confined to one thread.
class FileWatch {
 public:
  // A status where the kernel has no more inotify instances to give.
  static absl::StatusOr<std::unique_ptr<FileWatch>> Create();
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  // Watches these folders and no others; what is not there is passed over. A path that leads to
  // another folder than before counts as new. `failures` gets one status for each folder that is
  // there and cannot be watched. Returns whether a folder is new.
  bool SetFolders(const std::set<std::string>& folders, std::vector<absl::Status>* failures);

  // Appends the events that are there, without waiting.
  void ReadEvents(std::vector<FolderEvent>* events);

  // Readable when there are events.
  int fd() const { return fd_; }

 private:
  explicit FileWatch(int fd) : fd_(fd) {}

  const int fd_;
  std::map<std::string, int> watches_;          // By folder.
  std::map<int, std::set<std::string>> paths_;  // A folder may be reached by several paths.
};

}  // namespace fairlead::manifest
