// Nobody answers: no watcher, for a while or when the node comes up.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "test/lab/http_client.h"
#include "test/lab/requirements.h"
#include "test/life/stage.h"
#include "test/life/summary.h"

namespace fairlead::lab {
namespace {

// How long the watcher is away; the agent is restarted all the time.
constexpr int kLossSeconds = 60;
// What a node needs to serve again, with the time that the agent gives a feeder to answer, on an
// emulated machine.
constexpr absl::Duration kUpWithin = absl::Seconds(60);

// Whether the agent's saved picture has the Service.
bool PictureHas(const Stage& stage, const std::string& service) {
  std::ifstream file(stage.work() + "/n1/picture", std::ios::binary);
  const std::string picture{std::istreambuf_iterator<char>(file), {}};
  return absl::StrContains(picture, service);
}

TEST_CASE("Without a watcher traffic goes on, however often the agent is restarted") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  stage.StartWatcher();
  stage.StartFedAgent();
  stage.AwaitPlan();
  REQUIRE(WaitUntil(Agent::kPatience,
                    [&] { return PictureHas(stage, "web") && PictureHas(stage, "clock"); }));
  Traffic traffic(stage.Flows());
  REQUIRE(traffic.AwaitAnswers(Agent::kPatience));

  traffic.Note("the watcher is gone");
  stage.KillWatcher();
  CHECK(
      WaitUntil(Agent::kPatience, [&] { return stage.Metrics()["fairlead_feed_connected"] == 0; }));
  const absl::Time until = absl::Now() + absl::Seconds(NumberFromEnvironment(
                                             "FAIRLEAD_LIFE_LOSS_SECONDS", kLossSeconds));
  int restarts = 0;
  int64_t writes = 0;
  do {
    ++restarts;
    traffic.Note(absl::StrCat("restart ", restarts, " without a watcher"));
    if (restarts % 2 == 1) {
      stage.KillAgent();
    } else {
      stage.StopAgent();
    }
    stage.RestartAgent();
    stage.AwaitFirstSync();
    INFO(stage.AgentLog());
    CHECK(stage.Metrics()["fairlead_feed_saved_picture"] == 1);
    writes += stage.Writes();
    CHECK(stage.DifferenceNow() == "");
    REQUIRE(traffic.AwaitAnswers(Agent::kPatience));
  } while (absl::Now() < until);
  CHECK(writes == 0);

  // What has changed meanwhile comes with the watcher.
  const ServiceShape news = stage.Shape("news", 3, {"web-1"});
  stage.Write(news);
  traffic.Note("the watcher is back");
  stage.StartWatcher();
  stage.AwaitPlan();
  CHECK(Get(stage.pod(), news.cluster_ip, news.port).ok());
  CHECK(stage.Metrics()["fairlead_feed_saved_picture"] == 0);
  REQUIRE(traffic.AwaitAnswers(Agent::kPatience));
  Conclude({.name = "no watcher, agent restarted",
            .traffic = CheckUnharmed(traffic.Stop()),
            .counted = absl::StrCat(restarts, " restarts, ", writes, " writes")});
}

TEST_CASE("A node that comes up without a watcher serves from its saved picture") {
  FAIRLEAD_NEEDS_IPVS();
  Stage stage;
  const ServiceShape goes = stage.Shape("goes", 3, {"web-1"});
  stage.Write(goes);
  stage.StartWatcher();
  stage.StartFedAgent();
  stage.AwaitPlan();
  REQUIRE(WaitUntil(Agent::kPatience, [&] {
    return PictureHas(stage, "web") && PictureHas(stage, "clock") && PictureHas(stage, "goes");
  }));
  // As when the power fails.
  stage.KillAgent();
  stage.Reboot();
  const ServiceShape web = stage.Web();
  REQUIRE(stage.Run("ipvsadm --save -n") == "");
  REQUIRE_FALSE(Get(stage.pod(), web.cluster_ip, web.port, {.timeout = absl::Seconds(1)}).ok());

  const absl::Time start = absl::Now();
  stage.RestartAgent();
  const bool serves = WaitUntil(kUpWithin, [&] {
    return Get(stage.pod(), web.cluster_ip, web.port, {.timeout = absl::Seconds(1)}).ok();
  });
  const absl::Duration took = absl::Now() - start;
  INFO(stage.AgentLog());
  REQUIRE(serves);
  stage.AwaitPlan();
  CHECK(stage.Metrics()["fairlead_feed_saved_picture"] == 1);

  Traffic traffic(stage.Flows());
  REQUIRE(traffic.AwaitAnswers(Agent::kPatience));
  // A second start finds all in place.
  traffic.Note("restart");
  stage.KillAgent();
  stage.RestartAgent();
  stage.AwaitFirstSync();
  CHECK(stage.Writes() == 0);
  REQUIRE(traffic.AwaitAnswers(Agent::kPatience));
  // What has gone meanwhile goes when a watcher says so.
  CHECK(Get(stage.pod(), goes.cluster_ip, goes.port).ok());
  stage.manifests().Remove("goes.yaml");
  traffic.Note("the watcher is back");
  stage.StartWatcher();
  CHECK(WaitUntil(Agent::kPatience, [&] {
    return !Get(stage.pod(), goes.cluster_ip, goes.port, {.timeout = absl::Seconds(1)}).ok();
  }));
  stage.AwaitPlan();
  REQUIRE(traffic.AwaitAnswers(Agent::kPatience));
  Conclude({.name = "node comes up without a watcher",
            .traffic = CheckUnharmed(traffic.Stop()),
            .counted = absl::StrCat("first answer ", Brief(took), " after the agent's start")});
}

}  // namespace
}  // namespace fairlead::lab
