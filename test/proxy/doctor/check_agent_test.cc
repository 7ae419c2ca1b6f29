#include "expect.h"
#include "healthy_node.h"
#include "proxy/doctor/checks.h"

namespace fairlead {
namespace {

TEST_CASE("the agent is judged by what it says and what it may do") {
  struct Row {
    std::string name;
    std::function<void(Facts&)> change;
    std::vector<std::string> complaints;
  };
  const std::vector<Row> rows = {
      {"no agent",
       [](Facts& facts) {
         facts.agent.asked = absl::UnavailableError("no such file");
         facts.agent.process.reset();
       },
       {"error agent.answers"}},
      {"an agent that hangs",
       [](Facts& facts) { facts.agent.asked = absl::DeadlineExceededError("no answer"); },
       {"error agent.answers"}},
      {"another version",
       [](Facts& facts) { facts.agent.version = "0.0.9"; },
       {"note agent.version"}},
      {"no picture",
       [](Facts& facts) {
         facts.agent.complete = false;
         facts.agent.connected = false;
         facts.agent.current_as_of = absl::InfinitePast();
       },
       {"error agent.programmed"}},
      {"a picture that is not in the kernel",
       [](Facts& facts) { facts.agent.programmed = false; },
       {"error agent.programmed"}},
      {"a feeder that is away for a moment",
       [](Facts& facts) {
         facts.agent.connected = false;
         facts.agent.current_as_of = facts.clock.now - absl::Minutes(1);
       },
       {}},
      {"a feeder that is away",
       [](Facts& facts) {
         facts.agent.connected = false;
         facts.agent.current_as_of = facts.clock.now - absl::Seconds(61);
       },
       {"warning agent.feed"}},
      {"a saved picture",
       [](Facts& facts) { facts.agent.saved_picture = true; },
       {"warning agent.feed"}},
      {"failures",
       [](Facts& facts) { facts.agent.failures = {"Service a/b: no memory"}; },
       {"error agent.failures"}},
      {"warnings", [](Facts& facts) { facts.agent.warnings = 3; }, {"note agent.warnings"}},
      {"no right",
       [](Facts& facts) { facts.agent.process->capabilities = 0x2000; },
       {"error agent.rights"}},
      {"all rights",
       [](Facts& facts) { facts.agent.process->capabilities = 0x1ffffffffff; },
       {"note agent.rights"}},
      {"just enough files", [](Facts& facts) { facts.agent.process->open_files_limit = 1024; }, {}},
      {"few files",
       [](Facts& facts) { facts.agent.process->open_files_limit = 1023; },
       {"warning agent.files"}},
      {"an agent of which nothing is seen", [](Facts& facts) { facts.agent.process.reset(); }, {}},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    Facts facts = HealthyNode();
    row.change(facts);
    CHECK(Complaints(CheckAgent(facts.agent, facts.clock.now)) == row.complaints);
  }
}

TEST_CASE("what is old is told with its age") {
  Facts facts = HealthyNode();
  facts.agent.connected = false;
  facts.agent.current_as_of = facts.clock.now - absl::Minutes(90) - absl::Milliseconds(7);
  CHECK(Only(CheckAgent(facts.agent, facts.clock.now), "agent.feed") ==
        Finding{.check = "agent.feed",
                .severity = Severity::kWarning,
                .message = "The agent acts upon an old picture: traffic goes on, changes do not "
                           "arrive.",
                .evidence = "10.0.0.5:10270 is away, picture of 1h30m ago",
                .fix = "look after the watcher or the API server, or the agent's way to it"});
}

TEST_CASE("of many failures ten are told one by one") {
  Facts facts = HealthyNode();
  facts.agent.failures.assign(10, "Service a/b: no memory");
  CHECK(Complaints(CheckAgent(facts.agent, facts.clock.now)).size() == 10);
  facts.agent.failures.assign(25, "Service a/b: no memory");
  const std::vector<Finding> findings = CheckAgent(facts.agent, facts.clock.now);
  CHECK(Complaints(findings).size() == 11);
  CHECK(findings.back().message == "There are 15 more of this kind.");
}

TEST_CASE("clock, rights and the state folder are judged") {
  struct Row {
    std::string name;
    std::function<void(Facts&)> change;
    std::vector<std::string> complaints;
  };
  const std::vector<Row> rows = {
      {"a clock that nobody keeps",
       [](Facts& facts) { facts.clock.synchronised = false; },
       {"warning clock.synchronised"}},
      {"a clock that cannot be told",
       [](Facts& facts) { facts.clock.synchronised.reset(); },
       {"note clock.synchronised"}},
      {"files a little ahead",
       [](Facts& facts) { facts.clock.newest_file = facts.clock.now + absl::Seconds(5); },
       {}},
      {"files of the future",
       [](Facts& facts) { facts.clock.newest_file = facts.clock.now + absl::Seconds(6); },
       {"warning clock.back"}},
      {"no files yet", [](Facts& facts) { facts.clock.newest_file.reset(); }, {}},
      {"no rights", [](Facts& facts) { facts.rights.capabilities = 0; }, {"error rights.own"}},
      {"the agent's rights", [](Facts& facts) { facts.rights.capabilities = 0x1000; }, {}},
      {"small buffers",
       [](Facts& facts) { facts.rights.large_buffers = false; },
       {"warning rights.buffers"}},
      {"small buffers that may be large",
       [](Facts& facts) {
         facts.rights.large_buffers = false;
         facts.rights.largest_buffer = 1 << 20;
       },
       {}},
      {"no state folder",
       [](Facts& facts) { facts.state.exists = false; },
       {"warning state.folder"}},
      {"a state folder that is read-only",
       [](Facts& facts) { facts.state.writable = false; },
       {"warning state.folder"}},
      {"a full disk",
       [](Facts& facts) { facts.state.free_bytes = (64 << 20) - 1; },
       {"warning state.folder"}},
      {"no free files",
       [](Facts& facts) { facts.state.free_files = 15; },
       {"warning state.folder"}},
      {"no limit of files", [](Facts& facts) { facts.state.free_files.reset(); }, {}},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    Facts facts = HealthyNode();
    row.change(facts);
    std::vector<Finding> findings = CheckRights(facts.rights);
    for (const auto& more : {CheckState(facts.state), CheckClock(facts.clock)}) {
      findings.insert(findings.end(), more.begin(), more.end());
    }
    CHECK(Complaints(findings) == row.complaints);
  }
}

}  // namespace
}  // namespace fairlead
