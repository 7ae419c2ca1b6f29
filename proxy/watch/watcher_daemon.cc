#include "proxy/watch/watcher_daemon.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proxy/cli/version.h"
#include "proxy/metrics/process_metrics.h"
#include "proxy/watch/watch_metrics.h"
#include "proxy/watch/watch_service.h"
#include "watcher/feed/credentials.h"
#include "watcher/feed/rate_limit.h"

namespace fairlead {
namespace {

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(
    const WatcherOptions& options) {
  if (options.tls) return MakeServerCredentials(*options.tls);
  spdlog::warn("the feed is served in plain text, to whoever asks");
  return grpc::InsecureServerCredentials();
}

bool PeerMayBeNode(const grpc::AuthContext* peer, const std::string& node_name) {
  return peer != nullptr && MayBeNode(NamesOf(*peer), node_name);
}

// Counts and logs what agents are refused for; some lines a second, as a cluster may be refused as
// a whole. Thread-safe.
class Faults {
 public:
  explicit Faults(WatchMetrics& metrics) : metrics_(metrics) {}

  void Note(const absl::Status& reason) {
    metrics_.CountFault(reason);
    std::lock_guard lock(mutex_);
    if (lines_.Take(absl::Now())) {
      spdlog::warn("refused an agent: {}", std::string(reason.message()));
    }
  }

 private:
  WatchMetrics& metrics_;
  std::mutex mutex_;
  RateLimit lines_ ABSL_GUARDED_BY(mutex_) = RateLimit(/*per_second=*/1, /*burst=*/10);
};

HttpResponse AnswerHealth(const HttpRequest& request, const Journal& journal) {
  // A watcher whose source is away serves what it has: nothing is gained by restarting it.
  if (request.path == "/livez") return {.body = "ok\n"};
  if (request.path != "/healthz" && request.path != "/readyz") {
    return {.status = 404, .body = "not found\n"};
  }
  if (journal.complete()) return {.body = "ok\n"};
  return {.status = 503, .body = "the source has not given a whole picture yet\n"};
}

}  // namespace

absl::Status RunWatcher(const WatcherOptions& options) {
  const EndSignals signals;
  auto credentials = MakeCredentials(options);
  if (!credentials.ok()) return credentials.status();
  WatchMetrics metrics;
  Faults faults(metrics);
  Journal journal;
  FeedServerOptions server_options{
      .max_subscribers = options.max_subscribers,
      .max_subscribe_rate = options.max_subscribe_rate,
      .max_subscribe_burst = std::max(kMaxSubscribeBurst, options.max_subscribe_rate),
      .refuse_until_complete = true,
      .on_acked = [&metrics](absl::Duration took) { metrics.ObserveAck(took); },
      .on_fault = [&faults](const absl::Status& reason) { faults.Note(reason); }};
  if (options.require_node_name) server_options.may_be_node = PeerMayBeNode;
  FeedServer feed(journal, std::move(server_options));
  Source source(options.source, journal);
  WatchService inspection(feed, journal, [&source] { return source.KubernetesStatus(); });
  auto inspection_server = ServeOnUnixSocket(inspection, options.socket);
  if (!inspection_server.ok()) return inspection_server.status();

  grpc::ServerBuilder builder;
  FeedServer::Configure(builder);
  int port = 0;
  builder.AddListeningPort(options.listen, *credentials, &port);
  builder.RegisterService(&feed.service());
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    return absl::UnavailableError(absl::StrCat("--listen: cannot listen at ", options.listen));
  }
  auto http = HttpServer::Start();
  if (!http.ok()) return http.status();
  absl::Status listening =
      ListenHttp(**http, "--healthz-bind-address", options.healthz,
                 [&journal](const HttpRequest& request) { return AnswerHealth(request, journal); });
  const auto render = [&] {
    std::string text = metrics.Render(journal.State(), journal.object_count(), feed.Nodes(),
                                      source.KubernetesStatus(), absl::Now());
    AppendProcessMetrics(text, kVersion);
    return text;
  };
  listening.Update(
      ListenHttp(**http, "--metrics-bind-address", options.metrics,
                 [render](const HttpRequest& request) { return AnswerMetrics(request, render); }));
  if (!listening.ok()) return listening;
  if (absl::Status started = source.Start(); !started.ok()) return started;

  spdlog::info("fairlead {} watcher, serves the feed on port {}, answers inspections at {}",
               kVersion, port, options.socket);
  spdlog::info("{}: stopping", signals.Wait());
  source.Stop();
  feed.Shutdown();
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  (*inspection_server)->Shutdown(std::chrono::system_clock::now());
  unlink(options.socket.c_str());
  return absl::OkStatus();
}

}  // namespace fairlead
