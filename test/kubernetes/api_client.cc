#include "test/kubernetes/api_client.h"

#include <curl/curl.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fairlead::lab {
namespace {

constexpr long kTimeoutSeconds = 60;

size_t Append(char* data, size_t size, size_t count, void* text) {
  static_cast<std::string*>(text)->append(data, size * count);
  return size * count;
}

absl::StatusCode CodeOf(long http_status) {
  switch (http_status) {
    case 401:
      return absl::StatusCode::kUnauthenticated;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
      return absl::StatusCode::kNotFound;
    case 409:
      return absl::StatusCode::kAlreadyExists;
    case 410:
      return absl::StatusCode::kOutOfRange;
    default:
      return http_status < 500 && http_status != 429 ? absl::StatusCode::kInvalidArgument
                                                     : absl::StatusCode::kUnavailable;
  }
}

absl::StatusOr<nlohmann::json> ParseJson(const absl::StatusOr<std::string>& text) {
  if (!text.ok()) return text.status();
  nlohmann::json value = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return absl::DataLossError(absl::StrCat("not JSON: ", *text));
  return value;
}

}  // namespace

struct ApiClient::Handle {
  Handle() : curl(curl_easy_init()) {}
  ~Handle() { curl_easy_cleanup(curl); }

  CURL* const curl;
};

ApiClient::ApiClient(ApiClientOptions options)
    : options_(std::move(options)), handle_(std::make_unique<Handle>()) {}
ApiClient::~ApiClient() = default;
ApiClient::ApiClient(ApiClient&&) noexcept = default;
ApiClient& ApiClient::operator=(ApiClient&&) noexcept = default;

absl::StatusOr<std::string> ApiClient::Exchange(absl::string_view method, absl::string_view path,
                                                absl::string_view content_type,
                                                const std::string& body) {
  CURL* const curl = handle_->curl;
  // Keeps the connection.
  curl_easy_reset(curl);
  const std::string url = absl::StrCat(options_.url, path);
  const std::string verb(method);
  std::string answer;
  char error[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, verb.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, kTimeoutSeconds);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, Append);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
  if (!options_.ca_file.empty()) {
    curl_easy_setopt(curl, CURLOPT_CAINFO, options_.ca_file.c_str());
  }
  if (!options_.client.certificate_file.empty()) {
    curl_easy_setopt(curl, CURLOPT_SSLCERT, options_.client.certificate_file.c_str());
    curl_easy_setopt(curl, CURLOPT_SSLKEY, options_.client.key_file.c_str());
  }
  curl_slist* headers = nullptr;
  if (!options_.token.empty()) {
    const std::string header = absl::StrCat("Authorization: Bearer ", options_.token);
    headers = curl_slist_append(headers, header.c_str());
  }
  if (!content_type.empty()) {
    headers = curl_slist_append(headers, absl::StrCat("Content-Type: ", content_type).c_str());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  }
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  const CURLcode code = curl_easy_perform(curl);
  curl_slist_free_all(headers);

  const std::string what = absl::StrCat(method, " ", path, ": ");
  if (code != CURLE_OK) {
    return absl::UnavailableError(
        absl::StrCat(what, error[0] != '\0' ? error : curl_easy_strerror(code)));
  }
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  if (status < 200 || status > 299) {
    return absl::Status(CodeOf(status), absl::StrCat(what, status, " ", answer));
  }
  return answer;
}

absl::StatusOr<nlohmann::json> ApiClient::Get(absl::string_view path) {
  return ParseJson(GetText(path));
}

absl::StatusOr<std::string> ApiClient::GetText(absl::string_view path) {
  return Exchange("GET", path, "", "");
}

absl::StatusOr<nlohmann::json> ApiClient::Post(absl::string_view path,
                                               const nlohmann::json& object) {
  return ParseJson(Exchange("POST", path, "application/json", object.dump()));
}

absl::StatusOr<nlohmann::json> ApiClient::MergePatch(absl::string_view path,
                                                     const nlohmann::json& patch) {
  return ParseJson(Exchange("PATCH", path, "application/merge-patch+json", patch.dump()));
}

absl::StatusOr<nlohmann::json> ApiClient::Delete(absl::string_view path,
                                                 absl::Duration grace_period) {
  const nlohmann::json options = {{"gracePeriodSeconds", absl::ToInt64Seconds(grace_period)}};
  return ParseJson(Exchange("DELETE", path, "application/json", options.dump()));
}

absl::Status ApiClient::Send(const ApiRequest& request) {
  const char* type =
      request.method == "PATCH" ? "application/merge-patch+json" : "application/json";
  return Exchange(request.method, request.path, type, request.body.dump()).status();
}

absl::Status SendAll(const ApiClientOptions& options, const std::vector<ApiRequest>& requests,
                     int connections) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  absl::Status first_error;
  const auto work = [&] {
    ApiClient client(options);
    for (size_t i = next++; i < requests.size(); i = next++) {
      const absl::Status status = client.Send(requests[i]);
      if (status.ok()) continue;
      next = requests.size();
      const std::lock_guard lock(mutex);
      if (first_error.ok()) first_error = status;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < connections; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  return first_error;
}

}  // namespace fairlead::lab
