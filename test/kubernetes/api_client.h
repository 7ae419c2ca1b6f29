// A small client of a Kubernetes API server, for tests.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "test/kubernetes/certificates.h"

namespace fairlead::lab {

struct ApiClientOptions {
  std::string url;  // "https://127.0.0.1:6443"; with http there is no authentication.
  std::string ca_file = {};
  KeyPair client = {};
  std::string token = {};
};

struct ApiRequest {
  std::string method;  // "POST", "PATCH" (a merge patch) or "DELETE".
  std::string path;
  nlohmann::json body;
};

// One connection, kept open. What an answer says is the status: NOT_FOUND for 404, ALREADY_EXISTS
// for 409, PERMISSION_DENIED for 403, UNAUTHENTICATED for 401, OUT_OF_RANGE for 410,
// INVALID_ARGUMENT for other 4xx, UNAVAILABLE for the rest and where there is no answer, each with
// its text. Confined to one thread at a time.
class ApiClient {
 public:
  explicit ApiClient(ApiClientOptions options);
  ~ApiClient();
  ApiClient(ApiClient&&) noexcept;
  ApiClient& operator=(ApiClient&&) noexcept;

  // Paths start with a slash and may have a query.
  absl::StatusOr<nlohmann::json> Get(absl::string_view path);
  // The body as it came.
  absl::StatusOr<std::string> GetText(absl::string_view path);
  absl::StatusOr<nlohmann::json> Post(absl::string_view path, const nlohmann::json& object);
  // RFC 7386: objects are merged, lists replaced, null removes.
  absl::StatusOr<nlohmann::json> MergePatch(absl::string_view path, const nlohmann::json& patch);
  // A Pod with a grace period goes on, terminating, until a kubelet says that it has ended.
  absl::StatusOr<nlohmann::json> Delete(absl::string_view path,
                                        absl::Duration grace_period = absl::ZeroDuration());

  // One of the verbs above.
  absl::Status Send(const ApiRequest& request);

  const ApiClientOptions& options() const { return options_; }

 private:
  struct Handle;

  absl::StatusOr<std::string> Exchange(absl::string_view method, absl::string_view path,
                                       absl::string_view content_type, const std::string& body);

  ApiClientOptions options_;
  std::unique_ptr<Handle> handle_;
};

// Sends all, in no particular order, over `connections` connections. Returns the first error, after
// which not all were sent.
absl::Status SendAll(const ApiClientOptions& options, const std::vector<ApiRequest>& requests,
                     int connections = 8);

}  // namespace fairlead::lab
