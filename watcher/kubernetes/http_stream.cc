#include "watcher/kubernetes/http_stream.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace fairlead::kubernetes {
namespace {

using Clock = std::chrono::steady_clock;

// How often a request that is under way is looked at though nothing comes.
constexpr int kTickMilliseconds = 1000;
constexpr long kReceiveBuffer = 256 << 10;
// An other end that is dead is noticed by the kernel, too.
constexpr long kKeepAliveSeconds = 15;
constexpr unsigned kUserTimeoutMilliseconds = 45'000;

void InitializeCurl() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

long Milliseconds(absl::Duration duration) {
  return std::max(1L, static_cast<long>(absl::ToInt64Milliseconds(duration)));
}

int SetUpSocket(void*, curl_socket_t socket, curlsocktype) {
  // Where it is refused, the other timeouts remain.
  setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUserTimeoutMilliseconds,
             sizeof kUserTimeoutMilliseconds);
  return CURL_SOCKOPT_OK;
}

void SetBlob(CURL* easy, CURLoption option, const std::string& text) {
  curl_blob blob{const_cast<char*>(text.data()), text.size(), CURL_BLOB_COPY};
  curl_easy_setopt(easy, option, &blob);
}

// "10.0.0.1:6443" of "https://10.0.0.1:6443/base".
std::string Authority(absl::string_view url) {
  url.remove_prefix(url.find("://") + 3);
  return std::string(url.substr(0, url.find('/')));
}

// "[::1]" of "[::1]:6443".
std::string HostOf(absl::string_view authority) {
  const size_t end = authority.find(']');
  if (end != authority.npos) return std::string(authority.substr(0, end + 1));
  return std::string(authority.substr(0, authority.find(':')));
}

HttpOutcome::Blame BlameFor(CURLcode code) {
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      return HttpOutcome::Blame::kAuthority;
    // With TLS 1.3 a server that refuses our certificate says so when we read its answer.
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
      return HttpOutcome::Blame::kClientCertificate;
    default:
      return HttpOutcome::Blame::kNetwork;
  }
}

}  // namespace

class HttpStream::Handles {
 public:
  Handles() : multi_(curl_multi_init()), easy_(curl_easy_init()) {}
  ~Handles() {
    curl_easy_cleanup(easy_);
    curl_multi_cleanup(multi_);
  }
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;

  CURLM* multi() const { return multi_; }
  CURL* easy() const { return easy_; }

 private:
  CURLM* const multi_;
  CURL* const easy_;
};

// One request, from its options to its outcome.
class HttpStream::Transfer {
 public:
  Transfer(const Handles& handles, const StopSignal& stop, const HttpRequest& request,
           HttpBody& body)
      : multi_(handles.multi()),
        easy_(handles.easy()),
        stop_(stop),
        request_(request),
        body_(body) {}
  ~Transfer() {
    curl_easy_reset(easy_);  // It refers to what goes now.
    curl_slist_free_all(headers_);
    curl_slist_free_all(connect_to_);
  }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  HttpOutcome Run(const ApiServer& server, const Credentials& credentials);

 private:
  void SetOptions(const ApiServer& server, const Credentials& credentials);
  void SetUrl(const ApiServer& server);
  void SetTls(const ApiServer& server, const TlsMaterial& tls);
  void SetAuthentication(const Credentials& credentials);
  void AddHeader(const std::string& header) {
    headers_ = curl_slist_append(headers_, header.c_str());
  }

  // Returns how it ended.
  HttpOutcome::End Drive();
  // Whether curl is done with it.
  bool IsDone();
  HttpOutcome::End Conclude();
  void Fail(std::string error, std::string cause) {
    outcome_.error = std::move(error);
    outcome_.cause = std::move(cause);
  }

  static size_t OnHeader(char* data, size_t, size_t size, void* transfer);
  static size_t OnData(char* data, size_t, size_t size, void* transfer);
  size_t Receive(absl::string_view piece);
  long Status() const {
    long status = 0;
    curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
    return status;
  }

  CURLM* const multi_;
  CURL* const easy_;
  const StopSignal& stop_;
  const HttpRequest& request_;
  HttpBody& body_;
  curl_slist* headers_ = nullptr;
  curl_slist* connect_to_ = nullptr;
  char error_[CURL_ERROR_SIZE] = "";
  CURLcode result_ = CURLE_OK;
  Clock::time_point last_activity_ = Clock::now();
  bool ended_by_body_ = false;
  HttpOutcome outcome_;
};

HttpOutcome HttpStream::Transfer::Run(const ApiServer& server, const Credentials& credentials) {
  SetOptions(server, credentials);
  if (curl_multi_add_handle(multi_, easy_) != CURLM_OK) {
    Fail("curl is out of memory", "curl");
    return std::move(outcome_);
  }
  outcome_.end = Drive();
  outcome_.status = static_cast<int>(Status());
  curl_off_t retry_after = 0;
  curl_easy_getinfo(easy_, CURLINFO_RETRY_AFTER, &retry_after);
  if (retry_after > 0) outcome_.retry_after = absl::Seconds(retry_after);
  // A name that is being looked up would be waited for.
  if (outcome_.end == HttpOutcome::End::kStopped) curl_easy_setopt(easy_, CURLOPT_QUICK_EXIT, 1L);
  curl_multi_remove_handle(multi_, easy_);
  return std::move(outcome_);
}

void HttpStream::Transfer::SetOptions(const ApiServer& server, const Credentials& credentials) {
  curl_easy_reset(easy_);
  curl_easy_setopt(easy_, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy_, CURLOPT_ERRORBUFFER, error_);
  curl_easy_setopt(easy_, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy_, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(easy_, CURLOPT_USERAGENT, "fairlead");
  curl_easy_setopt(easy_, CURLOPT_BUFFERSIZE, kReceiveBuffer);
  if (request_.compressed) curl_easy_setopt(easy_, CURLOPT_ACCEPT_ENCODING, "gzip");
  AddHeader("Accept: application/json");

  curl_easy_setopt(easy_, CURLOPT_CONNECTTIMEOUT_MS, Milliseconds(request_.connect_timeout));
  curl_easy_setopt(easy_, CURLOPT_TIMEOUT_MS, Milliseconds(request_.total_timeout));
  curl_easy_setopt(easy_, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy_, CURLOPT_TCP_KEEPIDLE, kKeepAliveSeconds);
  curl_easy_setopt(easy_, CURLOPT_TCP_KEEPINTVL, kKeepAliveSeconds);
  curl_easy_setopt(easy_, CURLOPT_SOCKOPTFUNCTION, &SetUpSocket);

  curl_easy_setopt(easy_, CURLOPT_HEADERFUNCTION, &OnHeader);
  curl_easy_setopt(easy_, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy_, CURLOPT_WRITEFUNCTION, &OnData);
  curl_easy_setopt(easy_, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(easy_, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);

  SetUrl(server);
  SetTls(server, credentials.tls);
  SetAuthentication(credentials);
  curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, headers_);
}

// The name that the certificate is to have takes the host's place in the URL, where TLS looks for
// it; the connection goes to the host all the same.
void HttpStream::Transfer::SetUrl(const ApiServer& server) {
  std::string url = server.url;
  if (!server.tls_server_name.empty() && absl::StartsWith(url, "https://")) {
    const std::string authority = Authority(url);
    const std::string host = HostOf(authority);
    url.replace(url.find(authority), host.size(), server.tls_server_name);
    AddHeader(absl::StrCat("Host: ", authority));
    connect_to_ = curl_slist_append(nullptr, absl::StrCat("::", host, ":").c_str());
    curl_easy_setopt(easy_, CURLOPT_CONNECT_TO, connect_to_);
  }
  curl_easy_setopt(easy_, CURLOPT_URL, absl::StrCat(url, request_.target).c_str());
  if (!server.proxy_url.empty()) {
    curl_easy_setopt(easy_, CURLOPT_PROXY, server.proxy_url.c_str());
    curl_easy_setopt(easy_, CURLOPT_NOPROXY, "");
  }
}

void HttpStream::Transfer::SetTls(const ApiServer& server, const TlsMaterial& tls) {
  curl_easy_setopt(easy_, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
  if (server.insecure_skip_tls_verify) {
    curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYHOST, 0L);
  } else if (!tls.ca.empty()) {
    SetBlob(easy_, CURLOPT_CAINFO_BLOB, tls.ca);
    // The system's authorities, which curl would trust beside it.
    curl_easy_setopt(easy_, CURLOPT_CAPATH, nullptr);
  }
  if (!tls.client_certificate.empty()) {
    SetBlob(easy_, CURLOPT_SSLCERT_BLOB, tls.client_certificate);
    SetBlob(easy_, CURLOPT_SSLKEY_BLOB, tls.client_key);
  }
}

void HttpStream::Transfer::SetAuthentication(const Credentials& credentials) {
  if (!credentials.token.empty()) {
    AddHeader(absl::StrCat("Authorization: Bearer ", credentials.token));
  } else if (!credentials.username.empty()) {
    curl_easy_setopt(easy_, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
    curl_easy_setopt(easy_, CURLOPT_USERNAME, credentials.username.c_str());
    curl_easy_setopt(easy_, CURLOPT_PASSWORD, credentials.password.c_str());
  }
}

HttpOutcome::End HttpStream::Transfer::Drive() {
  const auto silence = std::chrono::milliseconds(Milliseconds(request_.silence_timeout));
  for (;;) {
    int running = 0;
    if (const CURLMcode code = curl_multi_perform(multi_, &running); code != CURLM_OK) {
      Fail(curl_multi_strerror(code), "curl");
      return HttpOutcome::End::kFailed;
    }
    if (ended_by_body_) return HttpOutcome::End::kBody;
    if (IsDone()) return Conclude();
    if (stop_.raised()) return HttpOutcome::End::kStopped;
    if (Status() == 200) body_.OnOpen();
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(last_activity_ + silence - Clock::now());
    if (left.count() <= 0) {
      Fail(absl::StrCat("nothing came for ", absl::FormatDuration(request_.silence_timeout)),
           "silence");
      return HttpOutcome::End::kSilence;
    }
    curl_waitfd stop{.fd = stop_.fd(), .events = CURL_WAIT_POLLIN};
    curl_multi_poll(multi_, &stop, 1,
                    static_cast<int>(std::min<int64_t>(left.count(), kTickMilliseconds)), nullptr);
  }
}

bool HttpStream::Transfer::IsDone() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    result_ = message->data.result;
    return true;
  }
  return false;
}

HttpOutcome::End HttpStream::Transfer::Conclude() {
  if (result_ == CURLE_OK) return HttpOutcome::End::kComplete;
  if (result_ == CURLE_OPERATION_TIMEDOUT && Status() == 200) return HttpOutcome::End::kTimeUp;
  Fail(error_[0] == '\0' ? curl_easy_strerror(result_) : error_, absl::StrCat("curl ", result_));
  outcome_.blame = BlameFor(result_);
  return HttpOutcome::End::kFailed;
}

size_t HttpStream::Transfer::OnHeader(char*, size_t, size_t size, void* transfer) {
  static_cast<Transfer*>(transfer)->last_activity_ = Clock::now();
  return size;
}

size_t HttpStream::Transfer::OnData(char* data, size_t, size_t size, void* transfer) {
  return static_cast<Transfer*>(transfer)->Receive({data, size});
}

size_t HttpStream::Transfer::Receive(absl::string_view piece) {
  last_activity_ = Clock::now();
  if (Status() != 200) {
    std::string& body = outcome_.error_body;
    absl::StrAppend(&body, piece.substr(0, kMaxErrorBody - body.size()));
    return piece.size();
  }
  body_.OnOpen();
  if (body_.OnPiece(piece)) return piece.size();
  ended_by_body_ = true;
  return CURL_WRITEFUNC_ERROR;
}

HttpStream::HttpStream(const ApiServer& server, const StopSignal& stop)
    : server_(server), stop_(stop) {
  InitializeCurl();
}

HttpStream::~HttpStream() = default;

HttpOutcome HttpStream::Get(const HttpRequest& request, const Credentials& credentials,
                            HttpBody& body) {
  if (handles_ == nullptr || !(tls_ == credentials.tls)) {
    handles_ = std::make_unique<Handles>();
    tls_ = credentials.tls;
  }
  return Transfer(*handles_, stop_, request, body).Run(server_, credentials);
}

}  // namespace fairlead::kubernetes
