#include "proxy/inspect/read_differences.h"

#include <catch2/catch.hpp>
#include <functional>

#include "scene.h"

namespace fairlead::testing {
namespace {

const ipvs::VirtualServerKey kCart = Tcp("10.96.0.1", 80);
const ipvs::VirtualServerKey kShop = Tcp("10.96.0.2", 80);

Scene MakeScene() {
  return Scene({MakePlan("cart", {Vip(kCart, {"10.244.1.2"})}),
                MakePlan("shop", {Vip(kShop, {"10.244.1.3"})})});
}

// An agent at which things happen whenever its kernel is read.
class BusyAgent {
 public:
  explicit BusyAgent(std::function<void(BusyAgent&)> on_read)
      : scene(MakeScene()), on_read_(std::move(on_read)) {
    report.programmed = absl::FromUnixSeconds(1);
  }

  absl::StatusOr<std::vector<Difference>> Read(bool shadow = false) {
    return ReadDifferences({.report = [this] { return report; },
                            .wanted = [this] { return scene.wanted; },
                            .kernel = [this]() -> absl::StatusOr<KernelState> {
                              const KernelState state = scene.kernel;
                              ++reads;
                              on_read_(*this);
                              return state;
                            },
                            .shadow = shadow});
  }

  Scene scene;
  AgentReport report;
  int reads = 0;

 private:
  const std::function<void(BusyAgent&)> on_read_;
};

TEST_CASE("an agent at rest is read once") {
  BusyAgent agent([](BusyAgent&) {});
  agent.scene.Real(kCart, "10.244.1.2").config.weight = 7;
  CHECK(Format(agent.Read().value()) ==
        Lines{"real_server 10.244.1.2:8080 of TCP 10.96.0.1:80 (shop/cart:p80)",
              "--a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 1",
              "+-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 7"});
  CHECK(agent.reads == 1);
}

TEST_CASE("what the agent writes meanwhile is no difference") {
  BusyAgent agent([](BusyAgent& busy) {
    if (busy.reads > 1) return;
    busy.scene.Real(kCart, "10.244.1.2").config.weight = 1;
    ++busy.report.counters.operations;
  });
  agent.scene.Real(kCart, "10.244.1.2").config.weight = 7;
  CHECK(Format(agent.Read().value()) == Lines{});
  CHECK(agent.reads == 2);
}

TEST_CASE("what is planned meanwhile is no difference") {
  BusyAgent agent([](BusyAgent& busy) {
    if (busy.reads == 1) busy.scene.AddRoute({Address("10.96.0.77"), Address("192.168.1.1")});
    busy.scene.wanted.routes = busy.scene.kernel.routes;
  });
  CHECK(Format(agent.Read().value()) == Lines{});
  CHECK(agent.reads == 2);
}

TEST_CASE("of a node that never rests only what every reading finds is told") {
  BusyAgent agent([](BusyAgent& busy) {
    ++busy.report.counters.operations;
    // Another one each time.
    busy.scene.Real(kCart, "10.244.1.2").config.weight = 10 + busy.reads;
  });
  agent.scene.Real(kCart, "10.244.1.2").config.weight = 10;
  agent.scene.Real(kShop, "10.244.1.3").config.weight = 7;
  CHECK(Format(agent.Read().value()) ==
        Lines{"real_server 10.244.1.3:8080 of TCP 10.96.0.2:80 (shop/shop:p80)",
              "--a -t 10.96.0.2:80 -r 10.244.1.3:8080 -m -w 1",
              "+-a -t 10.96.0.2:80 -r 10.244.1.3:8080 -m -w 7"});
  CHECK(agent.reads == kMaxComparisons);
}

TEST_CASE("in shadow mode the kernel's record says what is Fairlead's") {
  BusyAgent agent([](BusyAgent&) {});
  const ipvs::VirtualServerKey recorded = Tcp("10.96.0.8", 80);
  agent.scene.AddServer(recorded, {});
  agent.scene.AddElement(OwnedElement(recorded));
  agent.scene.AddServer(Tcp("10.96.0.9", 80), {});
  CHECK(Format(agent.Read(/*shadow=*/true).value()) ==
        Lines{"virtual_server TCP 10.96.0.8:80 ()", "+-A -t 10.96.0.8:80 -s rr",
              "element owned4 10.96.0.8 . tcp . 80 ()",
              "+add element inet fairlead owned4 { 10.96.0.8 . tcp . 80 }"});
}

TEST_CASE("nothing is compared before something is planned") {
  BusyAgent agent([](BusyAgent&) {});
  agent.report.programmed = absl::InfinitePast();
  CHECK(absl::IsFailedPrecondition(agent.Read().status()));
  CHECK(agent.reads == 0);
}

TEST_CASE("errors are passed on") {
  const Scene scene = MakeScene();
  AgentReport programmed;
  programmed.programmed = absl::FromUnixSeconds(1);
  const absl::Status busy = absl::UnavailableError("busy");
  const auto report = [&]() -> absl::StatusOr<AgentReport> { return programmed; };
  const auto wanted = [&]() -> absl::StatusOr<WantedState> { return scene.wanted; };
  const auto kernel = [&]() -> absl::StatusOr<KernelState> { return scene.kernel; };
  const std::vector<std::pair<std::string, DifferenceSources>> rows = {
      {"report", {[&]() -> absl::StatusOr<AgentReport> { return busy; }, wanted, kernel}},
      {"plan", {report, [&]() -> absl::StatusOr<WantedState> { return busy; }, kernel}},
      {"kernel", {report, wanted, [&]() -> absl::StatusOr<KernelState> { return busy; }}},
  };
  for (const auto& [name, sources] : rows) {
    DYNAMIC_SECTION(name) { CHECK(ReadDifferences(sources).status() == busy); }
  }
}

}  // namespace
}  // namespace fairlead::testing
