// Follows manifests on disk while they change.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "watcher/manifest/file_watch.h"
#include "watcher/manifest/folder_events.h"
#include "watcher/manifest/manifest_reader.h"

namespace fairlead {

// How long a source waits for what.
struct FollowTimes {
  // After a change it waits until nothing more happens for this long, so that what is written in
  // one go is read in one go,
  absl::Duration quiet = absl::Milliseconds(50);
  // but not longer than this after the first change.
  absl::Duration patience = absl::Milliseconds(500);
  // How often it looks for a path that is not there, or at everything where it cannot be told.
  absl::Duration retry = absl::Seconds(1);
  // How often it looks at everything, for what nobody tells it: links that lead elsewhere, network
  // file systems.
  absl::Duration audit = absl::Seconds(30);
};

// Reads manifests at once and again whenever they change. Start and Stop are called from one
// thread, Start once; the callback is called on the source's own thread, first with the first
// reading and then whenever the picture, the problems or the completeness have changed, and never
// after Stop has returned. The callback must not call Stop. New problems are logged there.
class ManifestSource {
 public:
  explicit ManifestSource(ManifestOptions options, FollowTimes times = FollowTimes());
  // Stops.
  ~ManifestSource();
  ManifestSource(const ManifestSource&) = delete;
  ManifestSource& operator=(const ManifestSource&) = delete;

  // A status where the kernel refuses the means to be stopped again. Where it refuses to tell of
  // changes, the source looks by itself, and says so in a problem.
  absl::Status Start(std::function<void(const Reading&)> on_reading);
  // Returns when the thread has ended; no effect where there is none.
  void Stop();

 private:
  void Run();
  // Waits for a change or for what is due; false where it is to stop.
  bool Wait();
  void ReadEvents();
  void ReadWhatIsDue();
  Reading ReadAll();
  // Returns whether a folder is watched that was not before.
  bool UpdateWatches();
  void RequireFullPass();
  void NoteChange();
  void Publish(Reading reading);
  absl::Time NextWakeUp() const;

  const FollowTimes times_;
  int stop_fd_ = -1;
  std::thread thread_;
  std::function<void(const Reading&)> on_reading_;

  // Of the source's thread.
  ManifestReader reader_;
  std::unique_ptr<manifest::FileWatch> watch_;  // nullptr: inotify is not to be had.
  manifest::FollowedPaths followed_;
  manifest::PendingChanges pending_;
  std::vector<Problem> watch_problems_;
  absl::Time first_change_ = absl::InfiniteFuture();
  absl::Time last_change_ = absl::InfiniteFuture();
  absl::Time next_look_ = absl::InfinitePast();
  absl::Time next_audit_ = absl::InfinitePast();
  Reading last_;
  bool published_ = false;
};

}  // namespace fairlead
