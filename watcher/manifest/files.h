// Folders and files, as manifests are read from them. All system calls on files are here.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fairlead::manifest {

// Folders within folders.
inline constexpr int kMaxFolderDepth = 16;
// Manifests of one folder, subfolders included; further ones are not read.
inline constexpr size_t kMaxFiles = 20'000;

// Whether a file of this name in a folder is a manifest: .yaml, .yml or .json, and not hidden.
bool IsManifestName(absl::string_view name);

// What a given path is at the moment.
struct Listing {
  // NOT_FOUND, PERMISSION_DENIED and so on; the rest is empty then.
  absl::Status status;
  bool is_folder = false;
  uint64_t device = 0;
  std::set<std::string> files;    // Manifests, or the path itself if it is a file.
  std::set<std::string> folders;  // Folders that were looked into, the path itself among them.
  // Subfolders that could not be read, and why.
  std::vector<std::pair<std::string, absl::Status>> unreadable;
  bool too_many_files = false;
};

// Lists a file, or a folder with its subfolders. Symbolic links are followed, a folder is looked
// into once, hidden entries are passed over.
Listing ListPath(const std::string& path);

// The device that a folder is on; a status where there is no such folder.
absl::StatusOr<uint64_t> FolderDevice(const std::string& path);

// Reads a regular file of at most `max_bytes`. UNAVAILABLE where somebody has it open for writing,
// as far as the kernel lets us know (a lease can be had on own files, or with CAP_LEASE), or wrote
// to it while it was read.
absl::StatusOr<std::string> ReadManifest(const std::string& path, size_t max_bytes);

// Replaces the file by a new one, on disk when this returns; creates its folder.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view content);

absl::Status RenameFile(const std::string& from, const std::string& to);

// `path` without "." and "..", doubled or trailing slashes.
std::string NormalizePath(const std::string& path);

// "/etc/x" of "/etc/x/y", "." of "y".
std::string FolderOf(const std::string& path);

}  // namespace fairlead::manifest
