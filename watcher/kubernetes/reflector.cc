#include "watcher/kubernetes/reflector.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"

namespace fairlead::kubernetes {
namespace {

using Clock = std::chrono::steady_clock;

// An API server that is alive ends a watch in this time after it was to; then we do.
constexpr absl::Duration kWatchGrace = absl::Seconds(30);
// A watch that ends sooner and without a word is not how it should be.
constexpr absl::Duration kShortWatch = absl::Seconds(1);
// A watch that is open for this long works, though nothing happens.
constexpr absl::Duration kSettleTime = absl::Seconds(5);

constexpr char kCutCause[] = "cut";
constexpr char kSenselessCause[] = "senseless";

absl::Duration Since(Clock::time_point time) { return absl::FromChrono(Clock::now() - time); }

std::string DescribePem(const PemSource& pem) {
  if (!pem.file.empty()) return pem.file;
  return pem.data.empty() ? "the system's" : "the kubeconfig's";
}

}  // namespace

// Decodes a page of a list as it comes.
class Reflector::PageBody final : public HttpBody {
 public:
  explicit PageBody(Reflector& reflector)
      : store_(reflector.store_), decoder_(reflector.resource_) {}

  bool OnPiece(absl::string_view piece) override {
    status_ =
        decoder_.Feed(piece, [this](DecodedObject object) { store_.AddListed(std::move(object)); });
    return status_.ok();
  }

  // Of a body that has come to its end, or was ended by us.
  absl::StatusOr<PageEnd> Finish() const {
    if (!status_.ok()) return status_;
    return decoder_.Finish();
  }

 private:
  ObjectStore& store_;
  PageDecoder decoder_;
  absl::Status status_;
};

// Carries out the events of a watch as they come.
class Reflector::WatchBody final : public HttpBody {
 public:
  explicit WatchBody(Reflector& reflector) : reflector_(reflector) {}

  void OnOpen() override;
  bool OnPiece(absl::string_view piece) override;

  // Why we ended it.
  const std::optional<Complaint>& complaint() const { return complaint_; }
  // Whether it ended between two events.
  bool IsWhole() const { return splitter_.Finish().ok(); }
  // Something came, or it was open for long enough that nothing need have come.
  bool HasLasted() const {
    return works_ || (opened_.has_value() && Since(*opened_) >= kShortWatch);
  }

 private:
  bool Receive(absl::string_view text);
  void CarryOut(WatchEvent event);

  Reflector& reflector_;
  StreamSplitter splitter_;
  std::optional<Complaint> complaint_;
  std::optional<Clock::time_point> opened_;
  bool works_ = false;
};

void Reflector::WatchBody::OnOpen() {
  if (!opened_.has_value()) {
    opened_ = Clock::now();
    reflector_.Update([](KubernetesResourceStatus& status) { status.watching = true; });
  }
  if (!works_ && Since(*opened_) >= kSettleTime) {
    works_ = true;
    reflector_.NoteWatchWorks();
  }
}

bool Reflector::WatchBody::OnPiece(absl::string_view piece) {
  const absl::Status status =
      splitter_.Feed(piece, [this](absl::string_view text) { return Receive(text); });
  if (!status.ok() && !complaint_.has_value()) {
    complaint_ = {RequestFailure::Kind::kServer, kSenselessCause, std::string(status.message())};
  }
  return status.ok();
}

bool Reflector::WatchBody::Receive(absl::string_view text) {
  absl::StatusOr<WatchEvent> event = DecodeWatchEvent(reflector_.resource_, text);
  if (!event.ok()) {
    complaint_ = {RequestFailure::Kind::kServer, kSenselessCause,
                  std::string(event.status().message())};
    return false;
  }
  if (event->type == WatchEvent::Type::kError) {
    const ErrorStatus& error = event->error;
    complaint_ = {KindOfStatus(error.code), absl::StrCat("HTTP ", error.code),
                  absl::StrCat("the watch says: ", error.message, " (", error.code, ")")};
    return false;
  }
  CarryOut(*std::move(event));
  return true;
}

void Reflector::WatchBody::CarryOut(WatchEvent event) {
  const absl::Time now = reflector_.options_.now();
  const std::string resource_version = event.object.resource_version;
  reflector_.Update([](KubernetesResourceStatus& status) { ++status.events; });
  if (event.type == WatchEvent::Type::kUpsert) {
    reflector_.store_.Upsert(std::move(event.object), now);
  } else if (event.type == WatchEvent::Type::kRemove) {
    reflector_.store_.Remove(event.object.id, now);
  }
  reflector_.plan_.Advanced(resource_version);
  if (!std::exchange(works_, true)) reflector_.NoteSuccess();
  reflector_.NotePicture(now);
}

Reflector::Reflector(const Resource& resource, const ApiServer& server,
                     const KubernetesSourceOptions& options, CredentialSource& credentials,
                     const StopSignal& stop, Journal& journal, OnPicture on_picture)
    : resource_(resource),
      server_(server),
      options_(options),
      credentials_(credentials),
      stop_(stop),
      on_picture_(std::move(on_picture)),
      // The resources' waits are to differ.
      random_(options.seed + static_cast<uint64_t>(resource.object_kind)),
      plan_(options.min_retry_wait, options.max_retry_wait, random_()),
      store_(resource, journal),
      http_(server, stop) {
  status_.resource = std::string(resource.name);
}

void Reflector::Run() {
  while (!stop_.raised()) {
    const ListWatch::Step step = plan_.Next();
    if (const auto* list = std::get_if<ListWatch::List>(&step)) {
      FetchPage(list->continue_token);
    } else if (const auto* watch = std::get_if<ListWatch::Watch>(&step)) {
      FollowWatch(watch->resource_version);
    } else {
      stop_.WaitFor(std::get<ListWatch::Wait>(step).time);
    }
  }
}

KubernetesResourceStatus Reflector::Status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

void Reflector::FetchPage(const std::string& continue_token) {
  if (continue_token.empty()) {
    store_.BeginList();
    Update([](KubernetesResourceStatus& status) { ++status.lists; });
  }
  PageBody body(*this);
  const Result result = Ask(FormatListTarget(resource_, options_, continue_token),
                            options_.list_timeout, /*compressed=*/true, body);
  if (result.outcome.end == HttpOutcome::End::kStopped) return;
  const bool has_answer =
      result.outcome.status == 200 && (result.outcome.end == HttpOutcome::End::kComplete ||
                                       result.outcome.end == HttpOutcome::End::kBody);
  if (!has_answer) return Fail(ComplaintAbout(result), result);
  const absl::StatusOr<PageEnd> end = body.Finish();
  if (!end.ok()) {
    return Fail(
        {RequestFailure::Kind::kServer, kSenselessCause, std::string(end.status().message())},
        result);
  }
  if (!plan_.PageDone(*end)) return;
  const absl::Time now = options_.now();
  store_.FinishList(now);
  Update([](KubernetesResourceStatus& status) { status.listed = true; });
  NotePicture(now);
}

void Reflector::FollowWatch(const std::string& resource_version) {
  const absl::Duration timeout =
      options_.watch_timeout * std::uniform_real_distribution<double>(1.0, 2.0)(random_);
  Update([](KubernetesResourceStatus& status) { ++status.watches; });
  WatchBody body(*this);
  const Result result =
      Ask(FormatWatchTarget(resource_, options_, resource_version, timeout), timeout + kWatchGrace,
          /*compressed=*/false, body);
  Update([](KubernetesResourceStatus& status) { status.watching = false; });
  const HttpOutcome& outcome = result.outcome;
  if (outcome.end == HttpOutcome::End::kStopped) return;
  if (body.complaint().has_value()) return Fail(*body.complaint(), result);
  // Silence is no proof that the other end is dead: an API server that has just started sends no
  // bookmarks before the first change. If it is dead, the next request says so.
  const bool is_silent = outcome.end == HttpOutcome::End::kSilence;
  const bool has_ended =
      outcome.status == 200 && (is_silent || outcome.end == HttpOutcome::End::kComplete ||
                                outcome.end == HttpOutcome::End::kTimeUp);
  if (!has_ended) return Fail(ComplaintAbout(result), result);
  if (!body.IsWhole()) {
    return Fail({RequestFailure::Kind::kUnavailable, kCutCause,
                 "the watch was cut in the middle of an event"},
                result);
  }
  if (!is_silent && !body.HasLasted()) {
    return Fail({RequestFailure::Kind::kServer, kSenselessCause,
                 "the watch was ended at once, without an event"},
                result);
  }
  NoteWatchWorks();
}

Reflector::Result Reflector::Ask(const std::string& target, absl::Duration timeout, bool compressed,
                                 HttpBody& body) {
  Result result;
  absl::StatusOr<Credentials> credentials = credentials_.Get();
  if (!credentials.ok()) {
    result.credentials_status = credentials.status();
    if (stop_.raised()) result.outcome.end = HttpOutcome::End::kStopped;
    return result;
  }
  result.credentials = *std::move(credentials);
  const HttpRequest request{.target = target,
                            .connect_timeout = options_.connect_timeout,
                            .silence_timeout = options_.silence_timeout,
                            .total_timeout = timeout,
                            .compressed = compressed};
  result.outcome = http_.Get(request, result.credentials, body);
  return result;
}

void Reflector::NotePicture(absl::Time now) {
  Update([&](KubernetesResourceStatus& status) {
    status.last_event = now;
    status.invalid_objects = store_.invalid_count();
  });
  const bool partial = store_.is_partial();
  if (partial_ == partial) return;
  partial_ = partial;
  on_picture_(partial);
}

void Reflector::NoteWatchWorks() {
  plan_.WatchSucceeded();
  NoteSuccess();
}

void Reflector::NoteSuccess() {
  if (const std::optional<absl::Duration> lasted = trouble_.End(options_.now())) {
    spdlog::info("kubernetes: {} are followed again, after {}", std::string(resource_.name),
                 absl::FormatDuration(absl::Trunc(*lasted, absl::Milliseconds(1))));
  }
}

Reflector::Complaint Reflector::ComplaintAbout(const Result& result) const {
  using Kind = RequestFailure::Kind;
  if (!result.credentials_status.ok()) {
    return {Kind::kUnavailable, "credentials", std::string(result.credentials_status.message())};
  }
  const HttpOutcome& outcome = result.outcome;
  switch (outcome.end) {
    case HttpOutcome::End::kTimeUp:
      return {Kind::kUnavailable, "time", "the answer took too long"};
    case HttpOutcome::End::kComplete:
      return {KindOfStatus(outcome.status), absl::StrCat("HTTP ", outcome.status),
              DescribeAnswer(outcome.status, outcome.error_body)};
    case HttpOutcome::End::kFailed:
    case HttpOutcome::End::kSilence:
    case HttpOutcome::End::kBody:
    case HttpOutcome::End::kStopped:
      break;
  }
  return {Kind::kUnavailable, outcome.cause, outcome.error};
}

std::string Reflector::DescribeCredential(const Result& result) const {
  const HttpOutcome& outcome = result.outcome;
  if (!result.credentials_status.ok()) return "";
  if (outcome.status == 401 || outcome.status == 403) {
    return absl::StrCat(", with ", result.credentials.description);
  }
  if (outcome.end != HttpOutcome::End::kFailed) return "";
  switch (outcome.blame) {
    case HttpOutcome::Blame::kAuthority:
      return absl::StrCat(", with the certificate authority ", DescribePem(server_.ca));
    case HttpOutcome::Blame::kClientCertificate:
      if (result.credentials.tls.client_certificate.empty()) return "";
      return absl::StrCat(", with ", result.credentials.description);
    case HttpOutcome::Blame::kNetwork:
      break;
  }
  return "";
}

void Reflector::Fail(const Complaint& complaint, const Result& result) {
  if (complaint.kind == RequestFailure::Kind::kUnauthorized) {
    credentials_.Refused(result.credentials);
  }
  RequestFailure failure{.kind = complaint.kind,
                         .cause = complaint.cause,
                         .message = absl::StrCat(server_.url, resource_.path, ": ",
                                                 complaint.problem, DescribeCredential(result))};
  if (const auto retry_after = result.outcome.retry_after) {
    failure.retry_after = std::min(*retry_after, kMaxRetryAfter);
  }
  const absl::Duration wait = plan_.Failed(failure);
  Update([&failure](KubernetesResourceStatus& status) {
    ++status.errors;
    status.last_error = failure.message;
  });
  // Credentials are replaced now and then, and a watch may fall behind.
  const bool ordinary = wait == absl::ZeroDuration();
  const bool say = !ordinary && trouble_.Begin(failure.cause, options_.now());
  spdlog::log(say        ? spdlog::level::warn
              : ordinary ? spdlog::level::info
                         : spdlog::level::debug,
              "kubernetes: {}; trying again {}", failure.message,
              ordinary ? "at once"
                       : absl::StrCat(
                             "in ", absl::FormatDuration(absl::Ceil(wait, absl::Milliseconds(1)))));
}

}  // namespace fairlead::kubernetes
