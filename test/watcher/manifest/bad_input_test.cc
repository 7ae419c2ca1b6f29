// The section "Bad input", row by row: one clear message naming file, object and field, and all
// other Services go on.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <functional>

#include "absl/strings/str_replace.h"
#include "test/watcher/manifest/testing.h"
#include "watcher/manifest/manifest_reader.h"

namespace fairlead {
namespace {

using manifest::FindService;
using manifest::PodYaml;
using manifest::ServiceYaml;
using manifest::TemporaryFolder;

TEST_CASE("bad input is one clear message, and all other Services go on") {
  struct Case {
    const char* name;
    std::function<void(const TemporaryFolder&)> break_it;
    std::vector<std::string> want;  // "@" is the folder.
    bool keeps_victim;              // The Service whose manifest was broken.
  };
  const auto victim = [](const std::string& spec) {
    return [spec](const TemporaryFolder& folder) {
      folder.Write("victim.yaml", ServiceYaml("victim", spec));
    };
  };
  const Case cases[] = {
      {"malformed YAML",
       [](const TemporaryFolder& folder) { folder.Write("victim.yaml", "a: 1\nb: [1, 2\nc: 3\n"); },
       {"@/victim.yaml:3: is not valid YAML: end of sequence flow not found; what it may have held "
        "before is kept (1 object)"},
       true},
      {"a wrong type",
       victim("  ports: [{port: eighty}]"),
       {"@/victim.yaml:7: Service default/victim: spec.ports[0].port: is the string \"eighty\", "
        "not "
        "a whole number; its last good version is kept"},
       true},
      {"a port out of range",
       victim("  ports: [{port: 70000}]"),
       {"@/victim.yaml:7: Service default/victim: spec.ports[0].port: 70000 is not a port number "
        "(1 "
        "to 65535); its last good version is kept"},
       true},
      {"an unknown protocol",
       victim("  ports: [{port: 80, protocol: HTTP}]"),
       {"@/victim.yaml:7: Service default/victim: spec.ports[0].protocol: \"HTTP\" is not a "
        "protocol "
        "(TCP, UDP or SCTP); its last good version is kept"},
       true},
      {"an address that does not parse",
       victim("  clusterIP: 10.96.0"),
       {"@/victim.yaml:8: Service default/victim: spec.clusterIP: \"10.96.0\" is not an IP "
        "address; "
        "its last good version is kept"},
       true},
      {"a duplicate node port",
       victim("  type: NodePort\n  ports: [{port: 80, nodePort: 30080}]"),
       {"@/victim.yaml:8: Service default/victim: spec.ports[0].nodePort: 30080/TCP is also asked "
        "for "
        "by Service default/other, which has it; the Service is left out"},
       false},
      {"a duplicate VIP",
       victim("  clusterIP: 10.96.0.10"),
       {"@/victim.yaml:8: Service default/victim: spec.clusterIP: 10.96.0.10 is also asked for by "
        "Service default/other, which has it; the Service is left out"},
       false},
      {"a Pod port that is missing",
       [](const TemporaryFolder& folder) {
         folder.Write("victim.yaml",
                      ServiceYaml("victim", "  ports: [{port: 80, targetPort: web}]") +
                          PodYaml("pod", "victim", "10.0.0.1"));
       },
       {"@/victim.yaml:7: Service default/victim: spec.ports[0].targetPort: Pod default/pod has no "
        "TCP "
        "port \"web\": no endpoint for port 80"},
       true},
      {"an unreadable file",
       [](const TemporaryFolder& folder) {
         folder.Remove("victim.yaml");  // Not even root reads this one.
         std::filesystem::create_symlink("victim.yaml", folder.File("victim.yaml"));
       },
       {"@/victim.yaml: cannot be read: Too many levels of symbolic links; what it held before is "
        "kept"},
       true},
      {"a folder that vanishes",
       [](const TemporaryFolder& folder) {
         std::filesystem::rename(folder.path(), folder.path() + ".away");
       },
       {"@: cannot be read: No such file or directory; what it held before is kept"},
       true},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    TemporaryFolder folder;
    folder.Write("other.yaml", ServiceYaml("other",
                                           "  type: NodePort\n  clusterIP: 10.96.0.10\n  ports: "
                                           "[{port: 80, nodePort: 30080}]"));
    folder.Write("victim.yaml", ServiceYaml("victim"));
    ManifestReader reader(manifest::OptionsFor({folder.path()}));
    const Reading before = reader.Read();
    CHECK(before.problems.empty());
    c.break_it(folder);
    const Reading after = reader.Read();
    std::vector<std::string> problems = manifest::FormatProblems(after.problems);
    for (std::string& text : problems) text = absl::StrReplaceAll(text, {{folder.path(), "@"}});
    CHECK(problems == c.want);
    CHECK(FindService(after.picture, "other") == FindService(before.picture, "other"));
    CHECK((FindService(after.picture, "victim") != nullptr) == c.keeps_victim);
    CHECK(after.complete);
    std::filesystem::remove_all(folder.path() + ".away");
  }
}

TEST_CASE("a file that may not be read keeps its objects") {
  if (geteuid() == 0) {
    SUCCEED("SKIPPED: root may read everything; see the loop of links above");
    return;
  }
  TemporaryFolder folder;
  folder.Write("a.yaml", ServiceYaml("a"));
  ManifestReader reader(manifest::OptionsFor({folder.path()}));
  reader.Read();
  std::filesystem::permissions(folder.File("a.yaml"), std::filesystem::perms::none);
  const Reading reading = reader.Read();
  CHECK(FindService(reading.picture, "a") != nullptr);
  CHECK(reading.problems.at(0).message ==
        "cannot be read: Permission denied; what it held before is kept");
}

}  // namespace
}  // namespace fairlead
