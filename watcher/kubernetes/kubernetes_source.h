// Follows the Services, EndpointSlices and Nodes of a Kubernetes API server.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "watcher/feed/journal.h"
#include "watcher/kubernetes/api_server.h"

namespace fairlead {

// Headless Services and their slices concern no proxy; the API server leaves them out.
inline constexpr char kDefaultSelector[] = "!service.kubernetes.io/headless";

struct KubernetesSourceOptions {
  // Label selector of Services and EndpointSlices.
  std::string selector = kDefaultSelector;
  // Only this Node is followed; empty: all.
  std::string node_name;
  // Objects of one page of a list.
  int page_size = 500;
  // How long the API server is asked to keep a watch, each time somewhere between this and twice
  // as long, so that watches do not all end at once.
  absl::Duration watch_timeout = absl::Minutes(5);
  // A watch or list on which nothing came for this long is given up, since the other end may be
  // dead; a watch goes on at once on another connection. Longer than the time between two
  // bookmarks, which is up to 75 s.
  absl::Duration silence_timeout = absl::Seconds(90);
  absl::Duration connect_timeout = absl::Seconds(10);
  // Of a page of a list. The API server gives itself a minute.
  absl::Duration list_timeout = absl::Minutes(2);
  // How long a credential plugin may take.
  absl::Duration exec_timeout = absl::Minutes(1);
  absl::Duration min_retry_wait = absl::Milliseconds(200);
  absl::Duration max_retry_wait = absl::Seconds(30);
  // Of the waits' jitter.
  uint64_t seed = std::random_device()();
  std::function<absl::Time()> now = absl::Now;
};

// What is followed, for people and metrics.
struct KubernetesResourceStatus {
  std::string resource;  // "services", "endpointslices", "nodes".
  bool listed = false;   // There was a complete list.
  bool watching = false;
  absl::Time last_event = absl::InfinitePast();  // Of list, event or bookmark.
  uint64_t lists = 0;
  uint64_t watches = 0;
  uint64_t events = 0;
  uint64_t errors = 0;
  uint64_t invalid_objects = 0;  // At present.
  std::string last_error;        // Empty if there was none.
};

// Lists each resource and watches it from there on, each on a thread of its own. Writes the
// journal: what a list or an event really changes, nothing while the API server is away. The
// journal is complete when every resource was listed once. An object that cannot be understood is
// logged with its field; of it, the journal keeps what it has, and is partial where it has nothing.
// Thread-safe, but for Start and Stop.
class KubernetesSource {
 public:
  // `journal` outlives the source.
  KubernetesSource(ApiServer server, KubernetesSourceOptions options, Journal& journal);
  // Stops.
  ~KubernetesSource();
  KubernetesSource(const KubernetesSource&) = delete;
  KubernetesSource& operator=(const KubernetesSource&) = delete;

  void Start();
  // Returns when all threads have ended, which does not wait for the API server.
  void Stop();

  std::vector<KubernetesResourceStatus> Status() const;

 private:
  class Core;

  std::unique_ptr<Core> core_;
};

}  // namespace fairlead
