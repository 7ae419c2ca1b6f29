// The rules' tables against `fairlead explain`, which is asked for each cell with the objects in a
// folder: FAIRLEAD_BIN names the program, by default the build's own.
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "test/vectors/vectors.h"

namespace fairlead::vectors {
namespace {

std::string Program() {
  const char* program = getenv("FAIRLEAD_BIN");
  return program == nullptr ? FAIRLEAD_PROGRAM : program;
}

// A group's objects, in a folder that goes with it.
class Manifests {
 public:
  explicit Manifests(const Group& group) {
    std::string name = std::filesystem::temp_directory_path() / "fairlead-vectors-XXXXXX";
    REQUIRE(mkdtemp(name.data()) != nullptr);
    folder_ = name;
    for (const auto& [file, text] : group.manifests) std::ofstream(folder_ / file) << text;
  }
  ~Manifests() { std::filesystem::remove_all(folder_); }
  Manifests(const Manifests&) = delete;
  Manifests& operator=(const Manifests&) = delete;

  // Those of one file of vectors and the stage's: what else the group has costs time only.
  std::vector<std::string> PathsFor(const std::string& file) const {
    return {folder_ / (file + ".yaml"), folder_ / "stage.yaml"};
  }
  std::filesystem::path errors() const { return folder_ / "errors"; }

 private:
  std::filesystem::path folder_;
};

std::string ReadFile(const std::filesystem::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// What the program writes to stdout; what else it said is in its place if it failed.
std::string Output(const std::vector<std::string>& words, const Manifests& manifests) {
  const std::string command =
      absl::StrJoin(words, " ", [](std::string* out, const std::string& word) {
        absl::StrAppend(out, "'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
      });
  FILE* pipe = popen(absl::StrCat(command, " 2>'", manifests.errors().string(), "'").c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string output;
  char data[4096];
  for (size_t size = fread(data, 1, sizeof(data), pipe); size > 0;
       size = fread(data, 1, sizeof(data), pipe)) {
    output.append(data, size);
  }
  const int status = pclose(pipe);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return output;
  return absl::StrCat("exit status ", status, ": ", ReadFile(manifests.errors()));
}

std::string Ask(const Group& group, const Manifests& manifests, const Case& one) {
  std::vector<std::string> words = {Program(), "explain"};
  for (const auto& flags : {NodeFlags(), group.flags}) {
    words.insert(words.end(), flags.begin(), flags.end());
  }
  for (const std::string& path : manifests.PathsFor(one.file)) {
    words.insert(words.end(), {"--manifests", path});
  }
  words.insert(words.end(),
               {"--from", one.source.address.Format(), "--to", one.Destination(), "-o", "json"});
  if (!one.source.device.empty()) {
    words.insert(words.end(), {"--from-interface", one.source.device});
  }
  return Output(words, manifests);
}

// Both sides as one line: "balance shop/plain:http 10.244.1.2:8080 10.244.2.2:8080 masq".
std::string Line(const std::string& verdict, const std::string& service,
                 std::vector<std::string> endpoints, bool masquerade) {
  std::sort(endpoints.begin(), endpoints.end());
  return absl::StrCat(verdict, " ", service, " ", absl::StrJoin(endpoints, " "),
                      masquerade ? " masq" : "");
}

std::string ExpectedLine(const Case& one) {
  const IpFamily family = one.address.family();
  std::vector<std::string> endpoints;
  // A word for all of them: that an endpoint is masqueraded when it reaches itself does not count,
  // unless it is the only one.
  bool masquerade = !one.expected.endpoints.empty();
  for (const auto& [endpoint, masqueraded] : one.expected.endpoints) {
    endpoints.push_back(EndpointAddress(endpoint, family));
    if (!masqueraded) masquerade = false;
  }
  const bool none = one.expected.verdict == Verdict::kNone;
  return Line(std::string(FormatVerdict(one.expected.verdict)), none ? "" : one.service, endpoints,
              masquerade);
}

std::string SeenLine(const std::string& output) {
  const nlohmann::json seen = nlohmann::json::parse(output, nullptr, /*allow_exceptions=*/false);
  if (seen.is_discarded()) return output;
  return Line(seen.at("verdict"), seen.at("service"), seen.at("endpoints"), seen.at("masquerade"));
}

TEST_CASE("`fairlead explain` says what the tables say") {
  const auto groups = LoadGroups(FAIRLEAD_VECTORS);
  if (!groups.ok()) FAIL(groups.status());
  int count = 0;
  for (const Group& group : *groups) {
    const Manifests manifests(group);
    for (const Case& one : group.cases) {
      if (one.needs_machine) continue;
      ++count;
      const std::string output = Ask(group, manifests, one);
      INFO(one.Format() << "\n" << output);
      CHECK(SeenLine(output) == ExpectedLine(one));
    }
  }
  std::printf("%d cases explained\n", count);
}

}  // namespace
}  // namespace fairlead::vectors
