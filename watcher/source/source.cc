#include "watcher/source/source.h"

#include <utility>

#include "absl/time/clock.h"

namespace fairlead {
namespace {

void PutReading(const Reading& reading, Journal& journal) {
  // A path of which nothing is known yet may hold Services that are in the kernel.
  if (!reading.complete) return;
  journal.Replace(reading.picture, absl::Now());
  // So may a file: its Services go on as they are until it can be read.
  journal.MarkComplete(/*partial=*/!reading.unread.empty());
}

}  // namespace

Source::Source(SourceOptions options, Journal& journal) : journal_(journal) {
  if (options.manifests)
    manifests_ = std::make_unique<ManifestSource>(*std::move(options.manifests));
  if (options.kubernetes) {
    kubernetes_ = std::make_unique<KubernetesSource>(
        std::move(options.kubernetes->server), std::move(options.kubernetes->options), journal);
  }
}

Source::~Source() { Stop(); }

absl::Status Source::Start() {
  if (kubernetes_ != nullptr) kubernetes_->Start();
  if (manifests_ == nullptr) return absl::OkStatus();
  return manifests_->Start([this](const Reading& reading) { PutReading(reading, journal_); });
}

void Source::Stop() {
  if (kubernetes_ != nullptr) kubernetes_->Stop();
  if (manifests_ != nullptr) manifests_->Stop();
}

std::vector<KubernetesResourceStatus> Source::KubernetesStatus() const {
  if (kubernetes_ == nullptr) return {};
  return kubernetes_->Status();
}

}  // namespace fairlead
