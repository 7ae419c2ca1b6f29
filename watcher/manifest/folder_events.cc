#include "watcher/manifest/folder_events.h"

#include "watcher/manifest/files.h"

namespace fairlead::manifest {
namespace {

using Action = FolderEvent::Action;

bool ChangesNames(Action action) {
  return action == Action::kCreated || action == Action::kMovedIn || action == Action::kMovedOut ||
         action == Action::kDeleted;
}

}  // namespace

void PendingChanges::Add(const FolderEvent& event, const FollowedPaths& paths) {
  if (event.action == Action::kOverflow) {
    being_written_.clear();  // The close may be among what was lost.
    full_pass_ = true;
    return;
  }
  if (event.action == Action::kFolderGone) {
    full_pass_ = true;
    return;
  }
  const std::string path = event.folder == "/"   ? "/" + event.name
                           : event.folder == "." ? event.name
                                                 : event.folder + "/" + event.name;
  const bool given = paths.given.count(path) > 0;
  const bool inside = paths.folders.count(event.folder) > 0;
  const bool hidden = !event.name.empty() && event.name[0] == '.';
  if (hidden && !given) {
    // A ConfigMap's volume changes by its link ..data alone; the manifests are links through it.
    const bool link = event.type == EntryType::kSymbolicLink;
    full_pass_ = full_pass_ || (link && ChangesNames(event.action));
  } else if (given || (inside && IsManifestName(event.name) && !event.is_folder)) {
    if (event.is_folder || paths.folders.count(path) > 0) {
      full_pass_ = true;  // A given folder.
    } else {
      AddManifest(event, path);
    }
  } else if (inside && (event.is_folder || event.type == EntryType::kSymbolicLink ||
                        paths.folders.count(path) > 0)) {
    // A folder, or a link that may lead to one, came, went, or changed who may read it.
    full_pass_ = full_pass_ || ChangesNames(event.action) || event.action == Action::kAttributes;
  }
}

void PendingChanges::AddManifest(const FolderEvent& event, const std::string& path) {
  switch (event.action) {
    case Action::kModified:
      being_written_.insert(path);
      return;
    case Action::kCreated:
      if (event.type == EntryType::kFile) {
        being_written_.insert(path);  // It is closed after it was created.
      } else if (event.type != EntryType::kGone) {
        changed_.insert(path);
      }
      return;
    case Action::kAttributes:
      changed_.insert(path);
      return;
    default:
      being_written_.erase(path);
      changed_.insert(path);
  }
}

void PendingChanges::Clear() {
  full_pass_ = false;
  changed_.clear();
}

}  // namespace fairlead::manifest
