#include "test/lab/load_generator.h"

#include <algorithm>
#include <ostream>
#include <sstream>

#include "absl/time/clock.h"

namespace fairlead::lab {

std::ostream& operator<<(std::ostream& out, const LoadSummary& summary) {
  out << summary.requests << " requests, " << summary.ok << " ok";
  for (const auto& [outcome, count] : summary.by_outcome) {
    if (outcome != Outcome::kOk) out << ", " << count << " " << outcome;
  }
  out << ";";
  for (const auto& [name, count] : summary.by_name) out << " " << name << "=" << count;
  out << "; worst latency " << absl::FormatDuration(summary.worst_latency) << ", worst gap "
      << absl::FormatDuration(summary.worst_gap);
  for (const std::string& error : summary.errors) out << "\n  " << error;
  return out;
}

LoadGenerator::LoadGenerator(const NetNamespace& net, const LoadOptions& options)
    : net_(net), options_(options), start_(absl::Now()), last_answer_(start_) {
  absl::MutexLock lock(&join_mutex_);
  for (int i = 0; i < std::clamp(options_.concurrency, 1, kMaxConcurrency); ++i) {
    threads_.emplace_back([this] { net_.Run([this] { Work(); }); });
  }
}

LoadGenerator::~LoadGenerator() { Stop(); }

LoadSummary LoadGenerator::Summary() const {
  absl::MutexLock lock(&mutex_);
  LoadSummary summary = summary_;
  if (!stopping_) summary.elapsed = absl::Now() - start_;
  return summary;
}

LoadSummary LoadGenerator::Wait() {
  if (options_.limit > 0) Join();
  return Summary();
}

LoadSummary LoadGenerator::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  Join();
  return Summary();
}

void LoadGenerator::Join() {
  absl::MutexLock lock(&join_mutex_);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void LoadGenerator::Work() {
  while (Claim()) {
    const bool udp = options_.request.transport == Transport::kUdp;
    Count(udp ? AskUdpHere(options_.address, options_.port, options_.request)
              : GetHere(options_.address, options_.port, options_.request));
    if (options_.pause <= absl::ZeroDuration()) continue;
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&stopping_), options_.pause);
  }
}

bool LoadGenerator::Claim() {
  absl::MutexLock lock(&mutex_);
  if (stopping_ || (options_.limit > 0 && claimed_ >= options_.limit)) return false;
  ++claimed_;
  return true;
}

void LoadGenerator::Count(const Response& response) {
  const absl::Time now = absl::Now();
  absl::MutexLock lock(&mutex_);
  ++summary_.requests;
  ++summary_.by_outcome[response.outcome];
  summary_.elapsed = now - start_;
  if (response.ok()) {
    ++summary_.ok;
    ++summary_.by_name[response.name];
    summary_.worst_latency = std::max(summary_.worst_latency, response.latency);
    summary_.worst_gap = std::max(summary_.worst_gap, now - last_answer_);
    last_answer_ = now;
  } else if (summary_.errors.size() < kMaxErrors) {
    std::ostringstream text;
    text << "after " << absl::FormatDuration(now - start_) << ": " << response;
    summary_.errors.push_back(text.str());
  }
}

}  // namespace fairlead::lab
