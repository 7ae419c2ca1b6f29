// Follows one resource of the API server.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <random>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "watcher/feed/journal.h"
#include "watcher/kubernetes/api_server.h"
#include "watcher/kubernetes/credential_source.h"
#include "watcher/kubernetes/http_stream.h"
#include "watcher/kubernetes/kubernetes_source.h"
#include "watcher/kubernetes/list_watch.h"
#include "watcher/kubernetes/object_store.h"
#include "watcher/kubernetes/resource.h"
#include "watcher/kubernetes/stop_signal.h"
#include "watcher/kubernetes/trouble.h"

namespace fairlead::kubernetes {

// Carries out what ListWatch decides: makes the requests, and hands what comes to an ObjectStore.
// Says once what fails, and once that it is over. Confined to one thread, but for Status.
class Reflector {
 public:
  // Called when the first list is in the journal, and when `partial` has changed: there is an
  // object of which no version could be read. On the reflector's thread.
  using OnPicture = std::function<void(bool partial)>;

  // All but `on_picture` outlive it.
  Reflector(const Resource& resource, const ApiServer& server,
            const KubernetesSourceOptions& options, CredentialSource& credentials,
            const StopSignal& stop, Journal& journal, OnPicture on_picture);

  // Returns when `stop` is raised.
  void Run();

  // Thread-safe.
  KubernetesResourceStatus Status() const;

 private:
  class PageBody;
  class WatchBody;
  // What came of a request.
  struct Result {
    // Of a request that could not be made for want of credentials.
    absl::Status credentials_status;
    Credentials credentials;
    HttpOutcome outcome;
  };
  // Of what came, why it is of no use.
  struct Complaint {
    RequestFailure::Kind kind = RequestFailure::Kind::kServer;
    std::string cause;
    std::string problem;
  };

  void FetchPage(const std::string& continue_token);
  void FollowWatch(const std::string& resource_version);
  Result Ask(const std::string& target, absl::Duration timeout, bool compressed, HttpBody& body);

  // After a list or an event was carried out.
  void NotePicture(absl::Time now);
  // The watch works: what was wrong is over.
  void NoteWatchWorks();
  void NoteSuccess();
  // Of a request that did not bring an answer 200 to its end.
  Complaint ComplaintAbout(const Result& result) const;
  void Fail(const Complaint& complaint, const Result& result);
  // Which credential a failure has to do with: ", with the token in /x"; empty if none.
  std::string DescribeCredential(const Result& result) const;

  template <typename Change>
  void Update(const Change& change) {
    std::lock_guard lock(mutex_);
    change(status_);
  }

  const Resource& resource_;
  const ApiServer& server_;
  const KubernetesSourceOptions& options_;
  CredentialSource& credentials_;
  const StopSignal& stop_;
  const OnPicture on_picture_;
  std::mt19937_64 random_;
  ListWatch plan_;
  ObjectStore store_;
  HttpStream http_;
  Trouble trouble_;
  // As on_picture_ was told; nullopt before the first list.
  std::optional<bool> partial_;

  mutable std::mutex mutex_;
  KubernetesResourceStatus status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fairlead::kubernetes
