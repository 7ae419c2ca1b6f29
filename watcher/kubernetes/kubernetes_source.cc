#include "watcher/kubernetes/kubernetes_source.h"

#include <algorithm>
#include <csignal>
#include <iterator>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "watcher/kubernetes/credential_source.h"
#include "watcher/kubernetes/reflector.h"
#include "watcher/kubernetes/resource.h"
#include "watcher/kubernetes/stop_signal.h"

namespace fairlead {

using kubernetes::Reflector;

class KubernetesSource::Core {
 public:
  Core(ApiServer server, KubernetesSourceOptions options, Journal& journal);
  ~Core() { Stop(); }

  void Start();
  void Stop();
  std::vector<KubernetesResourceStatus> Status() const;

 private:
  void NotePicture(const kubernetes::Resource& resource, bool partial);

  const ApiServer server_;
  const KubernetesSourceOptions options_;
  kubernetes::StopSignal stop_;
  kubernetes::CredentialSource credentials_;
  Journal& journal_;
  std::mutex mutex_;
  // Of the resources that were listed, whether some object of theirs was never read.
  std::map<const kubernetes::Resource*, bool> partial_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Reflector>> reflectors_;
  std::vector<std::thread> threads_;
};

KubernetesSource::Core::Core(ApiServer server, KubernetesSourceOptions options, Journal& journal)
    : server_(std::move(server)),
      options_(std::move(options)),
      credentials_(server_, options_.exec_timeout, stop_, options_.now),
      journal_(journal) {
  for (const kubernetes::Resource* resource : kubernetes::kResources) {
    reflectors_.push_back(std::make_unique<Reflector>(
        *resource, server_, options_, credentials_, stop_, journal,
        [this, resource](bool partial) { NotePicture(*resource, partial); }));
  }
}

void KubernetesSource::Core::NotePicture(const kubernetes::Resource& resource, bool partial) {
  // Held while the journal is told, so that the last word is the last one to be true.
  std::lock_guard lock(mutex_);
  partial_[&resource] = partial;
  if (partial_.size() < std::size(kubernetes::kResources)) return;
  journal_.MarkComplete(std::any_of(partial_.begin(), partial_.end(),
                                    [](const auto& entry) { return entry.second; }));
}

void KubernetesSource::Core::Start() {
  for (const auto& reflector : reflectors_) {
    threads_.emplace_back([&reflector = *reflector] {
      // A connection that the other end has closed is an error, no reason to die.
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
      reflector.Run();
    });
  }
}

void KubernetesSource::Core::Stop() {
  stop_.Raise();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

std::vector<KubernetesResourceStatus> KubernetesSource::Core::Status() const {
  std::vector<KubernetesResourceStatus> status;
  status.reserve(reflectors_.size());
  for (const auto& reflector : reflectors_) status.push_back(reflector->Status());
  return status;
}

KubernetesSource::KubernetesSource(ApiServer server, KubernetesSourceOptions options,
                                   Journal& journal)
    : core_(std::make_unique<Core>(std::move(server), std::move(options), journal)) {}

KubernetesSource::~KubernetesSource() = default;

void KubernetesSource::Start() { core_->Start(); }
void KubernetesSource::Stop() { core_->Stop(); }

std::vector<KubernetesResourceStatus> KubernetesSource::Status() const { return core_->Status(); }

}  // namespace fairlead
