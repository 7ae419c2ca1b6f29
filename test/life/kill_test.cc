// An agent that is killed again and again.
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdio>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "test/kernel/churn.h"
#include "test/lab/requirements.h"
#include "test/life/stage.h"
#include "test/life/summary.h"

namespace fairlead::lab {
namespace {

constexpr int kKills = 200;
constexpr int kChurnedServices = 20;
constexpr int kEndpointsEach = 4;
// Some kills meet an agent that starts, some one that works.
constexpr int kLongestLifeMs = 1500;
constexpr int kLongestCalmMs = 60;

// Changes the manifests at random, every few milliseconds, until its end.
class ChurnThread {
 public:
  ChurnThread(const Folder& folder, unsigned seed)
      : churn_(folder, kChurnedServices, kEndpointsEach, seed), random_(seed) {}
  ~ChurnThread() { Pause(); }

  void Go() {
    paused_ = false;
    thread_ = std::thread([this] {
      while (!paused_) {
        churn_.ChangeOne();
        ++changes_;
        absl::SleepFor(absl::Milliseconds(1 + random_() % kLongestCalmMs));
      }
    });
  }

  // Returns when nothing changes any more.
  void Pause() {
    paused_ = true;
    if (thread_.joinable()) thread_.join();
  }

  // While it is paused.
  int changes() const { return changes_; }

 private:
  Churn churn_;
  std::mt19937 random_;
  std::atomic<bool> paused_ = false;
  int changes_ = 0;
  std::thread thread_;
};

TEST_CASE("Killed 200 times while Services change, an agent harms no connection") {
  FAIRLEAD_NEEDS_IPVS();
  const int kills = NumberFromEnvironment("FAIRLEAD_LIFE_KILLS", kKills);
  const auto seed = static_cast<unsigned>(
      NumberFromEnvironment("FAIRLEAD_LIFE_SEED", std::random_device()() >> 1));
  std::printf("%d kills, FAIRLEAD_LIFE_SEED=%u\n", kills, seed);
  std::fflush(stdout);
  std::mt19937 random(seed);

  Stage stage;
  const Folder churned;
  ChurnThread churn(churned, seed);
  stage.AddManifests(churned.path());
  stage.StartAgent();
  stage.AwaitPlan();
  Traffic traffic(stage.Flows());
  REQUIRE(traffic.AwaitAnswers(Agent::kPatience));

  int starting = 0;  // of those killed
  int compared = 0;
  const absl::Time began = absl::Now();
  for (int kill = 1; kill <= kills; ++kill) {
    INFO("kill " << kill << ", seed " << seed);
    churn.Go();
    absl::SleepFor(absl::Milliseconds(random() % kLongestLifeMs));
    traffic.Note(absl::StrCat("kill ", kill));
    stage.KillAgent();
    if (!stage.HasSynced()) ++starting;
    stage.RestartAgent();
    // Two of three come to themselves, the third is killed as it starts, or soon after.
    if (kill < kills && random() % 3 == 0) {
      churn.Pause();
      continue;
    }
    // Changes come during the start too.
    absl::SleepFor(absl::Milliseconds(random() % kLongestLifeMs));
    churn.Pause();
    stage.AwaitFirstSync();
    stage.AwaitPlan();
    ++compared;
    if (kill % 20 == 0) {
      const FlowSummary so_far = Total(traffic.Summaries());
      std::printf("%d kills in %s: %lld requests, %lld failed, %d of %d connections lost\n", kill,
                  absl::FormatDuration(absl::Trunc(absl::Now() - began, absl::Seconds(1))).c_str(),
                  static_cast<long long>(so_far.requests), static_cast<long long>(so_far.failed),
                  so_far.lost, so_far.held);
      std::fflush(stdout);
    }
  }
  const std::vector<FlowSummary> flows = traffic.Stop();
  Conclude(
      {.name = "kill -9 while Services change",
       .traffic = CheckUnharmed(flows),
       .counted = absl::StrCat(kills, " kills (", starting, " before the first sync), ", compared,
                               " times equal to the plan, ", churn.changes(), " changes")});
}

}  // namespace
}  // namespace fairlead::lab
