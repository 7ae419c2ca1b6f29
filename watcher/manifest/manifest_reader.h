// Reads manifests from files and folders, over and over, and remembers what it read last.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "watcher/manifest/allocation_store.h"
#include "watcher/manifest/files.h"
#include "watcher/manifest/objects.h"
#include "watcher/manifest/problem.h"
#include "watcher/manifest/ranges.h"
#include "watcher/model.h"

namespace fairlead {

// Further problems of one reading are counted, not listed.
inline constexpr size_t kMaxProblems = 1000;

struct ManifestOptions {
  // Files, whatever their names, and folders with their subfolders, in which .yaml, .yml and .json
  // files count.
  std::vector<std::string> paths;
  std::vector<IpPrefix> service_cluster_ip_ranges;
  PortRange service_node_port_range;
  // Where allocations are kept; empty: nowhere.
  std::string state_dir;
  // Uses what is kept there and writes nothing.
  bool read_only_state = false;
};

// What the manifests say at one moment.
struct Reading {
  Picture picture;
  std::vector<Problem> problems;
  // False as long as nothing is known of some given path: what it would hold must not be removed.
  bool complete = false;
  // Paths and files, of those given and those in given folders, of which all or a part could not be
  // read since the start. Of others that cannot be read now the picture holds the last good state.
  std::set<std::string> unread;
};

// Thread-compatible; does I/O in Read and Reread and nowhere else. A file that cannot be read or
// parsed keeps the objects that it had; an object that is invalid keeps its last good version; a
// path that is not there keeps everything. A file that is deleted takes its objects with it.
class ManifestReader {
 public:
  explicit ManifestReader(ManifestOptions options);

  // Goes through all paths. Files in `being_written` stay as they were last read.
  Reading Read(const std::set<std::string>& being_written = {});
  // Looks at these files only, named as Read found or would find them: given paths, or manifests in
  // given folders. The rest is as it was read last.
  Reading Reread(const std::set<std::string>& changed,
                 const std::set<std::string>& being_written = {});

  // The folders that were looked into last.
  const std::set<std::string>& folders() const { return folders_; }
  // Whether a path that could not be read the last time can be read now.
  bool FailedPathIsBack() const;
  bool has_failed_path() const;

  const std::vector<std::string>& paths() const { return options_.paths; }

 private:
  // A path that was given.
  struct Root {
    std::string path;
    bool known = false;  // Was read at least once.
    bool failed = false;
    bool is_folder = false;
    uint64_t device = 0;
    std::set<std::string> files;
    std::vector<Problem> problems;
  };

  struct File {
    bool known = false;      // Was read at least once.
    bool incomplete = true;  // There may be objects in it that never could be read.
    uint64_t hash = 0;
    uint64_t size = 0;
    manifest::DecodedFile decoded;
    std::optional<Problem> problem;
  };

  void ReadRoot(Root* root, const std::set<std::string>& being_written);
  void UseListing(const manifest::Listing& listing, Root* root);
  bool LooksUnmounted(const Root& root, const manifest::Listing& listing) const;
  // NOT_FOUND where there is no such file; everything else is noted with it.
  absl::Status LoadFile(const std::string& path, const std::set<std::string>& being_written);
  // False where all paths have to be gone through.
  bool RereadFile(const std::string& path, const std::set<std::string>& being_written);
  Root* FindRoot(const std::string& path);
  const manifest::ManifestObject* FindLastGood(const manifest::ManifestKey& key) const;
  void RemoveUnlistedFiles();
  Reading MakeReading();
  void CollectProblems(std::vector<Problem>* problems) const;

  const ManifestOptions options_;
  AllocationStore store_;
  bool loaded_ = false;
  Allocations allocations_;
  std::vector<Problem> store_problems_;
  std::vector<Root> roots_;
  std::set<std::string> folders_;
  std::map<std::string, File> files_;
  Picture picture_;  // The last one, whose objects are used again where they have not changed.
};

}  // namespace fairlead
