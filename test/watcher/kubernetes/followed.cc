#include "test/watcher/kubernetes/followed.h"

#include <algorithm>
#include <utility>

#include "test/watcher/kubernetes/objects.h"

namespace fairlead::kubernetes {

class Followed::Listener : public JournalListener {
 public:
  explicit Listener(feed_test::Signal& signal) : signal_(signal) {}
  void OnJournalChanged() override { signal_.Raise(); }

 private:
  feed_test::Signal& signal_;
};

KubernetesSourceOptions QuickOptions() {
  KubernetesSourceOptions options;
  options.min_retry_wait = absl::Milliseconds(1);
  options.max_retry_wait = absl::Milliseconds(20);
  options.seed = 1;
  return options;
}

Followed::Followed(FakeApiServer& api, ApiServer server, KubernetesSourceOptions options)
    : api_(api), listener_(std::make_shared<Listener>(api.signal())) {
  // The source looks at the clock after it has counted an error.
  options.now = [&api] {
    api.signal().Raise();
    return absl::Now();
  };
  source_ = std::make_unique<KubernetesSource>(std::move(server), std::move(options), journal_);
  journal_.AddListener(listener_);
  source_->Start();
}

KubernetesResourceStatus Followed::StatusOf(const std::string& resource) const {
  for (KubernetesResourceStatus& status : source_->Status()) {
    if (status.resource == resource) return std::move(status);
  }
  return {};
}

bool Followed::Await(const std::function<bool()>& condition) {
  return api_.signal().Await(condition);
}

bool Followed::AwaitContents(const std::vector<std::string>& contents) {
  return Await([&] { return Contents(journal_) == contents; });
}

bool Followed::AwaitRequests(const std::string& resource,
                             const std::vector<std::string>& requests) {
  return Await([&] {
    const std::vector<std::string> present = api_.Requests(resource);
    return present.size() >= requests.size() &&
           std::equal(requests.begin(), requests.end(), present.begin());
  });
}

}  // namespace fairlead::kubernetes
