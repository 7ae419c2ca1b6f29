#include "watcher/manifest/manifest_source.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "watcher/log_object.h"

namespace fairlead {
namespace {

// Time that nobody sets back or forth; only differences mean anything.
absl::Time MonotonicNow() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::TimeFromTimespec(now);
}

void LogNewProblems(const std::vector<Problem>& before, const std::vector<Problem>& now) {
  const std::set<Problem> known(before.begin(), before.end());
  for (const Problem& problem : now) {
    if (known.count(problem) > 0) continue;
    LogAbout(problem.severity == Severity::kError ? spdlog::level::err : spdlog::level::warn,
             problem.object.empty() ? FileObject(problem.file) : problem.object, problem.Format());
  }
  if (now.empty() && !before.empty()) spdlog::info("the manifests have no problems any more");
}

// Objects that have not changed are the same pointers (ManifestReader).
bool SameReading(const Reading& a, const Reading& b) {
  return a.complete == b.complete && a.unread == b.unread && a.problems == b.problems &&
         a.picture == b.picture;
}

bool IsSymbolicLink(const std::string& path) {
  struct stat stat;
  return lstat(path.c_str(), &stat) == 0 && S_ISLNK(stat.st_mode);
}

}  // namespace

ManifestSource::ManifestSource(ManifestOptions options, FollowTimes times)
    : times_(times), reader_(std::move(options)) {}

ManifestSource::~ManifestSource() { Stop(); }

absl::Status ManifestSource::Start(std::function<void(const Reading&)> on_reading) {
  stop_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (stop_fd_ < 0) return absl::ErrnoToStatus(errno, "eventfd");
  on_reading_ = std::move(on_reading);
  thread_ = std::thread([this] { Run(); });
  return absl::OkStatus();
}

void ManifestSource::Stop() {
  if (thread_.joinable()) {
    eventfd_write(stop_fd_, 1);
    thread_.join();
  }
  if (stop_fd_ >= 0) close(std::exchange(stop_fd_, -1));
}

void ManifestSource::Run() {
  absl::StatusOr<std::unique_ptr<manifest::FileWatch>> watch = manifest::FileWatch::Create();
  if (watch.ok()) {
    watch_ = *std::move(watch);
  } else {
    watch_problems_.push_back({Severity::kWarning, "manifests", 0, "", "",
                               absl::StrCat(watch.status().message(), ": changes are looked for ",
                                            "every ", absl::FormatDuration(times_.retry))});
  }
  for (const std::string& path : reader_.paths()) {
    followed_.given.insert(manifest::NormalizePath(path));
  }
  Publish(ReadAll());
  while (Wait()) ReadWhatIsDue();
}

// Before reading, so that what changes meanwhile is told; and after it, since it finds folders.
Reading ManifestSource::ReadAll() {
  UpdateWatches();
  pending_.Clear();
  first_change_ = last_change_ = absl::InfiniteFuture();
  Reading reading = reader_.Read(pending_.being_written());
  followed_.folders = reader_.folders();
  // A new folder may hold what was written after it was read and before it was watched.
  if (UpdateWatches()) RequireFullPass();
  next_audit_ = MonotonicNow() + (watch_ == nullptr ? times_.retry : times_.audit);
  return reading;
}

void ManifestSource::RequireFullPass() {
  pending_.RequireFullPass();
  NoteChange();
}

void ManifestSource::NoteChange() {
  last_change_ = MonotonicNow();
  first_change_ = std::min(first_change_, last_change_);
}

bool ManifestSource::UpdateWatches() {
  if (watch_ == nullptr) return false;
  std::set<std::string> folders = followed_.folders;
  for (const std::string& path : followed_.given) {
    // A given file may be replaced, and so may the link that leads to a given folder.
    if (followed_.folders.count(path) == 0 || IsSymbolicLink(path)) {
      folders.insert(manifest::FolderOf(path));
    }
    // Before the first reading it is not known which ones are folders.
    if (!published_) folders.insert(path);
  }
  std::vector<absl::Status> failures;
  const bool has_new = watch_->SetFolders(folders, &failures);
  watch_problems_.clear();
  for (const absl::Status& failure : failures) {
    watch_problems_.push_back({Severity::kWarning, "manifests", 0, "", "",
                               absl::StrCat(failure.message(), ": changes are noticed within ",
                                            absl::FormatDuration(times_.audit))});
  }
  return has_new;
}

absl::Time ManifestSource::NextWakeUp() const {
  absl::Time wake_up = next_audit_;
  if (reader_.has_failed_path()) wake_up = std::min(wake_up, next_look_);
  if (!pending_.empty()) {
    wake_up = std::min({wake_up, last_change_ + times_.quiet, first_change_ + times_.patience});
  }
  return wake_up;
}

bool ManifestSource::Wait() {
  const absl::Duration left = NextWakeUp() - MonotonicNow();
  const int64_t milliseconds = absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1)));
  pollfd fds[] = {{stop_fd_, POLLIN, 0}, {watch_ == nullptr ? -1 : watch_->fd(), POLLIN, 0}};
  const int ready = poll(fds, 2, static_cast<int>(std::clamp<int64_t>(milliseconds, 0, 60'000)));
  if (ready > 0 && (fds[0].revents & POLLIN) != 0) return false;
  if (ready > 0 && fds[1].revents != 0) ReadEvents();
  return true;
}

void ManifestSource::ReadEvents() {
  std::vector<manifest::FolderEvent> events;
  watch_->ReadEvents(&events);
  for (const manifest::FolderEvent& event : events) pending_.Add(event, followed_);
  if (!pending_.empty()) NoteChange();
}

void ManifestSource::ReadWhatIsDue() {
  const absl::Time now = MonotonicNow();
  if (reader_.has_failed_path() && now >= next_look_) {
    next_look_ = now + times_.retry;
    if (reader_.FailedPathIsBack()) RequireFullPass();
  }
  if (now >= next_audit_) pending_.RequireFullPass();
  if (pending_.empty() || now < NextWakeUp()) return;
  if (pending_.full_pass()) {
    Publish(ReadAll());
    return;
  }
  Reading reading = reader_.Reread(pending_.changed(), pending_.being_written());
  pending_.Clear();
  first_change_ = last_change_ = absl::InfiniteFuture();
  Publish(std::move(reading));
}

void ManifestSource::Publish(Reading reading) {
  reading.problems.insert(reading.problems.end(), watch_problems_.begin(), watch_problems_.end());
  if (published_ && SameReading(last_, reading)) return;
  LogNewProblems(last_.problems, reading.problems);
  last_ = std::move(reading);
  published_ = true;
  on_reading_(last_);
}

}  // namespace fairlead
