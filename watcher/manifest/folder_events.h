// What happens in folders, and what has to be read again because of it.
#pragma once

#include <cstdint>
#include <set>
#include <string>

namespace fairlead::manifest {

// What lies behind a name when its event is looked at.
enum class EntryType : uint8_t { kGone, kFile, kLinkedFile, kSymbolicLink, kFolder, kOther };

// One event of one folder.
struct FolderEvent {
  enum class Action : uint8_t {
    kCreated,
    kModified,  // Written to, and still open.
    kClosed,    // Closed by one who could write to it.
    kMovedIn,
    kMovedOut,
    kDeleted,
    kAttributes,
    kFolderGone,  // The folder itself was deleted, moved or unmounted.
    kOverflow,    // Events were lost, of any folder.
  };

  Action action = Action::kModified;
  std::string folder;
  std::string name;
  bool is_folder = false;  // What was created, moved or deleted is a folder.
  EntryType type = EntryType::kFile;
};

// What is being followed.
struct FollowedPaths {
  std::set<std::string> given;    // Paths as they were given.
  std::set<std::string> folders;  // Folders whose manifests count.
};

// Gathers events until it is time to read. A plain value without I/O.
class PendingChanges {
 public:
  void Add(const FolderEvent& event, const FollowedPaths& paths);
  void RequireFullPass() { full_pass_ = true; }

  bool empty() const { return !full_pass_ && changed_.empty(); }
  bool full_pass() const { return full_pass_; }
  // Files to be read again.
  const std::set<std::string>& changed() const { return changed_; }
  // Files that somebody has begun to write and not closed: they are to be left alone.
  const std::set<std::string>& being_written() const { return being_written_; }

  // Forgets what was to be read, not who is writing.
  void Clear();

 private:
  void AddManifest(const FolderEvent& event, const std::string& path);

  bool full_pass_ = false;
  std::set<std::string> changed_;
  std::set<std::string> being_written_;
};

}  // namespace fairlead::manifest
