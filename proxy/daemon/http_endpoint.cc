#include "proxy/daemon/http_endpoint.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

// What an operator does about it.
std::string Advice(const absl::Status& status, const HttpEndpointOptions& options) {
  switch (status.code()) {
    case absl::StatusCode::kAlreadyExists:
      return absl::StrCat("`ss -ltnp sport = :", options.at->port,
                          "` says who has it; end that one, or choose another port with ",
                          options.flag);
    case absl::StatusCode::kUnavailable:
      return absl::StrCat("give the node this address, or choose another with ", options.flag);
    case absl::StatusCode::kPermissionDenied:
      return absl::StrCat("choose a port from 1024 on with ", options.flag,
                          ", or give the program CAP_NET_BIND_SERVICE");
    case absl::StatusCode::kResourceExhausted:
      return "raise the limit of open files (ulimit -n, LimitNOFILE=)";
    default:
      return absl::StrCat("choose another address with ", options.flag);
  }
}

}  // namespace

HttpEndpoint::HttpEndpoint(HttpServer& http, HttpEndpointOptions options)
    : http_(http), options_(std::move(options)) {
  absl::Status first = ListenHttp(http_, options_.flag, options_.at, options_.handler);
  if (first.ok()) return;
  if (options_.refused) {
    options_.refused(
        absl::StrCat(first.message(), "; ", Advice(first, options_), ". It is tried again every ",
                     absl::FormatDuration(options_.retry), ", the rest goes on without it"));
  }
  status_ = std::move(first);
  thread_ = std::thread([this] { KeepTrying(); });
}

HttpEndpoint::~HttpEndpoint() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  end_.notify_all();
  if (thread_.joinable()) thread_.join();
}

absl::Status HttpEndpoint::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

void HttpEndpoint::KeepTrying() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      end_.wait_for(lock, absl::ToChronoNanoseconds(options_.retry), [this] { return ended_; });
      if (ended_) return;
    }
    // Not under the lock: a handler that runs meanwhile may ask for the status.
    absl::Status status = ListenHttp(http_, options_.flag, options_.at, options_.handler);
    const bool listens = status.ok();
    {
      const std::lock_guard lock(mutex_);
      status_ = std::move(status);
    }
    if (!listens) continue;
    if (options_.served) {
      options_.served(absl::StrCat(options_.flag, ": ",
                                   FormatAddressPort(options_.at->address, options_.at->port),
                                   " is served now"));
    }
    return;
  }
}

}  // namespace fairlead
