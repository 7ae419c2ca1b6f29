#include "watcher/manifest/manifest_reader.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "watcher/manifest/compose.h"
#include "watcher/manifest/decode.h"
#include "watcher/manifest/last_good.h"
#include "watcher/manifest/parse.h"

namespace fairlead {
namespace {

using manifest::Listing;

bool IsBelow(const std::string& path, const std::string& folder) {
  const std::string prefix = absl::EndsWith(folder, "/") ? folder : folder + "/";
  return absl::StartsWith(path, prefix);
}

constexpr char kKept[] = "what it held before is kept";
constexpr char kNothingKnown[] = "nothing is known of what it holds";

// Objects that have not changed stay the same pointers, so that others can tell at a glance.
void ReuseObjects(const Picture& previous, Picture* picture) {
  for (auto& [id, object] : *picture) {
    const auto it = previous.find(id);
    if (it != previous.end() && SameValue(it->second, object)) object = it->second;
  }
}

}  // namespace

ManifestReader::ManifestReader(ManifestOptions options)
    : options_(std::move(options)), store_(options_.state_dir, options_.read_only_state) {
  std::set<std::string> seen;
  for (const std::string& path : options_.paths) {
    std::string normal = manifest::NormalizePath(path);
    if (seen.insert(normal).second) roots_.push_back({.path = std::move(normal)});
  }
}

Reading ManifestReader::Read(const std::set<std::string>& being_written) {
  folders_.clear();
  for (Root& root : roots_) ReadRoot(&root, being_written);
  RemoveUnlistedFiles();
  return MakeReading();
}

Reading ManifestReader::Reread(const std::set<std::string>& changed,
                               const std::set<std::string>& being_written) {
  for (const std::string& path : changed) {
    if (!RereadFile(path, being_written)) return Read(being_written);
  }
  RemoveUnlistedFiles();
  return MakeReading();
}

bool ManifestReader::LooksUnmounted(const Root& root, const Listing& listing) const {
  return listing.status.ok() && listing.is_folder && listing.files.empty() && !root.files.empty() &&
         listing.device != root.device;
}

void ManifestReader::ReadRoot(Root* root, const std::set<std::string>& being_written) {
  const Listing listing = manifest::ListPath(root->path);
  root->problems.clear();
  const bool unmounted = LooksUnmounted(*root, listing);
  root->failed = !listing.status.ok() || unmounted;
  if (root->failed) {
    root->problems.push_back(
        {Severity::kError, root->path, 0, "", "",
         absl::StrCat(unmounted ? "is empty and on another file system than before, as if unmounted"
                                : absl::StrCat("cannot be read: ", listing.status.message()),
                      "; ", root->known ? kKept : kNothingKnown)});
    if (auto it = files_.find(root->path); it != files_.end()) it->second.problem.reset();
    return;
  }
  UseListing(listing, root);
  for (const std::string& path : listing.files) {
    // Gone since the folder was listed.
    if (absl::IsNotFound(LoadFile(path, being_written)) && root->is_folder) {
      root->files.erase(path);
    }
  }
  if (!root->is_folder) root->known = root->known || files_[root->path].known;
}

void ManifestReader::UseListing(const Listing& listing, Root* root) {
  std::set<std::string> files = listing.files;
  for (const auto& [folder, status] : listing.unreadable) {
    for (const std::string& path : root->files) {
      if (IsBelow(path, folder)) files.insert(path);
    }
    root->problems.push_back({Severity::kError, folder, 0, "", "",
                              absl::StrCat("cannot be read: ", status.message(), "; ", kKept)});
  }
  if (listing.too_many_files) {
    root->problems.push_back({Severity::kError, root->path, 0, "", "",
                              absl::StrCat("holds more than ", manifest::kMaxFiles,
                                           " manifests: the rest is left out")});
  }
  root->files = std::move(files);
  root->is_folder = listing.is_folder;
  root->device = listing.device;
  if (listing.is_folder) root->known = true;
  folders_.insert(listing.folders.begin(), listing.folders.end());
}

absl::Status ManifestReader::LoadFile(const std::string& path,
                                      const std::set<std::string>& being_written) {
  File& file = files_[path];
  absl::StatusOr<std::string> content = absl::UnavailableError("is being written");
  if (being_written.count(path) == 0) {
    content = manifest::ReadManifest(path, manifest::kMaxFileBytes);
  }
  if (absl::IsUnavailable(content.status())) {
    // It will be read when it is closed. Until then it is as it was.
    if (!file.known) {
      file.problem = Problem{
          Severity::kWarning, path, 0, "", "", "is being written: it is read when it is closed"};
    }
    return absl::OkStatus();
  }
  if (!content.ok()) {
    file.problem = Problem{Severity::kError,
                           path,
                           0,
                           "",
                           "",
                           absl::StrCat("cannot be read: ", content.status().message(), "; ",
                                        file.known ? kKept : kNothingKnown)};
    return content.status();
  }
  file.problem.reset();
  const uint64_t hash = manifest::StableHash(*content);
  if (file.known && file.hash == hash && file.size == content->size()) return absl::OkStatus();
  manifest::DecodedFile decoded = manifest::DecodeFile(path, *content);
  manifest::KeepLastGood(
      path, file.decoded, [this](const manifest::ManifestKey& key) { return FindLastGood(key); },
      &decoded);
  file.incomplete = file.incomplete && decoded.has_unknown;
  file.known = true;
  file.hash = hash;
  file.size = content->size();
  file.decoded = std::move(decoded);
  return absl::OkStatus();
}

const manifest::ManifestObject* ManifestReader::FindLastGood(
    const manifest::ManifestKey& key) const {
  for (const auto& [path, file] : files_) {
    for (const manifest::ManifestObject& object : file.decoded.objects) {
      if (object.key == key) return &object;
    }
  }
  return nullptr;
}

ManifestReader::Root* ManifestReader::FindRoot(const std::string& path) {
  for (Root& root : roots_) {
    if (root.path == path || (root.is_folder && IsBelow(path, root.path))) return &root;
  }
  return nullptr;
}

bool ManifestReader::RereadFile(const std::string& path,
                                const std::set<std::string>& being_written) {
  Root* root = FindRoot(path);
  if (root == nullptr) return true;
  if (root->failed) return false;
  if (!root->is_folder) {
    if (absl::IsNotFound(LoadFile(path, being_written))) return false;
    root->known = root->known || files_[path].known;
    return true;
  }
  // A file that went with its folder, or its file system, stays as it was.
  const absl::StatusOr<uint64_t> device = manifest::FolderDevice(root->path);
  if (!device.ok() || *device != root->device) return false;
  if (root->files.count(path) == 0 && root->files.size() >= manifest::kMaxFiles) return false;
  if (absl::IsNotFound(LoadFile(path, being_written))) {
    root->files.erase(path);
  } else {
    root->files.insert(path);
  }
  return true;
}

void ManifestReader::RemoveUnlistedFiles() {
  std::set<std::string> listed;
  for (const Root& root : roots_) listed.insert(root.files.begin(), root.files.end());
  for (auto it = files_.begin(); it != files_.end();) {
    it = listed.count(it->first) == 0 ? files_.erase(it) : std::next(it);
  }
}

bool ManifestReader::has_failed_path() const {
  for (const Root& root : roots_) {
    if (root.failed) return true;
  }
  return false;
}

bool ManifestReader::FailedPathIsBack() const {
  for (const Root& root : roots_) {
    if (!root.failed) continue;
    const Listing listing = manifest::ListPath(root.path);
    if (listing.status.ok() && !LooksUnmounted(root, listing)) return true;
  }
  return false;
}

void ManifestReader::CollectProblems(std::vector<Problem>* problems) const {
  *problems = store_problems_;
  for (const Root& root : roots_) {
    problems->insert(problems->end(), root.problems.begin(), root.problems.end());
    if (root.is_folder && !root.failed && root.files.empty()) {
      problems->push_back(
          {Severity::kWarning, root.path, 0, "", "", "holds no manifest (.yaml, .yml or .json)"});
    }
  }
  for (const auto& [path, file] : files_) {
    if (file.problem.has_value()) problems->push_back(*file.problem);
    const manifest::DecodedFile& decoded = file.decoded;
    problems->insert(problems->end(), decoded.problems.begin(), decoded.problems.end());
    for (const manifest::InvalidObject& object : decoded.invalid) {
      problems->insert(problems->end(), object.problems.begin(), object.problems.end());
    }
  }
}

Reading ManifestReader::MakeReading() {
  if (!std::exchange(loaded_, true)) allocations_ = store_.Load(&store_problems_);
  Reading reading{.complete = true};
  for (const Root& root : roots_) {
    if (root.known) continue;
    reading.complete = false;
    reading.unread.insert(root.path);
  }
  std::vector<const manifest::DecodedFile*> files;
  for (const auto& [path, file] : files_) {
    files.push_back(&file.decoded);
    if (file.incomplete) reading.unread.insert(path);
  }
  CollectProblems(&reading.problems);
  manifest::Composition composition =
      manifest::Compose(files, allocations_, /*may_be_more=*/!reading.unread.empty(),
                        {options_.service_cluster_ip_ranges, options_.service_node_port_range});
  for (Problem& problem : composition.problems) reading.problems.push_back(std::move(problem));
  allocations_ = std::move(composition.allocations);
  if (const absl::Status status = store_.Save(allocations_); !status.ok()) {
    reading.problems.push_back({Severity::kWarning, store_.path(), 0, "", "",
                                absl::StrCat("cannot be written: ", status.message(),
                                             "; allocations may change with a restart")});
  }
  if (reading.problems.size() > kMaxProblems) {
    const size_t more = reading.problems.size() - kMaxProblems;
    reading.problems.resize(kMaxProblems);
    reading.problems.push_back({Severity::kWarning, "manifests", 0, "", "",
                                absl::StrCat("there are ", more, " more problems")});
  }
  ReuseObjects(picture_, &composition.picture);
  picture_ = std::move(composition.picture);
  reading.picture = picture_;
  return reading;
}

}  // namespace fairlead
