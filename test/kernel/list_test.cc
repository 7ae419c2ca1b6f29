// `fairlead list`, `stats`, `rates` and `connections` of an agent at work, beside what ipvsadm says
// of the same kernel.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "test/kernel/harness.h"
#include "test/kernel/service_shape.h"
#include "test/lab/load_generator.h"
#include "test/lab/requirements.h"
#include "test/lab/responder.h"

namespace fairlead::lab {
namespace {

// Service default/web with endpoints on two nodes, an agent on the first, and a client pod there.
class Stage {
 public:
  Stage() {
    auto made = Cluster::Create({.node_count = 2, .ipv6 = false});
    REQUIRE(made.ok());
    cluster_ = *std::move(made);
    for (const auto& [name, number] :
         std::map<std::string, int>{{"web-1", 1}, {"web-2", 2}, {"client-1", 1}}) {
      auto pod = cluster_->AddPod(name, number);
      REQUIRE(pod.ok());
      if (name != "client-1") REQUIRE(responder_.AddHttp(*(*pod)->net, 8080, name).ok());
    }
    shape_.external_ips = {};
    shape_.load_balancer_ips = {};
    shape_.slices = {{Endpoint("web-1"), Endpoint("web-2")}};
    manifests_.Write("web.yaml", shape_.Manifest());
    auto started = Agent::Start(node(), OptionsFor(work_, {manifests_.path()}));
    REQUIRE(started.ok());
    agent_ = *std::move(started);
    const bool there = WaitUntil(Agent::kPatience, [&] {
      return absl::StrContains(Command("ipvsadm --save -n"), absl::StrCat(vip(), " -r "));
    });
    INFO(agent_->process().Log());
    REQUIRE(there);
  }

  std::string vip() const { return absl::StrCat(shape_.cluster_ip, ":80"); }

  // What it prints on stdout.
  std::string Command(const std::string& command) const {
    const auto output = Shell(*node().net, std::vector<std::string>{"bash", "-c", command},
                              /*input=*/{}, /*timeout=*/Agent::kPatience);
    INFO(command << ": " << output.status());
    REQUIRE(output.ok());
    return *output;
  }
  std::string Fairlead(const std::string& arguments) const { return Command(Line(arguments)); }
  absl::StatusOr<std::string> Try(const std::string& arguments) const {
    return Shell(*node().net, std::vector<std::string>{"bash", "-c", Line(arguments)},
                 /*input=*/{}, /*timeout=*/Agent::kPatience);
  }
  // On a terminal of 24 lines, where `keys` are typed, and then q until it ends, with 0.
  std::string Terminal(const std::string& arguments, const std::string& keys) const {
    std::string typing = "sleep 3; ";
    for (const char key : keys) {
      absl::StrAppend(&typing, "printf %s '", std::string(1, key), "'; sleep 0.5; ");
    }
    return Command(absl::StrCat("{ ", typing,
                                "while printf q; do sleep 0.5; done; } | TERM=xterm timeout 60 "
                                "script -qec 'stty cols 80 rows 24; exec ",
                                Line(arguments), "' /dev/null"));
  }

  void Load(int requests) const {
    LoadGenerator load(*cluster_->pod("client-1").net,
                       {.address = shape_.cluster_ip, .port = 80, .limit = requests});
    const LoadSummary summary = load.Wait();
    INFO(summary);
    REQUIRE(summary.ok == requests);
  }

 private:
  const Node& node() const { return cluster_->node(1); }
  std::string Line(const std::string& arguments) const {
    return absl::StrCat(Program(), " ", arguments, " --socket ", work_.path(), "/n1.sock");
  }

  ShapeEndpoint Endpoint(const std::string& pod) const {
    const Pod& found = cluster_->pod(pod);
    return {found.ipv4, absl::StrCat("n", found.node), ""};
  }

  std::unique_ptr<Cluster> cluster_;
  Responder responder_;
  Folder manifests_;
  Folder work_;
  ServiceShape shape_;
  std::unique_ptr<Agent> agent_;
};

// The first `words` words of each line that begins with a protocol or an arrow, sorted: names stand
// behind them, and the order is the kernel's.
std::vector<std::string> Rows(const std::string& text, size_t words) {
  std::vector<std::string> rows;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    std::vector<absl::string_view> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (fields.size() < words || (fields[0] != "TCP" && fields[0] != "UDP" && fields[0] != "->")) {
      continue;
    }
    fields.resize(words);
    rows.push_back(absl::StrJoin(fields, " "));
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

TEST_CASE("what fairlead shows of the kernel is what ipvsadm shows, with names") {
  FAIRLEAD_NEEDS_IPVS();
  const Stage stage;
  stage.Load(20);

  CHECK(stage.Fairlead("list -o ipvsadm") == stage.Command("ipvsadm --save -n"));
  const std::string one = stage.Fairlead(absl::StrCat("list -o ipvsadm ", stage.vip()));
  CHECK(absl::StrContains(one, absl::StrCat("-A -t ", stage.vip(), " ")));
  CHECK(std::count(one.begin(), one.end(), '\n') == 3);
  CHECK(absl::StrContains(stage.Fairlead("list default/web"), "default/web"));

  // Protocol or arrow, address, five numbers. The last packets may be on their way.
  constexpr size_t kCounted = 7;
  std::vector<std::string> stats;
  CHECK(WaitUntil(Agent::kPatience, [&] {
    stats = Rows(stage.Fairlead("stats --exact"), kCounted);
    return stats == Rows(stage.Command("ipvsadm -L -n --stats --exact"), kCounted);
  }));
  const bool counted = std::any_of(stats.begin(), stats.end(), [&](const std::string& row) {
    return absl::StartsWith(row, absl::StrCat("TCP ", stage.vip(), " 20 "));
  });
  INFO(absl::StrJoin(stats, "\n"));
  CHECK(counted);
  // Rates change every two seconds, by the kernel's estimate: both are read in one.
  CHECK(WaitUntil(Agent::kPatience, [&] {
    return Rows(stage.Fairlead("rates --exact"), kCounted) ==
           Rows(stage.Command("ipvsadm -L -n --rate --exact"), kCounted);
  }));

  // Protocol, expiry, state, source, virtual, destination; seconds pass between the two.
  const auto connections = [](const std::string& text) {
    std::vector<std::string> rows;
    for (const std::string& row : Rows(text, 6)) {
      std::vector<std::string> fields = absl::StrSplit(row, ' ');
      fields.erase(fields.begin() + 1);
      rows.push_back(absl::StrJoin(fields, " "));
    }
    return rows;
  };
  std::vector<std::string> shown;
  CHECK(WaitUntil(Agent::kPatience, [&] {
    shown = connections(stage.Fairlead("connections"));
    return shown == connections(stage.Command("ipvsadm -L -n -c"));
  }));
  CHECK(shown.size() == 20);
  CHECK(connections(stage.Fairlead("connections default/web --limit 5 2>/dev/null")).size() == 5);
}

TEST_CASE("top draws a screen on a terminal, obeys its keys, and gives the terminal back") {
  FAIRLEAD_NEEDS_IPVS();
  const Stage stage;
  stage.Load(20);
  const std::string once = stage.Fairlead("top --once --endpoints");
  INFO(once);
  CHECK(absl::StrContains(once, "SERVICE "));
  CHECK(absl::StrContains(once, "default/web:http"));
  CHECK(absl::StrContains(once, "  10.244.1."));
  CHECK_FALSE(absl::StrContains(once, "q quit"));

  // In a terminal of `script`: what is typed, and all that was drawn.
  const std::string drawn = stage.Terminal("top --interval 100ms", "se");
  INFO(drawn);
  CHECK(absl::StrContains(drawn, "fairlead top"));
  CHECK(absl::StrContains(drawn, "default/web:http"));
  CHECK(absl::StrContains(drawn, "10.244.1."));
  // Into xterm's other screen, and back.
  CHECK(absl::StrContains(drawn, "\x1b[?1049h"));
  CHECK(absl::StrContains(drawn, "\x1b[?1049l"));
  const auto no_terminal = stage.Try("top </dev/null");
  CHECK_FALSE(no_terminal.ok());
  CHECK(absl::StrContains(no_terminal.status().message(), "this is no terminal: give --once"));
}

}  // namespace
}  // namespace fairlead::lab
