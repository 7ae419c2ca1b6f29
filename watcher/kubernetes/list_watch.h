// What to ask the API server next: the decisions of a list and watch, without a connection.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "absl/time/time.h"
#include "watcher/feed/backoff.h"
#include "watcher/kubernetes/object_decoder.h"
#include "watcher/kubernetes/request_failure.h"

namespace fairlead::kubernetes {

// Answers in a row that make no sense after which a watch is given up for a new list: the API
// server may have lost what the watch goes on from, as when its etcd was restored.
inline constexpr int kMaxSenselessAnswers = 3;

// Lists page by page and then watches, each watch from where the one before ended. Only where the
// API server says so, or makes no sense for long, it lists again. Thread-compatible.
class ListWatch {
 public:
  struct List {
    std::string continue_token;  // Empty: the first page of a new list.

    friend bool operator==(const List&, const List&) = default;
  };
  struct Watch {
    std::string resource_version;

    friend bool operator==(const Watch&, const Watch&) = default;
  };
  struct Wait {
    absl::Duration time;

    friend bool operator==(const Wait&, const Wait&) = default;
  };
  using Step = std::variant<List, Watch, Wait>;

  // Of the waits; as Backoff's.
  ListWatch(absl::Duration min_wait, absl::Duration max_wait, uint64_t seed);

  // What to do; the same again until one of the functions below is called, but for a wait, which is
  // said once.
  Step Next();

  // A page has come. Returns whether the list is complete.
  bool PageDone(const PageEnd& end);
  // An event or a bookmark of the watch has come and was carried out.
  void Advanced(const std::string& resource_version);
  // The watch has been open for long enough to be called a success, or ended as it should.
  void WatchSucceeded();
  // Returns how long Next will wait; zero: it is tried again at once.
  absl::Duration Failed(const RequestFailure& failure);

 private:
  void StartOver();
  absl::Duration WaitAfter(const RequestFailure& failure);

  // Of requests in general, of pages after the first one, and of lists that 410 Gone asked for.
  // Each begins anew when what it is for succeeds, so that no circle of success and failure goes
  // round without a wait.
  Backoff backoff_;
  Backoff page_backoff_;
  Backoff gone_backoff_;
  bool listing_ = true;
  std::string continue_token_;
  // Of the list's first page; then of the last event.
  std::string resource_version_;
  absl::Duration wait_ = absl::ZeroDuration();
  // In a row.
  int gone_ = 0;
  int unauthorized_ = 0;
  int senseless_ = 0;
};

}  // namespace fairlead::kubernetes
