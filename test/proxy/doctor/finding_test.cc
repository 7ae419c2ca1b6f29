#include "expect.h"

namespace fairlead {
namespace {

const std::vector<Finding> kFindings = {
    {.check = "agent.answers", .message = "The agent answers.", .evidence = "version 0.1.0"},
    {.check = "kernel.ipvs",
     .severity = Severity::kError,
     .message = "The kernel does not answer for IPVS.",
     .evidence = "no such family",
     .fix = "modprobe ip_vs"},
    {.check = "kernel.release", .severity = Severity::kNote, .message = "It is old."},
    {.check = "clock.synchronised",
     .severity = Severity::kWarning,
     .message = "Nobody keeps the clock.",
     .evidence = "STA_UNSYNC",
     .fix = "chrony"}};

TEST_CASE("the worst finding counts") {
  CHECK(Worst({}) == Severity::kOk);
  CHECK(Worst({kFindings[0]}) == Severity::kOk);
  CHECK(Worst({kFindings[2], kFindings[0]}) == Severity::kNote);
  CHECK(Worst({kFindings[3], kFindings[2]}) == Severity::kWarning);
  CHECK(Worst(kFindings) == Severity::kError);
}

TEST_CASE("findings are text by group, without what is well") {
  CHECK(FormatFindingsText(kFindings, /*all=*/false) ==
        "kernel\n"
        "  error    The kernel does not answer for IPVS.\n"
        "             read: no such family\n"
        "             do:   modprobe ip_vs\n"
        "  note     It is old.\n"
        "clock\n"
        "  warning  Nobody keeps the clock.\n"
        "             read: STA_UNSYNC\n"
        "             do:   chrony\n"
        "1 error, 1 warning, 1 note; 1 ok (--all shows them)\n");
  CHECK(FormatFindingsText({kFindings[0]}, /*all=*/true) ==
        "agent\n"
        "  ok       The agent answers.\n"
        "             read: version 0.1.0\n"
        "nothing to complain of; 1 ok\n");
  CHECK(FormatFindingsText({kFindings[2], kFindings[2]}, /*all=*/false) ==
        "kernel\n"
        "  note     It is old.\n"
        "  note     It is old.\n"
        "2 notes; 0 ok\n");
}

TEST_CASE("findings are JSON with all of them") {
  CHECK(FormatFindingsJson({kFindings[0], kFindings[1]}) == R"({
  "worst": "error",
  "findings": [
    {
      "check": "agent.answers",
      "severity": "ok",
      "message": "The agent answers.",
      "evidence": "version 0.1.0",
      "fix": ""
    },
    {
      "check": "kernel.ipvs",
      "severity": "error",
      "message": "The kernel does not answer for IPVS.",
      "evidence": "no such family",
      "fix": "modprobe ip_vs"
    }
  ]
}
)");
  // A program may have said anything.
  const std::string odd = FormatFindingsJson({{.check = "kernel.ruleset", .evidence = "\xff"}});
  CHECK(odd.find("\"evidence\": \"\xef\xbf\xbd\"") != std::string::npos);
}

}  // namespace
}  // namespace fairlead
