// A journal that follows an API server, for tests.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "test/watcher/feed/objects.h"
#include "test/watcher/kubernetes/fake_api_server.h"
#include "watcher/feed/journal.h"
#include "watcher/kubernetes/kubernetes_source.h"

namespace fairlead::kubernetes {

// Waits that no test notices.
KubernetesSourceOptions QuickOptions();

class Followed {
 public:
  // Follows from the beginning; `api` outlives it.
  Followed(FakeApiServer& api, ApiServer server, KubernetesSourceOptions options = QuickOptions());
  explicit Followed(FakeApiServer& api, const KubernetesSourceOptions& options = QuickOptions())
      : Followed(api, ApiServer{.url = api.url()}, options) {}

  const Journal& journal() const { return journal_; }
  KubernetesSource& source() { return *source_; }
  KubernetesResourceStatus StatusOf(const std::string& resource) const;

  // Whether it comes true in time. Looked at after each change of the journal,
  // each request and each error.
  bool Await(const std::function<bool()>& condition);
  // As Contents gives it.
  bool AwaitContents(const std::vector<std::string>& contents);
  // Of one resource, as FakeApiServer::Requests gives them; they may go on.
  bool AwaitRequests(const std::string& resource, const std::vector<std::string>& requests);

 private:
  class Listener;

  FakeApiServer& api_;
  Journal journal_;
  std::shared_ptr<JournalListener> listener_;
  std::unique_ptr<KubernetesSource> source_;
};

}  // namespace fairlead::kubernetes
